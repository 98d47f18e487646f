"""A search that takes seconds: one method on one space, on some of the digits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch._C import _current_graph_task_id
from torch.utils._python_dispatch import TorchDispatchMode

from bnas_bench.core.budget import Budget
from bnas_bench.core.errors import BudgetExceeded
from bnas_bench.core.searching import searching
from bnas_bench.core.seeds import generator
from bnas_bench.data.datasets import Dataset, Task, load, task
from bnas_bench.nn.passes import Passes, is_within
from bnas_bench.plugins.checks.contract import TINY
from bnas_bench.plugins.registry import Plugin
from bnas_bench.search.checkpoint import Checkpoint
from bnas_bench.search.lent import Lent
from bnas_bench.search.meter import Meter
from bnas_bench.search.result import check_result
from bnas_bench.search.scores import scored_by_training
from bnas_bench.search.space import SearchSpace
from bnas_bench.search.strategy import SearchResult, SearchStrategy
from bnas_bench.search.surroundings import Surroundings
from bnas_bench.search.tensor_memory import seconds_per_call
from bnas_bench.search.untouched import Watched, complaint, untouched

BUDGET = Budget(
    "check", passes=None, batch_size=32, search_fraction=0.025, valid_fraction=0.01, search=TINY
)
CONVOLUTION = torch.ops.aten.convolution.default

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
        unheard: images that went through networks without the meter's being told.
        strays: convolutions outside of a network's pass.
        task_changed: whether the task's images or labels were altered.
        space_changed, process_changed: one sentence each; empty if nothing was.
    """

    result: SearchResult
    log: list[dict[str, Any]]
    spent: float
    forwards: int
    unheard: int
    strays: int
    task_changed: bool
    space_changed: str
    process_changed: str

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


class _Strays(TorchDispatchMode):
    """Counts the convolutions of no network's pass, nor of a backward from one: nothing else sees them."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is CONVOLUTION and not args[0].is_meta and not is_within():
            self.convolutions += _current_graph_task_id() == -1
        return func(*args, **(kwargs or {}))


class Rehearsal:
    """Searches with a method's defaults, always from the same seeds.

    Args:
        device: where they compute.
    """

    def __init__(self, method: Plugin, space: Plugin, device: str = "cpu") -> None:
        self._method, self._space, self._device = method, space, device
        self.passes, *self._more = PASSES

    @property
    def space(self) -> SearchSpace:
        """A fresh instance."""
        return self._space.make({})

    @property
    def method(self) -> SearchStrategy:
        """A fresh instance."""
        return self._method.make({})

    def refusal(self) -> str | None:
        """What the method has against the space.

        Raises:
            Altered: if saying so changes the space.
        """
        space = self.space
        with untouched("`refuses`", Lent(space)):
            return self.method.refuses(space)

    @cached_property
    def outcome(self) -> Outcome:
        """Of the undisturbed search.

        Raises:
            BadResult, InvalidArchitecture: if it returned what no search returns.
        """
        check_result(self.whole.result, self.space)
        return self.whole

    @cached_property
    def whole(self) -> Outcome:
        """Of the undisturbed search, whatever it returned."""
        for more in self._more:
            try:
                return self.search()
            except BudgetExceeded:
                self.passes = more
        return self.search()

    def search(
        self, checkpoint: Checkpoint | None = None, kill_after: int | None = None
    ) -> Outcome:
        """Search once; what it changes is put back.

        Raises:
            Killed: after that number of forward passes.
            Altered: if the search changes something between two epochs, and a checkpoint is kept.
        """
        task, space = self._task(), self.space
        images = (task.train, task.valid)
        before = [part.digest() for part in images]
        seconds_per_call()  # a meter's own convolutions, which it measures by once in a process
        lent, around, strays = Lent(space), Surroundings(), _Strays()
        meter = Meter(self.passes, checkpoint and Watched(checkpoint, lent))
        try:
            # In every search, resumed ones too: with a mode torch may round a derivative another way.
            with meter, searching(), _counted(kill_after) as forwards, strays:
                seen = scored_by_training(task, space, 0, "check")
                result = self.method.search(space, seen, meter, generator(0, "check", "search"))
                unheard = meter.unheard
            space_changed, process_changed = (
                complaint("the search", kept.changes()) for kept in (lent, around)
            )
        finally:
            lent.restore()
            around.restore()
        return Outcome(
            result=result,
            log=[{k: v for k, v in row.items() if k != "seconds"} for row in meter.log],
            spent=meter.spent,
            forwards=len(forwards),
            unheard=unheard,
            strays=strays.convolutions,
            space_changed=space_changed,
            process_changed=process_changed,
            task_changed=before != [part.digest() for part in images],
        )

    def _task(self) -> Task:
        digits, space = _digits(self._device), self.space
        spec = space.spec(space.fit(TINY), digits.shape, digits.classes, final=False)
        return task(digits, spec, BUDGET, generator(0, "check", "task"))


@cache
def _digits(device: str) -> Dataset:
    return load("digits", image=TINY.image, device=device, folder=Path())


@contextmanager
def _counted(kill_after: int | None) -> Iterator[list[None]]:
    """A list that grows by one with every forward pass, until the kill."""
    forwards: list[None] = []

    def count(_: Tensor) -> None:
        forwards.append(None)
        if len(forwards) == kill_after:
            raise Killed

    Passes.listeners.append(count)
    try:
        yield forwards
    finally:
        Passes.listeners.remove(count)
