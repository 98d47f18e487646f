"""A table as texts to be put together, and put together as Markdown and as CSV; a report as Markdown.

An interval stands in brackets behind its value. Where a column mixes kinds, each value names its own;
where it does not, a sentence under the table says what the columns hold. Notes on single values are
numbered. `latex.py` has the third form.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from urllib.parse import quote

from bnas_bench.analysis.table import Column, Table, Value
from bnas_bench.report.model import Picture, Report

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
    mixed = {column.key for column in table.columns if len(_kinds(table, column)) > 1}

    def text(value: Value, column: Column) -> str:
        words = escaped(shown(value))
        if column.key in mixed and value.kind not in PLAIN:
            words += f" ({value.kind})"
        return words + (mark(table.marks[value.note]) if value.note else "")

    lines = [
        [text(row.get(column.key, EMPTY), column) for column in table.columns] for row in table.rows
    ]
    notes = [*table.notes, *([kinds] if (kinds := _kinds_in_words(table, mixed)) else [])]
    return LaidOut(
        header=[escaped(column.title) for column in table.columns],
        lines=lines,
        marked=[escaped(note) for note in table.marks],
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


def markdown(table: Table) -> str:
    """The table with its title, caption, notes and commands, in GitHub's Markdown."""
    laid_out = lay_out(table, _markdown_text, lambda mark: f"<sup>{mark}</sup>")
    rules = ["---:" if column.numeric else ":---" for column in table.columns]
    lines = [
        f"### {_markdown_text(table.title)}",
        "",
        _markdown_text(table.caption),
        "",
        *(f"| {' | '.join(cells)} |" for cells in (laid_out.header, rules, *laid_out.lines)),
    ]
    notes = [f"{mark}. {text}" for mark, text in enumerate(laid_out.marked, start=1)]
    for block in (notes, [f"- {text}" for text in laid_out.notes]):
        lines += ["", *block] if block else []
    if table.commands:
        lines += ["", "```", *(" ".join(command.splitlines()) for command in table.commands), "```"]
    return "\n".join(lines) + "\n"


def markdown_report(report: Report, folder: Path) -> str:
    """All of a report as one text, with its figures and their files beside it."""
    lines = [
        f"# {_markdown_text(report.title)}",
        "",
        *(f"- {_markdown_text(f)}" for f in report.facts),
    ]
    for table in report.tables:
        lines += ["", markdown(table).rstrip()]
    for picture in report.pictures:
        stem = quote(relative(picture, folder))
        lines += [
            "",
            f"### {_markdown_text(picture.title)}",
            "",
            f"![{_markdown_text(picture.title)}]({stem}.svg)",
            "",
            _markdown_text(picture.caption),
        ]
    return "\n".join(lines) + "\n"


PARTS: Mapping[str, Callable[[Value], str]] = {
    "text": lambda value: "" if value.text == _csv_value(value) else value.text,
    "lower": lambda value: _plain_number(value.lower),
    "upper": lambda value: _plain_number(value.upper),
    "n": lambda value: str(value.n) if value.n else "",
    "kind": lambda value: "" if value.kind == "text" else value.kind,
    "runs": lambda value: " ".join(value.runs),
    "note": lambda value: value.note,
}
"""What a CSV says of a value beside itself, each in a column `KEY_PART`, if any row has it."""


def csv_text(table: Table) -> str:
    """A line per row: per column its value, a number where it has one, and its `PARTS`.

    Runs that are the same for all values of each row stand once, at the end.
    A text that a spreadsheet would take for a formula gets an apostrophe in front.
    """
    columns: list[tuple[str, list[str]]] = []
    lines = [[row.get(column.key, EMPTY) for column in table.columns] for row in table.rows]
    sources = [{tuple(value.runs) for value in line if value.runs} for line in lines]
    one_source = all(len(found) <= 1 for found in sources)
    for place, column in enumerate(table.columns):
        values = [line[place] for line in lines]
        columns.append((column.key, [_csv_value(value) for value in values]))
        for part, read in PARTS.items():
            texts = [read(value) for value in values]
            if any(texts) and not (part == "runs" and one_source):
                columns.append((f"{column.key}_{part}", texts))
    if one_source and any(sources):
        columns.append(("runs", [" ".join(*found) if found else "" for found in sources]))
    rows = zip(*(map(_harmless, texts) for _, texts in columns), strict=True)
    text = StringIO()
    csv.writer(text, lineterminator="\n").writerows([[name for name, _ in columns], *rows])
    return text.getvalue()


def _markdown_text(text: str) -> str:
    plain = re.sub(r"([\\`*_<>|~$&])", r"\\\1", " ".join(text.split()))
    return plain.replace("](", r"]\(")


def _csv_value(value: Value) -> str:
    if value.kind == "missing":
        return ""
    return value.text if value.number is None else _plain_number(value.number)


def _plain_number(number: float | None) -> str:
    if number is None:
        return ""
    return repr(int(number) if float(number).is_integer() else float(number))


def _harmless(text: str) -> str:
    """In one line, and no formula."""
    text = " ".join(text.split())
    if not text.startswith(("=", "+", "-", "@")):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text
