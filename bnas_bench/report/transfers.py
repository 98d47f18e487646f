"""What backbones are worth at downstream tasks: transfers as tables, each of what compares."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from bnas_bench.analysis.stats import NotEnough, summary
from bnas_bench.analysis.table import Column, Table, Value, missing
from bnas_bench.core.files import canonical
from bnas_bench.report.values import ends
from bnas_bench.transfer.record import OPS
from bnas_bench.transfer.telling import TITLES, caption

TASK = ("task", "fingerprint", "recipe")
"""What records have in common that compare: the data, and how all are trained for them."""

BACKBONE = (
    *("backbone", "trial", "space", "space_options", "architecture", "scale", "weights"),
    *("weights_digest", "precisions"),
)
"""What the seeds of a row have in common beside that."""

Record = Mapping[str, Any]
Records = Sequence[Record]


def comparisons(records: Iterable[Record]) -> list[Records]:
    """The records by what compares, each by precision, and of one precision the best backbone first."""
    by_task: dict[str, list[Record]] = {}
    for record in records:
        by_task.setdefault(_same(record, TASK), []).append(record)
    found: list[Records] = []
    for group in by_task.values():
        worth = {
            _same(rows[0], BACKBONE): fmean([_first(row) for row in rows]) for rows in alike(group)
        }
        found.append(
            sorted(
                group,
                key=lambda row: (_bits(row), -worth[_same(row, BACKBONE)], _same(row, BACKBONE)),
            )
        )
    return found


def alike(records: Iterable[Record]) -> list[Records]:
    """The records that differ in their seeds alone, in the order in which they come."""
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(_same(record, BACKBONE), []).append(record)
    return [*found.values()]


def tables(records: Iterable[Record], trials: Container[str]) -> list[Table]:
    """A table for each task, and of a task for each recipe.

    Args:
        trials: that the report shows, which backbones lead to.
    """
    used: dict[str, int] = {}
    found = []
    for group in comparisons(records):
        task = str(group[0]["task"])
        used[task] = number = used.get(task, 0) + 1
        slug = re.sub(r"[^a-z0-9]+", "-", task.lower())[:80].strip("-")
        end, title = (f"-{number}", f" ({number})") if number > 1 else ("", "")
        found.append(
            transfer_table(group, f"transfer-{slug}{end}", f"Backbones at {task}{title}", trials)
        )
    return found


def transfer_table(
    records: Records, name: str = "transfer", title: str = "", trials: Container[str] = ()
) -> Table:
    """The table of some transfers to one task: a row for those that differ in their seeds alone."""
    first = records[0]
    titles = TITLES.get(first["task"]) or {key: key for key in first["test"]}
    rows = [_row(group, titles, trials) for group in alike(records)]
    has_intervals = any(value.lower is not None for row in rows for value in row.values())
    level = "; in brackets the 95 % t interval of the mean over the seeds" * has_intervals
    images = "x".join(map(str, first["shape"]))
    return Table(
        name=name,
        title=title,
        caption=(
            f"{first['task']}, images of {images}, {_recipe(first)}: measured on "
            f"{caption(first['task'], first['test'])}{level}; {_origin(records)}"
        ),
        columns=[
            Column(key="backbone", title="backbone", numeric=False),
            Column(key="weights", title="weights", numeric=False),
            Column(key="precision", title="at", numeric=False),
            Column(key="n", title="seeds"),
            *(Column(key=key, title=text, better="higher") for key, text in titles.items()),
            Column(key="ops", title=f"OPs {OPS} (M)", better="lower"),
            Column(key="train", title="training (s)"),
        ],
        rows=rows,
    )


def _row(records: Records, titles: Mapping[str, str], trials: Container[str]) -> dict[str, Value]:
    first, ids = records[0], [record["id"] for record in records]
    ops = first["ops"][OPS] / 1e6
    seconds = fmean(record["train_seconds"] for record in records)
    return {
        "backbone": Value(
            text=named(first), runs=[first["trial"]] if first["trial"] in trials else []
        ),
        "weights": Value(text=first["weights"]),
        "precision": Value(text=", then ".join(first["precisions"])),
        "n": Value(text=str(len(records)), number=len(records), runs=ids),
        **{key: _mean([record["test"].get(key) for record in records], ids) for key in titles},
        "ops": Value(text=f"{ops:,.3f}", kind="counted", number=ops),
        "train": Value(text=f"{seconds:,.1f}", kind="measured", number=seconds, runs=ids),
    }


def named(record: Record) -> str:
    """The backbone, with the name of a hand-made network: of an architecture that is a single choice."""
    choices = record.get("choices")
    if record["trial"] or not isinstance(choices, dict) or len(choices) != 1:
        return str(record["backbone"])
    return f"{record['backbone']} ({next(iter(choices.values()))})"


def _mean(values: Sequence[float | None], ids: Sequence[str]) -> Value:
    """The mean in %, with its interval where the values are enough for one; none where one is missing."""
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return missing("there is nothing to judge")
    found = summary(known)
    assert not isinstance(found, NotEnough), "there are values"
    lower, upper = ends(found.interval, 0, 100)
    why = found.interval.reason if isinstance(found.interval, NotEnough) else ""
    return Value(
        text=f"{found.mean:.1f}",
        kind="measured",
        number=found.mean,
        lower=lower,
        upper=upper,
        n=found.n,
        runs=ids,
        note=f"no interval: {why}" if why and found.n > 1 else "",
    )


def _recipe(record: Record) -> str:
    """How it was trained, in short: the record has all of it."""
    recipe = record["recipe"]
    told = {"epochs": "{} epochs", "batch_size": "batches of {}", "lr": "a rate of {}"}
    return ", ".join(text.format(recipe[key]) for key, text in told.items() if key in recipe)


def _origin(records: Records) -> str:
    """By which code and on which machine they were trained."""
    codes = {
        f"{str(record.get('commit'))[:10]}{'+' * bool(record.get('dirty'))}" for record in records
    }
    machines = {str(record.get("device_name") or record.get("cpu")) for record in records}
    apart = " (several: they need not compare)" * (len(codes) > 1)
    return f"code {', '.join(sorted(codes))}{apart}, {', '.join(sorted(machines))}"


def _same(record: Record, names: Sequence[str]) -> str:
    return canonical({name: record.get(name) for name in names})


def _first(record: Record) -> float:
    """The value that counts; below all others where there is none."""
    titles = TITLES.get(record["task"]) or record["test"]
    value = record["test"].get(next(iter(titles), ""))
    return -1.0 if value is None else value


def _bits(record: Record) -> list[int]:
    """The numbers in the name of the last precision, which are its bits."""
    return [int(digits) for digits in re.findall(r"\d+", record["precisions"][-1])]
