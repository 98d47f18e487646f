"""Means with Student's t intervals."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

from numpy.typing import ArrayLike
from scipy.special import stdtrit

from bnas_bench.analysis.stats.values import (
    LEVEL,
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
