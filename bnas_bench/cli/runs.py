"""Commands on results: run trials, tell how far they are, print their table, write their report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bnas_bench import api
from bnas_bench.cli.backends import Where, somewhere
from bnas_bench.cli.completion import BUDGET, DATASET, METHOD, NAME, SPACE
from bnas_bench.cli.grids import grid_options, refuse_code
from bnas_bench.cli.grids import write as write_grid
from bnas_bench.cli.headings import Sectioned
from bnas_bench.cli.looks import Look, looks
from bnas_bench.cli.running import (
    FOLDER,
    LOG,
    RESULTS,
    Number,
    plan,
    results_name,
    runs_trials,
    watched,
)
from bnas_bench.cli.streams import sentence
from bnas_bench.cli.transfer import carry, show_all, tasks_of
from bnas_bench.core.errors import BadValue, BenchError
from bnas_bench.core.options import Few, Grid, Positive, Seed
from bnas_bench.runs import folders
from bnas_bench.runs.how import How
from bnas_bench.runs.launched import follow, launched
from bnas_bench.runs.request import requested
from bnas_bench.runs.store import Store

if TYPE_CHECKING:
    from pandas import DataFrame

REPORTS = "Folder of all reports; NAME's own in it is replaced."


@click.command(cls=Sectioned)
@click.option(
    *("--method", "methods"),
    multiple=True,
    required=True,
    shell_complete=METHOD,
    help="random,dcpnas[lam=0] or all.",
)
@click.option(
    *("--space", "spaces"),
    multiple=True,
    default=["darts-binary"],
    show_default=True,
    shell_complete=SPACE,
)
@click.option(
    *("--dataset", "datasets"),
    multiple=True,
    default=["digits"],
    show_default=True,
    shell_complete=DATASET,
)
@click.option(
    *("--budget", "budgets"),
    multiple=True,
    default=["quick"],
    show_default=True,
    shell_complete=BUDGET,
)
@click.option("--seeds", type=Number(Grid), default=3, show_default=True, help="Seeds per row.")
@click.option(
    "--seed", type=Number(Seed), default=0, show_default=True, help="What all seeds derive from."
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="A hyperparameter of every method.",
)
@click.option(
    "--train", is_flag=True, help="Train what is found also where a table in tables/ knows it."
)
@click.option(
    "--train-seeds",
    type=Number(Few),
    default=1,
    show_default=True,
    help="Trainings of what each search finds, each from a seed of its own.",
)
@click.option(
    "--transfer",
    metavar="TASK",
    help="Then carry what is found to a downstream task, as `bnas-bench transfer` does.",
)
@results_name("local", "Name of these results.")
@RESULTS
@grid_options
@runs_trials
@somewhere
@LOG
@click.option("--reports", type=FOLDER, default="reports", show_default=True, help=REPORTS)
@click.option("--page/--no-page", default=True, help="Write the report of NAME at the end.")
@click.option("--dry-run", is_flag=True, help="List the trials, with the time they take, and stop.")
@looks
@click.option("--json", "as_json", is_flag=True, help="Print the rows for programs.")
def run(
    methods: Sequence[str],
    spaces: Sequence[str],
    datasets: Sequence[str],
    budgets: Sequence[str],
    seeds: int,
    seed: int,
    settings: Sequence[str],
    train: bool,
    train_seeds: int,
    transfer: str | None,
    name: str,
    results: Path,
    how: How,
    where: Where,
    log: str | None,
    save_grid: Path | None,
    reports: Path,
    page: bool,
    dry_run: bool,
    look: Look,
    as_json: bool,
) -> None:
    """Run a grid of trials, print its table and what it shows, and write its page.

    A trial is one method on one space, dataset, budget and seed; each of these options may list
    several, separated by commas. Trials that are done are skipped, those that were killed go on.
    """
    refuse_code()
    grid = (methods, spaces, datasets, budgets, seeds, seed, settings)
    trials = where.of(requested(*grid, train=train, train_seeds=train_seeds))
    store = Store(results / name)
    if look.columns or look.sort:  # before hours of trials, not after them
        from bnas_bench.analysis.summary import KEYS

        look.check(KEYS)
    if save_grid is not None and where.only is None:
        write_grid(save_grid, click.get_current_context().params)
        click.echo(f"wrote {save_grid}", err=True)
    if dry_run:
        if transfer is not None:
            tasks_of(trials, transfer, how)
        plan(trials, store, how)
        return
    if where.backend == "slurm":
        if transfer is not None:
            raise BadValue(
                "jobs of SLURM transfer nothing: leave out --transfer, and give `bnas-bench transfer` the "
                "trials' folders when they have ended"
            )
        where.submit(trials, store, how)
        return
    how = where.how(how)
    if (launch := launched(how)) and launch.rank:
        follow(trials, how.settled(), launch)  # rank 0 runs the grid, and prints
        return
    from bnas_bench.analysis.records import to_frame

    tasks = {} if transfer is None else tasks_of(trials, transfer, how)
    with where.backend_of(trials, store, how) as backend:
        frame = to_frame(watched(how, trials, store, log, backend))
    _print(frame, look, as_json)
    if not as_json:
        _say_answer(store, [trial.id for trial in trials])
    click.echo(f"records: {results / name / 'trials'}", err=as_json)
    carried = carry(trials, store, tasks, printed=not as_json)
    if page:  # of the transfers, too
        _write_page(name, results, reports, as_json)
    if not (carried and frame["status"].isin(("ok", "refused")).all()):
        raise SystemExit(1)


@click.command()
@click.argument("name", default="local", shell_complete=NAME)
@RESULTS
@looks
@click.option("--json", "as_json", is_flag=True, help="Print the rows for programs.")
def table(name: str, results: Path, look: Look, as_json: bool) -> None:
    """Print the table of NAME's results, from its records, and those of its transfers."""
    frame = _frame(name, results)
    lost = frame[frame["method"].isna()]
    if len(lost) < len(frame) or as_json:
        _print(frame, look, as_json)
    for trial in lost.itertuples():
        why = f": {trial.reason}" if isinstance(trial.reason, str) else ""
        click.echo(f"{trial.id} is {trial.status} and not in the table{why}", err=as_json)
    if not as_json and not _is_a_file(name):
        show_all(folders.named(name, results))


@click.command()
@click.argument("name", default="local", shell_complete=NAME)
@RESULTS
@click.option(
    *("-o", "--out"),
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="A file that ends in .parquet, which keeps types and units, in .csv or in .json.",
)
def export(name: str, results: Path, out: Path) -> None:
    """Write the records of NAME's results as one table, a row per trial."""
    click.echo(f"wrote {api.export(name, out, results)}")


@click.command()
@click.argument("name", default="local", shell_complete=NAME)
@RESULTS
@click.option(
    "--reports",
    type=FOLDER,
    default="reports",
    show_default=True,
    help=REPORTS,
)
def report(name: str, results: Path, reports: Path) -> None:
    """Write tables, figures and a page of NAME's results, also given as results/NAME.

    Markdown, LaTeX, CSV, figures as SVG, PDF and PNG, and index.html, which needs no network.
    """
    folder = api.report(name, reports / Path(name).name, results)
    for entry in sorted(folder.iterdir()):
        files = sum(1 for _ in entry.iterdir()) if entry.is_dir() else 0
        click.echo(f"wrote {entry}{f'/ ({files} files)' if files else ''}")


@click.command()
@click.argument("first", shell_complete=NAME)
@click.argument("second", shell_complete=NAME)
@RESULTS
@looks
def compare(first: str, second: str, results: Path, look: Look) -> None:
    """Set two results side by side: the same grid at two commits, or on two machines.

    FIRST and SECOND are names of results, or their folders, results/NAME.
    """
    from bnas_bench.analysis.frame import read, states
    from bnas_bench.cli.output import print_table
    from bnas_bench.plugins.recorded import defaults
    from bnas_bench.report.comparing import side_by_side

    stores = [folders.named(name, results) for name in (first, second)]
    one, other = (read(states(store), defaults) for store in stores)
    table = side_by_side(one, other, (stores[0].root.name, stores[1].root.name))
    if not table.rows:
        raise BadValue(
            f"'{first}' and '{second}' have no method in the same space, dataset and budget in common: "
            "bnas-bench table prints what each holds"
        )
    print_table(table, look)


@click.command()
@click.argument("name", default="local", shell_complete=NAME)
@RESULTS
@click.option(
    "--difference",
    "differences",
    multiple=True,
    type=Number(Positive),
    default=(1.0,),
    show_default=True,
    help="Points of test accuracy that are to be shown; may be given several times.",
)
@looks
def power(name: str, results: Path, differences: Sequence[float], look: Look) -> None:
    """Say what more seeds of NAME's results could show, from the spread of those that ran."""
    from bnas_bench.analysis.frame import read, states
    from bnas_bench.cli.output import print_table
    from bnas_bench.plugins.recorded import defaults
    from bnas_bench.report.planning import power_tables

    found = read(states(folders.named(name, results)), defaults)
    if not found.rows:
        raise BadValue(
            f"results '{name}' hold no trial: run some first, two seeds of a method at least"
        )
    for made in power_tables(found, differences):
        print_table(made, look)


def _say_answer(store: Store, ids: Sequence[str]) -> None:
    """Print in words what these trials show, and what they cannot say."""
    from bnas_bench.analysis.frame import read, states
    from bnas_bench.cli.output import say, stdout
    from bnas_bench.plugins.recorded import defaults
    from bnas_bench.report.answer import answer

    console = stdout()
    settings = read(states(Store(store.root, only=ids)), defaults).settings
    for setting, rows in settings.items():
        where = f" on {setting}" if len(settings) > 1 else ""
        found = answer(rows)
        say(console, f"verdict{where}: {' '.join([found.headline, *found.shown])}")
        if found.open:
            say(console, f"not said{where}: {' '.join(found.open)}")


def _write_page(name: str, results: Path, reports: Path, as_json: bool) -> None:
    """Write the report of NAME and say where its page is; or why there is none, on stderr."""
    try:
        folder = api.report(results / name, reports / name)
    except BenchError as error:
        click.echo(f"no page: {sentence(error)}", err=True)
    else:
        click.echo(f"page: {folder / 'index.html'}", err=as_json)


def _frame(name: str, results: Path) -> DataFrame:
    """What a table reads of NAME's records."""
    from bnas_bench.analysis import records, summary

    if _is_a_file(name):
        return api.load_results(name, results)
    return records.load(folders.named(name, results), summary.FIELDS)


def _is_a_file(name: str) -> bool:
    """Whether it is one that `export` wrote."""
    from bnas_bench.analysis.records import ENDINGS

    return Path(name).suffix in ENDINGS


def _print(frame: DataFrame, look: Look, as_json: bool) -> None:
    from bnas_bench.analysis import summary

    if as_json:
        click.echo(json.dumps(summary.as_json(frame), indent=2))
        return
    from bnas_bench.cli.output import print_table

    print_table(summary.table(frame), look)
