"""What the commands on runs print: progress while trials run, and the table."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table as Grid

from bnas_bench.cli.streams import spelt

if TYPE_CHECKING:
    from bnas_bench.analysis.table import Table
    from bnas_bench.runs.progress import Event

WIDE = 250
"""Columns of a line that no terminal shows: nothing is to be cut off in a file."""


class Watch:
    """Shows on stderr what happens to the trials: a bar per trial on a terminal, lines elsewhere."""

    def __init__(self, total: int) -> None:
        self.total, self.begun = total, 0
        self.bars: dict[str, TaskID] = {}
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[line]}"),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )

    def __enter__(self) -> Watch:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def show(self, event: Event) -> None:
        """Show an event."""
        match event.kind:
            case "progress":
                self._advance(event)
                return
            case "started" | "skipped" | "busy":
                self.begun += 1
        if event.kind not in ("started", "note") and event.trial_id in self.bars:
            self.bar.remove_task(self.bars.pop(event.trial_id))
        if event.kind != "started" or not self.console.is_terminal:
            text = f": {event.text}" if event.text else ""
            place = f"{self.begun}/{self.total}"
            self.console.print(escape(f"{place} {event.trial_id} {event.kind}{text}"))

    def _advance(self, event: Event) -> None:
        if event.trial_id not in self.bars:
            self.bars[event.trial_id] = self.bar.add_task("", total=1.0, line="")
        self.bar.update(
            self.bars[event.trial_id],
            description=f"{event.trial_id} {event.phase}",
            completed=event.done,
            line=event.text,
        )


def stdout() -> Console:
    """The console that tables are printed on."""
    return Console(width=None if sys.stdout.isatty() else WIDE, highlight=False)


def literal(text: str) -> str:
    """A text of a table as it is to be read: no markup, and signs spelt out before columns are aligned."""
    return escape(spelt(text, sys.stdout.encoding))


def print_table(table: Table) -> None:
    """Print a table with its title, notes and caption; a value's note is numbered."""
    from bnas_bench.report.write import EMPTY, shown

    console = stdout()
    grid = Grid(box=SIMPLE_HEAD, pad_edge=False)
    for column in table.columns:
        grid.add_column(literal(column.title), justify="right" if column.numeric else "left")
    for row in table.rows:
        values = [row.get(column.key, EMPTY) for column in table.columns]
        marks = [f" ({table.marks[value.note]})" if value.note else "" for value in values]
        grid.add_row(*(literal(shown(v) + mark) for v, mark in zip(values, marks, strict=True)))
    if table.title:
        console.print(literal(table.title), style="bold")
    console.print(grid)
    for note, number in table.marks.items():
        console.print(literal(f"({number}) {note}"), soft_wrap=True)
    for text in (*table.notes, table.caption):
        console.print(literal(text), soft_wrap=True)
