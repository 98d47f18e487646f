"""What is recorded of a trial whose last attempt ended without a record."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from bnas_bench.runs.attempt import Attempt
from bnas_bench.runs.backend import End, Exited, Lost
from bnas_bench.runs.crashes import count_death
from bnas_bench.runs.record import Record

if TYPE_CHECKING:
    from bnas_bench.runs.trial import Trial

AGAIN = 3
"""Times that an attempt that was lost or preempted is followed by another, with no checkpoint in between."""


def death(trial: Trial, attempt: Attempt, device: str, end: End, broken: str) -> Record:
    """Record, where it happened if possible, that an attempt ended without a record; that record.

    Args:
        broken: the last words of its process, if it had any.

    Raises:
        Damaged, ValueError: if there can be no record.
    """
    from bnas_bench.runs.run import record_death

    name = None
    match end:
        case _ if broken:
            reason = broken
        case Lost(why):
            reason = f"{why}; --retry-failed runs it again"
        case Exited(code) if code >= 0:
            reason = f"its process ended by itself with exit code {code}"
        case Exited(code):
            name = _signal(-code)
            reason = f"its process was ended by {name}"
            if name == "SIGKILL":
                reason += ", as happens where memory runs out"
        case _:
            reason = f"it was told to save and end {AGAIN + 1} times without getting on"
    count_death(attempt.folder, name)
    return record_death(trial, attempt, device, reason, name)


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # one of those that have no names
        return f"signal {number}"
