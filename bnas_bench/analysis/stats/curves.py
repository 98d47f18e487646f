"""Curves over a grid with their bands, and the volume below a front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import t

from bnas_bench.analysis.stats.bootstrap import RESAMPLES, Scores, by_task, few_runs, weights
from bnas_bench.analysis.stats.values import LEVEL, Array, NotEnough, count, finite
from bnas_bench.core.errors import BadValue

FEW = 5
"""Runs, from which on the band of an anytime curve is an interval of its mean."""


@dataclass(frozen=True, eq=False)
class Band:
    """What lies around a curve, point by point; NaN where the curve is.

    Attributes:
        kind: what it is, for the caption.
    """

    lower: Array
    upper: Array
    kind: str


@dataclass(frozen=True, eq=False)
class Curve:
    """y over x, of `n` runs; NaN where it is not defined."""

    x: Array
    y: Array
    band: Band | NotEnough
    n: int


def anytime(runs: Sequence[tuple[ArrayLike, ArrayLike]], passes: ArrayLike) -> Curve | NotEnough:
    """The mean of several searches' best so far, at the given passes.

    A value holds until the run's next entry, and after its last. Before a run's first entry it has
    none; the mean begins where all runs have one. The band is the t interval of the mean, but the
    range of the runs where these are fewer than `FEW`: so few have a range narrower than any t
    interval of theirs. Where all runs agree it has no width.

    Args:
        runs: each as passes, which never fall, and the value from then on.
        passes: the grid.

    Raises:
        BadValue: if a run has not one value for each entry, or its passes fall.
    """
    grid = finite(passes, "passes")
    if not runs:
        return NotEnough("there are no runs")
    values = np.stack([_steps(*run, grid) for run in runs])
    if np.isnan(values).any(axis=0).all():
        return NotEnough("at no point of the grid all runs have a value")
    n, mean = len(values), values.mean(axis=0)
    band: Band | NotEnough
    if n == 1:
        band = NotEnough("one run has no band")
    elif n < FEW:
        band = Band(values.min(axis=0), values.max(axis=0), f"range of {n} runs")
    else:
        half = t.ppf((1 + LEVEL) / 2, n - 1) * values.std(axis=0, ddof=1) / sqrt(n)
        band = Band(mean - half, mean + half, f"{LEVEL:.0%} t interval of the mean of {n} runs")
    return Curve(grid, mean, band, n)


def _steps(passes: ArrayLike, values: ArrayLike, grid: Array) -> Array:
    x, y = finite(passes, "passes"), finite(values, "values")
    if len(x) != len(y) or np.any(np.diff(x) < 0):
        raise BadValue(f"{len(x)} passes and {len(y)} values of a run; pair them by rising passes")
    return np.concatenate([[np.nan], y])[np.searchsorted(x, grid, side="right")]


def performance_profile(scores: Scores, tau: ArrayLike, *, seed: int = 0) -> Curve | NotEnough:
    """The fraction of runs that score above each tau, on average over the tasks, which count alike.

    The score distribution of Agarwal et al., section 4.2 (https://arxiv.org/abs/2108.13264), after
    the performance profiles of Dolan and Moré, Math. Program. 91 (2002). The band holds point by
    point, from resampled runs of each task; where no run, or every run, is above tau, it has no width.
    """
    tasks, grid = by_task(scores), finite(tau, "tau")
    if isinstance(tasks, NotEnough):
        return tasks
    rng = np.random.default_rng(seed)
    n = sum(map(len, tasks.values()))
    fraction, resampled = np.zeros(len(grid)), np.zeros((RESAMPLES, len(grid)))
    for runs in tasks.values():
        above = (runs[:, None] > grid).astype(np.float64)
        fraction += above.mean(axis=0) / len(tasks)
        resampled += weights(len(runs), rng) @ above / (len(runs) * len(tasks))
    lower, upper = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    kind = f"{LEVEL:.0%} bootstrap interval of {count(n, 'run')}, point by point"
    return Curve(grid, fraction, few_runs(tasks) or Band(lower, upper, kind), n)


def hypervolume(accuracy: ArrayLike, ops: ArrayLike, reference: tuple[float, float]) -> float:
    """The area that a front dominates, in units of accuracy times OPs; 0 for an empty front.

    Zitzler and Thiele, IEEE Trans. Evol. Comput. 3 (1999), for two objectives: accuracy as high, OPs
    as low as can be. Dominated points add nothing, nor do those outside the reference.

    Args:
        reference: the accuracy that a point must exceed, and the OPs that it must stay below.

    Raises:
        BadValue: if the two differ in length.
    """
    a, o = finite(accuracy, "accuracies"), finite(ops, "OPs")
    if len(a) != len(o):
        raise BadValue(f"{len(a)} accuracies and {len(o)} OPs; give one of each for every point")
    least, most = finite(reference, "reference")
    inside = (a > least) & (o < most)
    order = np.argsort(o[inside])
    heights = np.maximum.accumulate(a[inside][order] - least)
    return float(heights @ np.diff(o[inside][order], append=most))
