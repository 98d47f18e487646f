"""`make gpu` without a GPU: it says so, and its rehearsal runs all of it at tiny sizes."""

import json
import runpy
from collections.abc import Callable
from math import isfinite
from pathlib import Path

import pytest
import torch

from bnas_bench.search.captured import WARM_UPS
from bnas_bench.search.meter import Meter
from tests.helpers.fake_gpu import NAME, fake_gpu

SCRIPT = Path(__file__).parents[2] / "scripts" / "gpu.py"


@pytest.fixture(scope="module")
def main() -> Callable[[list[str]], int]:
    return runpy.run_path(str(SCRIPT))["main"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_in_one_sentence(
    main: Callable[[list[str]], int], capsys: pytest.CaptureFixture
) -> None:
    assert main([]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        "this measures a GPU, and there is no 'cuda' here; --device cpu --quick rehearses it\n"
    )


class Asked:
    """Stands in for a graph: Python asks for each run."""

    def __init__(self, step: Callable[[], None], _: Meter) -> None:
        for _run in range(WARM_UPS + 1):
            step()
        self.step = step

    def __call__(self) -> None:
        self.step()


@pytest.mark.slow
def test_what_it_does_on_a_gpu(
    main: Callable[[list[str]], int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(main.__globals__, "FOLDER", tmp_path)
    monkeypatch.setitem(main.__globals__, "Captured", Asked)
    with fake_gpu():
        assert main(["--quick"]) == 0
    found = json.loads((tmp_path / "A-GPU-that-is-none.json").read_text())
    assert (found["device"], found["device_name"]) == ("cuda", NAME)
    assert found["numerics"]["cudnn_deterministic"]
    assert found["contract"]["kept"] == 1
    step = found["supernet_step"]
    assert step["captured_passes"] == step["eager_passes"] == (4 + 1) * 16
    assert step["weights_apart"] == 0
    assert step["captured_without_policy_ms"] > 0
    assert not torch.backends.cudnn.benchmark  # put back
    assert found["training"]["birealnet18"]["epochs"] == 2


@pytest.mark.slow
def test_a_rehearsal_runs_every_part(main: Callable[[list[str]], int], tmp_path: Path) -> None:
    file = tmp_path / "some" / "cpu.json"
    assert main(["--device", "cpu", "--quick", "--out", str(file)]) == 0
    found = json.loads(file.read_text())
    assert (found["device"], found["rehearsal"]) == ("cpu", True)
    assert found["contract"]["kept"] == len(found["contract"]["pairs"]) == 1
    step, training = found["supernet_step"], found["training"]
    assert step["eager_ms"] > 0
    assert step["eager_passes"] == (4 + 1) * 16  # warm-ups and steps, a batch each
    assert training["search"]["passes"] <= 90
    for network in ("birealnet18", "searched"):
        assert all(isfinite(loss) for loss in training[network]["losses"])
        assert 0 <= training[network]["test_accuracy"] <= 100
