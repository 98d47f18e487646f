"""What is shown while trials run."""

from __future__ import annotations

from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from bnas_bench.runs.progress import Event


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
