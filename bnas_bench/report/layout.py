"""A table as texts that only need to be put together, alike for every form of it.

An interval stands in brackets behind its value. Where a column mixes kinds, each value names its own;
where it does not, a sentence under the table says what the columns hold. Notes on single values are
numbered.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bnas_bench.analysis.table import Column, Table, Value
from bnas_bench.report.model import Picture

EMPTY = Value(text="")
PLAIN = ("text", "missing")
"""Kinds that name themselves."""


@dataclass(frozen=True)
class LaidOut:
    """Texts that are escaped and ready to be put together.

    Attributes:
        marked: the notes that numbers in the lines refer to.
    """

    header: Sequence[str]
    lines: Sequence[Sequence[str]]
    marked: Sequence[str]
    notes: Sequence[str]


def lay_out(table: Table, escaped: Callable[[str], str], mark: Callable[[int], str]) -> LaidOut:
    """Put a table into texts.

    Args:
        escaped: how a text is written in the form.
        mark: how the number of a note is.
    """
    marks: dict[str, int] = {}
    mixed = {column.key for column in table.columns if len(_kinds(table, column)) > 1}

    def text(value: Value, column: Column) -> str:
        words = escaped(shown(value))
        if column.key in mixed and value.kind not in PLAIN:
            words += f" ({value.kind})"
        return words + (mark(marks.setdefault(value.note, len(marks) + 1)) if value.note else "")

    lines = [
        [text(row.get(column.key, EMPTY), column) for column in table.columns] for row in table.rows
    ]
    notes = [*table.notes, *([kinds] if (kinds := _kinds_in_words(table, mixed)) else [])]
    return LaidOut(
        header=[escaped(column.title) for column in table.columns],
        lines=lines,
        marked=[escaped(note) for note in marks],
        notes=[escaped(note) for note in notes],
    )


def shown(value: Value) -> str:
    """The text of a value and, where it has one, its interval with as many decimals."""
    if value.lower is None or value.upper is None:
        return value.text
    match = re.search(r"\d(?:\.(\d+))?(?!\d)", value.text)
    decimals = len(match[1] or "") if match else 2
    return f"{value.text} [{value.lower:,.{decimals}f}, {value.upper:,.{decimals}f}]"


def _kinds(table: Table, column: Column) -> list[str]:
    kinds = (row[column.key].kind for row in table.rows if column.key in row)
    return list(dict.fromkeys(kind for kind in kinds if kind not in PLAIN))


def _kinds_in_words(table: Table, mixed: Iterable[str]) -> str:
    """What the columns hold whose values do not say it themselves: "Measured: ...; counted: ..."."""
    titles: dict[str, list[str]] = {}
    for column in table.columns:
        if column.key not in mixed:
            for kind in _kinds(table, column):
                titles.setdefault(kind, []).append(column.title)
    words = "; ".join(f"{kind}: {', '.join(columns)}" for kind, columns in titles.items())
    return f"{words[:1].upper()}{words[1:]}." if words else ""


def relative(picture: Picture, folder: Path) -> str:
    """Where a figure's files are, without their ending, from a folder."""
    return Path(os.path.relpath(picture.stem, folder)).as_posix()
