"""Whether a search learned anything."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.optim import SGD

from bnas_bench.core.budget import NetworkSpec
from bnas_bench.data.datasets import load, task
from bnas_bench.nn.binary import BinaryConv2d
from bnas_bench.plugins.registry import find
from bnas_bench.search.learned import Learned, at_least, signs_changed
from bnas_bench.search.learning import accuracy
from bnas_bench.search.relaxed import undecided
from tests.helpers.trials import BUDGET


def supernet():
    space, rng = find("space", "darts-binary").make({}), np.random.default_rng(0)
    return space.supernet(NetworkSpec((1, 8, 8), 10, 3, 4), rng)


def test_a_changed_sign_is_counted_where_its_kernel_is() -> None:
    net = supernet()
    watched = Learned({"model.supernet": net, "found": {}})
    convs = [m for m in net.modules() if isinstance(m, BinaryConv2d) and m.own.weight_bits == 1]
    turned = next(conv for conv in convs if conv.kernel_size == 5 and conv.dilation == 2)
    with torch.no_grad():
        turned.weight.neg_()
        convs[0].weight.mul_(3)  # as far as one likes, but with its sign
    changed = signs_changed(watched.start["model.supernet"], Learned({"x": net}).start["x"])
    total = sum(conv.weight.numel() for conv in convs)
    dilated = sum(c.weight.numel() for c in convs if (c.kernel_size, c.dilation) == (5, 2))
    assert changed["signs"] == total
    assert changed["signs_changed"] == pytest.approx(100 * turned.weight.numel() / total, abs=1e-5)
    by_kernel = changed["signs_changed_by_kernel"]
    assert by_kernel.pop("5x5 dilated") == pytest.approx(
        100 * turned.weight.numel() / dilated, abs=1e-5
    )
    assert set(by_kernel.values()) == {0}
    assert set(by_kernel) == {"1x1", "3x3", "3x3 dilated", "5x5"}


def test_a_real_valued_weight_has_no_sign_that_counts() -> None:
    net = supernet()
    start = Learned({"net": net}).start["net"]
    with torch.no_grad():
        net.head.linear.weight.neg_()
    assert signs_changed(start, Learned({"net": net}).start["net"])["signs_changed"] == 0


def test_steps_are_counted_by_optimiser() -> None:
    weight, other = torch.ones(1, requires_grad=True), torch.ones(1, requires_grad=True)
    weights, alpha = SGD([weight], 0.1), SGD([other], 0.1)
    watched = Learned({"w": weights, "alpha": alpha, "rng": np.random.default_rng(0)})
    for optimiser in (weights, alpha, weights):
        optimiser.step()
    assert watched.steps == {"w": 2, "alpha": 1}


def test_drawn_architectures_are_tried_with_inherited_weights() -> None:
    space, net = find("space", "darts-binary").make({}), supernet()
    dataset = load("digits", image=8, device="cpu", folder=Path())
    seen = task(dataset, NetworkSpec((1, 8, 8), 10, 3, 4), BUDGET, np.random.default_rng(0))
    drawn = {space.sample(np.random.default_rng(k)): 90.0 + k for k in range(3)}
    watched = Learned({"net": net})
    (arch, *_) = drawn
    fields = watched.fields(space, arch, seen, drawn)
    assert fields["drawn_test_accuracies"] == [90, 91, 92]
    found = fields["supernets"]["net"]
    assert found["drawn_valid_accuracies"][0] == found["path_valid_accuracy"]
    assert found["drawn_valid_accuracies"] == [
        round(100 * accuracy(net, seen.valid, 64, space.path(one)), 6) for one in drawn
    ]
    plain = watched.fields(space, arch, seen)
    assert "drawn_test_accuracies" not in plain
    assert "drawn_valid_accuracies" not in plain["supernets"]["net"]


def test_the_bound_is_clopper_and_pearsons() -> None:
    assert at_least(0, 50) == 0
    assert at_least(50, 50) == pytest.approx(0.01 ** (1 / 50))
    # P(X >= 12 | n = 56, p = bound) is one per cent, counted out here.
    from math import comb

    bound = at_least(12, 56)
    tail = sum(comb(56, k) * bound**k * (1 - bound) ** (56 - k) for k in range(12, 57))
    assert tail == pytest.approx(0.01, rel=1e-6)


def test_undecided_is_one_where_all_options_are_alike_and_zero_at_a_choice() -> None:
    alike, chosen = torch.full((4,), 0.25), torch.eye(3)[1]
    assert undecided([alike, torch.full((8,), 0.125)]) == pytest.approx(1)
    assert undecided([chosen, torch.ones(1)]) == 0
    assert undecided([alike, chosen]) == pytest.approx(0.5)
