"""Networks side by side against the same networks alone, at every step of a training."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bnas_bench.core.budget import NetworkSpec
from bnas_bench.nn.beside import beside
from bnas_bench.nn.binary import Precision
from bnas_bench.nn.blocks import Head
from bnas_bench.nn.network import Network
from bnas_bench.plugins import making
from bnas_bench.search.learning import adam

CELL = "|nor_conv_3x3~0|+|nor_conv_1x1~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_3x3~1|none~2|"
NETWORKS, STEPS = 3, 4


def networks(precision: Precision) -> list[Network]:
    space = making.space("bnas-201")
    spec = NetworkSpec((1, 8, 8), 10, 5, 8)
    found = [
        space.network(space.parse(CELL), spec, np.random.default_rng(seed))
        for seed in range(NETWORKS)
    ]
    for network in found:
        network.precision = precision
    return found


def test_a_training_side_by_side_is_that_of_each_alone() -> None:
    """Losses, weights, running statistics and logits, to rounding; each on images of its own."""
    alone = networks(Precision.W32A32)
    joined = beside(alone)
    x_KBCHW = torch.from_numpy(
        np.random.default_rng(7).normal(size=(NETWORKS, 16, 1, 8, 8))
    ).float()
    y_KB = torch.from_numpy(np.random.default_rng(8).integers(10, size=(NETWORKS, 16)))
    x_BCHW, y_BK = torch.cat([*x_KBCHW], 1), y_KB.T

    def train(network: nn.Module, x: torch.Tensor, y: torch.Tensor, lr: float) -> list[float]:
        optimiser, losses = adam(network.parameters(), lr, 1e-4), []
        network.train()
        for _ in range(STEPS):
            optimiser.zero_grad()
            logits = network(x)
            loss = F.cross_entropy(logits.flatten(0, -2), y.flatten(), reduction="none")
            loss.view(len(x), -1).mean(0).sum().backward()
            optimiser.step()
            losses.append(loss.view(len(x), -1).mean(0).tolist())
        return losses

    each = [train(network, x, y, 1e-3) for network, x, y in zip(alone, x_KBCHW, y_KB, strict=True)]
    np.testing.assert_allclose(np.hstack(each), train(joined, x_BCHW, y_BK, 1e-3), rtol=2e-4)
    assert np.ptp(each[0]) > 0.1  # they learn
    with torch.no_grad():
        seen = torch.stack(
            [network.eval()(x) for network, x in zip(alone, x_KBCHW, strict=True)], 1
        )
        torch.testing.assert_close(joined.eval()(x_BCHW), seen, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("precision", [*Precision])
def test_one_pass_at_every_precision(precision: Precision) -> None:
    """The logits and every weight's gradient. Signs flip by rounding later, so this is one pass alone."""
    alone = networks(precision)
    joined = beside(alone)
    x = torch.from_numpy(np.random.default_rng(9).normal(size=(8, NETWORKS, 8, 8))).float()
    for network in (joined, *alone):
        network.train()
    together = joined(x)
    together.square().sum().backward()
    found = {name: weight.grad for name, weight in joined.named_parameters()}
    for k, network in enumerate(alone):
        logits = network(x[:, k : k + 1])
        torch.testing.assert_close(together[:, k], logits, rtol=1e-4, atol=1e-4)
        logits.square().sum().backward()
        for name, weight in network.named_parameters():
            if not name.startswith("head") and weight.grad is not None:
                part = found[name].chunk(NETWORKS)[k]
                torch.testing.assert_close(part, weight.grad, rtol=1e-3, atol=1e-3, msg=name)


def test_the_networks_are_left_as_they_are() -> None:
    alone = networks(Precision.W1A1)
    before = deepcopy(alone[0].state_dict())
    joined = beside(alone)
    assert joined.precision == Precision.W1A1
    with torch.no_grad():
        for weight in joined.parameters():
            weight.zero_()
    assert all(torch.equal(value, before[name]) for name, value in alone[0].state_dict().items())


def test_a_layer_that_has_no_such_form_is_refused() -> None:
    class Foreign(Network):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.GroupNorm(2, 4)
            self.head = Head(4, 2)

    with pytest.raises(TypeError, match="GroupNorm"):
        beside([Foreign(), Foreign()])
