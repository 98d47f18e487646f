"""A search that takes seconds: one method on one space, on some of the digits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from bnas_bench.checkpoint import Checkpoint
from bnas_bench.checks.contract import TINY
from bnas_bench.core import Budget, SearchResult, SearchSpace, SearchStrategy
from bnas_bench.data import Dataset, Task, load, task
from bnas_bench.errors import BudgetExceeded
from bnas_bench.meter import Meter
from bnas_bench.nn.network import Counted
from bnas_bench.registry import Plugin
from bnas_bench.seeds import generator

BUDGET = Budget(
    "check", passes=None, batch_size=32, search_fraction=0.025, valid_fraction=0.01, search=TINY
)
PASSES = (300, 600, 900, 2_700)
"""A method is tried with the fewest that it does not call too few for it."""


class Killed(BaseException):
    """Stands in for a kill: no Exception, so that a method does not catch it by accident."""


@dataclass(frozen=True)
class Outcome:
    """What a search left behind.

    Attributes:
        log: the anytime log without its seconds.
        spent: passes.
        forwards: how often a network ran.
        task_changed: whether the task's images or labels were altered.
    """

    result: SearchResult
    log: list[dict[str, Any]]
    spent: float
    forwards: int
    task_changed: bool

    def differs_from(self, other: Outcome) -> str:
        """What differs, in words; nothing if the two are the same."""
        pairs = {
            "architecture": (self.result.best, other.result.best),
            "validation accuracy": (self.result.valid, other.result.valid),
            "notes": (dict(self.result.notes), dict(other.result.notes)),
            "front": (self.result.front, other.result.front),
            "passes": (self.spent, other.spent),
            "log": (self.log, other.log),
        }
        return " and ".join(what for what, (ours, theirs) in pairs.items() if ours != theirs)


class Trial:
    """Searches with a method's defaults, always from the same seeds."""

    def __init__(self, method: Plugin, space: Plugin) -> None:
        self._method = method
        self.passes, *self._more = PASSES
        self.space: SearchSpace = space.make({})

    @property
    def method(self) -> SearchStrategy:
        """A fresh instance."""
        return self._method.make({})

    @cached_property
    def outcome(self) -> Outcome:
        """Of the undisturbed search."""
        for more in self._more:
            try:
                return self.search()
            except BudgetExceeded:
                self.passes = more
        return self.search()

    def search(
        self, checkpoint: Checkpoint | None = None, kill_after: int | None = None
    ) -> Outcome:
        """Search once.

        Raises:
            Killed: after that number of forward passes.
        """
        task = self._task()
        images = (task.train, task.valid)
        before = [part.digest() for part in images]
        meter = Meter(self.passes, checkpoint)
        with meter, _counted(kill_after) as forwards:
            result = self.method.search(self.space, task, meter, generator(0, "check", "search"))
        return Outcome(
            result=result,
            log=[{k: v for k, v in row.items() if k != "seconds"} for row in meter.log],
            spent=meter.spent,
            forwards=len(forwards),
            task_changed=before != [part.digest() for part in images],
        )

    def _task(self) -> Task:
        digits = _digits()
        spec = self.space.spec(self.space.fit(TINY), digits.shape, digits.classes, final=False)
        return task(digits, spec, BUDGET, generator(0, "check", "task"))


@cache
def _digits() -> Dataset:
    return load("digits", image=TINY.image, device="cpu", folder=Path())


@contextmanager
def _counted(kill_after: int | None) -> Iterator[list[None]]:
    """A list that grows by one with every forward pass, until the kill."""
    forwards: list[None] = []

    def count(_: Tensor) -> None:
        forwards.append(None)
        if len(forwards) == kill_after:
            raise Killed

    Counted.listeners.append(count)
    try:
        yield forwards
    finally:
        Counted.listeners.remove(count)
