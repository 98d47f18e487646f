"""Commands on the papers: what they report, and what comes out when it is run again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bnas_bench.cli.completion import PAPER
from bnas_bench.cli.headings import Sectioned
from bnas_bench.cli.lists import definitions, flowed
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
from bnas_bench.cli.transfer import known, shown, task_of
from bnas_bench.core.errors import BenchError
from bnas_bench.core.options import Grid, Seed
from bnas_bench.papers.artefact import PAPERS, ids, load, selected
from bnas_bench.runs.grid import found
from bnas_bench.runs.how import How
from bnas_bench.runs.store import Store

if TYPE_CHECKING:
    from bnas_bench.core.budget import Budget
    from bnas_bench.transfer.downstream import Downstream


@click.command()
@click.argument("artefact", required=False, shell_complete=PAPER)
@click.option(
    "--markdown", "as_markdown", is_flag=True, help="As Markdown; docs/papers.md is this."
)
@looks
def papers(artefact: str | None, as_markdown: bool, look: Look) -> None:
    """List the papers' tables and figures and the state of each, or print one as its paper does.

    ARTEFACT is PAPER/NAME, as dcp-nas/table-4; PAPER lists those of one.
    """
    from bnas_bench.papers import listing

    if artefact is None and as_markdown:
        click.echo(listing.markdown(), nl=False)
        return
    if artefact is None or artefact in PAPERS:
        for paper, citation in PAPERS.items():
            if artefact not in (None, paper):
                continue
            click.secho(flowed(citation), bold=True)
            items = [(name, load(name)) for name in ids() if name.startswith(f"{paper}/")]
            definitions(
                (name, f"{item.title}. Rows: {listing.behind(item)}") for name, item in items
            )
        click.echo(
            flowed("bnas-bench reproduce ID runs one; bnas-bench papers ID shows what is printed")
        )
        return
    from bnas_bench.papers.tables import quoted
    from bnas_bench.report.write import markdown

    table = quoted(load(artefact))
    if as_markdown:
        click.echo(markdown(table), nl=False)
        return
    from bnas_bench.cli.output import print_table

    print_table(table, look)


@click.command(cls=Sectioned)
@click.argument("artefacts", nargs=-1, required=True, metavar="ARTEFACT...", shell_complete=PAPER)
@click.option(
    "--budget", default="quick", show_default=True, help="smoke, quick, standard or paper."
)
@click.option(
    "--dataset", help="[default: digits below standard, cifar10 at it, then each row's own]"
)
@click.option("--seeds", type=Number(Grid), default=3, show_default=True)
@click.option(
    "--seed", type=Number(Seed), default=0, show_default=True, help="What all seeds derive from."
)
@results_name("papers", "Name of the results.")
@RESULTS
@click.option("--reports", type=FOLDER, default="reports", show_default=True)
@runs_trials
@LOG
@click.option("--no-run", is_flag=True, help="Make the table of the runs that are there.")
@click.option("--dry-run", is_flag=True, help="List the trials and stop.")
@looks
def reproduce(
    artefacts: Sequence[str],
    budget: str,
    dataset: str | None,
    seeds: int,
    seed: int,
    name: str,
    results: Path,
    reports: Path,
    how: How,
    log: str | None,
    no_run: bool,
    dry_run: bool,
    look: Look,
) -> None:
    """Run a paper's table or figure, and set our numbers beside the paper's.

    ARTEFACT is PAPER/NAME, as dcp-nas/table-4, or PAPER for all of its. Trials that two artefacts share
    run once; an interrupted command goes on where it was. The caption says in what the runs depart from the
    paper's: where they do, the numbers compare the rows with each other, not with the paper's.
    """
    from bnas_bench.papers.plan import plans

    planned, trials = plans(selected(artefacts), budget, dataset, seeds, seed)
    store = Store(results / name)
    if dry_run:
        plan(trials, store, how)
        return
    from bnas_bench.papers.carried import tasks, with_transfers

    def made_of(task: str, budget: Budget) -> Downstream[Any] | BenchError:
        try:
            return task_of(task, budget, how)
        except BenchError as error:
            if not no_run:  # what lacks its data is said before hours of trials, not after them
                raise
            return error

    made = tasks(planned, made_of)
    if no_run or not trials:
        records = [found(trial, store) for trial in trials]
    else:
        records = watched(how, trials, store, log)
    carry = known if no_run else shown
    records = list(with_transfers(planned, trials, records, store, made, carry))

    from bnas_bench.cli.output import print_table
    from bnas_bench.papers.reproduce import write

    shows = False
    for each in write(planned, records, store, results, reports):
        print_table(each.table, look)
        click.echo(f"wrote {each.folder}/")
        shows = shows or each.shows
    if not shows:
        raise SystemExit(1)
