"""Ranks: of several methods over several datasets, with the critical difference between them; and of
architectures by a supernet.

Demšar, "Statistical Comparisons of Classifiers over Multiple Data Sets", JMLR 7 (2006),
https://jmlr.org/papers/v7/demsar06a.html, sections 3.2.2 and 3.2.4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import factorial, inf, sqrt
from operator import itemgetter

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import f as f_distribution
from scipy.stats import kendalltau, rankdata, studentized_range

from bnas_bench.analysis.stats.values import (
    Array,
    Better,
    NotEnough,
    alike,
    count,
    finite,
    rounded,
)
from bnas_bench.core.errors import BadValue

DATASETS, METHODS = 5, 3
"""So many are needed for a critical difference."""

RANKED = 10
"""Architectures that a rank correlation needs."""


@dataclass(frozen=True)
class CriticalDifference:
    """What a critical-difference diagram shows.

    Attributes:
        ranks: average ranks by method, the best first; 1 is the best, ties share a rank.
        n: datasets.
        chi2: Friedman's statistic, without a correction for ties, as Demšar has it.
        f: Iman and Davenport's F_F; infinite if all datasets order the methods alike.
        p: of F_F, but no smaller than the exact test allows.
        alpha: the level of the test and of the difference.
        difference: average ranks that differ by at least that much differ (Nemenyi).
        cliques: the largest groups of methods, from the best, between which no difference was
            found: the bars of the diagram. All methods, if the Friedman test finds none.
    """

    ranks: Mapping[str, float]
    n: int
    chi2: float
    f: float
    p: float
    alpha: float
    difference: float
    cliques: Sequence[Sequence[str]]


def critical_difference(
    scores: Mapping[str, Mapping[str, float]], *, better: Better = "higher", alpha: float = 0.05
) -> CriticalDifference | NotEnough:
    """Friedman's test over the datasets, then Nemenyi's between all methods.

    Args:
        scores: by method and dataset (or another task that is independent of the others): one
            number each, such as the mean over the seeds.
    """
    datasets = list(dict.fromkeys(name for row in scores.values() for name in row))
    n, k = len(datasets), len(scores)
    if n < DATASETS:
        return NotEnough(f"seeds are not datasets: {count(n, 'dataset')}, {DATASETS} needed")
    if k < METHODS:
        return NotEnough(f"{count(k, 'method')}, {METHODS} needed")
    for method, row in scores.items():
        if lacking := [name for name in datasets if name not in row]:
            return NotEnough(f"{method} has no score on {', '.join(lacking)}")
    ranks_NK = np.stack(
        [_ranks([scores[method][name] for method in scores], name, better) for name in datasets]
    )
    ranks = dict(
        sorted(zip(scores, ranks_NK.mean(axis=0).tolist(), strict=True), key=itemgetter(1))
    )
    chi2, f, p = _friedman(np.array(list(ranks.values())), n)
    q = float(studentized_range.ppf(1 - alpha, k, inf)) / sqrt(2)
    difference = q * sqrt(k * (k + 1) / (6 * n))
    cliques = _cliques(ranks, difference if p <= alpha else inf)
    return CriticalDifference(ranks, n, chi2, f, p, alpha, difference, cliques)


def rank_correlation(supernet: ArrayLike, alone: ArrayLike) -> float | NotEnough:
    """Kendall's tau-b, from -1 to 1: how well one supernet ranks architectures that were trained alone.

    Accuracies of different supernets share no scale, and so have no rank correlation.

    Args:
        supernet: accuracies with the weights inherited from one supernet.
        alone: those of the same architectures trained by themselves, in the same order.

    Raises:
        BadValue: if the two differ in length.
    """
    x, y = finite(supernet, "accuracies"), finite(alone, "accuracies")
    if len(x) != len(y):
        raise BadValue(f"{len(x)} and {len(y)} accuracies; give one of each for every architecture")
    if len(x) < RANKED:
        return NotEnough(f"{count(len(x), 'architecture')}, a rank correlation needs {RANKED}")
    for values, side in ((x, "supernet"), (y, "stand-alone")):
        if alike(values):
            return NotEnough(f"all {len(x)} {side} accuracies are equal")
    return float(kendalltau(x, y).statistic)


def _ranks(row: Sequence[float], dataset: str, better: Better) -> Array:
    x = finite(row, f"scores on {dataset}")
    return rankdata(rounded(-x if better == "higher" else x, np.abs(x).max()))


def _friedman(ranks: Array, n: int) -> tuple[float, float, float]:
    """chi2_F, F_F and its p, from the average ranks of k methods on n datasets."""
    k = len(ranks)
    chi2 = float(12 * n / (k * (k + 1)) * ((ranks**2).sum() - k * (k + 1) ** 2 / 4))
    rest = n * (k - 1) - chi2
    f = (n - 1) * chi2 / rest if rest > 1e-9 else inf
    # All orders being equally likely, n datasets agree with this chance, and nothing is rarer.
    exact = factorial(k) ** (1.0 - n)
    return chi2, f, max(exact, float(f_distribution.sf(f, k - 1, (k - 1) * (n - 1))))


def _cliques(ranks: Mapping[str, float], difference: float) -> list[list[str]]:
    """Maximal groups that span less than the difference; of two methods at least."""
    groups: list[list[str]] = []
    for best in ranks:
        group = [name for name in ranks if 0 <= ranks[name] - ranks[best] < difference]
        if len(group) > 1 and not any(set(group) <= set(known) for known in groups):
            groups.append(group)
    return groups
