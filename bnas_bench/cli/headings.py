"""The options of a command that has many, under headings."""

from __future__ import annotations

from collections.abc import Mapping

import click

HEADINGS: Mapping[str, str] = {
    "What is run": "method space set dataset seeds seed grid save-grid",
    "Budget and training": "budget train train-seeds transfer",
    "Where and how": "device devices batch-norm threads jobs data-folder backend ray-address sbatch",
    "Which trials of these": "only retry-failed rerun no-run dry-run",
    "What is kept": "name results reports page log",
    "What is printed": "wide columns sort json help",
}
"""The options in the order in which one needs them."""


class Sectioned(click.Command):
    """A command whose help has its options under `HEADINGS`."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = {}
        for param in self.get_params(ctx):
            if isinstance(param, click.Option) and (record := param.get_help_record(ctx)):
                rows[param.opts[-1].lstrip("-")] = record
        for heading, names in HEADINGS.items():
            if found := [rows.pop(name) for name in names.split() if name in rows]:
                with formatter.section(heading):
                    formatter.write_dl(found)
        if rows:
            with formatter.section("More"):
                formatter.write_dl([*rows.values()])
