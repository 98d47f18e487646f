"""What a report consists of, before it is written in any form: tables of values, figures, runs.

Every value knows what it is (`measured`, `quoted`, ...) and from which runs it comes, so that no form
of the report can lose that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Kind = Literal["text", "measured", "simulated", "predicted", "counted", "quoted", "missing"]
"""`counted` follows from the network alone (MACs, parameters); `missing` says why in `note`."""


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
    """The value of a cell that should be there and is not."""
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
        notes: sentences under the table: missing cells, why no winner is named.
        commands: what makes the runs, one a line.
    """

    name: str
    title: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Mapping[str, Value]]
    notes: Sequence[str] = ()
    commands: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure that has been written; `stem` is its path without an ending, for svg, pdf and png."""

    name: str
    title: str
    caption: str
    stem: Path
    runs: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class RunView:
    """What a page shows of one run.

    Attributes:
        command: runs it again.
        config: all that its id is hashed from, as lines (`embed.fields`).
        record: the fields of the record that are not in `config`, as lines.
        log: the anytime log, thinned to what fits a page.
        architecture: one option per decision, as lines; empty if it found none.
        files: links to its files beside the page, by name, where they exist.
    """

    id: str
    status: str
    command: str
    config: Mapping[str, str] = field(default_factory=dict)
    record: Mapping[str, str] = field(default_factory=dict)
    log: Sequence[Mapping[str, Any]] = ()
    architecture: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    drawing: str = ""
    """The cell as SVG, where it was drawn; empty elsewhere."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """All that a folder `reports/NAME` says.

    Attributes:
        facts: lines under the title: what was run, on what, what it does and does not prove.
    """

    name: str
    title: str
    facts: Sequence[str]
    tables: Sequence[Table]
    pictures: Sequence[Picture] = ()
    runs: Sequence[RunView] = ()
