"""Whether a method searches: it finds planted optima more often than chance does.

A search that works in every respect but that its scores say nothing passes the rest of the battery.
Here it fails: what it finds are draws. A method searches each task of `TASKS` that its idea covers, in
as many trials as there are `SEEDS`, each on images of its own; the share of decisions at their planted
option is held against that of architectures drawn at random, which cost no budget at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

import numpy as np

from bnas_bench.core.architecture import Architecture
from bnas_bench.core.seeds import generator
from bnas_bench.plugins.checks.contract import require
from bnas_bench.plugins.checks.planted_tasks import TASKS, Planted
from bnas_bench.plugins.registry import Plugin
from bnas_bench.search.meter import Meter
from bnas_bench.search.scores import scored_by_training

SEEDS = range(10)
PASSES = 10_000
"""Of a search: some two seconds of one core."""

DRAWS, RESAMPLES = 1_000, 9_999
LEVEL = 0.01
"""What the chance that draws are as good is to stay below."""

WITH_COST = ("bars", "nasbnn")
"""Methods whose search is told what a network may cost."""

BASELINE = "random"
COMPARED = "random search at the same budget, to compare with; the check asks for more than draws"


def left_out(method: str, task: str) -> str | None:
    """Why a task is none that a method's idea covers; None where it is one."""
    if task == "cost" and method not in WITH_COST:
        return "its search knows no cost"
    if task == "reach" and method == "nasbnn":
        return "its teacher is the largest network, and here none sees more than a third"
    return COMPARED if method == BASELINE else None


def told(method: str, planted: Planted) -> dict[str, Any]:
    """The hyperparameters by which a method is told what a task's networks may cost."""
    if method == "bars":
        return {"target": planted.limit / planted.ops(planted.space.largest())}
    if method == "nasbnn" and planted.limited:
        return {"high": (planted.limit + 0.5) / 1e6}  # half an operation, for the rounding
    return {}


@cache
def drawn(task: str) -> list[float]:
    """Shares of decisions at their planted option, of draws from the architectures that a task allows."""
    planted, rng = TASKS[task], generator(0, "planted", task, "draws")
    shares: list[float] = []
    while len(shares) < DRAWS:
        arch = planted.space.sample(rng)
        if not planted.limited or planted.ops(arch) <= planted.limit:
            shares.append(planted.space.share(arch))
    return shares


@dataclass(frozen=True)
class Trials:
    """A method's searches of a task, one for every seed."""

    method: Plugin
    name: str
    seeds: Iterable[int] = field(default=SEEDS)

    @property
    def planted(self) -> Planted:
        return TASKS[self.name]

    def search(self, seed: int) -> Architecture:
        """What the method finds with its defaults."""
        planted = self.planted
        method = self.method.make(told(self.method.name, planted))
        with Meter(PASSES) as meter:
            rng = generator(seed, "planted", self.name, "search")
            task = scored_by_training(planted.task(seed), planted.space, seed, "planted", self.name)
            found = method.search(planted.space, task, meter, rng).best
        planted.space.check(found)
        return found

    @cached_property
    def shares(self) -> list[float]:
        """Of the decisions, at their planted option, one number for every seed."""
        return [self.planted.space.share(self.search(seed)) for seed in self.seeds]

    @cached_property
    def p(self) -> float:
        """The chance that so many draws reach the mean share of what was found."""
        return self.chance(drawn(self.name))

    def chance(self, others: Sequence[float]) -> float:
        """The chance that other shares are no worse than these: a permutation test of their means."""
        from scipy.stats import permutation_test

        test = permutation_test(
            (self.shares, others),
            lambda x, y, axis: np.mean(x, axis=axis) - np.mean(y, axis=axis),
            n_resamples=RESAMPLES,
            alternative="greater",
            rng=generator(0, "planted", self.name, "permutations"),
        )
        return float(test.pvalue)


def check_planted(trials: Trials) -> None:
    """Searches find more of a planted optimum than draws do."""
    require(
        trials.p < LEVEL,
        f"of the decisions of {trials.planted.space.name} searches take {np.mean(trials.shares):.0%} "
        f"as planted and draws {np.mean(drawn(trials.name)):.0%} (p = {trials.p:.2g}); "
        "see whether its supernet learns, and whether its scores say anything",
    )


def planted_trials(method: Plugin) -> Iterator[Trials]:
    """Of the tasks that the method's idea covers."""
    for task in TASKS:
        if left_out(method.name, task) is None:
            yield Trials(method, task)
