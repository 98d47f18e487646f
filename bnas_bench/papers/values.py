"""What the records of a row's runs say in a column of the paper's table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from bnas_bench.analysis.measures import field
from bnas_bench.analysis.stats import NotEnough, summary
from bnas_bench.analysis.table import Kind, Value, missing
from bnas_bench.papers.artefact import TRANSFER, Artefact, Column, Row, decimals
from bnas_bench.papers.counted import counted
from bnas_bench.papers.plan import is_own
from bnas_bench.report.values import ends, told
from bnas_bench.runs.store import Record

COUNTED = ("ops", "macs", "memory", "parameters", "memory_bits")
"""Fields of a record that follow from the network alone."""

Runs = Mapping[str, Sequence[Record]]
"""By the name of a row's run the records of its trials; one that is not over has its configuration."""


def kind(column: Column) -> Kind:
    """What a column's values are."""
    top = column.path.partition(".")[0]
    if top in COUNTED:
        return "counted"
    return "simulated" if top.startswith("latency") else "measured"


class Reader:
    """Reads an artefact's columns out of the records of its rows.

    Args:
        rows: for each row of the artefact the records of its runs.
    """

    def __init__(self, artefact: Artefact, rows: Sequence[Runs]) -> None:
        self.artefact = artefact
        self.runs = dict(zip((id(row) for row in artefact.rows), rows, strict=True))

    def value(self, row: Row, column: Column) -> Value:
        """The cell beside the paper's: a mean with its interval, a count, or why there is none.

        Of a row that is run all values are of the networks that its runs trained, costs too.
        """
        if column.ratio:
            return self._ratio(row, column, self.value)
        if row.count and not row.runs:
            return self.counted(row, column)
        if column.fall and row.name == column.fall[1]:
            return Value(text="")
        if not row.runs or (column.run and column.run not in row.runs):
            return Value(text="")
        by_seed = self.by_seed(row, column)
        records = self.records(row, column)
        if column.task and (first := self._first_of(records, column)):
            return missing(f"as {first}: one embedded task stands in for both")
        if not by_seed:
            return missing(_why(records, column))
        return self._mean(row, list(by_seed.values()), records, column)

    def counted(self, row: Row, column: Column) -> Value:
        """The cost of the network that the row names, at the paper's size; empty where that is none."""
        if column.ratio:
            return self._ratio(row, column, self.counted)
        if row.count is None or row.count.task != column.task or kind(column) != "counted":
            return Value(text="")
        found = field(counted(row.count), column.path)
        if found is None:
            return Value(text="")
        number = found / column.scale
        return Value(
            text=_text(number, self._decimals(column)),
            kind="counted",
            number=number,
            note=_where(row),
        )

    def by_seed(self, row: Row, column: Column) -> dict[int, float]:
        """The column's value of every seed that has one."""
        if column.difference:
            first, second = (
                self.by_seed(row, self.artefact.column(key)) for key in column.difference
            )
            return {seed: first[seed] - second[seed] for seed in first if seed in second}
        if column.fall:
            part, base = self.artefact.column(column.fall[0]), self.artefact.row(column.fall[1])
            above, below = self.by_seed(base, part), self.by_seed(row, part)
            return {seed: above[seed] - below[seed] for seed in above if seed in below}
        return {
            record["seed"]: value / column.scale
            for record in self._of(row, column.run)
            if record.get("status") == "ok" and (value := field(record, column.record)) is not None
        }

    def records(self, row: Row, column: Column) -> list[Record]:
        """The records behind a column, each once."""
        if column.fall:
            part, base = self.artefact.column(column.fall[0]), self.artefact.row(column.fall[1])
            found = [*self.records(base, part), *self.records(row, part)]
            return list({record["id"]: record for record in found}.values())
        names = [self.artefact.column(key).run for key in column.difference] or [column.run]
        found = [record for name in names for record in self._of(row, name)]
        return list({record["id"]: record for record in found}.values())

    def _of(self, row: Row, name: str) -> Sequence[Record]:
        runs = self.runs[id(row)]
        return runs.get(name or "run") or (next(iter(runs.values()), []) if not name else [])

    def _mean(
        self, row: Row, values: Sequence[float], records: Sequence[Record], column: Column
    ) -> Value:
        found = summary(values)
        assert not isinstance(found, NotEnough), "there are values"
        lower, upper = ends(found.interval)
        counts = kind(column) == "counted" and not column.difference
        notes = [
            self._foreign(row, records, column),
            "at the budget's scale" if counts else "",
            _why(records, column) if len(values) < len({r["seed"] for r in records}) else "",
        ]
        return Value(
            text=_text(found.mean, self._decimals(column)),
            kind=kind(column),
            number=found.mean,
            lower=lower,
            upper=upper,
            n=found.n,
            runs=[record["id"] for record in records if record.get("status") == "ok"],
            note="; ".join(filter(None, notes)),
        )

    def _first_of(self, records: Sequence[Record], column: Column) -> str:
        """The title of an earlier column of which this one's task has the same values; empty if none."""
        key = column.record.rpartition(".")[2]
        for earlier in self.artefact.columns[: self.artefact.columns.index(column)]:
            alike = earlier.task and earlier.record.rpartition(".")[2] == key
            if alike and _tasks(records, earlier) == _tasks(records, column) != set():
                return earlier.title
        return ""

    def _foreign(self, row: Row, records: Sequence[Record], column: Column) -> str:
        """The images of the runs, where they are not those of the paper's row."""
        if column.task:
            here = " and ".join(sorted(_tasks(records, column) - {column.task}))
            return f"on {here}, not {self.artefact.measured(column)[0]}" if here else ""
        printed = self.artefact.trained_on(row)
        found = dict.fromkeys(record["dataset"] for record in records if record.get("dataset"))
        others = [dataset for dataset in found if not is_own(printed, dataset)]
        here = " and ".join(others)
        return f"on {here}, not {printed or 'images that the paper names'}" if here else ""

    def _ratio(self, row: Row, column: Column, of: Callable[[Row, Column], Value]) -> Value:
        key, base = column.ratio
        part = self.artefact.column(key)
        above, below = of(self.artefact.row(base), part), of(row, part)
        if below.text == "":
            return Value(text="")
        if above.number is None or not below.number:
            return missing(
                f"there is no {part.title} of {base if above.number is None else row.name}"
            )
        if bool(above.runs) != bool(below.runs):
            return missing(f"{part.title} of the two is not counted at one size")
        return Value(
            text=f"{above.number / below.number:.2f}×",
            kind=below.kind,
            number=above.number / below.number,
            runs=[*above.runs, *below.runs],
        )

    def _decimals(self, column: Column) -> int:
        """As many as the paper prints, and at least two."""
        printed = (decimals(row.paper.get(column.key, "")) for row in self.artefact.rows)
        return max(2, *printed)


def carried(record: Record, task: str) -> Mapping[str, Any]:
    """What a record says of the transfer to a task, or of what stands in for it; nothing if it was none."""
    found: Mapping[str, Mapping[str, Any]] = record.get(TRANSFER, {})
    return found.get(task, {})


def _tasks(records: Sequence[Record], column: Column) -> set[str]:
    """The downstream tasks that the networks were carried to in a column's place."""
    return {found["task"] for record in records if (found := carried(record, column.task))}


def _text(number: float, digits: int) -> str:
    if number and abs(number) < 10**-digits:
        return f"{number:.2g}"
    return f"{number:,.{digits}f}"


def _where(row: Row) -> str:
    assert row.count is not None
    size = "x".join(map(str, row.count.input))
    of = (
        f" of {row.count.space}"
        if "[" in row.count.space and row.count.arch not in row.count.space
        else ""
    )
    return f"{row.count.arch}{of} at {size}, {row.count.classes} classes"


def _why(records: Sequence[Record], column: Column) -> str:
    """Why seeds have no value, one clause each."""
    fates = []
    for record in sorted(records, key=itemgetter("seed")):
        if record.get("status") != "ok":
            reason = record.get("reason")
            what = record.get("status", "has not run") + (f": {reason}" if reason else "")
        elif column.task and "reason" in (found := carried(record, column.task)):
            what = found["reason"]
        elif column.record and field(record, column.record) is None:
            own = record.get("packed_reason") if column.record.startswith("packed") else ""
            what = f"has no {column.record}" + (f": {own}" if own else "")
        else:
            continue
        fates.append((str(record["seed"]), " ".join(what.split())))
    return told(fates)
