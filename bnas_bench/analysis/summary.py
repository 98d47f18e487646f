"""The table of a comparison: records in, numbers and texts out.

A row is one method (with its options) on one space, dataset and budget; its numbers are means over
the seeds that finished. A trial that has not run, or failed, is counted and named, never dropped.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from bnas_bench.plugins.spec import changed, label
from bnas_bench.runs.store import Record

Coded = tuple[str, str]
"""What a method or a space is called, and the digest of its code."""

Defaults = Callable[[str, str], Mapping[str, Any]]
"""The default options of a plug-in, by kind and name: those that a row's name need not say."""


@dataclass(frozen=True)
class Column:
    """What a column shows: the mean of a record's field over the seeds, if all of them have it.

    Attributes:
        form: a format for the mean in units of `unit`.
        spread: whether the standard deviation is shown as well.
    """

    title: str
    read: Callable[[Record], float | None]
    form: str
    unit: float = 1
    spread: bool = False


COLUMNS: Mapping[str, Column] = {
    "test_accuracy": Column("test accuracy %", lambda r: r["test_accuracy"], ".2f", spread=True),
    "parameters": Column("params", lambda r: r["parameters"], ",.0f"),
    "ops": Column("OPs M (nas-bnn)", lambda r: r["ops"]["nas-bnn"], ",.3f", 1e6),
    "memory_bits": Column("memory KiB", lambda r: r["memory_bits"], ",.1f", 8 * 1024),
    "packed_latency_ms": Column(
        "latency ms (packed, 1 thread)", lambda r: r.get("packed_latency_ms"), ",.2f"
    ),
    "latency_ms": Column("latency ms (simulated)", lambda r: r["latency_ms"], ",.2f"),
    "passes": Column("search passes", lambda r: r["passes"], ",.0f"),
    "search_seconds": Column("search s", lambda r: r["search_seconds"], ",.1f"),
    "train_seconds": Column("train s", lambda r: r["train_seconds"], ",.1f"),
}

SAME = ("harness_source", "dataset_fingerprint", "threads")
"""Fields in which the seeds of a row must agree to be seeds of one thing."""


@dataclass(frozen=True)
class Statistic:
    """Mean and sample standard deviation over the seeds; a single one has no deviation."""

    mean: float
    sd: float | None


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        n: seeds that finished, of `planned`.
        notes: what befell the other seeds, and what else a reader must know.
        values: by the names of `COLUMNS`; without those that a seed lacks, empty if none finished.
    """

    method: str
    space: str
    dataset: str
    budget: str
    n: int
    planned: int
    notes: Sequence[str]
    values: Mapping[str, Statistic]

    def to_json(self) -> dict[str, Any]:
        return vars(self) | {"values": {name: vars(value) for name, value in self.values.items()}}


@dataclass(frozen=True)
class Table:
    """Texts, ready to be laid out."""

    caption: str
    header: Sequence[str]
    lines: Sequence[Sequence[str]]
    notes: Sequence[str]


def rows(records: Iterable[Record], defaults: Defaults) -> list[Row]:
    """Group records into rows, in the order in which the groups first appear.

    Runs of a method or a space whose code has changed since are runs of another, and say by which code.

    Args:
        records: one per trial. A trial that has not run has its configuration alone and, where that
            is known, a `reason`.
    """
    groups: dict[tuple[Coded, Coded, str, str], list[Record]] = {}
    versions: dict[str, set[Coded]] = defaultdict(set)
    for record in records:
        coded = [
            (labelled(record, kind, defaults), record[f"{kind}_source"])
            for kind in ("method", "space")
        ]
        for name, source in coded:
            versions[name].add((name, source))
        key = (coded[0], coded[1], record["dataset"], record["budget"])
        groups.setdefault(key, []).append(record)

    def told_apart(coded: Coded) -> str:
        name, source = coded
        return name if len(versions[name]) == 1 else f"{name} (code {source})"

    return [
        _row((told_apart(method), told_apart(space), dataset, budget), group)
        for (method, space, dataset, budget), group in groups.items()
    ]


def table(records: Sequence[Record], defaults: Defaults) -> Table:
    """Lay out the rows; what is the same for all of them goes into the caption."""
    found = rows(records, defaults)
    names = ("space", "dataset", "budget")
    distinct = {name: list(dict.fromkeys(vars(row)[name] for row in found)) for name in names}
    own = ["method", *(name for name in names if len(distinct[name]) > 1)]
    facts = [f"{name} {values[0]}" for name, values in distinct.items() if len(values) == 1]
    return Table(
        caption="; ".join([*facts, *_circumstances(records)]),
        header=[*own, "n", *(column.title for column in COLUMNS.values())],
        lines=[[*(vars(row)[name] for name in own), *_texts(row)] for row in found],
        notes=[
            f"{', '.join(vars(row)[name] for name in own)}, {note}"
            for row in found
            for note in row.notes
        ],
    )


def labelled(record: Record, kind: str, defaults: Defaults) -> str:
    """The `method` or `space` of a record with the options that are not at their default."""
    known = _plain(defaults(kind, record[kind]))
    return label(record[kind], changed(_plain(record[f"{kind}_options"]), known))


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """As options come back from JSON, which has no tuples."""
    return {
        key: list(value) if isinstance(value, tuple) else value for key, value in options.items()
    }


def _row(key: tuple[str, str, str, str], group: list[Record]) -> Row:
    done = [record for record in group if record.get("status") == "ok"]
    notes = [
        f"seed {record['seed']} {record.get('status', 'has not run')}"
        + (f": {record['reason']}" if record.get("reason") else "")
        for record in group
        if record.get("status") != "ok"
    ]
    notes += [
        f"its seeds differ in {field}: they are not runs of one thing"
        for field in SAME
        if len({record.get(field) for record in done}) > 1
    ]
    numbers = {name: [column.read(record) for record in done] for name, column in COLUMNS.items()}
    values = {
        name: _statistic([number for number in column if number is not None])
        for name, column in numbers.items()
        if done and None not in column
    }
    return Row(*key, len(done), len(group), notes, values)


def _statistic(values: Sequence[float]) -> Statistic:
    return Statistic(fmean(values), stdev(values) if len(values) > 1 else None)


def _texts(row: Row) -> list[str]:
    n = str(row.n) if row.n == row.planned else f"{row.n}/{row.planned}"
    return [n, *(_text(column, row.values.get(name)) for name, column in COLUMNS.items())]


def _text(column: Column, value: Statistic | None) -> str:
    if value is None:
        return "-"
    mean = f"{value.mean / column.unit:{column.form}}"
    if not column.spread:
        return mean
    return f"{mean} ± {'-' if value.sd is None else f'{value.sd / column.unit:{column.form}}'}"


def _circumstances(records: Sequence[Record]) -> list[str]:
    """Where the numbers come from, and what they are not."""
    machines = {machine(record): None for record in records if record.get("status") == "ok"}
    facts = [f"measured on {' and '.join(machines)}"] if machines else []
    if any(record["budget"] != "paper" for record in records):
        facts.append("a budget other than paper reproduces no paper's numbers")
    return facts


def machine(record: Record) -> str:
    """What a trial ran on."""
    return f"{record.get('device_name') or record['cpu']} (CPU threads: {record['threads']})"
