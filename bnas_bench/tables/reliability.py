"""How well a table tells architectures apart: the share of its means' variance that is not the seeds'.

One-way random effects: an architecture's accuracy at a seed is x_ij = mu + a_i + e_ij, with variances
sigma_a^2 between architectures and sigma_e^2 between seeds. The mean of n seeds has the reliability

    ICC(1, n) = sigma_a^2 / (sigma_a^2 + sigma_e^2 / n), estimated by (MSB - MSW) / MSB

Shrout and Fleiss, Intraclass correlations: uses in assessing rater reliability, Psychological Bulletin
86(2), 1979, https://doi.org/10.1037/0033-2909.86.2.420, where it is ICC(1, k).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import numpy as np

from bnas_bench.core.errors import BadValue
from bnas_bench.core.seeds import generator

FEWEST = 8
"""Architectures of which a reliability may be told."""

RESAMPLES = 999
BATCH = 50
"""Resamples that are in memory at once."""


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """Of the means over the seeds.

    Attributes:
        architectures, seeds: it comes from.
        reliability: ICC(1, seeds), at most 1; below 0 where the means differ less than noise would make them.
        lower, upper: of its 95 % bootstrap interval over architectures.
        sd_between, sd_seeds: the square roots of the two variances, in the values' unit.
    """

    architectures: int
    seeds: int
    reliability: float
    lower: float
    upper: float
    sd_between: float
    sd_seeds: float


def icc(means_N: np.ndarray, variances_N: np.ndarray, seeds: int, *, axis: int = -1) -> np.ndarray:
    """(MSB - MSW) / MSB, from each architecture's mean and sample variance over its seeds.

    It is -inf where all means are equal, as they may be in a resample of few.
    """
    between = seeds * means_N.var(axis, ddof=1)
    ratio = variances_N.mean(axis) / np.where(between > 0, between, 1.0)
    return np.where(between > 0, 1 - ratio, -np.inf)


def icc_of_best(
    means_N: np.ndarray, variances_N: np.ndarray, seeds: int, top: float, *, axis: int = -1
) -> np.ndarray:
    """The same of the best architectures, those of the highest means.

    They are chosen by the means that are judged, so that the noise in these differs less than it does over
    all, and the estimate is too low, the more so the less reliable the means are. Of normal values, where
    it is 0.95 over all, the best quarter's is 0.82 and the estimate 0.80; where 0.81, 0.51 and 0.22.
    """
    best = np.argsort(means_N, axis)[..., -count_of_best(means_N.shape[axis], top) :]
    means, variances = (np.take_along_axis(v, best, axis) for v in (means_N, variances_N))
    return icc(means, variances, seeds, axis=axis)


def count_of_best(architectures: int, top: float) -> int:
    """How many are the best share."""
    return math.ceil(round(top * architectures, 6))


def reliability(values_NS: np.ndarray, top: float = 1.0, resamples: int = RESAMPLES) -> Reliability:
    """Of N architectures at S seeds, or of the best share of them; each resample has its own best.

    Raises:
        BadValue: if they are too few, or have a single seed.
    """
    from scipy import stats

    architectures, seeds = values_NS.shape
    count = count_of_best(architectures, top)
    if not 0 < top <= 1 or seeds < 2 or count < FEWEST:
        raise BadValue(
            f"{seeds} seed(s) and the best {100 * top:g} % of {architectures:,} architectures tell nothing "
            f"of reliability: it takes two seeds and {FEWEST} architectures at least"
        )
    means_N, variances_N = values_NS.mean(1), values_NS.var(1, ddof=1)
    statistic = partial(icc_of_best, seeds=seeds, top=top)
    with np.errstate(invalid="ignore"):  # SciPy's standard error, of values that may be infinite
        interval = stats.bootstrap(
            (means_N, variances_N),
            statistic,
            paired=True,
            vectorized=True,
            n_resamples=resamples,
            batch=BATCH,
            method="percentile",
            rng=generator(0, "table", "reliability"),
        ).confidence_interval
    best = np.argsort(means_N)[-count:]
    within = float(variances_N[best].mean())
    between = float(means_N[best].var(ddof=1)) - within / seeds
    return Reliability(
        architectures=count,
        seeds=seeds,
        reliability=float(statistic(means_N, variances_N)),
        lower=float(interval.low),
        upper=float(interval.high),
        sd_between=math.sqrt(max(0.0, between)),
        sd_seeds=math.sqrt(within),
    )
