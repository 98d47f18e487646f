"""Small tasks whose best architecture is known by construction. Not from a paper.

Every channel of an image that tells anything shows the image's class with a probability of its own,
and else noise: one channel more that a network sees is one chance more, whatever the others are. The
class is a texture, how a pixel's sign goes on along the rows and the columns; a single pixel's sign is
even, so that only a convolution can tell. An architecture's accuracy, if its network learns all there
is, is known in closed form (`accuracy_of`). Where a task has `half`, that form answers who asks for scores
(`planted_scores.py`), so that hundreds of trainings cost nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
import torch

from bnas_bench.core.architecture import Architecture, Option
from bnas_bench.core.budget import NetworkSpec, Scale
from bnas_bench.core.seeds import generator
from bnas_bench.data.datasets import Task
from bnas_bench.data.images import PLAIN, TensorImages
from bnas_bench.plugins.checks.planted_networks import Look
from bnas_bench.plugins.checks.planted_space import PlantedSpace

CLASSES = ((1, -1), (-1, 1), (-1, -1))
"""The factors by which a texture's sign changes from column to column and from row to row."""

PARTS = 6
IMAGES = 256
"""That train, where a task has no more of them, and that validate."""

BATCH = 16
WIDTH = 4


@dataclass(frozen=True)
class Channel:
    """What a channel of the images shows.

    Attributes:
        shown: the probability that it shows the class.
        distance: pixels at which the texture goes on; within them all signs are drawn.
        magnitude: whether the texture lies in the pixels' magnitudes, and all are positive.
    """

    shown: float = 0.0
    distance: int = 1
    magnitude: bool = False

    def draw(self, labels_N: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
        """The channel of images of these classes: bytes, shape (N, side, side)."""
        images = len(labels_N)
        step, at = np.divmod(np.arange(side), self.distance)
        along_N2 = np.array(CLASSES)[labels_N]
        columns, rows = (along_N2[:, k, None] ** (step % 2) for k in (0, 1))
        base = rng.choice((-1, 1), (images, self.distance, self.distance))
        texture = base[:, at][:, :, at] * rows[:, :, None] * columns[:, None, :]
        noise = rng.choice((-1, 1), texture.shape)
        shown_N = rng.random(images) < self.shown
        signs = np.where(shown_N[:, None, None], texture, noise)
        low = 160 if self.magnitude else 0
        return np.where(signs > 0, 255, low).astype(np.uint8)


@dataclass(frozen=True)
class Planted:
    """A task and its space.

    Attributes:
        channels: of its images.
        side: of its images, in pixels.
        limited: whether no network may cost more than what is planted.
        passes: the budget of a search.
        images: that train.
        half: epochs in which a network learns half of what it has not learned yet, where scores are
            computed; None where networks are trained.
    """

    space: PlantedSpace
    channels: tuple[Channel, ...]
    side: int = 8
    limited: bool = False
    passes: int = 10_000
    images: int = IMAGES
    half: float | None = None

    @property
    def spec(self) -> NetworkSpec:
        shape = (len(self.channels), self.side, self.side)
        return self.space.spec(Scale(channels=WIDTH), shape, len(CLASSES), final=False)

    def ops(self, arch: Architecture) -> float:
        return self.space.ops(self.spec).of(self.space.path(arch))

    @property
    def limit(self) -> float:
        """The OPs that a network may cost."""
        return self.ops(self.space.best if self.limited else self.space.largest())

    def draw(self, rng: np.random.Generator) -> Architecture:
        """A random architecture among those that meet the limit."""
        while True:
            arch = self.space.sample(rng)
            if not self.limited or self.ops(arch) <= self.limit:
                return arch

    def task(self, seed: int) -> Task:
        """Images of its own for every seed."""
        parts = {"train": self.images, "valid": IMAGES}
        train, valid = (self._images(seed, part, count) for part, count in parts.items())
        spec = self.spec
        device = torch.device("cpu")
        return Task(train, valid, spec.classes, spec.shape, spec, BATCH, device, PLAIN)

    def _images(self, seed: int, part: str, count: int) -> TensorImages:
        rng = generator(seed, "planted", self.space.name, part)
        labels_N = rng.permutation(np.arange(count) % len(CLASSES))
        pixels = np.stack(
            [channel.draw(labels_N, self.side, rng) for channel in self.channels], axis=1
        )
        return TensorImages(torch.from_numpy(pixels), labels_N, torch.device("cpu"))

    def accuracy_of(self, arch: Architecture, *, real: bool = False) -> float:
        """The accuracy of a network that has learned all that it can be shown, from 0 to 1.

        Args:
            real: of a real-valued network, which sees magnitudes as well.
        """
        unseen = prod(
            1 - self._shown(part, arch.choices[decision.name], real)
            for part, decision in enumerate(self.space.decisions)
        )
        unseen *= 1 - self.channels[self.space.given.channels[0]].shown
        return 1 - unseen * (1 - 1 / len(CLASSES))

    def _shown(self, part: int, option: Option, real: bool) -> float:
        """The probability with which a decision's option shows what nothing else does."""
        look = self.space.options[str(option)]
        if look is None or look.channels[part] == self.space.given.channels[0]:
            return 0.0
        channel = self.channels[look.channels[part]]
        visible = look.dilation == channel.distance and (real or not channel.magnitude)
        return channel.shown if visible else 0.0


SHOWN = 0.3
"""By a channel, to a network that can see it."""

OWN = tuple(range(PARTS))
"""The channels of the decisions, whose signs may show the class."""

GIVEN, NOISE = PARTS, PARTS + 1
"""The channels that every network sees, and that shows nothing."""

CHANNELS = (*(Channel(SHOWN),) * (PARTS + 1), Channel())
DISTANCES = (3, 3, 4, 4, 5, 5)


def _at(channel: int) -> Look:
    return Look((channel,) * PARTS)


def _space(name: str, options: Mapping[str, Look | None], planted: tuple[str, ...]) -> PlantedSpace:
    return PlantedSpace(
        name=f"planted-{name}", options=options, planted=planted, given=Look((GIVEN,))
    )


def _destroys(name: str, parts: int) -> PlantedSpace:
    """One option computes; the others look at what every network sees, at noise, at nothing."""
    own, given, noise = tuple(range(parts)), (parts,), (parts + 1,)
    options = {
        "computes": Look(own),
        "repeats": Look(given * parts),
        "noise": Look(noise * parts),
        "zero": None,
    }
    return PlantedSpace(
        name=f"planted-{name}",
        options=options,
        planted=("computes",) * parts,
        given=Look(given),
    )


def _costs(name: str) -> PlantedSpace:
    """Two kernels see the same, the others noise or nothing."""
    options = {"3x3": Look(OWN), "5x5": Look(OWN, 5), "noise": _at(NOISE), "zero": None}
    return _space(name, options, ("3x3",) * PARTS)


def _adding(name: str, shown: float, half: float, passes: int) -> Planted:
    """Twelve decisions, and scores that are computed."""
    channels = (*(Channel(shown),) * (MANY + 1), Channel())
    return Planted(_destroys(name, MANY), channels, half=half, passes=passes)


MANY = 12
"""Decisions of the tasks whose scores are computed."""

TASKS = {
    "destroys": Planted(_destroys("destroys", PARTS), CHANNELS),
    "reach": Planted(
        _space(
            "reach",
            {f"dilated_{d}": Look(OWN, dilation=d) for d in sorted({*DISTANCES})},
            tuple(f"dilated_{d}" for d in DISTANCES),
        ),
        (*(Channel(SHOWN, d) for d in DISTANCES), Channel(SHOWN)),
        side=12,
    ),
    "cost": Planted(_costs("cost"), CHANNELS, limited=True),
    "child": Planted(
        _space(
            "child",
            {
                "signs": Look(OWN),
                "magnitudes": Look(tuple(range(NOISE + 1, NOISE + 1 + PARTS))),
                "noise": _at(NOISE),
                "zero": None,
            },
            ("signs",) * PARTS,
        ),
        (*CHANNELS, *(Channel(2 * SHOWN, magnitude=True),) * PARTS),
    ),
    "longer": Planted(_destroys("longer", PARTS), CHANNELS, passes=60_000),
    "afford": Planted(_costs("afford"), CHANNELS, limited=True, passes=100_000, images=10 * IMAGES),
    "distinct": Planted(
        _space(
            "distinct",
            {"computes": Look(OWN), "repeats": _at(GIVEN), "zero": None},
            ("computes",) * PARTS,
        ),
        CHANNELS,
    ),
    "few": _adding("few", 0.15, 1, 40_000),
    "climb": _adding("climb", 0.15, 1, 250_000),
    "halve": _adding("halve", 0.3, 3, 1_000_000),
}
"""By name:

destroys: one option computes; the others look at what every network sees, at noise, at nothing.
reach: a texture that only one dilation sees, whatever the filters: the pixels under the others' are
    drawn one by one. Each dilation is right in as many decisions: neither the widest always is.
cost: two kernels see the same, and only the smaller one everywhere meets the limit of OPs.
child: one option shows the class twice as often as another, in magnitudes, which sign loses: it is best for
    a real-valued network and shows nothing at 1 bit.
longer: `destroys` with six times its passes.
afford: `cost` with ten times its passes, and ten times the images that train: a training takes as large a
    part of the passes, and the evaluation of inherited weights a tenth of what it did.
distinct: one option computes, the others repeat or see nothing: what shows most that differs is best.
few: 16.8 million architectures, twelve decisions that add up, and scores of 36 trainings of four epochs.
climb: the same with 225 of them.
halve: a training of one epoch tells bad from good, and only a long one good from best.
"""
