"""What is shown while trials run: two lines on a terminal, and a sentence for each trial that ends."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table as Grid
from rich.text import Text

from bnas_bench.cli.durations import about, result, stage
from bnas_bench.cli.streams import spelt
from bnas_bench.runs.estimate import SEARCH, Estimates, Took, names

if TYPE_CHECKING:
    from bnas_bench.runs.progress import Event
    from bnas_bench.runs.trial import Trial

MOST = 6
"""Trials that have a line, of those that run side by side."""

SURE = 0.02
"""The share of a trial that must have been seen before its speed says anything."""

BAR = 20
"""Signs of a bar."""


class Running:
    """A trial that runs: its share, and how long it may still take.

    Args:
        known: what such trials took.
    """

    def __init__(self, name: str, known: Took | None) -> None:
        self.name, self.known = name, known
        self.phase, self.done, self.share = "start", 0.0, 0.0
        self.facts: list[str] = []
        self.began: tuple[float, float] | None = None
        """When it was seen first, and its share then: one that goes on begins late."""

    def advance(self, event: Event, now: float) -> None:
        self.phase, self.done = event.phase, event.done
        self.facts = re.split(r"[;,] ", event.text) if event.text else []
        search = self.known.search if self.known else SEARCH
        match event.phase:
            case "load" | "start":
                share = 0.0
            case "search":
                share = search * event.done
            case "train":
                share = search + (1 - search) * event.done
            case _:
                share = 1.0 if event.phase in ("test", "measure") else search
        self.share = max(self.share, share)
        self.began = self.began or (now, self.share)

    def left(self, now: float, usual: float | None = None) -> float | None:
        """Seconds until its end; None where nobody can know yet.

        Args:
            usual: seconds of the grid's other trials, which count where nothing is known of such ones.
        """
        whole = self.known.seconds if self.known else usual
        before = None if whole is None else (1 - self.share) * whole
        if self.began is None or self.share - self.began[1] < SURE:
            return before
        speed = (self.share - self.began[1]) / max(now - self.began[0], 1e-9)
        seen = (1 - self.share) / speed
        return seen if before is None else (1 - self.share) * before + self.share * seen


class Watch:
    """Shows on stderr what happens to the trials of a grid.

    Args:
        trials: all of them.
        jobs: how many run at a time.
        results: the folder of all results, which says how long such trials took.
    """

    def __init__(self, trials: Sequence[Trial], jobs: int, results: Path) -> None:
        self.names, self.jobs = names(trials), jobs
        estimates = Estimates(results)
        self.known = {trial.id: estimates.of(trial) for trial in trials}
        self.waiting = dict.fromkeys(trial.id for trial in trials)
        self.running: dict[str, Running] = {}
        self.took: list[float] = []
        self.ended = 0
        self.console = Console(stderr=True, highlight=False)
        self.live = Live(
            console=self.console, transient=True, refresh_per_second=2, get_renderable=self._lines
        )
        self.is_live = self.console.is_terminal and not self.console.is_dumb_terminal

    def __enter__(self) -> Watch:
        if self.is_live:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.live.stop()

    def show(self, event: Event) -> None:
        """Show an event."""
        name = self.names[event.trial_id]
        match event.kind:
            case "progress":
                if (one := self.running.get(event.trial_id)) is not None:
                    one.advance(event, time.monotonic())
            case "note":
                self._say(f"{name}: {event.text}")
            case "started":
                self.waiting.pop(event.trial_id, None)
                self.running[event.trial_id] = Running(name, self.known[event.trial_id])
                if not self.is_live:
                    self._say(f"{name}: {event.trial_id} started")
            case _:
                self.ended += 1
                self.waiting.pop(event.trial_id, None)
                self.running.pop(event.trial_id, None)
                if event.kind == "finished" and "seconds" in (record := event.record or {}):
                    self.took.append(record["seconds"])
                self._say(f"{name}: {_end(event)}; {self._place()}")

    def _say(self, text: str) -> None:
        self.console.print(escape(text), soft_wrap=not self.console.is_terminal)

    def _place(self) -> str:
        """How far the grid is: `1 of 3, about 4 min left`."""
        place = f"{self.ended} of {len(self.names)}"
        if not (self.waiting or self.running):
            return place
        left = self.left(time.monotonic())
        return f"{place}, {'time left unknown' if left is None else f'{about(left)} left'}"

    @property
    def usual(self) -> float | None:
        """Mean seconds of the trials that ended; None before the first."""
        return sum(self.took) / len(self.took) if self.took else None

    def left(self, now: float) -> float | None:
        """Seconds until the last trial ends; None where nobody can know yet."""
        usual = self.usual
        running = [one.left(now, usual) for one in self.running.values()]
        for one, left in zip(self.running.values(), running, strict=True):
            if usual is None and left is not None and one.began:
                usual = now - one.began[0] + left
        waiting = [one.seconds if one else None for one in map(self.known.get, self.waiting)]
        work = [usual if one is None else one for one in (*running, *waiting)]
        if None in work:
            return None
        whole = [one for one in work if one is not None]
        return max([sum(whole) / self.jobs, *whole[: len(running)]], default=0.0)

    def _lines(self) -> Group:
        """A bar for the grid, and a line for each trial that runs."""
        now = time.monotonic()
        share = self.ended + sum(one.share for one in self.running.values())
        total = max(1, len(self.names))
        bar = Grid.grid(padding=(0, 1))
        bar.add_row(
            ProgressBar(total=total, completed=share, width=BAR),
            Text(f"{share / total:.0%}  {self._place()}", no_wrap=True, overflow="ellipsis"),
        )
        lines = [
            _line(one, one.left(now, self.usual), self.console.width)
            for one in self.running.values()
        ]
        if len(lines) > MOST:
            lines[MOST:] = [f"and {len(lines) - MOST} more"]
        return Group(bar, *(Text(line, no_wrap=True, overflow="ellipsis") for line in lines))


def _line(one: Running, left: float | None, width: int) -> str:
    """What a running trial does, with as many facts on it as there is room for whole."""
    line = f"{one.name}: {stage(one.phase, one.done)}"
    line += "" if left is None else f", {about(left)} left"
    for fact in one.facts:
        if len(line) + len(fact) + 2 > width:
            break
        line += f"; {fact}"
    return spelt(line, "utf-8")


def _end(event: Event) -> str:
    """How a trial ended, in one line."""
    record = event.record or {}
    came_to = result(record) if record.get("status") == "ok" else ""
    match event.kind:
        case "finished":
            return came_to or f"refused: {event.text}"
        case "skipped" if came_to:
            return f"{came_to}; {event.text}"
        case "failed":
            return f"failed: {event.text} ({event.trial_id})"
    return f"{event.kind}: {event.text}" if event.text else event.kind
