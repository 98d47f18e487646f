"""Estimates over the runs of one task, or over tasks that count alike, whatever their runs.

Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice", NeurIPS 2021,
https://arxiv.org/abs/2108.13264, and its library rliable: over several tasks, runs are resampled within
each (stratified), and intervals are percentiles. Of few runs these are too narrow (docs/statistics.md):
below `FEWEST_RUNS` a task there is none, and on a single task others are taken that hold.

scipy's `bootstrap` draws the same resamples and gives the same intervals, but takes four to five times
as long for the few runs that there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import lcm, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import stdtrit

from bnas_bench.analysis.stats.values import (
    LEVEL,
    Array,
    Estimate,
    Interval,
    NotEnough,
    alike,
    count,
    finite,
)

RESAMPLES = 2000
"""Bootstrap resamples, as rliable takes for profiles and probabilities."""

TINY = 1e-9
"""What a probability is kept away from a root of its own interval by."""

FEWEST_RUNS = 10
"""Runs of a task that resampling needs, for its intervals to cover nearly what they say."""

Scores = Mapping[str, ArrayLike]
"""The scores of one method: by task, one for each of its runs there."""


def interquartile_mean(scores: Scores, *, seed: int = 0) -> Estimate | NotEnough:
    """The mean of the middle half of all runs of all tasks (Agarwal et al., section 4.3).

    A quarter of the runs, rounded down, is cut off at each end: of three runs none. Each task counts
    alike: its runs count for as many as the least common multiple of all tasks' runs. The interval on a
    single task is Tukey and McLaughlin's (Sankhyā A 25, 1963): Student's t of what is left, its error
    that of the runs where those cut off are moved to the next that stays.
    """
    tasks = by_task(scores)
    if isinstance(tasks, NotEnough):
        return tasks
    times = [lcm(*map(len, tasks.values())) // len(runs) for runs in tasks.values()]
    every = zip(tasks.values(), times, strict=True)
    value = float(_middle(np.concatenate([np.repeat(runs, n) for runs, n in every])))
    if len(tasks) == 1:
        return Estimate(value, _trimmed(*tasks.values()))
    if few := few_runs(tasks):
        return Estimate(value, few)
    rng = np.random.default_rng(seed)
    drawn = [
        np.repeat(runs[rng.integers(len(runs), size=(RESAMPLES, len(runs)))], n, axis=1)
        for runs, n in zip(tasks.values(), times, strict=True)
    ]
    return Estimate(value, percentiles(_middle(np.concatenate(drawn, axis=1))))


def _trimmed(runs: Array) -> Interval | NotEnough:
    n, cut = len(runs), len(runs) // 4
    if (left := n - 2 * cut) < 3:
        return NotEnough(f"{count(left, 'run')} in the middle, an interval needs 3")
    ordered = np.sort(runs)
    moved = np.clip(ordered, ordered[cut], ordered[n - cut - 1])
    if alike(moved):
        return NotEnough(f"the middle {left} runs are equal")
    error = sqrt(float(((moved - moved.mean()) ** 2).sum()) / (left * (left - 1)))
    half = float(stdtrit(left - 1, (1 + LEVEL) / 2)) * error
    mean = float(_middle(runs))
    return Interval(mean - half, mean + half)


def _middle(x: Array) -> Array:
    """The mean of the middle half along the last axis."""
    cut = x.shape[-1] // 4
    return np.sort(x)[..., cut : x.shape[-1] - cut].mean(axis=-1)


def probability_of_improvement(x: Scores, y: Scores, *, seed: int = 0) -> Estimate | NotEnough:
    """P(X > Y): how often a run of x beats one of y, ties half, averaged over the tasks.

    Agarwal et al., section 4.3; on each task it is Mann and Whitney's U over the number of pairs. The
    interval on a single task is Newcombe's fifth (Stat. Med. 25, 2006), with Student's t for the
    normal quantile: it needs no overlap of the two.
    """
    xs, ys = by_task(x), by_task(y)
    if isinstance(xs, NotEnough):
        return xs
    if isinstance(ys, NotEnough):
        return ys
    if odd := sorted(xs.keys() ^ ys.keys()):
        return NotEnough(f"only one of the two has runs of {', '.join(odd)}")
    wins = [(1 + np.sign(xs[task][:, None] - ys[task])) / 2 for task in xs]
    value = float(np.mean([won.mean() for won in wins]))
    if len(wins) == 1:
        return Estimate(value, _newcombe(value, *wins[0].shape))
    if few := few_runs(xs) or few_runs(ys):
        return Estimate(value, few)
    rng = np.random.default_rng(seed)
    resampled = np.zeros(RESAMPLES)
    for won in wins:
        n, m = won.shape
        drawn = ((weights(n, rng) @ won) * weights(m, rng)).sum(axis=1)
        resampled += drawn / (n * m * len(wins))
    return Estimate(value, percentiles(resampled))


def _newcombe(theta: float, n: int, m: int) -> Interval | NotEnough:
    """The values that lie no further from `theta` than t of their own standard errors."""
    if min(n, m) < 3:
        return NotEnough(f"{n} and {m} runs, an interval needs 3 of each")
    quantile = float(stdtrit(n + m - 2, (1 + LEVEL) / 2))
    others = (n + m) / 2 - 1

    def beyond(x: float) -> float:
        variance = x * (1 - x) / (n * m) * (1 + others * ((1 - x) / (2 - x) + x / (1 + x)))
        return (x - theta) ** 2 - quantile**2 * variance

    lower = brentq(beyond, 0.0, theta - TINY) if theta > TINY else 0.0
    upper = brentq(beyond, theta + TINY, 1.0) if theta < 1 - TINY else 1.0
    return Interval(float(lower), float(upper))


def by_task(scores: Scores) -> dict[str, Array] | NotEnough:
    """The runs of every task, if there are tasks and each has runs."""
    tasks = {task: finite(runs, f"scores of {task}") for task, runs in scores.items()}
    if not tasks:
        return NotEnough("there are no runs")
    if empty := [task for task, runs in tasks.items() if not len(runs)]:
        return NotEnough(f"there are no runs of {', '.join(empty)}")
    return tasks


def few_runs(tasks: Mapping[str, Array]) -> NotEnough | None:
    """Why resampling within these tasks would show too little, if it would."""
    if few := [task for task, runs in tasks.items() if len(runs) < FEWEST_RUNS]:
        where = f" of {', '.join(few)}" if any(few) else ""
        return NotEnough(
            f"fewer than {FEWEST_RUNS} runs{where}: a bootstrap interval needs so many"
        )
    return None


def weights(n: int, rng: np.random.Generator) -> Array:
    """How often each of `n` runs is drawn in each resample: (RESAMPLES, n)."""
    return _tally(rng.integers(n, size=(RESAMPLES, n)), n)


def _tally(drawn: NDArray[np.int64], n: int) -> Array:
    """How often each of 0 to n - 1 is in each row."""
    rows = len(drawn)
    cells = drawn + n * np.arange(rows)[:, None]
    return np.bincount(cells.ravel(), minlength=rows * n).reshape(rows, n).astype(np.float64)


def percentiles(resampled: Array) -> Interval | NotEnough:
    """The interval that holds the middle `LEVEL` of the resampled estimates.

    One without width, as when every run of one method beats all of another's, would claim to be
    certain; there is none then.
    """
    ends = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    if alike(ends):
        return NotEnough("resampling does not change the value")
    return Interval(float(ends[0]), float(ends[1]))
