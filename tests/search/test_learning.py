"""The pieces that searches share: batch norm's recalibration, and the division of a budget."""

from __future__ import annotations

from dataclasses import replace
from math import ceil

import numpy as np
import pytest
import torch
from torch import nn

from bnas_bench.core.budget import NetworkSpec
from bnas_bench.core.errors import BudgetExceeded
from bnas_bench.data.datasets import PLAIN, Task, TensorImages
from bnas_bench.nn.binary import BinaryConv2d, Precision
from bnas_bench.nn.network import Network
from bnas_bench.search.learning import (
    ByAdam,
    BySGD,
    Division,
    descend,
    divide,
    evenly,
    recalibrate,
    set_lr,
    stretch,
    top_accuracies,
)
from bnas_bench.search.meter import Meter

CPU = torch.device("cpu")


def images(count: int) -> TensorImages:
    rng = np.random.default_rng(0)
    pixels = torch.from_numpy(rng.integers(256, size=(count, 2, 3, 3), dtype=np.uint8))
    return TensorImages(pixels, rng.integers(2, size=count), CPU)


class Normed(Network):
    """Batch norm, dropout, batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.drop, self.second = nn.BatchNorm2d(2), nn.Dropout(0.9), nn.BatchNorm2d(2)
        self.head = nn.Flatten()

    def features(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.drop(self.first(x)))


class Listed(Network):
    """Logits that are given, image by image."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits, self.at = logits, 0
        self.head = nn.Identity()

    def features(self, x: torch.Tensor) -> torch.Tensor:
        self.at += len(x)
        return self.logits[self.at - len(x) : self.at]


def test_top_accuracies_count_the_ranks_of_the_classes() -> None:
    given = images(7)
    logits = torch.from_numpy(np.random.default_rng(1).normal(size=(7, 4)))
    ranks = [int((row > row[label]).sum()) for row, label in zip(logits, given.labels, strict=True)]
    expected = [sum(rank < k for rank in ranks) / 7 for k in (1, 2, 4)]
    assert 0 < expected[0] < expected[1] < 1
    assert top_accuracies(Listed(logits), given, 3, (1, 2, 9)) == pytest.approx(expected)


def test_recalibrated_statistics_are_the_mean_over_the_batches() -> None:
    network = Normed()
    with torch.no_grad():
        network.first.weight.copy_(torch.tensor([2.0, -1.0]))
        network.first.bias.copy_(torch.tensor([0.5, 3.0]))
        network.first.running_mean.fill_(7.0)  # of other weights, and forgotten
    network.train()
    with (meter := Meter(None)):
        recalibrate(network, images(22), 5, 3, np.random.default_rng(4))
    assert meter.spent == 15 / 3

    batches = images(22).batches(5, np.random.default_rng(4), drop_last=True)
    x_KBCHW = np.stack([x.numpy() for x, _ in batches])[:3].astype(np.float64)
    mean, var = x_KBCHW.mean((1, 3, 4)), x_KBCHW.var((1, 3, 4))
    unbiased = x_KBCHW.transpose(0, 2, 1, 3, 4).reshape(3, 2, -1).var(2, ddof=1)
    np.testing.assert_allclose(network.first.running_mean.numpy(), mean.mean(0), atol=1e-6)
    np.testing.assert_allclose(network.first.running_var.numpy(), unbiased.mean(0), rtol=1e-5)

    # The second sees the first with the batch's own statistics, and no dropout.
    normed = (x_KBCHW - mean[:, None, :, None, None]) / np.sqrt(var + 1e-5)[:, None, :, None, None]
    y_KBCHW = normed * np.array([2.0, -1.0])[:, None, None] + np.array([0.5, 3.0])[:, None, None]
    np.testing.assert_allclose(
        network.second.running_mean.numpy(), y_KBCHW.mean((1, 3, 4)).mean(0), atol=1e-5
    )
    spread = y_KBCHW.transpose(0, 2, 1, 3, 4).reshape(3, 2, -1).var(2, ddof=1).mean(0)
    np.testing.assert_allclose(network.second.running_var.numpy(), spread, rtol=1e-5)

    assert not any(module.training for module in network.modules())
    assert network.first.momentum == network.second.momentum == 0.1
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_recalibration_reads_no_image_twice() -> None:
    with (meter := Meter(None)):
        recalibrate(Normed(), images(22), 5, 100, np.random.default_rng(4))
    assert meter.spent == pytest.approx(20 / 3)


def some_task(train: int, batch_size: int) -> Task:
    spec = NetworkSpec((2, 3, 3), 2, 1, 1)
    return Task(images(train), images(4), 2, (2, 3, 3), spec, batch_size, CPU, PLAIN)


@pytest.mark.parametrize("passes", [40, 100, 900, 2500, 20_001, 300_000])
@pytest.mark.parametrize("share", [0.5, 0.75, 0.917])
@pytest.mark.parametrize(("step", "evaluation"), [(96, 94), (192, 189), (24, 300), (300, 7)])
def test_a_division_fits_the_budget(passes: int, share: float, step: int, evaluation: int) -> None:
    seen = some_task(40, 8)
    asked = {"step": step, "evaluation": evaluation, "share": share, "protocol": (1, 1)}
    try:
        plan = divide(passes, seen, fewest=3, **asked)  # type: ignore[arg-type]
    except BudgetExceeded:
        assert 3 * passes < 2 * max(step, evaluation)
        return
    training, evaluating = plan.steps * step, plan.together * evaluation
    assert plan.trainings >= 1
    assert 1 <= plan.steps <= 5
    assert plan.evaluations >= plan.together >= 1
    # The meter begins an epoch only if one as dear as the dearest so far fits.
    dearest = max(training, evaluating)
    assert plan.epochs * dearest <= 3 * passes < (plan.epochs + 1) * dearest
    if plan.trainings > 1:
        assert plan.evaluations >= 3
    if plan.epochs >= 40:
        spent = plan.trainings * dearest
        assert spent / (3 * passes) == pytest.approx(share, abs=0.05)


def test_without_a_budget_the_protocol_is_divided() -> None:
    plan = divide(
        None, some_task(40, 8), step=100, evaluation=150, share=0.5, fewest=3, protocol=(7, 10)
    )
    assert plan == Division(trainings=7, steps=5, evaluations=10, together=3)
    assert plan.epochs == 7 + ceil(10 / 3)


def test_a_batch_of_all_images_is_a_step() -> None:
    few = replace(some_task(5, 8))
    plan = divide(100, few, step=60, evaluation=9, share=0.5, fewest=1, protocol=(1, 1))
    assert plan.steps == 1


class OneBit(Network):
    """A real-valued and a 1-bit convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 2, 1, bias=False)
        self.conv = BinaryConv2d(2, 2, 1, scale="none")
        self.head = nn.Flatten()


@pytest.mark.parametrize(("how", "asked", "factor"), [(BySGD(), 50, 50), (ByAdam(lr=0.01), 50, 10)])
def test_only_the_latent_weights_of_1_bit_layers_take_longer_steps(how, asked, factor) -> None:
    """Adam's, which are about as long as its rate, up to a tenth of the estimator's clip."""
    net = OneBit()
    optimiser = how.optimiser(net)
    stretch(optimiser, asked)
    set_lr(optimiser, 0.001)
    rates = {id(w): g["lr"] for g in optimiser.param_groups for w in g["params"]}
    assert rates[id(net.stem.weight)] == 0.001
    assert rates[id(net.conv.weight)] == pytest.approx(0.001 * factor)
    assert len(rates) == len(list(net.parameters()))


def test_steps_are_never_shortened_and_a_real_valued_twin_has_no_latent_weights() -> None:
    net = OneBit()
    optimiser = BySGD().optimiser(net)
    stretch(optimiser, 0.2)
    set_lr(optimiser, 0.3)
    assert {group["lr"] for group in optimiser.param_groups} == {0.3}
    net.precision = Precision.W32A32
    real = BySGD().optimiser(net)
    stretch(real, 50)
    set_lr(real, 0.3)
    assert [group["lr"] for group in real.param_groups] == [0.3]


def test_a_stretch_is_kept_with_the_optimiser() -> None:
    optimiser, fresh = (BySGD().optimiser(OneBit()) for _ in range(2))
    stretch(optimiser, 8)
    fresh.load_state_dict(optimiser.state_dict())
    set_lr(fresh, 1.0)
    assert sorted(group["lr"] for group in fresh.param_groups) == [1.0, 8.0]


def test_evenly_leaves_nothing_over_and_the_longer_parts_come_last() -> None:
    assert evenly(10, 4) == [2, 2, 3, 3]
    assert evenly(3, 3) == [1, 1, 1]


@pytest.mark.parametrize(
    ("per", "expected"), [("sum", 4 + 7 + 9), ("filter", 4 / 4 + 7 / 4 + 9), ("weight", 20 / 9)]
)
def test_reconstruction_errors_are_summed_or_averaged(per: str, expected: float) -> None:
    """Squared errors (1, 1, 1, 1) and (1, 1, 1, 4) of two filters of a layer, 9 of another layer's one."""
    net = Network()
    net.first = BinaryConv2d(1, 2, 2, scale="none")
    net.second = BinaryConv2d(1, 1, 1, scale="none")
    with torch.no_grad():
        net.first.weight.copy_(torch.tensor([2.0, -2, 0, 0, 2, 2, -2, 3.0]).view(2, 1, 2, 2))
        net.second.weight.fill_(-4.0)
    assert net.reconstruction_error(per).item() == pytest.approx(expected)


@pytest.mark.parametrize("how", [BySGD(lr=0.1, weight_decay=0.1), ByAdam(lr=0.1, weight_decay=0.1)])
def test_what_a_path_leaves_out_rests(how) -> None:
    """A bundle moves as its operations would by themselves, each only when a path runs it."""
    bundle, alone = nn.Linear(3, 4, bias=False), nn.ModuleList(nn.Linear(3, 2) for _ in range(2))
    for k, part in enumerate(alone):
        part.bias = None
        part.weight.data.copy_(bundle.weight[2 * k : 2 * k + 2])
    optimisers = [how.optimiser(bundle), *map(how.optimiser, alone)]
    for step, k in enumerate((0, 0, 1, 0, 1)):
        x = torch.from_numpy(np.random.default_rng(step).normal(size=(5, 3))).float()
        rows = slice(2 * k, 2 * k + 2)
        before = bundle.weight.detach().clone()
        descend(bundle, optimisers[0], bundle(x)[:, rows].square().sum(), None, path=True)
        descend(alone[k], optimisers[1 + k], alone[k](x).square().sum(), None)
        moved = (bundle.weight.detach() != before).all(1)
        assert moved.tolist() == [row // 2 == k for row in range(4)]
        if (
            isinstance(how, BySGD) or step < 2
        ):  # Adam counts the steps of a bundle, not of its parts
            torch.testing.assert_close(bundle.weight.detach()[rows], alone[k].weight.detach())
