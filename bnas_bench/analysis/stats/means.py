"""Means with Student's t intervals, and who wins by them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt

from numpy.typing import ArrayLike
from scipy.special import stdtrit

from bnas_bench.analysis.stats.values import (
    LEVEL,
    Better,
    Interval,
    NotEnough,
    alike,
    finite,
)

FEWEST = 3
"""Values that an interval needs: that of two is 18 standard deviations wide, and leaves most scales."""


@dataclass(frozen=True)
class Summary:
    """The mean of `n` values, in their units.

    Attributes:
        sd: their sample standard deviation (divided by n - 1).
        interval: Student's t interval of the mean; it may pass the ends of the values' scale.
    """

    n: int
    mean: float
    sd: float | NotEnough
    interval: Interval | NotEnough


def summary(values: ArrayLike) -> Summary | NotEnough:
    """Mean, spread and interval of the values, one a seed.

    Equal values have a spread of zero but no interval: one without width would claim to be certain.
    A report asks for tens of thousands of these, and scipy's `ttest_1samp` takes twelve times as long.
    """
    x = finite(values, "values")
    n = len(x)
    if not n:
        return NotEnough("there are no values")
    mean = float(x.mean())
    if n == 1:
        return Summary(
            1, mean, NotEnough("one value has no spread"), NotEnough("one value has no interval")
        )
    if alike(x):
        return Summary(n, mean, 0.0, NotEnough(f"all {n} values are equal"))
    sd = float(x.std(ddof=1))
    if n < FEWEST:
        return Summary(n, mean, sd, NotEnough(f"{n} values, an interval needs {FEWEST}"))
    half = float(stdtrit(n - 1, (1 + LEVEL) / 2)) * sd / sqrt(n)
    return Summary(n, mean, sd, Interval(mean - half, mean + half))


def winner(
    intervals: Mapping[str, Interval | NotEnough], *, better: Better = "higher"
) -> str | NotEnough:
    """The name whose interval lies clear of all others', on the better side.

    Intervals that touch overlap. That is stricter than a test of each difference at the same level.

    Args:
        intervals: of the mean (`Summary.interval`) or of another estimate, by name.
    """
    if len(intervals) < 2:
        return NotEnough("nothing to compare with")
    known: dict[str, Interval] = {}
    lacking: dict[str, list[str]] = {}
    for name, interval in intervals.items():
        if isinstance(interval, Interval):
            known[name] = interval
        else:
            lacking.setdefault(interval.reason, []).append(name)
    if lacking:
        return NotEnough(
            "; ".join(
                f"{'all' if len(names) == len(intervals) else ', '.join(names)}: {reason}"
                for reason, names in lacking.items()
            )
        )
    # Who is clear of all others has the best worse end, so that only that one need be looked at.
    if better == "higher":
        best = max(known, key=lambda name: known[name].lower)
        rivals = [name for name in known if known[name].upper >= known[best].lower]
    else:
        best = min(known, key=lambda name: known[name].upper)
        rivals = [name for name in known if known[name].lower <= known[best].upper]
    rivals.remove(best)
    if not rivals:
        return best
    *others, last = rivals
    if not others:
        return NotEnough(f"the intervals of {best} and {last} overlap")
    return NotEnough(f"the interval of {best} overlaps those of {', '.join(others)} and {last}")
