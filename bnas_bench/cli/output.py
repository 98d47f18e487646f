"""How the commands print tables."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from bnas_bench.cli.looks import Look
from bnas_bench.cli.streams import spelt

if TYPE_CHECKING:
    from bnas_bench.analysis.table import Column, Table

WIDE = 250
"""Columns of a line that no terminal shows: nothing is to be cut off in a file."""

NARROW = 12
"""Signs that a text is folded to before a column is left out; a number is never folded."""

WORD = 28
"""Signs of the longest word that no text is folded within, where that leaves room for `FEWEST` columns."""

FEWEST = 4

GAP, EDGES = 3, 2
"""Signs between two columns, and at the two ends of a line."""


def stdout(width: int | None = None) -> Console:
    """The console that tables are printed on, as wide as the terminal if nothing else is said."""
    return Console(width=width if sys.stdout.isatty() or width else WIDE, highlight=False)


def literal(text: str) -> str:
    """A text of a table as it is to be read: no markup, and signs spelt out before columns are aligned."""
    return escape(spelt(text, sys.stdout.encoding))


def print_table(table: Table, look: Look | None = None) -> None:
    """Print a table with its title, notes and caption; a value's note is numbered.

    No number is cut or folded: on a terminal that is too narrow the last columns are left out, and
    named below.

    Raises:
        UnknownName: if `look` names a column that there is not.
    """
    look = look or Look()
    table = look.of(table)
    console = stdout()
    texts = {column.key: _texts(table, column) for column in table.columns}
    is_bounded = sys.stdout.isatty() and not (look.wide or look.columns)
    most = console.width if is_bounded else None
    shown, widths = _fitted(table.columns, texts, most, WORD)
    if len(shown) < min(FEWEST, len(table.columns)):
        shown, widths = _fitted(table.columns, texts, most, NARROW)
    grid = Grid(box=SIMPLE_HEAD, pad_edge=False)
    for column, width in zip(shown, widths, strict=True):
        grid.add_column(
            literal(column.title),
            justify="right" if column.numeric else "left",
            width=width,
            overflow="fold",
        )
    for cells in zip(*(texts[column.key] for column in shown), strict=True):
        grid.add_row(*map(escape, cells))
    if table.title:
        console.print(literal(table.title), style="bold")
    stdout(max(console.width, _line(widths))).print(grid)
    if left_out := [column.title for column in table.columns[len(shown) :]]:
        plural = "s" * (len(left_out) > 1)
        console.print(literal(f"+{len(left_out)} column{plural}: --wide ({', '.join(left_out)})"))
    for note, number in table.marks.items():
        say(console, f"({number}) {note}")
    for text in (*table.notes, table.caption):
        say(console, text)


def say(console: Console, text: str) -> None:
    """Print a sentence, wrapped at words on a terminal and on one line elsewhere."""
    console.print(literal(text), soft_wrap=not sys.stdout.isatty())


def _texts(table: Table, column: Column) -> list[str]:
    """What stands in a column, line by line, in signs that stdout has."""
    from bnas_bench.report.write import EMPTY, shown

    values = [row.get(column.key, EMPTY) for row in table.rows]
    marks = (f" ({table.marks[value.note]})" if value.note else "" for value in values)
    whole = (shown(value) + mark for value, mark in zip(values, marks, strict=True))
    return [spelt(text, sys.stdout.encoding) for text in whole]


def _fitted(
    columns: Sequence[Column], texts: dict[str, list[str]], most: int | None, word: int
) -> tuple[Sequence[Column], list[int]]:
    """The columns that have room on a line, the first ones, and how wide each is to be.

    Args:
        most: signs of a line; None is without end.
        word: signs of the longest word that no text is folded within.
    """
    least, whole = [], []
    for column in columns:
        title = spelt(column.title, sys.stdout.encoding)
        longest = max(map(cell_len, texts[column.key]), default=0)
        heading = max(map(cell_len, title.split()), default=0)
        words = (cell_len(part) for text in texts[column.key] for part in text.split())
        folded = max(NARROW, min(max(words, default=0), word))
        least.append(max(longest if column.numeric else min(longest, folded), heading))
        whole.append(max(longest, cell_len(title)))
    if most is None:
        return columns, whole
    while len(least) > 1 and _line(least) > most:
        least.pop()
    room = most - _line(least)
    widths = []
    for narrow, wide in zip(least, whole, strict=False):
        widths.append(narrow + max(0, min(wide - narrow, room)))
        room -= widths[-1] - narrow
    return columns[: len(widths)], widths


def _line(widths: Sequence[int]) -> int:
    """Signs of a line with columns of these widths."""
    return sum(widths) + GAP * (len(widths) - 1) + EDGES
