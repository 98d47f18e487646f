"""What one search step holds: a path against the whole mix, on every space, at the scale of `quick`.

And what a search is charged for a step that is watched, beside one that is not, in processor time.
"""

import time
from statistics import median

import numpy as np
import pytest
import torch

from bnas_bench.core.budgets import BUDGETS
from bnas_bench.plugins.registry import discover
from bnas_bench.search.tensor_memory import TensorMemory, seconds_per_call

BATCH = 128


@pytest.mark.parametrize("name", discover("space"))
def test_step_memory(name: str) -> None:
    torch.set_num_threads(1)
    space, rng = discover("space")[name].make({}), np.random.default_rng(0)
    spec = space.spec(space.fit(BUDGETS["quick"].search), (1, 8, 8), 10, final=False)
    net = space.supernet(spec, rng)
    x = torch.zeros(BATCH, *spec.shape)
    mixes = {
        "largest path": space.path(space.largest()),
        "random path": space.path(space.sample(rng)),
        "mix": [torch.full((len(d.options),), 1 / len(d.options)) for d in space.decisions],
    }
    peaks = {}
    for what, mix in mixes.items():
        net(x, mix).sum().backward()  # gradients are there before, as in all steps but the first
        with TensorMemory() as memory:
            net(x, mix).sum().backward()
        peaks[what] = memory.peak / 2**20
    if space.nodes:
        partial = space.supernet(spec, rng, partial=4)
        partial(x, mixes["mix"]).sum().backward()
        with TensorMemory() as memory:
            partial(x, mixes["mix"]).sum().backward()
        peaks["mix of a quarter of the channels"] = memory.peak / 2**20
    shares = ", ".join(
        f"{what} {peak:.1f} MiB ({peak / peaks['mix']:.2f})" for what, peak in peaks.items()
    )
    print(f"\n{name}, batch {BATCH}: {shares}")
    assert peaks["random path"] < peaks["mix"]


@pytest.mark.parametrize("name", discover("space"))
def test_what_a_watched_step_is_charged(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(time, "perf_counter", time.thread_time)
    seconds_per_call.cache_clear()
    space, rng = discover("space")[name].make({}), np.random.default_rng(0)
    spec = space.spec(space.fit(BUDGETS["quick"].search), (1, 8, 8), 10, final=False)
    net, x = space.supernet(spec, rng), torch.zeros(BUDGETS["quick"].batch_size, *spec.shape)
    mix = [torch.full((len(d.options),), 1 / len(d.options)) for d in space.decisions]

    def step() -> float:
        began = time.thread_time()
        net(x, mix).sum().backward()
        return time.thread_time() - began

    step()
    alone, watched, charged = [], [], []
    for _ in range(9):
        alone.append(step())
        with TensorMemory() as memory:
            watched.append(step())
        charged.append(watched[-1] - memory.seconds)
    once, twice, thrice = (1e3 * median(times) for times in (alone, watched, charged))
    print(
        f"\n{name}, a step of the mix: {once:.1f} ms; watched {twice / once:.2f} times, "
        f"of which {thrice / once:.2f} are charged"
    )
