"""What a method is lent comes back as it was, and what all share stays as it is; or it is said.

A search gets a space of its own, whose altered options reach no training. But classes, torch's
switches and the environment are the process' own: one that changed any of them is refused, so that
no network is trained otherwise than the others, or than after a kill between search and training.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import torch

from bnas_bench.core.errors import BenchError
from bnas_bench.search.checkpoint import Checkpoint
from bnas_bench.search.lent import Change
from bnas_bench.search.surroundings import Surroundings

SHOWN = 3
"""Changes that a sentence names; one switch of torch's may move several others."""


class Altered(BenchError):
    """A method or a space that changed what it shares with others."""


class Kept(Protocol):
    """Something as it was: `Lent`, `Surroundings`."""

    def changes(self) -> list[Change]: ...

    def restore(self) -> None: ...


def complaint(who: str, changes: list[Change]) -> str:
    """One sentence on what changed; empty if nothing did."""
    if not changes:
        return ""
    more = f" and {len(changes) - SHOWN} more" if len(changes) > SHOWN else ""
    return f"{who} changed {', '.join(map(str, changes[:SHOWN]))}{more}; put it back"


def require_unchanged(who: str, *kept: Kept) -> None:
    """Raise Altered if something is no longer as it was."""
    if wrong := complaint(who, [change for each in kept for change in each.changes()]):
        raise Altered(wrong)


@contextmanager
def untouched(who: str, *lent: Kept) -> Iterator[None]:
    """Require that what runs inside leaves the process, and what it was lent, as they are.

    Where it does not, or an error ends what ran, both are put back.

    Args:
        who: runs inside, for the sentence: "the search".

    Raises:
        Altered: if something changed, unless another error ended what ran.
    """
    kept = (*lent, Surroundings())
    try:
        yield
        require_unchanged(who, *kept)
    except BaseException:
        for each in kept:
            each.restore()
        raise


@contextmanager
def generators_put_back() -> Iterator[None]:
    """Leave the global generators as they are found: a network may draw from them as it trains."""
    gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
        if gpus:
            torch.cuda.set_rng_state_all(gpus)


class Watched(Checkpoint):
    """A search's checkpoint that keeps no state of one that has altered something on its way.

    A search that goes on from it would not have the alteration. What is set around all epochs, as by
    `with torch.enable_grad():`, is set again then, and is none.

    Args:
        paid: raises where the search has run networks unpaid.
    """

    def __init__(
        self, kept: Checkpoint, lent: Kept, paid: Callable[[], None] | None = None
    ) -> None:
        super().__init__(kept.path, kept.share, identity=kept.identity, say=kept.say)
        self._kept, self._lent, self._paid = kept, lent, paid
        self._around: Surroundings | None = None

    def load(self, state: Mapping[str, Any]) -> dict[str, Any] | None:
        self._around = Surroundings()
        return self._kept.load(state)

    def save(
        self, state: Mapping[str, Any], header: Mapping[str, Any], *, force: bool = False
    ) -> None:
        require_unchanged("an epoch of the search", self._lent)
        if self._paid:
            self._paid()
        if force or self._kept.due():  # looking around takes longer than a table's answer
            if self._around is not None:
                require_unchanged("an epoch of the search", self._around)
            self._kept.save(state, header, force=True)
