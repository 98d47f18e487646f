"""Two methods: the difference of their means, what it excludes, and what n could have shown."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import fdtrc, nctdtrinc, stdtr, stdtrit
from scipy.stats import mannwhitneyu, rankdata

from bnas_bench.analysis.stats.values import (
    LEVEL,
    Array,
    Estimate,
    Interval,
    NotEnough,
    alike,
    finite,
    rounded,
)
from bnas_bench.core.errors import BadValue

Key = TypeVar("Key", bound=Hashable)

ALPHA = 1 - LEVEL
POWER = 0.8
"""The chance with which a difference is to be shown."""

EXACT = 100
"""Runs of two methods together up to which the rank-sum test counts all ways to deal them."""

MOST_SEEDS = 100_000
"""Seeds beyond which none are counted."""


@dataclass(frozen=True)
class Contrast:
    """The mean of x minus that of y, in their units, and its standard error.

    Attributes:
        n: runs of x and of y.
        df: degrees of freedom of the error; 0 where nothing spreads.
        paired: whether runs of the same seed were subtracted first.
    """

    n: tuple[int, int]
    difference: float
    error: float
    df: float
    paired: bool = False

    @property
    def interval(self) -> Interval | NotEnough:
        """Student's t interval of the difference."""
        if not self.error:
            return NotEnough("the runs do not spread")
        half = float(stdtrit(self.df, (1 + LEVEL) / 2)) * self.error
        return Interval(self.difference - half, self.difference + half)

    @property
    def p(self) -> float | NotEnough:
        """Two-sided p of no difference."""
        if not self.error:
            return NotEnough("the runs do not spread") if self.difference else 1.0
        return float(2 * stdtr(self.df, -abs(self.difference) / self.error))

    def equal(self, margin: float) -> float | NotEnough:
        """p of a difference of `margin` or more: of two one-sided tests the larger.

        Schuirmann, J. Pharmacokinet. Biopharm. 15 (1987). Below 5 % the two are shown to be equal
        within the margin.
        """
        if not self.error:
            return NotEnough("the runs do not spread")
        return float(stdtr(self.df, (abs(self.difference) - margin) / self.error))

    def detectable(self, comparisons: int = 1) -> float | NotEnough:
        """The least difference that such an error shows with a chance of `POWER`.

        Args:
            comparisons: for the first step of Holm's correction.
        """
        if not self.error:
            return NotEnough("the runs do not spread")
        return self.error * _shift(self.df, comparisons)


def contrast(x: Mapping[Key, float], y: Mapping[Key, float], *, pair: bool) -> Contrast | NotEnough:
    """Compare two methods on all their runs, with Welch's error, or on the seeds that both have.

    Args:
        x, y: scores by seed.
        pair: whether runs of the same seed are pairs (`seeds_pair`).
    """
    keys = [key for key in x if key in y] if pair else []
    if pair and len(keys) < 2:
        return NotEnough("pairs need two shared seeds")
    xs, ys = (
        finite([side[key] for key in keys] if pair else [*side.values()], "scores")
        for side in (x, y)
    )
    n, m = len(xs), len(ys)
    if min(n, m) < 2:
        return NotEnough(f"{n} and {m} runs: a contrast needs 2 of each")
    scale = max(np.abs(xs).max(), np.abs(ys).max())
    difference = float(rounded(np.array([xs.mean() - ys.mean()]), scale)[0])
    if pair:
        variance = _variance(rounded(xs - ys, scale)) / n
        return Contrast((n, m), difference, sqrt(variance), n - 1.0, paired=True)
    a, b = _variance(xs) / n, _variance(ys) / m
    df = (a + b) ** 2 / (a**2 / (n - 1) + b**2 / (m - 1)) if a + b else 0.0
    return Contrast((n, m), difference, sqrt(a + b), df)


def _variance(x: Array) -> float:
    return 0.0 if alike(x) else float(x.var(ddof=1))


def seeds_pair(scores: Sequence[Mapping[Key, float]]) -> bool:
    """Whether runs of the same seed are so much alike over all methods that pairing them gains.

    It does where the seeds explain more than chance would (analysis of variance, p below 5 %), and
    more than the degrees of freedom that pairing costs: t_{n-1} sqrt(1 - r) < t_{2n-2}, where r is
    the correlation within seeds.

    Args:
        scores: of each method by seed; only the seeds that all have are looked at.
    """
    keys = [key for key in scores[0] if all(key in row for row in scores)] if scores else []
    k, n = len(scores), len(keys)
    if k < 2 or n < 3:
        return False
    x_KN = np.array([[row[key] for key in keys] for row in scores])
    x_KN = x_KN - x_KN.mean(axis=1, keepdims=True)
    seeds = x_KN.mean(axis=0)
    between = k * float(seeds @ seeds) / (n - 1)
    within = float(((x_KN - seeds) ** 2).sum()) / ((n - 1) * (k - 1))
    if not between or (within and fdtrc(n - 1, (n - 1) * (k - 1), between / within) > ALPHA):
        return False
    r = (between - within) / (between + (k - 1) * within)
    single, double = (float(stdtrit(df, (1 + LEVEL) / 2)) for df in (n - 1, 2 * n - 2))
    return single * sqrt(1 - r) < double


def rank_sum(x: ArrayLike, y: ArrayLike) -> tuple[float, float]:
    """Two-sided p of the exact rank-sum test, and the least that it can give for these n and ties.

    It counts all ways to deal the values to the two: scipy does so with ties one by one, which takes
    seconds for ten of each. Of more than `EXACT` runs together both are scipy's approximation.
    """
    xs, ys = finite(x, "scores"), finite(y, "scores")
    both = np.concatenate([xs, ys])
    if len(both) > EXACT:
        ordered = np.sort(both)
        apart = min(len(xs), len(ys))
        dealt = ((xs, ys), (ordered[:apart], ordered[apart:]), (ordered[-apart:], ordered[:-apart]))
        seen, *ends = (float(mannwhitneyu(*two, method="asymptotic").pvalue) for two in dealt)
        return seen, min(ends)
    ranks = (2 * rankdata(rounded(both, np.abs(both).max()))).astype(int)  # doubled: ties share
    chance = np.zeros((len(xs) + 1, ranks.sum() + 1))  # by how many are dealt to x, and their sum
    chance[0, 0] = 1.0
    for rank in ranks:
        chance[1:, rank:] += chance[:-1, : chance.shape[1] - rank].copy()
    chances = chance[-1] / chance[-1].sum()
    middle = len(xs) * ranks.sum() / len(ranks)
    far = np.abs(np.arange(len(chances)) - middle)
    furthest = far[chances > 0].max()
    seen, least = (
        min(1.0, float(chances[far >= distance - 1e-9].sum()))
        for distance in (abs(ranks[: len(xs)].sum() - middle), furthest)
    )
    return seen, least


def holm(p_values: Mapping[Key, float | NotEnough]) -> dict[Key, float | NotEnough]:
    """p values adjusted for their number, in their order; Holm, Scand. J. Statist. 6 (1979).

    One that cannot be had stays what it is, and counts: the question was asked.

    Raises:
        BadValue: if one of them is not within [0, 1].
    """
    adjusted: dict[Key, float | NotEnough] = dict(p_values)
    known = {key: p for key, p in p_values.items() if not isinstance(p, NotEnough)}
    least = 0.0
    for rejected, key in enumerate(sorted(known, key=known.__getitem__)):
        p = known[key]
        if not 0 <= p <= 1:
            raise BadValue(f"p value {p} of {key}; it must lie within [0, 1]")
        least = max(least, min(1.0, (len(p_values) - rejected) * p))
        adjusted[key] = least
    return adjusted


def relative(x: ArrayLike, y: ArrayLike) -> Estimate | NotEnough:
    """100 (mean of x / mean of y - 1), in per cent, with Fieller's interval.

    Fieller, J. R. Stat. Soc. B 16 (1954), with Welch's degrees of freedom: it holds 0 where, and only
    where, the t interval of the difference does.
    """
    xs, ys = finite(x, "scores"), finite(y, "scores")
    if not len(xs) or not len(ys):
        return NotEnough("there are no runs")
    a, b = float(xs.mean()), float(ys.mean())
    if b <= 0:
        return NotEnough(f"a mean of {b:g} has no multiples")
    value = 100 * (a / b - 1)
    found = contrast(dict(enumerate(xs)), dict(enumerate(ys)), pair=False)
    if isinstance(found, NotEnough):
        return Estimate(value, found)
    if not found.error:
        return Estimate(value, NotEnough("the runs do not spread"))
    t2 = float(stdtrit(found.df, (1 + LEVEL) / 2)) ** 2
    u, v = t2 * _variance(xs) / len(xs), t2 * _variance(ys) / len(ys)
    if b * b <= v:
        return Estimate(value, NotEnough("the mean that it is relative to may be 0"))
    root = sqrt((a * b) ** 2 - (b * b - v) * (a * a - u))
    lower, upper = ((a * b + sign * root) / (b * b - v) for sign in (-1, 1))
    return Estimate(value, Interval(100 * (lower - 1), 100 * (upper - 1)))


def detectable(sd: float, n: int, comparisons: int = 1) -> float:
    """The least difference between two methods of n seeds each that is shown with a chance of `POWER`.

    Args:
        sd: over the seeds of a method.
        comparisons: for the first step of Holm's correction.
    """
    return sd * sqrt(2 / n) * _shift(2 * n - 2, comparisons)


def seeds_needed(sd: float, difference: float, comparisons: int = 1) -> int | NotEnough:
    """The fewest seeds of each of two methods that show a difference with a chance of `POWER`."""
    if difference <= 0:
        raise BadValue(f"a difference of {difference:g}; seeds can show one above 0 only")
    few, many = 1, 2
    while detectable(sd, many, comparisons) > difference:
        few, many = many, 2 * many
        if many > MOST_SEEDS:
            return NotEnough(f"more than {MOST_SEEDS:,} seeds would be needed")
    while many - few > 1:
        middle = (few + many) // 2
        if detectable(sd, middle, comparisons) > difference:
            few = middle
        else:
            many = middle
    return many


def _shift(df: float, comparisons: int) -> float:
    """The noncentrality at which a two-sided t test at ALPHA / comparisons has `POWER`."""
    critical = float(stdtrit(df, 1 - ALPHA / comparisons / 2))
    return float(nctdtrinc(df, 1 - POWER, critical))
