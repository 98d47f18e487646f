"""The command that turns results into a report."""

from __future__ import annotations

from pathlib import Path

import click

from bnas_bench import api
from bnas_bench.cli.running import FOLDER, RESULTS


@click.command()
@click.argument("name", default="local")
@RESULTS
@click.option(
    "--reports",
    type=FOLDER,
    default="reports",
    show_default=True,
    help="Folder of all reports; NAME's own in it is replaced.",
)
def report(name: str, results: Path, reports: Path) -> None:
    """Write tables, figures and a page of NAME's results, also given as results/NAME.

    Markdown, LaTeX, CSV, figures as SVG, PDF and PNG, and index.html, which needs no network.
    """
    folder = api.report(name, reports / Path(name).name, results)
    for entry in sorted(folder.iterdir()):
        files = sum(1 for _ in entry.iterdir()) if entry.is_dir() else 0
        click.echo(f"wrote {entry}{f'/ ({files} files)' if files else ''}")
