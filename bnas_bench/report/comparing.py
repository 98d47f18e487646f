"""Two folders of results side by side: the same grid at two commits, on two machines, or of two people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain

from bnas_bench.analysis.frame import Results, Row, Setting
from bnas_bench.analysis.measures import MEASURES, TIMES
from bnas_bench.analysis.stats import NotEnough, contrast
from bnas_bench.analysis.table import Column, Table, Value, missing
from bnas_bench.analysis.timings import apart
from bnas_bench.report.values import counted, ends, mean, p_value

BESIDE = ("ops", "packed_latency_ms", "search_seconds")
"""Measures whose means are shown beside the accuracy."""


def side_by_side(first: Results, second: Results, names: tuple[str, str]) -> Table:
    """A row for each method in a setting that both hold, with the difference of the second to the first.

    Args:
        names: of the two.
    """
    ours, theirs = _rows(first), _rows(second)
    both = [key for key in ours if key in theirs]
    settings = {setting for setting, _ in both}
    sides = [[run.timed for key in both for run in rows[key].runs] for rows in (ours, theirs)]
    # An engine may be what the two differ in; it does not differ within one of them.
    unlike = apart([*sides[0], *sides[1]], engines=False) or apart(sides[0]) or apart(sides[1])
    beside = [name for name in BESIDE if not (unlike and name in TIMES)]
    columns = [
        Column(key="method", title="method", numeric=False),
        *([Column(key="setting", title="setting", numeric=False)] if len(settings) > 1 else []),
        *_columns("test_accuracy", names),
        Column(key="difference", title="difference (points)", better="higher"),
        Column(key="p", title="p (Welch)", better="lower"),
        Column(key="same", title="runs alike"),
        *(_each for name in beside for _each in _columns(name, names)),
        *(Column(key=f"n.{k}", title=f"n {name}") for k, name in enumerate(names)),
    ]
    return Table(
        name="compare",
        title=f"{names[0]} and {names[1]}",
        caption="; ".join(
            [
                *([str(setting) for setting in settings] if len(settings) == 1 else []),
                *(
                    f"{name}: {', '.join(sorted(_facts(results)))}"
                    for name, results in zip(names, (first, second), strict=True)
                ),
                "difference: mean of the second less that of the first, with Welch's 95 % interval; runs "
                "alike: seeds whose architecture and accuracy are the same in both",
            ]
        ),
        columns=columns,
        rows=[dict(_cells(ours[key], theirs[key])) for key in both],
        notes=[
            *([unlike] if unlike else []),
            *(
                f"only in {name}: {', '.join(alone)}"
                for name, rows, other in ((names[0], ours, theirs), (names[1], theirs, ours))
                if (alone := [f"{key[1]} ({key[0]})" for key in rows if key not in other])
            ),
        ],
    )


def _rows(results: Results) -> Mapping[tuple[Setting, str], Row]:
    return {(row.setting, row.method): row for row in results.rows}


def _columns(name: str, names: tuple[str, str]) -> Iterator[Column]:
    measure = MEASURES[name]
    for k, where in enumerate(names):
        title = f"{measure.title} {where}"
        yield Column(key=f"{name}.{k}", title=title, better=measure.better)


def _cells(ours: Row, theirs: Row) -> Iterator[tuple[str, Value]]:
    yield "method", Value(text=ours.method)
    yield "setting", Value(text=str(ours.setting))
    for k, row in enumerate((ours, theirs)):
        yield f"n.{k}", counted(row)
        for name in ("test_accuracy", *BESIDE):
            shown = mean(row, name, MEASURES[name])
            yield f"{name}.{k}", shown if name != "test_accuracy" else _without_interval(shown)
    ids = [*ours.ids, *theirs.ids]
    found = contrast(theirs.by_seed("test_accuracy"), ours.by_seed("test_accuracy"), pair=False)
    if isinstance(found, NotEnough):
        yield "difference", missing(found.reason)
        yield "p", missing(found.reason)
    else:
        lower, upper = ends(found.interval)
        yield (
            "difference",
            Value(
                text=f"{found.difference:+.2f}",
                kind="computed",
                number=found.difference,
                lower=lower,
                upper=upper,
                n=len(ids),
                runs=ids,
            ),
        )
        yield "p", p_value(found.p, ids, len(ids))
    yield "same", _alike(ours, theirs)


def _without_interval(value: Value) -> Value:
    return Value(**{**vars(value), "lower": None, "upper": None})


def _alike(ours: Row, theirs: Row) -> Value:
    """How many seeds came to the same architecture and accuracy, of those that both have."""
    known = {run.seed: (run.architecture, run.values["test_accuracy"]) for run in ours.runs}
    shared = [run for run in theirs.runs if run.seed in known]
    same = sum(known[run.seed] == (run.architecture, run.values["test_accuracy"]) for run in shared)
    return Value(text=f"{same} of {len(shared)}", number=same)


def _facts(results: Results) -> set[str]:
    """The commits and machines of its runs."""
    runs = chain.from_iterable(row.runs for row in results.rows)
    return {run.facts[name] for run in runs for name in ("code", "machine")}
