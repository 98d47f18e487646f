"""What else keeps this machine busy while something is timed on it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple

QUIET = 0.25
"""Cores that other work may keep busy while something is timed."""

STAT = Path("/proc/stat")
IDLE = (3, 4)
"""Of a CPU's numbers there, those that are no work: idle, and waiting for a disk."""
LAST = 8
"""The numbers behind are parts of those before."""


class Reading(NamedTuple):
    """Seconds: of the clock, that the CPUs of this process were at work, and that they were for it."""

    clock: float
    busy: float
    own: float

    @classmethod
    def now(cls) -> Reading | None:
        """None where the system does not tell."""
        try:
            lines = STAT.read_text("ascii").splitlines()
            mine = {f"cpu{number}" for number in os.sched_getaffinity(0)}
        except (OSError, ValueError, AttributeError):
            return None
        ticks = 0
        for name, *numbers in (line.split() for line in lines if line.startswith("cpu")):
            if name in mine:
                work = enumerate(map(int, numbers[:LAST]))
                ticks += sum(number for place, number in work if place not in IDLE)
        times = os.times()
        own = times.user + times.system + times.children_user + times.children_system
        return cls(time.perf_counter(), ticks / os.sysconf("SC_CLK_TCK"), own)


class Others:
    """How many cores were busy with other work than this process' while it was open.

    Of the cores that this process may use; time that another guest of the host took counts as other work.

    Attributes:
        cores: their number, on average; None where the system does not tell.
    """

    cores: float | None = None

    def __enter__(self) -> Others:
        self._began = Reading.now()
        return self

    def __exit__(self, *_: object) -> None:
        began, ended = self._began, Reading.now()
        if began and ended and ended.clock > began.clock:
            others = (ended.busy - began.busy) - (ended.own - began.own)
            self.cores = max(0.0, round(others / (ended.clock - began.clock), 2))
