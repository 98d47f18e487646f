"""Where a checked number stands: a cell of a table that is kept as data, or a sentence of the text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from bnas_bench.papers.artefact import Artefact, load, title_of
from bnas_bench.papers.audit.check import Check
from bnas_bench.papers.audit.terms import Term, exactly, printed


class Table:
    """A table of a paper; called, it gives its cells.

    Args:
        id: of the artefact, `dcp-nas/table-4`.
    """

    def __init__(self, id: str) -> None:  # noqa: A002
        self.artefact: Artefact = load(id)
        self.id, self.paper = id, self.artefact.paper
        self.name = f"Table {id.partition('table-')[2]}"
        self.columns = {column.key: column for column in self.artefact.columns}

    def __call__(self, row: str, column: str, group: str = "") -> Cell:
        """The cell of that row, in just that group if one is named.

        Raises:
            UnknownName: if there is no such row, or more than one.
            BadValue: if no number is printed there.
        """
        text = self.artefact.row(row, group).paper[column]
        number = vars(printed(text))
        return Cell(**number, table=self, row=row, column=column, group=group, printed=text)

    def has(self, row: str, column: str, group: str = "") -> bool:
        """Whether a number is printed there."""
        return any(map(str.isdigit, self.artefact.row(row, group).paper.get(column, "")))

    def rows(self, column: str, group: str = "") -> list[str]:
        """The names of the rows that have a number in a column, in their order."""
        found = [row.name for row in self.artefact.rows if group in ("", row.group)]
        return [row for row in found if self.has(row, column, group)]


@dataclass(frozen=True, kw_only=True)
class Cell(Term):
    """A number in a table; `group` is empty where the row's name says which row it is.

    Attributes:
        printed: the whole text of the cell.
    """

    table: Table
    row: str
    column: str
    group: str
    printed: str

    def place(self, seen_from: str = "") -> str:
        """Where it stands, with the paper's name for readers of another paper."""
        table = self.table
        paper = f"{title_of(table.paper)}, " if seen_from not in ("", table.paper) else ""
        within = f" ({self.group})" if self.group else ""
        return f"{paper}{table.name}, row {self.row}{within}, column {table.columns[self.column].title}"

    def check(self, words: str, value: Term, *, key: str = "", **more: Any) -> Check:
        """A check of the cell; its id is made of the row and the column, its unit is the column's.

        Args:
            key: ends the id, where a cell is checked more than once.
            more: further fields of `Check`, which may overrule these.
        """
        known = {
            "id": f"{self.table.id}:{slug(f'{self.group} {self.row} {self.column} {key}')}",
            "place": self.place(),
            "quotation": self.printed,
            "printed": self.printed,
            "unit": self.table.columns[self.column].unit,
        }
        return Check(**known | more, words=words, value=value)

    def same(self, other: Cell, **more: Any) -> Check:
        """A check that the cell is printed alike in another table."""
        paper = self.table.paper
        source = "" if other.table.paper == paper else f"{other.table.paper} "
        words, key = f"as in {other.place(paper)}", f"in {source}{other.table.name}"
        return self.check(words, other, key=key, repeated=True, **more)


@dataclass(frozen=True)
class Section:
    """A section of a paper's text; called with a sentence, it gives that.

    Attributes:
        number: as `4.3.2`, or a name such as `abstract`.
    """

    paper: str
    number: str

    def __call__(self, quotation: str) -> Sentence:
        return Sentence(self, quotation)


@dataclass(frozen=True)
class Sentence:
    """What a section says, as printed."""

    section: Section
    quotation: str

    def check(self, key: str, number: str, words: str, value: Term, **more: Any) -> Check:
        """A check of a number in the sentence.

        Args:
            key: ends the id, unique in the section.
            number: as printed, or the word of a claim without one.
            more: further fields of `Check`.
        """
        paper, name = self.section.paper, self.section.number
        numbered = name[0].isdigit()
        return Check(
            id=f"{paper}/{'section-' * numbered}{slug(name, '.')}:{key}",
            place=f"section {name}" if numbered else name,
            quotation=self.quotation,
            printed=number,
            words=words,
            value=value,
            **more,
        )

    def exceeds(self, key: str, number: str, words: str, gain: Term, **more: Any) -> Check:
        """A check that what the sentence prefers has the larger value; `gain` is by how much."""
        return self.check(key, number, words, gain, relation=">", claimed=exactly(0), **more)

    def same(self, key: str, number: str, cell: Cell, **more: Any) -> Check:
        """A check that the sentence repeats the cell of a table; the unit is the column's."""
        words = f"as in {cell.place(self.section.paper)}"
        more = {"unit": cell.table.columns[cell.column].unit} | more
        return self.check(key, number, words, cell, repeated=True, **more)


def slug(text: str, keep: str = "") -> str:
    """A text in lower case letters, digits and hyphens, for an id."""
    marks = {"♯": "sharp", "§": "section", "♭": "flat", "‡": "ddagger", "†": "dagger", "*": "star"}
    for mark, word in marks.items():
        text = text.replace(mark, f" {word} ")
    return re.sub(rf"[^a-z0-9{re.escape(keep)}]+", "-", text.lower()).strip("-")
