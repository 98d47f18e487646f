"""The command on ground truth: fill a table."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bnas_bench.cli.running import FOLDER, RESULTS, Number
from bnas_bench.core.budget import PRECISIONS
from bnas_bench.core.errors import UnknownName
from bnas_bench.core.options import Count, Grid, Positive, Threads
from bnas_bench.runs.folders import check_name

if TYPE_CHECKING:
    from bnas_bench.tables.fill import Progress

PAUSE = 60.0
"""Seconds between two lines where no terminal shows a bar."""


@click.command()
@click.option("--space", default="bnas-201", show_default=True)
@click.option("--dataset", default="digits", show_default=True)
@click.option(
    *("--precision", "precisions"),
    default="W1A1,W32A32",
    show_default=True,
    help="What to train now; others may follow.",
)
@click.option(
    "--seeds", type=Number(Grid), default=3, show_default=True, help="Trained side by side."
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="How networks are trained: epochs, channels, cells, lr, train_images, ...",
)
@click.option("--first", type=Number(Count), help="Only so many architectures: a random sample.")
@click.option("--hours", type=Number(Positive), help="Begin nothing after so many.")
@click.option("--jobs", type=Number(Threads), default=1, show_default=True, help="Processes.")
@click.option("--name", help="Of the table [default: SPACE-DATASET].")
@RESULTS
@click.option("--data-folder", "data", type=FOLDER, default="data", show_default=True)
def tabulate(
    space: str,
    dataset: str,
    precisions: str,
    seeds: int,
    settings: Sequence[str],
    first: int | None,
    hours: float | None,
    jobs: int,
    name: str | None,
    results: Path,
    data: Path,
) -> None:
    """Train and test every architecture of a small space: ground truth for searches.

    Architectures that compute the same functions are trained once, in a random order, so that what is
    there is a random sample at any time. Kill it when you like: the same command goes on from there, and
    several of them share the work.
    """
    from bnas_bench.tables.definition import defined
    from bnas_bench.tables.fill import Request, fill_in_processes
    from bnas_bench.tables.store import TableStore

    folder = results / "tables" / check_name(name or f"{space}-{dataset.partition(':')[0]}")
    request = Request(
        precisions=_precisions(precisions),
        first=first,
        deadline=None if hours is None else time.time() + 3600 * hours,
        jobs=jobs,
        data=data,
    )
    store = TableStore.begin(folder, defined(space, dataset, seeds, settings, data))
    with closing(fill_in_processes(store, request)) as progress:
        _watch(progress)


def _precisions(text: str) -> list[str]:
    found = [part.strip() for part in text.split(",")]
    for one in found:
        if one not in PRECISIONS:
            raise UnknownName("precision", one, PRECISIONS)
    return found


def _watch(events: Iterator[Progress]) -> None:
    """Show on stderr how far a table is: a bar on a terminal, a line a minute elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    bar = Bar(
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TextColumn("{task.fields[line]}"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    task = bar.add_task("", line="")
    said, event = -PAUSE, None
    with bar:
        for event in events:
            bar.update(task, completed=event.done, total=event.total, line=_left(event))
            if not console.is_terminal and event.seconds - said >= PAUSE:
                said = event.seconds
                console.print(f"{event.done}/{event.total} {_left(event)}")
    if event is not None:
        console.print(f"{event.done}/{event.total}, {event.fresh} of them now")


def _left(event: Progress) -> str:
    if event.left is None:
        return "time left unknown"
    hours, minutes = divmod(round(event.left / 60), 60)
    return f"{hours} h {minutes:02} min left"
