"""Scores of a planted task that are computed, as a table would answer, in place of trainings."""

from __future__ import annotations

from dataclasses import dataclass

from bnas_bench.core.architecture import Architecture
from bnas_bench.core.seeds import generator
from bnas_bench.plugins.checks.planted_tasks import CLASSES, IMAGES, Planted
from bnas_bench.search.meter import Meter


@dataclass(frozen=True)
class ByConstruction:
    """Answers `Task.score` by the task's closed form, and charges what the training would have cost.

    A network begins at chance and learns half of what it has not learned yet in every `Planted.half` epochs.
    It is validated on as many images as there are: how often it is lucky with them is drawn once for an
    architecture, so that it is as lucky after a longer training.

    Args:
        seed: of the trial; another one has other luck.
    """

    planted: Planted
    half: float
    seed: int
    meter: Meter

    longest = None

    def passes(self, epochs: int) -> float:
        return IMAGES * (epochs + 1 / 3)

    def __call__(self, arch: Architecture, epochs: int) -> float:
        self.meter.spend(self.passes(epochs))
        chance = 1 / len(CLASSES)
        learned = 1 - 0.5 ** (epochs / self.half)
        accuracy = chance + learned * (self.planted.accuracy_of(arch) - chance)
        luck = generator(self.seed, "planted", self.planted.space.name, "score", arch.id)
        return float((luck.random(IMAGES) < accuracy).mean())
