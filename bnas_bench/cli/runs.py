"""Commands on results: run trials, tell how far they are, print their table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click

from bnas_bench.analysis.summary import rows
from bnas_bench.analysis.summary import table as lay_out
from bnas_bench.cli.numbers import Number
from bnas_bench.cli.running import RESULTS, How, results_name, runs_trials
from bnas_bench.core.budgets import BUDGETS
from bnas_bench.core.errors import BadValue, UnknownName
from bnas_bench.core.options import Grid, Seed
from bnas_bench.data.names import check_dataset, split_datasets
from bnas_bench.plugins.recorded import defaults
from bnas_bench.plugins.registry import Kind, find, names
from bnas_bench.plugins.spec import Spec, parse_options, parse_specs, resolve_budget
from bnas_bench.runs.feasible import check_trials
from bnas_bench.runs.store import Record, Store
from bnas_bench.runs.trial import Choice, expand


@click.command()
@click.option(
    "--method", "methods", multiple=True, required=True, help="random,dcpnas[lam=0] or all."
)
@click.option("--space", "spaces", multiple=True, default=["darts-binary"], show_default=True)
@click.option("--dataset", "datasets", multiple=True, default=["digits"], show_default=True)
@click.option("--budget", "budgets", multiple=True, default=["quick"], show_default=True)
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
@results_name("local", "Name of these results.")
@RESULTS
@runs_trials
@click.option("--dry-run", is_flag=True, help="List the trials and stop.")
@click.option("--json", "as_json", is_flag=True, help="Print the rows for programs.")
def run(
    methods: Sequence[str],
    spaces: Sequence[str],
    datasets: Sequence[str],
    budgets: Sequence[str],
    seeds: int,
    seed: int,
    settings: Sequence[str],
    name: str,
    results: Path,
    how: How,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Run a grid of trials and print its table.

    A trial is one method on one space, dataset, budget and seed; each of these options may list
    several, separated by commas. Trials that are done are skipped, those that were killed go on.
    """
    trials = expand(
        _choices("method", methods, settings),
        _choices("space", spaces, ()),
        _datasets(datasets),
        [resolve_budget(spec, BUDGETS) for spec in _specs(budgets)],
        seeds,
        seed,
    )
    check_trials(trials)
    store = Store(results / name)
    if dry_run:
        for trial in trials:
            click.echo(f"{trial.id}  {store.state(trial.id).word}")
        return
    records = how.run(trials, store)
    _print(records, as_json)
    click.echo(f"records: {results / name / 'trials'}", err=as_json)
    if any(record.get("status") not in ("ok", "refused") for record in records):
        raise SystemExit(1)


@click.command()
@click.argument("name", default="local")
@RESULTS
@click.option("--json", "as_json", is_flag=True, help="Print the rows for programs.")
def table(name: str, results: Path, as_json: bool) -> None:
    """Print the table of NAME's results, from its records."""
    store = store_of(results, name)
    found = {trial_id: store.state(trial_id) for trial_id in store.ids()}
    records = [state.record for state in found.values() if state.record]
    if records or as_json:
        _print(records, as_json)
    for trial_id, state in found.items():
        if not state.record:
            why = f": {state.reason}" if state.reason else ""
            click.echo(f"{trial_id} is {state.word} and not in the table{why}", err=as_json)


@click.command()
@click.argument("name", default="local")
@RESULTS
def status(name: str, results: Path) -> None:
    """List the trials of NAME's results and how they ended."""
    store = store_of(results, name)
    for trial_id in store.ids():
        click.echo(f"{trial_id}  {store.state(trial_id)}")


def _specs(texts: Sequence[str]) -> list[Spec]:
    return [spec for text in texts for spec in parse_specs(text)]


def _choices(kind: Kind, texts: Sequence[str], settings: Sequence[str]) -> list[Choice]:
    """The plug-ins that were named, with all their options."""
    specs = _specs(texts)
    if "all" in (spec.name for spec in specs):
        if len(specs) > 1 or specs[0].options:
            raise BadValue(
                f"'{','.join(texts)}' names all {kind}s and more; write all by itself, "
                "and options for all of them with --set"
            )
        specs = [Spec(name) for name in names(kind)]
    common = parse_options((pair for text in settings for pair in text.split(",")), "--set")
    plugins = [find(kind, spec.name) for spec in specs]
    return [
        (plugin, plugin.resolve({**common, **spec.options}))
        for spec, plugin in zip(specs, plugins, strict=True)
    ]


def _datasets(texts: Sequence[str]) -> list[str]:
    names = [name for text in texts for name in split_datasets(text)]
    for name in names:
        check_dataset(name)
    return names


def store_of(results: Path, name: str) -> Store:
    """The results of that name.

    Raises:
        UnknownName: if there are none of that name.
        BadValue: if there are none at all.
    """
    known = [path.parent.name for path in results.glob("*/trials") if Store(path.parent).ids()]
    if not known:
        raise BadValue(f"there are no results in {results}/: bnas-bench run makes some")
    if name not in known:
        raise UnknownName(f"name in {results}/", name, known)
    return Store(results / name)


def _print(records: Sequence[Record], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps([row.to_json() for row in rows(records, defaults)], indent=2))
        return
    from bnas_bench.cli.output import print_table

    print_table(lay_out(records, defaults))
