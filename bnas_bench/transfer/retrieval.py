"""Re-identification judged: each query ranks the gallery, and what ranks high should be of its identity.

Liang Zheng, Liyue Shen, Lu Tian, Shengjin Wang, Jingdong Wang, Qi Tian. "Scalable Person Re-identification:
A Benchmark", ICCV 2015: mean average precision, and how often a right image is among the first k. What the
query's own camera has seen of its identity is left out of its ranking, and so is junk (identity -1).
Average precision is the mean of the precisions at the right images, as in the evaluators of today; the
benchmark's own first one took the mean of two neighbours each, which differs in the third digit.

Legend of array names: Q queries, G gallery images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

JUNK = -1
"""The identity of images that are neither right nor wrong."""

RANKS = (1, 5, 10)


@dataclass(frozen=True)
class Seen:
    """Who is to be seen on images, and by which camera, shape (N,) each."""

    identities: np.ndarray
    cameras: np.ndarray

    def __len__(self) -> int:
        return len(self.identities)


@dataclass(frozen=True)
class Retrieval:
    """What rankings are worth, in %.

    Attributes:
        mean_ap: mean average precision.
        ranks: by k, how many of the queries have a right image among the first k.
        queries: that were judged.
        unmatched: queries that were not, as the gallery has no right image of them.
    """

    mean_ap: float
    ranks: Mapping[int, float]
    queries: int
    unmatched: int


def retrieval(distances_QG: np.ndarray, queries: Seen, gallery: Seen) -> Retrieval:
    """Judge rankings by distance, the nearest first; of equal ones the first of the gallery.

    Without a query that can be judged the values are nan.
    """
    precisions, firsts = [], []
    for q in range(len(queries)):
        counts, right = _judged(queries, gallery, q)
        order = np.argsort(distances_QG[q][counts], kind="stable")
        if right.any():
            places = np.flatnonzero(right[order])
            precisions.append(float(_precision(places)))
            firsts.append(places[0])
    judged = len(precisions)

    def percent(values: np.ndarray) -> float:
        return 100 * float(values.mean()) if judged else float("nan")

    return Retrieval(
        mean_ap=percent(np.array(precisions)),
        ranks={k: percent(np.array(firsts) < k) for k in RANKS},
        queries=judged,
        unmatched=len(queries) - judged,
    )


def _judged(queries: Seen, gallery: Seen, q: int) -> tuple[np.ndarray, np.ndarray]:
    """Which of the gallery a query ranks, shape (G,), and which of those are right; none is of junk."""
    identity, camera = queries.identities[q], queries.cameras[q]
    same = gallery.identities == identity
    counts = ~(same & (gallery.cameras == camera)) & (gallery.identities != JUNK)
    return counts, same[counts] & (identity != JUNK)


def _precision(places: np.ndarray) -> np.ndarray:
    """Average precision where the right images stand at these places, rising, the first being 0."""
    return np.mean(np.arange(1, places.shape[-1] + 1) / (places + 1), -1)


def by_chance(
    queries: Seen, gallery: Seen, rng: np.random.Generator, draws: int = 200
) -> tuple[float, float]:
    """Mean average precision of random rankings: its mean, and what 99 % of them stay below."""
    values = []
    for q in range(len(queries)):
        _, right = _judged(queries, gallery, q)
        if right.any():
            size = int(right.sum())
            drawn = [rng.choice(len(right), size, replace=False) for _ in range(draws)]
            values.append(_precision(np.sort(drawn)))
    if not values:
        return float("nan"), float("nan")
    means = 100 * np.mean(values, 0)
    return float(np.mean(means)), float(np.quantile(means, 0.99))
