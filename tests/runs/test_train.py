"""Training: the recipe, against a loop written independently; resumed, bit for bit."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bnas_bench.core.budget import Recipe
from bnas_bench.core.errors import Diverged
from bnas_bench.data.datasets import Augment, Dataset, TensorImages
from bnas_bench.nn.binary import BinaryConv2d
from bnas_bench.nn.network import Network
from bnas_bench.runs.train import error_of, loss, train
from bnas_bench.search.checkpoint import Checkpoint

pytestmark = pytest.mark.usefixtures("one_thread")

RECIPE = Recipe(epochs=4, batch_size=16, lr=0.02, weight_decay=0.01, clip=0.5, label_smoothing=0.1)


def images(number: int, seed: int) -> TensorImages:
    rng = np.random.default_rng(seed)
    pixels = torch.from_numpy(rng.integers(256, size=(number, 1, 8, 8), dtype=np.uint8))
    return TensorImages(pixels, np.arange(number) % 3, torch.device("cpu"))


def dataset(number: int = 50) -> Dataset:
    return Dataset("noise", images(number, 0), images(9, 1), ("a", "b", "c"), flips=True)


class Small(Network):
    def __init__(self, auxiliary: bool = False) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.body = nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), BinaryConv2d(4, 4, 3), nn.BatchNorm2d(4)
        )
        self.body[2].weight.data *= 3  # away from zero, where rounding would decide signs
        self.head = nn.Linear(4, 3)
        self.auxiliary = nn.Linear(4, 3) if auxiliary else None

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.head(self.body(x_BCHW).mean((2, 3)))

    def both(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor | None]:
        if self.auxiliary is None:
            return super().both(x_BCHW)
        features = self.body(x_BCHW).mean((2, 3))
        return self.head(features), self.auxiliary(features)


class Mapped(Small):
    """With its maps as other networks have them."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))

    def features(self, x_BCHW: Tensor) -> Tensor:
        return self.body(x_BCHW)


def never(tmp_path: Path) -> Checkpoint:
    return Checkpoint(tmp_path / "never", share=0)


def weights(network: Network) -> dict[str, list[float]]:
    return {name: tensor.tolist() for name, tensor in network.state_dict().items()}


def rng() -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(5))


@pytest.mark.parametrize(("auxiliary", "by"), [(0.0, "adam"), (0.4, "adam"), (0.4, "sgd")])
def test_training_is_the_recipe_step_by_step(tmp_path: Path, auxiliary: float, by: str) -> None:
    recipe, data = replace(RECIPE, auxiliary=auxiliary, optimiser=by), dataset()
    network, twin = Small(auxiliary > 0), Small(auxiliary > 0)
    result = train(network, data, recipe, rng(), never(tmp_path))

    optimiser: torch.optim.Optimizer = (
        torch.optim.SGD(twin.parameters(), lr=0.02, momentum=0.9, weight_decay=0.01)
        if by == "sgd"
        else torch.optim.Adam(twin.parameters(), lr=0.02, betas=(0.9, 0.999), weight_decay=0.01)
    )
    draws = rng()
    losses: list[float] = []
    for epoch in range(4):
        losses.clear()
        augment = Augment(crop=1, flip=True, cutout=4)  # an eighth and half of 8 pixels
        for i, (x, y) in enumerate(data.train.batches(16, draws, augment, drop_last=True)):
            part = (epoch * 3 + i) / 12  # three batches of 16 out of 50 images
            optimiser.param_groups[0]["lr"] = 0.02 * 0.5 * (1 + math.cos(math.pi * part))
            optimiser.zero_grad()
            smooth = 0.9 * F.one_hot(y, 3) + 0.1 / 3
            error = -(smooth * F.log_softmax(twin.both(x)[0], 1)).sum(1).mean()
            if auxiliary:
                extra = twin.both(x)[1]
                assert extra is not None
                error = error - 0.4 * (smooth * F.log_softmax(extra, 1)).sum(1).mean()
            losses.append(error.item())
            error.backward()
            norm = torch.stack(
                [p.grad.norm() for p in twin.parameters() if p.grad is not None]
            ).norm()
            for p in twin.parameters():
                p.grad *= min(1.0, 0.5 / norm.item())
            optimiser.step()

    assert not network.training
    assert result.loss == pytest.approx(sum(losses) / 3, rel=1e-4)
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(parameter, twin.get_parameter(name), rtol=1e-3, atol=1e-5)
    assert [entry["epoch"] for entry in result.log] == [0, 1, 2, 3]
    assert [entry["passes"] for entry in result.log] == [48, 96, 144, 192]
    assert result.log[-1]["loss"] == result.loss


def test_no_clipping_and_no_smoothing_can_be_asked_for(tmp_path: Path) -> None:
    recipe = replace(RECIPE, clip=0.0, label_smoothing=0.0, epochs=1, batch_size=50, cutout=0.0)
    network, twin = Small(), Small()
    train(network, dataset(), recipe, rng(), never(tmp_path))
    optimiser = torch.optim.Adam(twin.parameters(), lr=0.02, weight_decay=0.01)
    for x, y in dataset().train.batches(50, rng(), Augment(crop=1, flip=True)):
        F.cross_entropy(twin(x), y).backward()
        optimiser.step()
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(parameter, twin.get_parameter(name))


@pytest.mark.parametrize("killed_after", [1, 2, 3])
def test_a_killed_training_goes_on_bit_for_bit(tmp_path: Path, killed_after: int) -> None:
    saves = 0

    class Killed(BaseException):
        pass

    class Mortal(Checkpoint):
        def save(self, *arguments: object, **_: object) -> None:
            super().save(*arguments, force=True)  # type: ignore[arg-type]
            nonlocal saves
            saves += 1
            if saves == killed_after:
                raise Killed

    whole = Small()
    expected = train(whole, dataset(), RECIPE, rng(), never(tmp_path))
    with pytest.raises(Killed):
        train(Small(), dataset(), RECIPE, rng(), Mortal(tmp_path / "train.ckpt"))
    resumed = Small()
    told: list[float] = []
    checkpoint = Checkpoint(tmp_path / "train.ckpt")
    result = train(resumed, dataset(), RECIPE, rng(), checkpoint, tell=told.append)
    assert weights(resumed) == weights(whole)
    assert [entry["loss"] for entry in result.log] == [entry["loss"] for entry in expected.log]
    assert told == [(3 * killed_after + i + 1) / 12 for i in range(12 - 3 * killed_after)]
    assert result.seconds > 0


def test_a_single_small_batch_is_trained_on(tmp_path: Path) -> None:
    result = train(Small(), dataset(10), RECIPE, rng(), never(tmp_path))
    assert [entry["passes"] for entry in result.log] == [10, 20, 30, 40]


def test_a_loss_that_is_no_number_stops_the_training(tmp_path: Path) -> None:
    network = Small()
    nn.init.constant_(network.head.bias, math.nan)
    with pytest.raises(Diverged, match=r"the training loss is nan in epoch 1 of 4; a smaller"):
        train(network, dataset(), RECIPE, rng(), never(tmp_path))


def test_the_auxiliary_loss_is_weighted_and_smoothed() -> None:
    logits = torch.tensor([[2.0, 0.0]])
    y = torch.tensor([0])
    main = math.log(1 + math.exp(-2))
    assert loss(logits, None, y, 0.0, 0.4).item() == pytest.approx(main)
    assert loss(logits, logits, y, 0.0, 0.4).item() == pytest.approx(1.4 * main)
    smooth = 0.9 * main + 0.1 * (main + 2)
    assert loss(logits, None, y, 0.2, 0.4).item() == pytest.approx(smooth)


def test_a_parent_adds_the_kernel_level_loss() -> None:
    """CP-NAS Eqs. (3) and (4), beside the labels."""
    x, y = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 3
    child, parent = Mapped(), Mapped()
    recipe = replace(RECIPE, teacher="parent")
    logits, maps = child.logits_and_features(x)
    w, beta = child.body[2].filters()
    filters = ((w - beta * w.sign()) ** 2).flatten(1).mean(1).sum()
    means = torch.stack([parent.features(x)[y == k].mean(0) for k in range(3)])[y]
    expected = loss(logits, None, y, 0.1, 0.0) + filters + 0.05 * ((maps - means) ** 2).mean()
    assert error_of(child, x, y, recipe, parent).item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_teachers_distribution_takes_the_place_of_the_labels() -> None:
    logits, teacher = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([[0.0, 3.0], [0.0, 0.0]])
    p, q = teacher.softmax(1), logits.softmax(1)
    kl = float((p * (p / q).log()).sum(1).mean())
    assert loss(logits, None, torch.tensor([0, 0]), 0.1, 0.0, teacher).item() == pytest.approx(kl)
    assert loss(teacher, None, torch.tensor([0, 0]), 0.1, 0.0, teacher).item() == pytest.approx(
        0, abs=1e-6
    )
