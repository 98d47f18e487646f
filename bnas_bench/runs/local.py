"""Trials on this machine: each a process of its own, over its CPU cores or its GPUs."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import nullcontext
from itertools import cycle, islice
from queue import Queue
from threading import Event as Stop
from typing import TYPE_CHECKING

from bnas_bench.runs.attempt import Attempt
from bnas_bench.runs.backend import End, Exited, Lost, Preempted
from bnas_bench.runs.claims import Lock
from bnas_bench.runs.how import How
from bnas_bench.runs.launched import Lead, launched
from bnas_bench.runs.process import LOST, PREEMPTED, run_in_child, start_server
from bnas_bench.runs.progress import Event

if TYPE_CHECKING:
    from bnas_bench.runs.trial import Trial


class Local:
    """A backend of this machine's cores and GPUs, of which a trial has one each.

    Args:
        how: what it leaves open is settled here.

    Attributes:
        launch: this command's place among several that torchrun or srun has started, if they have.

    Raises:
        BadValue: if this machine has no such device.
    """

    def __init__(self, how: How) -> None:
        self.how = how.settled()
        self.launch = launch = launched(self.how)
        self.lead = Lead(launch, self.how) if launch and not launch.rank else None
        self.jobs, self.device = 1 if launch else self.how.jobs or 1, self.how.device
        self.places: Queue[str | None] = Queue()
        for name in islice(cycle([None] if launch else self.how.places()), self.jobs):
            self.places.put(name)
        if not launch or self.lead:
            start_server()

    def attempt(
        self, trial: Trial, attempt: Attempt, lock: Lock, stop: Stop, leave: Stop
    ) -> Generator[Event, None, End]:
        """Run the trial in a process."""
        gpu = self.places.get()
        try:
            attempt.note(self.device)
            with self.lead.seat(trial) if self.lead else nullcontext() as seat:
                code = yield from run_in_child(
                    trial, attempt, lock, self.how, stop, leave, gpu, seat
                )
        finally:
            self.places.put(gpu)
        return ended(code)

    def close(self) -> None:
        """Let the other ranks of a launch end."""
        if self.lead:
            self.lead.close()


def ended(code: int) -> End:
    """How an attempt ended whose process gave that exit code."""
    match code:
        case _ if code == PREEMPTED:
            return Preempted()
        case _ if code == LOST:
            return Lost(
                f"its process ended by itself with exit code {code}, or its end was lost as the "
                "server that it was forked from died"
            )
    return Exited(code)
