"""Counting the bytes of tensors."""

import time

import numpy as np
import pytest
import torch
from bnas_bench.spaces.darts_binary import DartsBinary

from bnas_bench.core.budget import NetworkSpec
from bnas_bench.search import meter as meter_module
from bnas_bench.search import tensor_memory
from bnas_bench.search.meter import Meter
from bnas_bench.search.tensor_memory import TensorMemory

SIDE = 100
MATRIX = 4 * SIDE * SIDE


def test_tensors_are_counted_while_they_live() -> None:
    x, w = torch.ones(SIDE, SIDE), torch.ones(SIDE, SIDE, requires_grad=True)
    with TensorMemory() as memory:
        y = x @ w
        z = y.relu()
        view = z.view(-1)[:10]
        assert memory.live == 2 * MATRIX
        del y
        assert memory.live == 2 * MATRIX - MATRIX  # relu keeps its output alone
        z.sum().backward()
        x.add_(1)
        assert MATRIX <= memory.live - MATRIX <= MATRIX + 8  # the gradient of w
        assert memory.peak >= 3 * MATRIX
        del z, view
    assert memory.live <= MATRIX + 8


def test_a_path_holds_one_paths_activations() -> None:
    torch.set_num_threads(1)
    space = DartsBinary()
    space.name = "darts-binary"
    net = space.supernet(NetworkSpec((1, 8, 8), 10, 3, 4), np.random.default_rng(0))
    x = torch.zeros(32, 1, 8, 8)
    mixes = {
        "mixed": [torch.full((8,), 1 / 8) for _ in space.decisions],
        "path": space.path(space.sample(np.random.default_rng(0))),
    }
    peaks = {}
    for name, mix in mixes.items():
        with TensorMemory() as memory:
            net(x, mix).sum().backward()
        peaks[name] = memory.peak
        net.zero_grad()
    assert 0 < peaks["path"] < peaks["mixed"] / 4


@pytest.mark.parametrize(("epochs", "matrices"), [(1, 2), (3, 4)])
def test_the_meter_keeps_the_peak_of_an_epoch_of_the_second_half(epochs, matrices) -> None:
    with Meter(None) as meter:
        for epoch in meter.epochs(state={}, protocol=epochs):
            held = torch.ones(SIDE, SIDE) + 1  # the ones live until the sum is there
            torch.cat([held] * (epoch + 1)) if epoch else held
    assert meter.step_bytes == matrices * MATRIX


def test_a_search_is_not_charged_for_its_watch(monkeypatch) -> None:
    """Neither for the counting, nor for torch's way to it, nor for measuring how long that is."""
    now = 0.0

    def takes(seconds: float, work=lambda *_: None):
        def slow(*args, **kwargs):
            nonlocal now
            now += seconds
            return work(*args, **kwargs)

        return slow

    monkeypatch.setattr(time, "perf_counter", lambda: now)
    monkeypatch.setattr(TensorMemory, "_add", takes(5, TensorMemory._add))
    way = takes(2, TensorMemory.__torch_dispatch__)
    monkeypatch.setattr(TensorMemory, "__torch_dispatch__", lambda *args: way(*args))
    for module in (meter_module, tensor_memory):
        monkeypatch.setattr(
            module, "seconds_per_call", takes(0 if module is tensor_memory else 7, lambda: 2)
        )
    with Meter(None) as meter:
        for _ in meter.epochs(state={}, protocol=4):
            torch.ones(SIDE, SIDE) + 1
            takes(100)()
            meter.report(loss=0.0)
    assert now > 400
    assert [entry["seconds"] for entry in meter.log] == [100, 200, 300, 400]


def test_the_way_to_the_watch_takes_time() -> None:
    assert 1e-7 < tensor_memory.seconds_per_call() < 1e-2


def test_measuring_the_way_draws_nothing_from_torchs_own_generator() -> None:
    before = torch.get_rng_state()
    tensor_memory.seconds_per_call.__wrapped__(rounds=1)
    assert torch.equal(torch.get_rng_state(), before)
