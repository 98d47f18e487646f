"""The maps that networks offer to whatever is put behind them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from bnas_bench.core.budget import Scale
from bnas_bench.nn.binary import BinaryConv2d, Precision
from bnas_bench.nn.network import Network, run_at
from bnas_bench.plugins import making

SPACES = ("darts-binary", "bats", "bars", "nas-bnn", "bnas-201", "handcrafted")


def drawn(space: str, side: int) -> Network:
    made, rng = making.space(space), np.random.default_rng(0)
    scale = made.fit(Scale(cells=4, channels=4))
    spec = made.spec(scale, (3, side, side), 5, final=True)
    return made.network(made.sample(rng), spec, rng).eval()


@pytest.mark.parametrize("space", SPACES)
@torch.no_grad()
def test_the_last_stage_is_the_features_and_each_is_half_as_large(space: str) -> None:
    network, x_BCHW = drawn(space, 64), torch.randn(2, 3, 64, 64)
    found = network.stages(x_BCHW)
    assert torch.equal(found[-1], network.features(x_BCHW))
    sides = [maps.shape[-1] for maps in found]
    assert all(after == -(-before // 2) for before, after in pairwise(sides))
    assert len(sides) >= 3
    assert torch.equal(network(x_BCHW), network.head(found[-1]))


def test_whatever_lies_in_a_module_runs_at_its_precision() -> None:
    network = drawn("darts-binary", 16)
    behind = BinaryConv2d(4, 4, 3)
    run_at(torch.nn.ModuleList([network, behind]), Precision.W32A32)
    assert network.precision == behind.precision == Precision.W32A32
    assert all(
        m.running == Precision.W32A32 for m in network.modules() if isinstance(m, BinaryConv2d)
    )
