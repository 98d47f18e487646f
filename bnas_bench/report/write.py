"""A table as Markdown and as CSV, and a report as Markdown; `latex.py` has the third form."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import quote

from bnas_bench.analysis.table import Table, Value
from bnas_bench.report.layout import EMPTY, lay_out, relative, shown
from bnas_bench.report.model import Report

__all__ = ["csv_text", "markdown", "markdown_report", "shown"]


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
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([name for name, _ in columns])
    writer.writerows(
        [_harmless(text) for text in row] for row in zip(*(t for _, t in columns), strict=True)
    )
    return file.getvalue()


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
