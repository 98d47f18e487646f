"""What there is to compare, and how to add to it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from bnas_bench.cli.completion import BUDGET, METHOD, SPACE
from bnas_bench.cli.lists import definitions, flowed
from bnas_bench.core.errors import UnknownName
from bnas_bench.data.names import DATASETS
from bnas_bench.plugins.meanings import meanings
from bnas_bench.plugins.registry import Kind, discover, find, kinds_of
from bnas_bench.plugins.spec import budget_fields, pairs

KINDS: Mapping[Kind, str] = {"method": "methods", "space": "spaces"}
"""Of what can be named, and its plural."""


@click.command("list")
@click.pass_context
def list_all(ctx: click.Context) -> None:
    """Name all methods, spaces, datasets and budgets; `methods`, `spaces` and `budgets` say more of each."""
    for kind, title in KINDS.items():
        click.secho(title, bold=True)
        definitions((plugin.name, plugin.summary) for plugin in discover(kind).values())
        click.echo()
    click.secho("datasets", bold=True)
    ctx.invoke(datasets)
    click.echo()
    click.secho("budgets", bold=True)
    ctx.invoke(budgets)


@click.command()
@click.argument("name", required=False, shell_complete=METHOD)
def methods(name: str | None = None) -> None:
    """List the methods with their options, or describe one in full, and what its options mean."""
    _plugins("method", name)


@click.command()
@click.argument("name", required=False, shell_complete=SPACE)
def spaces(name: str | None = None) -> None:
    """List the spaces with their options, or describe one in full, and what its options mean."""
    _plugins("space", name)


@click.command()
def datasets() -> None:
    """List the datasets."""
    definitions(DATASETS.items())


@click.command()
@click.argument("name", required=False, shell_complete=BUDGET)
def budgets(name: str | None = None) -> None:
    """List the budgets and what they fix, or one and all that it could fix.

    Fields are replaced in brackets, as in quick[passes=20000,final.cells=5].
    """
    from bnas_bench.core.budgets import BUDGETS

    if name is not None and name not in BUDGETS:
        raise UnknownName("budget", name, BUDGETS)
    fields = {known: budget_fields(budget) for known, budget in BUDGETS.items()}
    definitions(
        (known, _options({key: value for key, value in fixed.items() if value is not None}))
        for known, fixed in fields.items()
        if name in (None, known)
    )
    if name is None:
        left = "What a budget does not fix is as the method's paper, the space or the images say."
    else:
        free = [key for key, value in fields[name].items() if value is None]
        left = f"As the method's paper, the space or the images say: {', '.join(free)}."
    click.echo(flowed(left))


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
def check(names: tuple[str, ...]) -> None:
    """Hold methods and spaces against their contract; a name may be both.

    A method takes some minutes: it is tried on every space, and then searches small tasks whose best
    architecture is known, ten times each, to be held against random search at the same budget. A task that
    its idea does not cover is shown with a dash and the reason.

    The exit code is 1 if one of them breaks it.
    """
    from bnas_bench.plugins.checks import run_checks

    failed = 0
    for plugin in [find(kind, name) for name in names for kind in kinds_of(name)]:
        click.secho(f"{plugin.kind} {plugin.name}", bold=True)
        for result in run_checks(plugin):
            failed += not result.passed
            mark = click.style("ok    ", "green") if result.passed else click.style("FAILED", "red")
            if not result.asked:
                mark = "-     "
            click.echo(f"  {mark}  {result.name}{f': {result.reason}' if result.reason else ''}")
    raise SystemExit(1 if failed else 0)


@click.command("new-method")
@click.argument("name")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where to write it; methods/ in a clone of the repository, else the current folder.",
)
def new_method(name: str, folder: Path | None) -> None:
    """Write a method that works, to be changed into yours."""
    from bnas_bench.plugins.scaffold import write_method

    written, spec = write_method(name, folder)
    for file in written:
        click.echo(f"wrote {file}")
    click.echo(f"try   bnas-bench check {spec}")
    click.echo(f"then  bnas-bench run --method {spec} --space darts-binary --budget smoke")


def _plugins(kind: Kind, name: str | None) -> None:
    if name is None:
        definitions(
            (p.name, f"{p.summary}\n\n{_options(p.defaults)}") for p in discover(kind).values()
        )
        return
    plugin = find(kind, name)
    click.echo(f"{flowed(plugin.doc)}\n")
    if plugin.defaults:
        known = meanings(plugin)
        click.echo("Options")
        definitions(
            (_options({name: default}), known.get(name, ""))
            for name, default in plugin.defaults.items()
        )
        click.echo()
    click.echo(f"File: {plugin.file}")


def _options(defaults: Mapping[str, Any]) -> str:
    return ", ".join(pairs(defaults))
