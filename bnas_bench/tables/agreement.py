"""What two rankings of the same architectures have in common, as those at two precisions.

Legend of array names: N architectures, S seeds, O operations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import nan, sqrt
from typing import NamedTuple

import numpy as np

from bnas_bench.core.seeds import generator
from bnas_bench.tables.reliability import FEWEST, icc

RESAMPLES = 199
HALVES = 99
BEST = (10, 100, 1_000)
"""So many of the best are compared, where there are twice as many architectures at least."""


class Estimate(NamedTuple):
    """A value and the ends of its 95 % interval; nan is unknown."""

    value: float
    lower: float = nan
    upper: float = nan


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """Of the best of two rankings.

    Attributes:
        count: of the best of each.
        both: which share of the one's best is among the other's; of equal ones the first count.
        chance: which share would be, were the rankings independent.
        p_value: the probability that so many or more would be then (hypergeometric).
        seeds: the mean share of two rankings by disjoint halves of the first's own seeds; nan of one seed.
    """

    count: int
    both: float
    chance: float
    p_value: float
    seeds: float


@dataclass(frozen=True, kw_only=True)
class Worth:
    """Of an operation on an edge in place of the reference, by least squares over all architectures.

    Attributes:
        first, second: points of the mean test accuracy at the two precisions.
        shift: percentiles by which an architecture ranks higher by the first than by the second.
    """

    operation: str
    first: Estimate
    second: Estimate
    shift: Estimate


@dataclass(frozen=True, kw_only=True)
class Correlation:
    """Of the means over the seeds, with bootstrap intervals over architectures.

    Attributes:
        kendall_tau: tau-b.
        spearman, pearson: of the ranks and of the accuracies.
        corrected: Pearson's divided by the root of the product of the two reliabilities, as Spearman
            (1904) corrects for noise in both; may exceed 1, and nan where a reliability is none.
        seeds: the mean tau-b of two rankings by disjoint halves of the first's own seeds: what is left of
            1 where half of the seeds are all that differs; nan of one seed.
    """

    kendall_tau: Estimate
    spearman: Estimate
    pearson: Estimate
    corrected: float
    seeds: float


@dataclass(frozen=True, kw_only=True)
class Loss:
    """From taking the best architecture by one ranking for the other.

    Each seed in turn judges: what is best is found without it, by either ranking, so that no accuracy is
    that of an architecture which was chosen for it.

    Attributes:
        points: of test accuracy that are lost, with a t interval over seeds.
        kept: which part is left of what the right one's best has more than the mean architecture.
    """

    points: Estimate
    kept: float


def means(values_NS: np.ndarray) -> np.ndarray:
    """Over the seeds; equal where as many images are classified rightly, whatever the order of the sum."""
    return values_NS.mean(1).round(9)


def correlation(first_NS: np.ndarray, second_NS: np.ndarray) -> Correlation:
    """Of accuracies in %; nan where the architectures are too few."""
    from scipy import stats

    first_N, second_N = means(first_NS), means(second_NS)

    def estimate(statistic: Callable[..., object]) -> Estimate:
        def value(a_N: np.ndarray, b_N: np.ndarray) -> float:
            if len(a_N) < 3 or not (np.ptp(a_N) and np.ptp(b_N)):
                return nan
            return float(statistic(a_N, b_N).statistic)  # type: ignore[attr-defined]

        return bootstrapped(value, first_N, second_N)

    pearson, noise = estimate(stats.pearsonr), _reliability(first_NS) * _reliability(second_NS)
    return Correlation(
        kendall_tau=estimate(stats.kendalltau),
        spearman=estimate(stats.spearmanr),
        pearson=pearson,
        corrected=pearson.value / sqrt(noise) if noise > 0 else nan,
        seeds=_mean([kendall_tau(one_N, other_N) for one_N, other_N in _halves(first_NS)]),
    )


def kendall_tau(first_N: np.ndarray, second_N: np.ndarray) -> float:
    """tau-b; nan of fewer than two."""
    from scipy import stats

    if len(first_N) < 2:
        return nan
    return float(stats.kendalltau(first_N, second_N).statistic)


def overlaps(first_NS: np.ndarray, second_NS: np.ndarray) -> list[Overlap]:
    """Of the best by the means, as many as `BEST` says."""
    from scipy import stats

    size, found = len(first_NS), []
    for count in BEST:
        if size < 2 * count:
            break
        both = len(_best(means(first_NS), count) & _best(means(second_NS), count))
        halves = [len(_best(a, count) & _best(b, count)) / count for a, b in _halves(first_NS)]
        found.append(
            Overlap(
                count=count,
                both=both / count,
                chance=count / size,
                p_value=float(stats.hypergeom.sf(both - 1, size, count, count)),
                seeds=_mean(halves),
            )
        )
    return found


def loss(at_NS: np.ndarray, by_NS: np.ndarray) -> Loss:
    """At the first's precision, from taking what is best by the second; nan of one seed."""
    from scipy import stats

    architectures, seeds = at_NS.shape
    if seeds < 2 or not architectures:
        return Loss(points=Estimate(nan), kept=nan)
    lost_S, ahead_S = np.zeros(seeds), np.zeros(seeds)
    for seed in range(seeds):
        right, taken = (means(np.delete(x, seed, 1)).argmax() for x in (at_NS, by_NS))
        judge_N = at_NS[:, seed]
        lost_S[seed] = judge_N[right] - judge_N[taken]
        ahead_S[seed] = judge_N[right] - judge_N.mean()
    mean, error = float(lost_S.mean()), float(lost_S.std(ddof=1)) / sqrt(seeds)
    reach = float(stats.t.ppf(0.975, seeds - 1)) * error
    ahead = float(ahead_S.mean())
    return Loss(
        points=Estimate(mean, mean - reach, mean + reach), kept=1 - mean / ahead if ahead else nan
    )


def worths(
    counts_NO: np.ndarray, operations: Sequence[str], first_NS: np.ndarray, second_NS: np.ndarray
) -> list[Worth]:
    """What an edge's operations are worth at two precisions.

    Args:
        counts_NO: on how many edges an architecture has each of `operations`; the other edges have the
            reference.
    """
    first_N, second_N = means(first_NS), means(second_NS)
    wanted_NK = np.stack([first_N, second_N, ranks(first_N) - ranks(second_N)], axis=1)

    def slopes(x_NO: np.ndarray, y_NK: np.ndarray) -> np.ndarray:
        return np.linalg.lstsq(np.column_stack([np.ones(len(x_NO)), x_NO]), y_NK)[0][1:]

    if len(counts_NO) <= 2 * len(operations):
        return []
    value_OK = slopes(counts_NO, wanted_NK)
    resampled = [slopes(counts_NO[d], wanted_NK[d]) for d in _draws(len(counts_NO))]
    low_OK, high_OK = np.quantile(resampled, (0.025, 0.975), axis=0)
    return [
        Worth(
            operation=operation,
            **{
                name: Estimate(*(float(part[o, k]) for part in (value_OK, low_OK, high_OK)))
                for k, name in enumerate(("first", "second", "shift"))
            },
        )
        for o, operation in enumerate(operations)
    ]


def ranks(values_N: np.ndarray) -> np.ndarray:
    """The percentile of each, 0 for the lowest and 100 for the highest; equal ones have their mean's."""
    from scipy import stats

    return 100 * (stats.rankdata(values_N) - 1) / max(1, len(values_N) - 1)


def bootstrapped(
    statistic: Callable[..., float], *samples: np.ndarray, resamples: int = RESAMPLES
) -> Estimate:
    """A statistic of samples that belong together, with its percentile interval."""
    size = len(samples[0])
    values = [statistic(*(each[drawn] for each in samples)) for drawn in _draws(size, resamples)]
    value = statistic(*samples)
    if not values or np.isnan(values).all():
        return Estimate(value)
    low, high = np.nanquantile(values, (0.025, 0.975))
    return Estimate(value, float(low), float(high))


def _draws(size: int, resamples: int = RESAMPLES) -> list[np.ndarray]:
    rng = generator(0, "table", "agreement")
    return [rng.integers(size, size=size) for _ in range(resamples if size > 1 else 0)]


def _halves(values_NS: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """The means over two disjoint halves of the seeds, drawn again and again."""
    seeds, rng = values_NS.shape[1], generator(0, "table", "halves")
    orders = [rng.permutation(seeds) for _ in range(HALVES if seeds > 1 else 0)]
    half = seeds // 2
    return [
        (means(values_NS[:, order[:half]]), means(values_NS[:, order[half : 2 * half]]))
        for order in orders
    ]


def _best(means_N: np.ndarray, count: int) -> set[int]:
    return {*np.argsort(-means_N, kind="stable")[:count].tolist()}


def _reliability(values_NS: np.ndarray) -> float:
    architectures, seeds = values_NS.shape
    if seeds < 2 or architectures < FEWEST:
        return nan
    return max(0.0, float(icc(values_NS.mean(1), values_NS.var(1, ddof=1), seeds)))


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else nan
