"""Whether a method searches: it finds planted optima more often than random search does at the same budget.

A search that works in every respect but that its scores say nothing passes the rest of the battery.
Here it fails: what it finds are draws. A method searches each task that its idea covers
(`planted_ideas.py`), in as many trials as there are `SEEDS`, each on images of its own; the share of
decisions at their planted option is held against what random search finds with as many passes, and
random search against architectures drawn at random, which cost no budget at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import Any

import numpy as np

from bnas_bench.core.architecture import Architecture
from bnas_bench.core.errors import BenchError
from bnas_bench.core.seeds import generator
from bnas_bench.data.datasets import Task
from bnas_bench.plugins.checks.contract import require
from bnas_bench.plugins.checks.planted_ideas import BASELINE, COVERS, left_out
from bnas_bench.plugins.checks.planted_scores import ByConstruction
from bnas_bench.plugins.checks.planted_space import PlantedSpace
from bnas_bench.plugins.checks.planted_tasks import TASKS, Planted
from bnas_bench.plugins.registry import Plugin, find
from bnas_bench.search.meter import Meter
from bnas_bench.search.scores import scored_by_training

SEEDS = range(10)
DRAWS, RESAMPLES = 1_000, 9_999
LEVEL = 0.01
"""What the chance that random search is as good is to stay below."""


def told(method: str, planted: Planted) -> dict[str, Any]:
    """The hyperparameters by which a method is told what a task's networks may cost, or to ask for scores."""
    if method == "bars":
        return {"target": planted.limit / planted.ops(planted.space.largest())}
    if method == "nasbnn" and planted.limited:
        return {"high": (planted.limit + 0.5) / 1e6}  # half an operation, for the rounding
    if method == "evolution" and planted.half:
        return {"score": "training"}
    return {}


class Within(PlantedSpace):
    """A task's space, whose draws meet its limit: random search is told so."""

    def __init__(self, planted: Planted) -> None:
        self.__dict__.update(planted.space.__dict__)
        self.sample = planted.draw  # type: ignore[method-assign]


@cache
def drawn(task: str) -> list[float]:
    """Shares of decisions at their planted option, of draws from the architectures that a task allows."""
    planted, rng = TASKS[task], generator(0, "planted", task, "draws")
    return [planted.space.share(planted.draw(rng)) for _ in range(DRAWS)]


@cache
def found_by_random(task: str) -> list[float]:
    """The same of what random search finds, one for every seed."""
    return Trials(find("method", BASELINE), task).shares


@dataclass(frozen=True)
class Trials:
    """A method's searches of a task, one for every seed.

    Attributes:
        left_out: why the method's idea does not cover the task.
    """

    method: Plugin
    name: str
    seeds: Iterable[int] = field(default=SEEDS)
    left_out: str | None = None

    @property
    def planted(self) -> Planted:
        return TASKS[self.name]

    @property
    def others(self) -> tuple[str, Sequence[float]]:
        """What the shares are held against, in words and in numbers."""
        if self.method.name == BASELINE:
            return "draws", drawn(self.name)
        return "random search at the same budget", found_by_random(self.name)

    def task(self, seed: int, meter: Meter) -> Task:
        planted = self.planted
        task = planted.task(seed)
        if planted.half is None:
            return scored_by_training(task, planted.space, seed, "planted", self.name)
        return replace(task, scorer=ByConstruction(planted, planted.half, seed, meter))

    def search(self, seed: int) -> Architecture:
        """What the method finds with its defaults."""
        planted = self.planted
        space = Within(planted) if self.method.name == BASELINE else planted.space
        method = self.method.make(told(self.method.name, planted))
        with Meter(planted.passes) as meter:
            rng = generator(seed, "planted", self.name, "search")
            found = method.search(space, self.task(seed, meter), meter, rng).best
        space.check(found)
        return found

    @cached_property
    def shares(self) -> list[float]:
        """Of the decisions, at their planted option, one number for every seed."""
        return [self.planted.space.share(self.search(seed)) for seed in self.seeds]

    @cached_property
    def p(self) -> float:
        """The chance that the others' shares are as good: a permutation test of the means."""
        from scipy.stats import permutation_test

        test = permutation_test(
            (self.shares, self.others[1]),
            lambda x, y, axis: np.mean(x, axis=axis) - np.mean(y, axis=axis),
            n_resamples=RESAMPLES,
            alternative="greater",
            rng=generator(0, "planted", self.name, "permutations"),
        )
        return float(test.pvalue)


def check_planted(trials: Trials) -> None:
    """Searches find more of a planted optimum than random search does at the same budget."""
    others, shares = trials.others
    require(
        trials.p < LEVEL,
        f"of the decisions of {trials.planted.space.name} searches take {np.mean(trials.shares):.0%} "
        f"as planted and {others} {np.mean(shares):.0%} (p = {trials.p:.2g}); "
        "see whether its supernet learns, and whether its scores say anything",
    )


def asks(method: Plugin) -> bool:
    """Whether a search asks for scores: a short one is watched."""
    planted, asked = replace(TASKS["climb"], passes=2_000), []

    class Watched(ByConstruction):
        def __call__(self, arch: Architecture, epochs: int) -> float:
            asked.append(arch)
            return super().__call__(arch, epochs)

    with Meter(planted.passes) as meter:
        scorer = Watched(planted, 1.0, 0, meter)
        task = replace(planted.task(0), scorer=scorer)
        with suppress(BenchError):  # which the trials tell
            method.make({}).search(planted.space, task, meter, generator(0, "planted", "asks"))
    return bool(asked)


def planted_trials(method: Plugin) -> Iterator[Trials]:
    """Of every task, also of those that the method's idea does not cover."""
    by_scores = method.name not in COVERS and asks(method)
    for task in TASKS:
        yield Trials(method, task, left_out=left_out(method.name, task, by_scores=by_scores))
