"""Values of tables, from rows and statistics: with their interval, or a note on why there is none."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import inf

import numpy as np

from bnas_bench.analysis.frame import Missing, Row, Run, Seed
from bnas_bench.analysis.measures import CROWDED, TIMES, Measure
from bnas_bench.analysis.stats import Estimate, Interval, NotEnough, interquartile_mean, summary
from bnas_bench.analysis.table import Kind, Value, missing

IQM_RUNS = 4
"""Runs from which on an interquartile mean leaves out any."""

LONGEST = 200
"""Characters of a reason that are shown."""


def counted(row: Row) -> Value:
    """How many of a row's runs finished, and what befell the others."""
    text = f"{len(row.runs)}/{row.planned}" if row.missing else str(len(row.runs))
    return Value(text=text, number=len(row.runs), runs=row.ids, note=befell(row.missing))


def mean(row: Row, name: str, measure: Measure) -> Value:
    """The mean of a measure over the runs; the accuracy's with its spread and interval."""
    if not row.runs:
        return missing("no seed has finished")
    if lacking := [run for run in row.runs if run.values[name] is None]:
        return missing(_lacking(lacking, row.runs, name))
    values = [value / measure.unit for value in row.by_seed(name).values()]
    accuracy = name == "test_accuracy"
    most = measure.most
    found = average(
        values, row.ids, kind=measure.kind, form=measure.form, spread=accuracy, most=most
    )
    is_spoilt = name in TIMES and any(run.crowded for run in row.runs)
    return replace(found, note=CROWDED) if is_spoilt else found


def average(
    values: Sequence[float],
    ids: Sequence[str],
    *,
    n: int = 0,
    kind: Kind = "measured",
    form: str = ".2f",
    spread: bool = False,
    least: float = 0,
    most: float = inf,
) -> Value:
    """The mean of values, one from each run.

    Args:
        n: of the runs, where a single value comes from several.
        spread: whether to show the standard deviation and the interval.
        least, most: the ends of the values' scale.
    """
    if not values:
        return missing("there are no values")
    number = float(np.mean(values))
    text, lower, upper = f"{number:{form}}", None, None
    if spread and not isinstance(found := summary(values), NotEnough):
        text += f" ± {f'{found.sd:{form}}' if isinstance(found.sd, float) else '-'}"
        lower, upper = ends(found.interval, least, most)
    return Value(
        text=text,
        kind=kind,
        number=number,
        lower=lower,
        upper=upper,
        n=n or len(values),
        runs=ids,
    )


def middle(row: Row) -> Value:
    """The interquartile mean of the test accuracy; empty where it is the mean."""
    values = row.accuracies()
    if len(values) < IQM_RUNS:
        return Value(text="")
    return estimate(
        interquartile_mean({"": values}), row.ids, len(values), kind="measured", most=100
    )


def estimate(
    found: Estimate | NotEnough,
    ids: Sequence[str],
    n: int,
    form: str = ".2f",
    *,
    kind: Kind = "computed",
    most: float | None = None,
) -> Value:
    """A statistic of n runs, and its interval.

    Args:
        most: the end of its scale, if that begins at 0 and ends.
    """
    if isinstance(found, NotEnough):
        return missing(found.reason)
    reason = found.interval.reason if isinstance(found.interval, NotEnough) else ""
    lower, upper = ends(found.interval) if most is None else ends(found.interval, 0, most)
    return Value(
        text=f"{found.value:{form}}",
        kind=kind,
        number=found.value,
        n=n,
        runs=ids,
        lower=lower,
        upper=upper,
        note=f"no interval: {reason}" if reason else "",
    )


def ends(
    interval: Interval | NotEnough, least: float = -inf, most: float = inf
) -> tuple[float | None, float | None]:
    """The ends of an interval, where there is one; a scale from `least` to `most` cuts them off."""
    if isinstance(interval, NotEnough):
        return None, None
    return max(interval.lower, least), min(interval.upper, most)


def p_value(found: float | NotEnough, ids: Sequence[str], n: int) -> Value:
    if isinstance(found, NotEnough):
        return missing(found.reason)
    return Value(text=p_text(found), kind="computed", number=found, n=n, runs=ids)


def p_text(p: float) -> str:
    return f"{p:.3f}" if p >= 0.0005 else f"{p:.0e}"


def befell(trials: Iterable[Missing]) -> str:
    """On trials that did not finish: "seeds 1, 2 failed: the loss is nan; seed 3 has not run"."""
    ordered = sorted(trials, key=lambda trial: (trial.state, trial.reason, trial.seed))
    return told(
        (seed_text(one.seed), one.state + (f": {short(one.reason)}" if one.reason else ""))
        for one in ordered
    )


def told(fates: Iterable[tuple[str, str]]) -> str:
    """What became of seeds, each with its fate, in words."""
    seeds: dict[str, list[str]] = {}
    for seed, fate in fates:
        seeds.setdefault(fate, []).append(seed)
    return "; ".join(
        f"seed {found[0]} {fate}"
        if len(found) == 1
        else f"seeds {', '.join(found)} {re.sub('^has ', 'have ', fate)}"
        for fate, found in seeds.items()
    )


def short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def seed_text(seed: Seed) -> str:
    root, repetition = seed
    return f"{repetition} (root {root})" if root else str(repetition)


def _lacking(runs: Sequence[Run], all_runs: Sequence[Run], name: str) -> str:
    """Why there is no mean of all seeds."""
    words = (
        "in no record"
        if len(runs) == len(all_runs) > 1
        else f"not in the record of seed {', '.join(seed_text(run.seed) for run in runs)}"
    )
    reasons = dict.fromkeys(run.packed_reason for run in runs if run.packed_reason)
    return f"{words}: {'; '.join(reasons)}" if name == "packed_latency_ms" and reasons else words
