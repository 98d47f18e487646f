"""The order of a network's chains on several threads, against orders found by hand and by trying all."""

from __future__ import annotations

import numpy as np
import pytest

from bnas_bench.packed.engine.chains import ChainKernel
from bnas_bench.packed.engine.engine import Engine
from bnas_bench.packed.engine.schedule import ancestors, cost, longest_way_first, needs
from bnas_bench.packed.lowering.lower import lower
from tests.helpers.networks import LARGE, build

DIAMOND = [[], [0], [0], [2], [1, 3]]


def test_the_longest_way_comes_first_and_the_others_fill_its_pauses() -> None:
    assert longest_way_first([1, 1, 5, 5, 1], DIAMOND) == [0, 2, 1, 3, 4]
    assert longest_way_first([1, 1, 1], [[], [0], [1]]) == [0, 1, 2]
    assert longest_way_first([], []) == []


def test_ancestors_are_all_that_is_done_before() -> None:
    assert ancestors(DIAMOND) == [0b0, 0b1, 0b1, 0b101, 0b1111]


@pytest.mark.parametrize("seed", range(20))
def test_nothing_comes_before_what_it_needs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    needed = [[n for n in range(k) if rng.random() < 0.2] for k in range(30)]
    order = longest_way_first(rng.random(30).tolist(), needed)
    assert sorted(order) == list(range(30))
    assert all(order.index(n) < order.index(k) for k in range(30) for n in needed[k])


def test_who_may_run_at_the_same_time_shares_no_place() -> None:
    """A chain writes where another reads or writes only if one of the two waits for the other."""
    engine = Engine(lower(build("darts-binary", {}, LARGE, seed=3), LARGE), threads=2)
    engine._bind(1, keep=False)
    branches = 0
    for begin, end in engine._pieces:  # between these all wait
        kernels = engine.kernels[begin:end]
        before = ancestors(needs(kernels))
        for late, kernel in enumerate(kernels):
            written = places(engine, kernel.makes)
            for early in range(late):
                waits = before[late] >> early & 1
                used = places(engine, kernels[early].reads | kernels[early].makes)
                assert waits or not written & used, (begin, early, late)
                branches += not waits
    assert branches > 20


def places(engine: Engine, names: set[str]) -> set[int]:
    return {engine._places[name].data_ptr() for name in names & engine._places.keys()}


def test_a_chain_costs_more_the_more_it_does() -> None:
    chains = [
        kernel
        for kernel in Engine(lower(build("darts-binary", {}, LARGE, seed=3), LARGE)).kernels
        if isinstance(kernel, ChainKernel)
    ]
    costs = {chain.kind: cost(chain) for chain in chains}
    assert min(costs.values()) > 0
    assert costs["conv_w1+conv_b"] > costs["elementwise"]
