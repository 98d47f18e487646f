"""Passes of a step that a graph repeats, without the GPU that would repeat it."""

from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from bnas_bench.core.errors import BudgetExceeded
from bnas_bench.nn.network import Network
from bnas_bench.search.captured import WARM_UPS, Captured
from bnas_bench.search.meter import Meter


class Line(Network):
    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(3))
        self.head = nn.Identity()

    def features(self, x: Tensor) -> Tensor:
        return x * self.w


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked of CUDA: of a stream to the side, of a graph that is recorded and replayed."""
    asked: list[str] = []

    @contextmanager
    def recording(_):
        asked.append("begin")
        yield
        asked.append("end")

    stream = SimpleNamespace(wait_stream=lambda _: asked.append("wait"))
    for name, fake in {
        "Stream": lambda: stream,
        "current_stream": lambda: stream,
        "stream": lambda _: nullcontext(),
        "CUDAGraph": lambda: SimpleNamespace(replay=lambda: asked.append("replay")),
        "graph": recording,
    }.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    return asked


def test_every_run_is_counted_once_the_replayed_ones_too(log: list[str]) -> None:
    network, x = Line(), torch.ones(4, 3)

    def step() -> None:
        log.append("step")
        network(x).sum().backward()
        with torch.no_grad():
            network(x)

    with Meter(None) as meter:
        captured = Captured(step, meter)
        assert log == ["wait", *["step"] * WARM_UPS, "wait", "begin", "step", "end", "replay"]
        captured()
        captured()
    assert log.count("replay") == 3
    assert captured.passes == pytest.approx(4 + 4 / 3)
    assert meter.spent == pytest.approx((WARM_UPS + 3) * captured.passes)


def test_a_budget_ends_replays_before_they_run(log: list[str]) -> None:
    network, x = Line(), torch.ones(4, 3)
    with Meter(4 * (WARM_UPS + 1)) as meter:
        captured = Captured(lambda: network(x).sum().backward(), meter)
        runs = log.count("replay")
        with pytest.raises(BudgetExceeded):
            captured()
    assert log.count("replay") == runs
