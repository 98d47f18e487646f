"""A table as data: columns, and values that know what they are and which runs they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

Kind = Literal[
    "text", "measured", "computed", "simulated", "predicted", "counted", "quoted", "missing"
]
"""`computed` is a statistic of what was measured, such as p; `counted` follows from the network alone
(MACs, parameters); `missing` says why in `note`."""


@dataclass(frozen=True, kw_only=True)
class Value:
    """A cell of a table.

    Attributes:
        text: as it is shown, without its unit: "94.63 ± 1.81".
        kind: what it is; shown wherever it is not plain from the column.
        number: what it sorts by; None sorts last.
        lower, upper: the ends of its interval, where it has one.
        n: how many runs it comes from.
        runs: their ids, which a page links to.
        note: one sentence, such as why it is missing.
    """

    text: str
    kind: Kind = "text"
    number: float | None = None
    lower: float | None = None
    upper: float | None = None
    n: int = 0
    runs: Sequence[str] = ()
    note: str = ""


def missing(note: str) -> Value:
    """The value of a trial that should be there and is not."""
    return Value(text="-", kind="missing", note=note)


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table.

    Attributes:
        key: what the rows' values go by.
        title: with its unit in brackets where it has one, "test accuracy (%)".
        numeric: whether it is set to the right and sorted by number.
        better: which way is better, where one is.
    """

    key: str
    title: str
    numeric: bool = True
    better: Literal["higher", "lower", ""] = ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table in any form.

    Attributes:
        name: of its files, as `main` or `table-4`.
        caption: dataset, budget, n, machine: what produced the numbers.
        rows: values by the columns' keys; one that is left out is an empty text.
        notes: sentences under the table: missing trials, why no winner is named.
        commands: what makes the runs, one a line.
    """

    name: str
    title: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Mapping[str, Value]]
    notes: Sequence[str] = ()
    commands: Sequence[str] = ()

    @cached_property
    def marks(self) -> dict[str, int]:
        """The numbers of the notes at values, in their order: equal ones share one."""
        keys = [column.key for column in self.columns]
        notes = (row[key].note for row in self.rows for key in keys if key in row)
        return {note: number for number, note in enumerate(dict.fromkeys(filter(None, notes)), 1)}
