"""The commands on ground truth: fill a table, tell what it holds, write it as one file."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bnas_bench.cli.lists import definitions
from bnas_bench.cli.running import FOLDER, RESULTS, Number
from bnas_bench.core.budget import PRECISIONS
from bnas_bench.core.errors import BadValue, Damaged, UnknownName
from bnas_bench.core.options import Count, Grid, Positive, Threads
from bnas_bench.runs.folders import check_name

if TYPE_CHECKING:
    from bnas_bench.data.datasets import Dataset
    from bnas_bench.runs.tabulate import Progress
    from bnas_bench.tables.truth import GroundTruth

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
    "--seeds", type=Number(Grid), default=8, show_default=True, help="Trained side by side."
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
@click.option(
    *("--from", "begun"),
    type=click.Path(path_type=Path, dir_okay=False),
    help="A file of that table, as `truth -o` writes it: what it holds is not trained again.",
)
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
    begun: Path | None,
    results: Path,
    data: Path,
) -> None:
    """Train and test every architecture of a small space: ground truth for searches.

    Architectures that compute the same functions are trained once, in a random order, so that what is
    there is a random sample at any time. Kill it when you like: the same command goes on from there, and
    several of them share the work.
    """
    from bnas_bench.runs.tabulate import Request, fill_in_processes
    from bnas_bench.tables import parquet
    from bnas_bench.tables.definition import default_name, defined
    from bnas_bench.tables.store import TableStore

    folder = results / "tables" / check_name(name or default_name(space, dataset))
    request = Request(
        precisions=_precisions(precisions),
        first=first,
        deadline=None if hours is None else time.time() + 3600 * hours,
        jobs=jobs,
        data=data,
    )
    definition = defined(space, dataset, seeds, settings, data)
    known = None if begun is None else parquet.read(begun)
    if known is not None:  # before there is a folder
        known.check_definition(definition, folder)
    store = TableStore.begin(folder, definition)
    if known is not None:
        click.echo(f"networks taken from {begun}: {known.add_to(store)}", err=True)
    with closing(fill_in_processes(store, request)) as progress:
        _watch(progress)
    click.echo(f"table: {folder}")


@click.command()
@click.argument("name")
@click.option(
    *("-o", "--out"),
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write all trainings there, as one file that ends in .parquet.",
)
@click.option(
    "--retrain", type=Number(Count), help="Train so many entries again, and compare: seconds each."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Draws those entries.")
@click.option(
    *("--time", "timed"),
    type=click.Path(path_type=Path, dir_okay=False),
    help="Time its 1-bit networks on this machine, which has nothing else to do, and write that there.",
)
@click.option("--data-folder", "data", type=FOLDER, default="data", show_default=True)
def truth(
    name: str, out: Path | None, retrain: int | None, seed: int, timed: Path | None, data: Path
) -> None:
    """Say what a table of ground truth holds, and how well it tells architectures apart.

    NAME is a table in tables/ of this checkout, a file that -o wrote, or a folder that tabulate fills, as
    results/tables/bnas-201-digits. In Python: bnas_bench.table(NAME).
    """
    from bnas_bench import api

    found = api.table(name)
    if out is not None:
        _check_keeps(found, out)
    definitions((key.replace("_", " "), _said(value)) for key, value in found.datasheet.items())
    if found.precisions:
        click.echo("")
        _print_reliability(found)
    for precision in found.precisions:
        best = found.best(precision)
        click.echo(f"best at {precision}: {best.mean:.2f} % ({best.sd:.2f}) {best.arch}")
    if retrain is not None:
        _retrain(found, retrain, seed, data)
    if timed is not None:
        _time(found, timed, data)
    if out is not None:
        click.echo(f"wrote {found.write(out)}")


def _check_keeps(found: GroundTruth, out: Path) -> None:
    """Raise BadValue if a file has more of the same table than would be written over it."""
    from bnas_bench.tables import parquet

    if not out.is_file():
        return
    with suppress(Damaged):  # no table: nothing is lost
        how, shares = parquet.described(out)
        whole = found.contents.architectures
        for precision, share in shares.items():
            held, ours = round(share * whole), found.datasheet["trainings"].get(precision, 0)
            if how == found.definition and held * how.seeds > ours:
                raise BadValue(
                    f"{out} holds {held:,} architectures of this table at {precision}, {found.name} holds "
                    f"{ours // how.seeds:,}: give tabulate --from {out} first, or write another file"
                )


def _time(found: GroundTruth, out: Path, data: Path) -> None:
    """Time the networks, and write the file when all are."""
    from rich.console import Console
    from rich.progress import track

    from bnas_bench.runs.clocking import clock, clocked
    from bnas_bench.tables import latencies, parquet

    parquet.check_ending(out)
    networks = track(
        clock(found, _dataset(found, data)),
        "packed latency",
        total=found.count("W1A1"),
        console=Console(stderr=True),
    )
    latencies.write(clocked(found, dict(networks)), out)
    click.echo(f"wrote {out}")


def _dataset(found: GroundTruth, data: Path) -> Dataset:
    """The one that a table is of, at its size, on the CPU."""
    from bnas_bench.data.datasets import load

    how = found.definition
    return load(how.dataset, image=how.image, device="cpu", folder=data)


def _retrain(found: GroundTruth, count: int, seed: int, data: Path) -> None:
    """Train entries again, a line for each that differs, and say how many do."""
    import torch

    from bnas_bench.tables.retrained import retrained

    torch.set_num_threads(1)  # as tabulate does
    pairs = []
    for pair in retrained(found, _dataset(found, data), count, seed):
        pairs.append(pair)
        if not pair.equal:
            entry = pair.entry
            click.echo(
                f"{entry.precision} {entry.arch}: {entry.mean:.2f} % ({entry.sd:.2f}), now "
                f"{pair.moved:+.2f} points"
            )
    equal, within = (sum(getattr(pair, name) for pair in pairs) for name in ("equal", "within"))
    click.echo(
        f"trained again: {len(pairs)} entries; {equal} with the table's number of test images at every "
        f"seed, {within} with a mean within the standard deviation of their seeds"
    )


def _said(value: object) -> str:
    """A value of a datasheet on one line."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {_said(part)}" for key, part in value.items())
    if isinstance(value, list):
        return "; ".join(map(_said, value))
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return f"{value:,}" if isinstance(value, int) else str(value)


def _print_reliability(found: GroundTruth) -> None:
    from bnas_bench.analysis.table import Column, Table, Value
    from bnas_bench.cli.output import print_table

    titles = {
        "architectures": ("architectures", ",.0f"),
        "reliability": ("reliability", ".3f"),
        "lower": ("from", ".3f"),
        "upper": ("to", ".3f"),
        "sd_between": ("sd between (%)", ".2f"),
        "sd_seeds": ("sd of seeds (%)", ".2f"),
        "mean_accuracy": ("mean accuracy (%)", ".2f"),
        "best_accuracy": ("best (%)", ".2f"),
        "core_seconds": ("core-seconds a training", ".2f"),
    }
    texts = ("precision", "part")
    try:
        rows = found.reliability().to_dict("records")
    except BadValue as error:  # a table that has just begun
        click.echo(str(error))
        return
    print_table(
        Table(
            name="reliability",
            title="",
            caption="reliability: the share of the variance of the means over "
            f"{found.definition.seeds} seeds that is between architectures, ICC(1, "
            f"{found.definition.seeds}), with a 95 % bootstrap interval over architectures",
            columns=[
                *(Column(key=key, title=key, numeric=False) for key in texts),
                *(Column(key=key, title=title) for key, (title, _) in titles.items()),
            ],
            rows=[
                {key: Value(text=row[key]) for key in texts}
                | {key: Value(text=f"{row[key]:{form}}") for key, (_, form) in titles.items()}
                for row in rows
            ],
        )
    )


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
