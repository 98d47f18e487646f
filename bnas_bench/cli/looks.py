"""Options that say how a table is printed: which columns, in which order of rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import click

from bnas_bench.cli.running import as_one
from bnas_bench.core.errors import UnknownName

if TYPE_CHECKING:
    from bnas_bench.analysis.table import Column, Table, Value


@dataclass(frozen=True)
class Look:
    """How a table is printed.

    Attributes:
        wide: print all columns, however wide the terminal is.
        columns: the keys of those to print, in this order, commas between; empty is all that fit.
        sort: the key of the column that rows are sorted by, best first; with a `-` in front worst first.
    """

    wide: bool = False
    columns: str = ""
    sort: str = ""

    def check(self, known: Iterable[str]) -> None:
        """Whether a table with these columns has those that were asked for.

        Raises:
            UnknownName: if not.
        """
        known = [*known]
        for key in filter(None, [*self._wanted, self.sort.removeprefix("-")]):
            if key not in known:
                raise UnknownName("column of this table", key, known)

    @property
    def _wanted(self) -> list[str]:
        return [key.strip() for key in self.columns.split(",") if key.strip()]

    def of(self, table: Table) -> Table:
        """The table with the columns and in the order that were asked for.

        Raises:
            UnknownName: if it has no such column.
        """
        known = {column.key: column for column in table.columns}
        self.check(known)
        if key := self.sort.removeprefix("-"):
            rows = _sorted(table, known[key], worst_first=self.sort.startswith("-"))
            table = replace(table, rows=rows)
        return replace(table, columns=[known[key] for key in self._wanted] or table.columns)


def _sorted(table: Table, column: Column, *, worst_first: bool) -> Sequence[Mapping[str, Value]]:
    """The rows by a column; those that have no number in it come last, texts by the alphabet."""

    def number(row: Mapping[str, Value]) -> float | None:
        return row[column.key].number if column.key in row else None

    if not column.numeric:
        return sorted(table.rows, key=lambda row: row[column.key].text, reverse=worst_first)
    known = [row for row in table.rows if number(row) is not None]
    known.sort(
        key=lambda row: number(row) or 0.0, reverse=(column.better == "higher") != worst_first
    )
    return [*known, *(row for row in table.rows if number(row) is None)]


looks = as_one(
    "look",
    Look,
    click.option("--sort", default="", metavar="COLUMN", help="Best first; -COLUMN worst first."),
    click.option(
        "--columns", default="", metavar="A,B,...", help="Only these, as --json calls them."
    ),
    click.option("--wide", is_flag=True, help="All columns, however narrow the terminal is."),
)
"""Gives a command the options of `Look`."""
