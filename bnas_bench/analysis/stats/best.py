"""Which of several methods may be the best: those that stay when the shown worse are excluded.

Hansen, Lunde and Nason, "The Model Confidence Set", Econometrica 79 (2011): as long as a test refutes
that the methods left are alike, the worst of them is excluded. Where the test keeps its level, all of
those that are truly best stay with a chance of 95 %, however many others there are and however bad.

The test is two at half the level each. *Max-t*: how far the worst mean lies below the mean of the others,
and how far the best lies above the next, each in standard errors of that difference; the less likely of
the two counts, by their joint distribution, which is drawn with each method's own spread, so that methods
need not spread alike (a parametric bootstrap, as of Krishnamoorthy, Lu and Mathew, Comput. Stat. Data
Anal. 51 (2007)). *Kruskal and Wallis'*, which needs no normal values and sees several methods that part a
little. docs/statistics.md shows what they do to error and power, beside what else could be taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import kruskal, rankdata

from bnas_bench.analysis.stats.values import LEVEL, Array, Better, NotEnough, alike, finite

LEAST = 1e-300
"""A variance that is divided by where there is none."""

DRAWS = 1999
"""Draws of the max-t statistic where all methods are alike."""


@dataclass(frozen=True)
class Standing:
    """Who may be the best.

    Attributes:
        kept: the methods not excluded, the best mean first.
        excluded: the others in the order of their exclusion, each with its p: the chance that so
            much is seen where it, and those excluded later, are as good as those kept.
        p: of the test that those kept are alike; 1 where one is.
        alike: p of Kruskal and Wallis' test that all are.
    """

    kept: tuple[str, ...]
    excluded: Mapping[str, float]
    p: float
    alike: float

    @property
    def winner(self) -> str | None:
        """The one that stays, if one does."""
        return self.kept[0] if len(self.kept) == 1 else None


def standing(
    scores: Mapping[str, ArrayLike], *, better: Better = "higher", seed: int = 0
) -> Standing | NotEnough:
    """Exclude as best the methods that are shown worse, at a level of 5 % for all of them together.

    Args:
        scores: by method, one for each run; two runs of each at least.
    """
    sign = 1 if better == "higher" else -1
    left = {name: sign * finite(values, f"scores of {name}") for name, values in scores.items()}
    if len(left) < 2:
        return NotEnough("nothing to compare with")
    if lone := [name for name, values in left.items() if len(values) < 2]:
        return NotEnough(f"one run of {', '.join(lone)}: a comparison needs 2")
    rng = np.random.default_rng(seed)
    excluded: dict[str, float] = {}
    first, p = _kruskal(left), 0.0
    while len(left) > 1:
        worst, max_t = _max_t(left, rng)
        now = min(1.0, 2 * min(max_t, _kruskal(left)))
        if now > 1 - LEVEL:
            break
        p = max(p, now)
        excluded[worst] = p
        del left[worst]
    kept = sorted(left, key=lambda name: -left[name].mean())
    return Standing(tuple(kept), excluded, now if len(left) > 1 else 1.0, first)


def _kruskal(left: Mapping[str, Array]) -> float:
    return 1.0 if alike(np.concatenate([*left.values()])) else float(kruskal(*left.values()).pvalue)


def _max_t(left: Mapping[str, Array], rng: np.random.Generator) -> tuple[str, float]:
    """The method that lies furthest below the others, and p of max-t where all are alike."""
    n = np.array([len(values) for values in left.values()])
    mean = np.array([values.mean() for values in left.values()])
    variance = np.array([0.0 if alike(x) else x.var(ddof=1) for x in left.values()]) / n
    below = _below(mean, variance)
    worst = [*left][int(below.argmax())]
    if not variance.any():
        return worst, 1.0  # without any spread there is nothing to go by
    shape = (DRAWS, len(n))
    drawn = rng.normal(size=shape) * np.sqrt(variance)
    spread = variance * rng.chisquare(n - 1, shape) / (n - 1)
    seen = [
        rankdata(-np.append(drawn_as, seen_as), method="max")
        for drawn_as, seen_as in (
            (_below(drawn, spread).max(axis=-1), below.max()),
            (_above(drawn, spread), _above(mean, variance)),
        )
    ]
    rarest = np.minimum(*seen)
    return worst, float(np.count_nonzero(rarest <= rarest[-1]) / (1 + DRAWS))


def _below(mean: Array, variance: Array) -> Array:
    """How far each method's mean lies below the mean of the others, in standard errors: (..., k).

    Args:
        variance: of the means.
    """
    k = mean.shape[-1]
    rest = (mean.sum(axis=-1, keepdims=True) - mean) / (k - 1)
    others = (variance.sum(axis=-1, keepdims=True) - variance) / (k - 1) ** 2
    return (rest - mean) / np.sqrt(np.maximum(variance + others, LEAST))


def _above(mean: Array, variance: Array) -> Array:
    """How far the best mean lies above the others, in standard errors of the nearest: (...)."""
    best = mean.argmax(axis=-1)[..., None]
    apart = np.take_along_axis(mean, best, -1) - mean
    errors = np.sqrt(np.maximum(np.take_along_axis(variance, best, -1) + variance, LEAST))
    t = apart / errors
    np.put_along_axis(t, best, np.inf, -1)
    return t.min(axis=-1)
