"""The table of a comparison: a frame of records in, means and intervals out.

A row is one method (with its options) on one space, dataset and budget; its numbers are means over
the seeds that finished. A trial that has not run, or failed, is counted and named, never dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import nan
from typing import Any

import numpy as np
import pandas as pd
from pandas import DataFrame
from scipy import stats

from bnas_bench.analysis.measures import CROWDED, MEASURES, TIMES, Measure, is_crowded
from bnas_bench.analysis.stats import Estimate, NotEnough, components, summary
from bnas_bench.analysis.stats.means import FEWEST
from bnas_bench.analysis.table import Column, Table, Value
from bnas_bench.analysis.timings import apart, timed
from bnas_bench.plugins.likeness import unlike_a_paper
from bnas_bench.plugins.spec import changed, label
from bnas_bench.runs.record import Record, machine

Defaults = Callable[[str, str], Mapping[str, Any]]
"""The default options of a plug-in, by kind and name: those that a row's name need not say."""


SHOWN = (
    *("test_accuracy", "ops", "packed_latency_ms", "search_seconds", "train_seconds"),
    *("latency_ms", "parameters", "memory_bits", "passes"),
)

COLUMNS: Mapping[str, Measure] = {name: MEASURES[name] for name in SHOWN}
"""What the table shows: the mean over the seeds, if all of them have it. What matters most comes first:
where a terminal is narrow the last ones are left out."""

JUDGED = ("table", "by the table's definition")
"""What `evaluated` is of trials that a table judges."""

ALWAYS = ("test_accuracy", "ops")
"""Columns that the table has even if no trial has finished."""

LEGEND = {
    "ops": "OPs as nas-bnn counts them",
    "packed_latency_ms": "latency of the network as bits, 1 thread",
}
"""What the titles of columns are too short to say."""

SAME = ("harness_source", "dataset_fingerprint", "threads", "batch_norm")
"""Fields in which the seeds of a row must agree to be seeds of one thing."""

ROW = ["method", "space", "dataset", "budget"]
"""What rows differ in."""

KEYS = (*ROW, "n", *COLUMNS)
"""The columns that a table may have, as `--columns` calls them."""

CROWD = ("latency_others", "latency_load", "load", "cores")
"""Fields that say beside what they were."""

TIMED = ("cpu", "device_name", "threads", "latency_machine", "packed_isa", "packed_engine")
"""Fields that say where latencies were measured."""

FIELDS = frozenset(
    {
        *("id", "status", "reason", "dataset", "budget", "seed", "test_accuracies", "evaluated"),
        *(f"{kind}{part}" for kind in ("method", "space") for part in ("", "_options", "_source")),
        *(column.field.partition(".")[0] for column in COLUMNS.values()),
        *SAME,
        *TIMED,
        *CROWD,
    }
)
"""All that the table reads of a record."""

STATISTICS = ("mean", "sd", "lower", "upper")


def summarise(frame: DataFrame) -> DataFrame:
    """Mean, sample standard deviation and 95 % t interval over the seeds, a row per configuration.

    Rows stand in the order in which they first appear; runs of a method or a space whose code has
    changed since are runs of another, and say by which code. A single seed has no deviation, fewer than
    three and equal ones no interval, and what one of its seeds lacks has no mean. Intervals end where
    their scale does. Latencies that were not all measured in one place, of one space, dataset and budget,
    are left out.

    Args:
        frame: records, as `run` and `load_results` give them; damaged ones, of which nobody knows
            what they ran, are in no row.

    Returns:
        by (method, space, dataset, budget): under `trials` `n`, the seeds that finished, of `planned`;
        under each measure `mean`, `sd`, `lower` and `upper`, in the measure's own unit.
    """
    rows = _told_apart(frame)
    planned = rows.groupby(ROW, sort=False).size().rename("planned")
    done = rows[rows["status"] == "ok"]
    fields = [column.field for column in COLUMNS.values()]
    numbers = done[ROW].join(done.reindex(columns=fields).astype("float64"))
    for unlike, _ in _timed_apart(done):
        numbers.loc[unlike, list(TIMES)] = np.nan
    by_row = numbers.groupby(ROW)
    n = by_row.size().reindex(planned.index, fill_value=0).rename("n")
    whole = by_row.count().reindex(planned.index, fill_value=0).eq(n, axis=0)
    mean, sd = (
        found.reindex(planned.index).where(whole) for found in (by_row.mean(), by_row.std())
    )
    half = sd.where(sd > 0).mul((stats.t.ppf(0.975, n - 1) / np.sqrt(n)).where(n >= FEWEST), axis=0)
    most = [column.most for column in COLUMNS.values()]
    lower, upper = (mean - half).clip(lower=0), (mean + half).clip(upper=most, axis=1)
    found = dict(zip(STATISTICS, (mean, sd, lower, upper), strict=True))
    measures = pd.concat(found, axis=1).swaplevel(axis=1)
    order = pd.MultiIndex.from_product([fields, STATISTICS])
    trials = pd.concat({"trials": pd.concat([n, planned], axis=1)}, axis=1)
    return trials.join(measures[order])


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % t interval of a mean, for seaborn: `sns.pointplot(..., errorbar=bb.interval)`.

    It is (nan, nan) where there are fewer than three values, or all are equal.
    """
    found = summary(values)
    if isinstance(found, NotEnough) or isinstance(found.interval, NotEnough):
        return nan, nan
    return found.interval.lower, found.interval.upper


def as_json(frame: DataFrame) -> list[dict[str, Any]]:
    """The rows for programs: what they are, `n` of `planned`, notes, and per measure mean and sd."""
    notes = _notes(frame)
    return [
        dict(zip(ROW, key, strict=True))
        | {name: int(row["trials", name]) for name in ("n", "planned")}
        | {"notes": notes[key]}
        | {
            "values": {
                name: {"mean": float(mean), "sd": None if np.isnan(sd) else float(sd)}
                for name, column in COLUMNS.items()
                if not np.isnan(mean := row[column.field, "mean"])
                for sd in [row[column.field, "sd"]]
            }
        }
        for key, row in summarise(frame).to_dict("index").items()
    ]


def table(frame: DataFrame) -> Table:
    """Lay out the rows; what is the same for all of them goes into the caption.

    A measure that no trial has is left out.
    """
    summary, notes, crowded = summarise(frame), _notes(frame), _crowded(frame)
    columns = {
        name: of for name, of in COLUMNS.items() if name in ALWAYS or _is_known(frame, of.field)
    }
    keys = summary.index.to_frame()
    shown = [name for name in ROW if name == "method" or keys[name].nunique() > 1]
    facts = [f"{name} {keys[name].iloc[0]}" for name in ROW if name not in shown and len(keys)]
    own = [[key[ROW.index(name)] for name in shown] for key in summary.index]
    return Table(
        name="table",
        title="",
        caption="; ".join(
            [*filter(None, map(LEGEND.get, columns)), *facts, *_circumstances(frame)]
        ),
        columns=[
            *(Column(key=name, title=name, numeric=False) for name in shown),
            Column(key="n", title="n"),
            *(replace(of.column(name), title=of.short) for name, of in columns.items()),
        ],
        rows=[
            {
                **{name: Value(text=text) for name, text in zip(shown, words, strict=True)},
                **dict(_values(row, crowded=key in crowded)),
            }
            for words, (key, row) in zip(own, summary.to_dict("index").items(), strict=True)
        ],
        notes=[
            f"{', '.join(words)}, {note}"
            for words, key in zip(own, summary.index, strict=True)
            for note in notes[key]
        ],
    )


def _is_known(frame: DataFrame, field: str) -> bool:
    """Whether a trial has the measure; one that a table judges is not trained, in no time."""
    done = frame[frame["status"] == "ok"].reindex(columns=[field, "evaluated"])
    if field == "train_seconds":
        done = done[~done["evaluated"].isin(JUDGED)]
    return bool(done[field].notna().any())


def labelled(record: Record, kind: str, defaults: Defaults) -> str:
    """The `method` or `space` of a record with the options that are not at their default."""
    known = _plain(defaults(kind, record[kind]))
    return label(record[kind], changed(_plain(record[f"{kind}_options"]), known))


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """As options come back from JSON, which has no tuples."""
    return {
        key: list(value) if isinstance(value, tuple) else value for key, value in options.items()
    }


def _told_apart(frame: DataFrame) -> DataFrame:
    """The rows whose trial is known, with methods and spaces as a table names them."""
    rows = frame[frame["method"].notna()].copy()
    for kind in ("method", "space"):
        labels, sources = rows[f"{kind}_label"], rows[f"{kind}_source"]
        is_one = sources.groupby(labels).transform("nunique") == 1
        rows[kind] = labels.where(is_one, labels + " (code " + sources + ")")
    return rows


def _notes(frame: DataFrame) -> dict[Any, list[str]]:
    """By row, what befell the seeds that did not finish, and what else a reader must know."""
    rows = _told_apart(frame)
    planned = rows.groupby(ROW, sort=False).size()
    notes: dict[Any, list[str]] = {key: [] for key in planned.index}
    is_done = rows["status"] == "ok"
    done = rows.loc[is_done].reindex(columns=[*ROW, *SAME, "test_accuracies"])
    unlike = _timed_apart(rows[is_done])
    for found in (_befell(rows[~is_done]), _differences(done), _parted(done, planned)):
        for key, note in found:
            notes[key].append(note)
    for places, why in unlike:
        for key in rows.loc[places, ROW].drop_duplicates().itertuples(index=False, name=None):
            notes[key].append(why)
    return notes


Notes = Iterator[tuple[Any, str]]
"""Rows, by what they differ in, and sentences on them."""


def _befell(lost: DataFrame) -> Notes:
    for *key, seed, status, reason in lost[[*ROW, "seed", "status", "reason"]].itertuples(
        index=False
    ):
        said = f": {reason}" if not pd.isna(reason) and reason else ""
        yield tuple(key), f"seed {seed} {status}{said}"


def _differences(done: DataFrame) -> Notes:
    kinds = done.groupby(ROW, sort=False)[list(SAME)].nunique(dropna=False)
    for field in SAME:
        for key in kinds.index[kinds[field] > 1]:
            yield key, f"its seeds differ in {field}: they are not runs of one thing"


def _parted(done: DataFrame, planned: pd.Series) -> Notes:
    """How far searches spread and how far their trainings, where each was trained several times."""
    several = done[done["test_accuracies"].notna()]
    for key, texts in several.groupby(ROW, sort=False)["test_accuracies"]:
        values = [list(map(float, text.split("+"))) for text in texts]
        if len(values) == planned[key] and len({*map(len, values)}) == 1:
            found = components(values)
            yield (
                key,
                f"{len(values)} searches, each trained {len(values[0])} times: standard deviation of "
                f"searches {_estimate(found.search)}, of trainings {_estimate(found.training)} points",
            )


def _estimate(found: Estimate | NotEnough) -> str:
    if isinstance(found, NotEnough):
        return f"- ({found.reason})"
    ends = found.interval
    if isinstance(ends, NotEnough):
        return f"{found.value:.2f}"
    return f"{found.value:.2f} [{ends.lower:.2f}, {ends.upper:.2f}]"


def _timed_apart(done: DataFrame) -> list[tuple[pd.Index, str]]:
    """The trials of each setting whose latencies were not all measured in one place, and why not."""
    found = []
    for _, setting in done.groupby(ROW[1:], sort=False):
        fields = setting.reindex(columns=[*TIMES, *TIMED]).astype(object)
        fields[list(TIMES)] = fields[list(TIMES)].notna().where(fields[list(TIMES)].notna(), None)
        kinds = fields.drop_duplicates()
        records = kinds.where(kinds.notna(), None).to_dict("records")
        if why := apart(timed({str(k): v for k, v in record.items()}) for record in records):
            found.append((setting.index, why))
    return found


def _crowded(frame: DataFrame) -> set[Any]:
    """The rows with a latency that was measured beside too much else."""
    rows = _told_apart(frame)
    numbers = rows.reindex(columns=[*CROWD]).apply(pd.to_numeric, errors="coerce")
    known = ({str(k): v for k, v in row.items() if v == v} for row in numbers.to_dict("records"))
    spoilt = rows[np.array([is_crowded(row) for row in known], dtype=bool)]
    return {*spoilt[ROW].itertuples(index=False, name=None)}


def _values(row: Mapping[Any, float], *, crowded: bool) -> Iterator[tuple[str, Value]]:
    n, planned = (int(row["trials", name]) for name in ("n", "planned"))
    yield "n", Value(text=str(n) if n == planned else f"{n}/{planned}", number=n)
    for name, measure in COLUMNS.items():
        known, spread = (
            None if np.isnan(number := row[measure.field, part]) else number / measure.unit
            for part in ("mean", "sd")
        )
        mean, sd = ("-" if part is None else f"{part:{measure.form}}" for part in (known, spread))
        text = f"{mean} ± {sd}" if name == "test_accuracy" and known is not None else mean
        is_spoilt = crowded and name in TIMES and known is not None
        yield name, Value(text=text, number=known, note=CROWDED if is_spoilt else "")


def _circumstances(frame: DataFrame) -> list[str]:
    """Where the numbers come from, and what they are not."""
    known = frame[frame["method"].notna()]
    done = known[known["status"] == "ok"].reindex(columns=["device_name", "cpu", "threads"])
    places = done.drop_duplicates().astype(object)
    machines = dict.fromkeys(map(machine, places.where(places.notna(), None).to_dict("records")))
    facts = [f"measured on {' and '.join(machines)}"] if machines else []
    ended = known[known["status"] == "ok"].reindex(columns=["evaluated"])["evaluated"]
    if n := int(ended.isin(JUDGED).sum()):
        which = "accuracies" if n == len(ended) else f"accuracies of {n} of {len(ended)} trials"
        facts.append(f"{which} judged by a table of ground truth, not by a training of their own")
    settings = known[["dataset", "budget"]].drop_duplicates().itertuples(index=False, name=None)
    why = dict.fromkeys(unlike_a_paper(*setting) for setting in settings)
    return [*facts, *filter(None, why)]
