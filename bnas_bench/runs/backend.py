"""The seam between a grid and the machinery that runs its trials: how one attempt at a trial is made.

Claims, the store, records, retries and events are the grid's (`runs.grid`), the same on every backend.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from threading import Event as Stop
from typing import TYPE_CHECKING, Protocol

from bnas_bench.runs.attempt import Attempt
from bnas_bench.runs.claims import Lock
from bnas_bench.runs.progress import Event

if TYPE_CHECKING:
    from bnas_bench.runs.trial import Trial


@dataclass(frozen=True)
class Exited:
    """The trial's process ended with that exit code, negative for a signal; perhaps it left a record."""

    code: int


@dataclass(frozen=True)
class Lost:
    """The attempt is gone, and it is not the trial's doing; why, to follow `ended, as`."""

    why: str


@dataclass(frozen=True)
class Preempted:
    """The trial's process saved and ended, as it was asked to."""


End = Exited | Lost | Preempted
"""How an attempt ends. One that is lost or preempted is followed by another."""


class Backend(Protocol):
    """How attempts are made.

    Attributes:
        jobs: attempts that are made at a time.
        device: what trials run on, as far as this process knows: `cpu`, `cuda`, `cuda:N` or `auto`.
    """

    jobs: int
    device: str

    def attempt(
        self, trial: Trial, attempt: Attempt, lock: Lock, stop: Stop, leave: Stop
    ) -> Generator[Event, None, End]:
        """Make an attempt: yield what is said, end as it ends. Closing the iterator ends the attempt.

        Args:
            attempt: its folder is there, and has what the attempt before saved.
            lock: the claim, which is kept alive meanwhile.
            stop: at it, `parallel.Stopped` is raised.
            leave: at it, the attempt saves at its next step and ends as preempted.

        Raises:
            NotStarted: if there was no attempt.
            BenchError: if no attempt can be made at any trial.
        """
        ...

    def close(self) -> None:
        """End what this backend keeps for its attempts."""
        ...
