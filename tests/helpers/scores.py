"""A task whose scores are a function of the architecture: what a search asks for is written down."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from bnas_bench.core.architecture import Architecture
from bnas_bench.core.budget import Budget, Scale
from bnas_bench.data.datasets import Task, load, task
from bnas_bench.plugins.registry import find
from bnas_bench.search.meter import Meter
from bnas_bench.search.space import SearchSpace

EPOCH = 3
"""Passes of an epoch; a validation takes none."""


def true_score(arch: Architecture, epochs: int) -> float:
    """The share of 3x3 convolutions, less early on; a bit of the id, so that few scores are equal."""
    share = [*arch.choices.values()].count("nor_conv_3x3") / 6
    return 0.5 * share + 0.3 * (1 - 1 / (1 + epochs)) + 0.1 * int(arch.id[:4], 16) / 16**4


@dataclass(frozen=True)
class Asked:
    """Answers `Task.score` by `true_score`."""

    meter: Meter
    longest: int | None = None
    calls: list[tuple[Architecture, int]] = field(default_factory=list)

    def passes(self, epochs: int) -> float:
        return EPOCH * epochs

    def __call__(self, arch: Architecture, epochs: int) -> float:
        self.meter.spend(self.passes(epochs))
        self.calls.append((arch, epochs))
        return true_score(arch, epochs)


def asked_task(meter: Meter) -> tuple[SearchSpace, Task, Asked]:
    """The space bnas-201, a task that answers so, and what it was asked."""
    asked = Asked(meter)
    return (space := _space()), replace(_task(space), scorer=asked), asked


@cache
def _space() -> Any:
    return find("space", "bnas-201").make({})


@cache
def _task(space: SearchSpace) -> Task:
    digits = load("digits", image=8, device="cpu", folder=Path())
    spec = space.spec(
        Scale(cells=5, channels=4, image=8), digits.shape, digits.classes, final=False
    )
    budget = Budget("test", 900, 16, search_fraction=0.05, valid_fraction=0.02)
    return task(digits, spec, budget, np.random.default_rng(0))
