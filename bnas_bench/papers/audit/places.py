"""Where a checked number stands: a cell of a table that is kept as data, or a sentence of the text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bnas_bench.core.errors import UnknownName
from bnas_bench.papers.artefact import Artefact, Row, load
from bnas_bench.papers.audit.check import Check
from bnas_bench.papers.audit.terms import Term, printed

NAMES: Mapping[str, str] = {
    "cp-nas": "CP-NAS",
    "dcp-nas": "DCP-NAS",
    "bars": "BARS",
    "nas-bnn": "NAS-BNN",
}


class Table:
    """A table of a paper, its cells as numbers and as places.

    Args:
        id: of the artefact, `dcp-nas/table-4`.
    """

    def __init__(self, id: str) -> None:  # noqa: A002
        self.artefact: Artefact = load(id)
        self.id, self.paper = id, self.artefact.paper
        self.name = f"Table {id.partition('table-')[2]}"
        self.titles = {column.key: column.title for column in self.artefact.columns}

    def row(self, name: str, group: str = "") -> Row:
        """The row of that name, in just that group if one is named.

        Raises:
            UnknownName: if there is none, or more than one.
        """
        found = [r for r in self.artefact.rows if r.name == name and group in ("", r.group)]
        if len(found) != 1:
            known = {f"{r.group}, {r.name}" for r in self.artefact.rows}
            raise UnknownName(f"row of {self.id}", f"{group}, {name}", known)
        return found[0]

    def text(self, row: str, column: str, group: str = "") -> str:
        """A cell as printed."""
        return self.row(row, group).paper[column]

    def __call__(self, row: str, column: str, group: str = "") -> Term:
        """A cell as a number."""
        return printed(self.text(row, column, group))

    def has(self, row: str, column: str, group: str = "") -> bool:
        """Whether a number is printed there."""
        return any(map(str.isdigit, self.row(row, group).paper.get(column, "")))

    def rows(self, column: str, group: str = "") -> list[str]:
        """The names of the rows that have a number in a column, in their order."""
        found = [row.name for row in self.artefact.rows if group in ("", row.group)]
        return [row for row in found if self.has(row, column, group)]

    def place(self, row: str, column: str, group: str = "", *, seen_from: str = "") -> str:
        """A cell's place in words, with the paper's name for readers of another paper."""
        paper = f"{NAMES[self.paper]}, " if seen_from not in ("", self.paper) else ""
        within = f" ({group})" if group else ""
        return f"{paper}{self.name}, row {row}{within}, column {self.titles[column]}"

    def check(
        self,
        row: str,
        column: str,
        words: str,
        value: Term,
        *,
        group: str = "",
        key: str = "",
        **more: Any,
    ) -> Check:
        """A check of a cell; its id is made of the row and the column.

        Args:
            key: ends the id, where a cell is checked more than once.
        """
        text = self.text(row, column, group)
        return Check(
            id=f"{self.id}:{slug(f'{group} {row} {column} {key}')}",
            place=self.place(row, column, group),
            quotation=text,
            printed=text,
            words=words,
            value=value,
            **more,
        )

    def same(
        self,
        row: str,
        column: str,
        other: Table,
        its_row: str = "",
        its_column: str = "",
        *,
        group: str = "",
        its_group: str = "",
        **more: Any,
    ) -> Check:
        """A check that a cell is printed alike in another table."""
        cell = its_row or row, its_column or column, its_group
        words = f"as in {other.place(*cell, seen_from=self.paper)}"
        source = "" if other.paper == self.paper else f"{other.paper} "
        key = f"in {source}{other.name}"
        return self.check(
            row, column, words, other(*cell), group=group, key=key, repeated=True, **more
        )


class Section:
    """A section of a paper's text.

    Args:
        number: as `4.3.2`, or a name such as `abstract`.
    """

    def __init__(self, paper: str, number: str) -> None:
        numbered = number[0].isdigit()
        self.paper, self.place = paper, f"section {number}" if numbered else number
        self.id = f"{paper}/{'section-' * numbered}{slug(number, '.')}"

    def check(
        self, key: str, quotation: str, number: str, words: str, value: Term, **more: Any
    ) -> Check:
        """A check of a number in a sentence.

        Args:
            key: ends the id, unique in the section.
            quotation: as printed, with the number in it.
            number: as printed, or the word of a claim without one.
        """
        return Check(
            id=f"{self.id}:{key}",
            place=self.place,
            quotation=quotation,
            printed=number,
            words=words,
            value=value,
            **more,
        )

    def same(
        self,
        key: str,
        quotation: str,
        number: str,
        table: Table,
        row: str,
        column: str,
        group: str = "",
        **more: Any,
    ) -> Check:
        """A check that a sentence repeats the cell of a table."""
        words = f"as in {table.place(row, column, group, seen_from=self.paper)}"
        cell = table(row, column, group)
        return self.check(key, quotation, number, words, cell, repeated=True, **more)


def slug(text: str, keep: str = "") -> str:
    """A text in lower case letters, digits and hyphens, for an id."""
    marks = {"♯": "sharp", "§": "section", "♭": "flat", "‡": "ddagger", "†": "dagger", "*": "star"}
    for mark, word in marks.items():
        text = text.replace(mark, f" {word} ")
    return re.sub(rf"[^a-z0-9{re.escape(keep)}]+", "-", text.lower()).strip("-")
