"""What a comparison shows, in sentences: who may be best, who is shown worse, what n could show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from math import sqrt

import numpy as np

from bnas_bench.analysis.frame import Row, Seed, differing
from bnas_bench.analysis.stats import (
    POWER,
    NotEnough,
    Standing,
    contrast,
    detectable,
    seeds_needed,
    standing,
    summary,
)
from bnas_bench.report.values import befell, p_text

MARGIN = 1.0
"""Points of accuracy within which two methods may be called equal, and that seeds are planned for."""


def contenders(rows: Sequence[Row]) -> list[Row]:
    """The rows whose trials were not all refused: what cannot run does not compete."""
    return [row for row in rows if not row.refused]


def standing_of(rows: Sequence[Row]) -> Standing | NotEnough:
    """Who may be best by test accuracy, where all trials are there and of one thing."""
    compared = contenders(rows)
    if unlike := list(differing([run for row in compared for run in row.runs])):
        return NotEnough(f"the runs differ in {' and '.join(unlike)}")
    if lacking := [row for row in compared if not row.complete]:
        words = (f"{row.method} has {len(row.runs)} of {row.planned}" for row in lacking)
        return NotEnough(f"that needs all trials, and {', '.join(words)}")
    return standing({row.method: row.accuracies() for row in compared})


def verdict(rows: Sequence[Row], found: Standing | NotEnough) -> list[str]:
    """What the accuracies of a setting show, and why they do not show more.

    Args:
        found: `standing_of` the rows.
    """
    compared = contenders(rows)
    words = []
    if refused := [row for row in rows if row.refused]:
        words.append(
            "Not compared, as they cannot run here: "
            f"{', '.join(f'{row.method} ({befell(row.missing)})' for row in refused)}."
        )
    if isinstance(found, NotEnough):
        words += [f"No winner is named: {found.reason}.", *_with_chance(compared)]
    else:
        words += _told(found)
        words += _equal(found, {row.method: row.by_seed("test_accuracy") for row in compared})
    return [*words, *power(compared), *_same_architecture(rows)]


def chance_of(rows: Sequence[Row]) -> float | None:
    """Per cent of the test images that a guess takes right."""
    return next((100 / run.classes for row in rows for run in row.runs), None)


def _told(found: Standing) -> Iterator[str]:
    if found.winner:
        yield f"Shown to be best: {found.winner}; every other method is excluded."
    else:
        yield f"No method is shown to be best. Not excluded as best: {listed(found.kept)}."
    if found.excluded:
        worse = [f"{name} (p = {p_text(p)})" for name, p in found.excluded.items()]
        yield f"Shown worse, at a level of 5 % for all of them together: {listed(worse)}."
    else:
        yield f"None is shown worse: that all are alike has p = {p_text(found.p)}."
    yield f"Kruskal and Wallis' test that all methods are alike: p = {p_text(found.alike)}."


def _with_chance(rows: Sequence[Row]) -> Iterator[str]:
    """What follows if a trial that failed counts as chance."""
    chance = chance_of(rows)
    if chance is None or all(row.complete for row in rows):
        return
    scores = {row.method: row.with_chance(chance) for row in rows}
    if lacking := [method for method, values in scores.items() if values is None]:
        yield f"Not over, and not counted as chance either: trials of {listed(lacking)}."
        return
    found = standing({method: values for method, values in scores.items() if values is not None})
    if not isinstance(found, NotEnough):
        yield f"If a failure counts as chance ({chance:g} %): {' '.join(_told(found))}"


def _equal(found: Standing, scores: Mapping[str, Mapping[Seed, float]]) -> Iterator[str]:
    """Whether the methods that are left are small enough apart to be called equal."""
    if found.winner:
        return
    values = []
    for a, b in combinations(found.kept, 2):
        pair = contrast(scores[a], scores[b], pair=False)
        p = pair if isinstance(pair, NotEnough) else pair.equal(MARGIN)
        values.append(1.0 if isinstance(p, NotEnough) else p)
    shown = "is shown" if max(values) <= 0.05 else "is not shown"
    yield (
        f"That these differ by less than {MARGIN:g} point {shown} (two one-sided tests of each pair, "
        f"p = {p_text(max(values))})."
    )


def power(rows: Sequence[Row]) -> Iterator[str]:
    """The least difference that so many seeds could show, and the seeds that `MARGIN` needs."""
    n = min((len(row.runs) for row in rows), default=0)
    sd = spread(rows)
    if n < 2 or sd is None or len(rows) < 2:
        return
    pairs = len(rows) * (len(rows) - 1) // 2
    needed = seeds_needed(sd, MARGIN)
    seeds = needed.reason if isinstance(needed, NotEnough) else f"it takes {needed:,} seeds of each"
    every = f", and from {detectable(sd, n, pairs):.1f} if all {pairs} pairs are asked for"
    yield (
        f"With {n} seeds and the spread seen here (standard deviation {sd:.1f} points) a difference "
        f"between two methods shows with a chance of {100 * POWER:g} % from {detectable(sd, n):.1f} points "
        f"on{every * (pairs > 1)}; for {MARGIN:g} point {seeds}."
    )


def spread(rows: Sequence[Row]) -> float | None:
    """The standard deviation over the seeds of a method, pooled over the methods that have one."""
    found = [summary(row.accuracies()) for row in rows if len(row.runs) > 1]
    known = [one.sd for one in found if not isinstance(one, NotEnough)]
    spreads = [sd for sd in known if isinstance(sd, float) and sd > 0]
    return sqrt(float(np.mean(np.square(spreads)))) if spreads else None


def _same_architecture(rows: Sequence[Row]) -> Iterator[str]:
    """Runs whose architecture another run found as well."""
    found = Counter(run.architecture for row in rows for run in row.runs if run.architecture)
    words = [
        f"{row.method} {twice} of {len(row.runs)}"
        for row in rows
        if (twice := sum(found[run.architecture] > 1 for run in row.runs))
    ]
    if words:
        yield (
            "Runs that found an architecture which another run of this table found too, so that only "
            f"training tells them apart: {', '.join(words)}."
        )


def listed(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
