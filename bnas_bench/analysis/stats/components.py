"""Where the spread of a method's accuracies comes from: its searches, their trainings, the test images.

Searle, Casella and McCulloch, "Variance Components" (Wiley, 1992): the estimators of the analysis of
variance of balanced data (section 4.3), which are REML's where they are not negative; a negative one is 0.
A training seed belongs to its search, as networks of two architectures share no weights that it could draw.

Tensor names carry their shape: S searches, R trainings of what each found, N test images.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import chdtri, fdtri, ndtri

from bnas_bench.analysis.stats.means import FEWEST
from bnas_bench.analysis.stats.values import LEVEL, Array, Estimate, Interval, NotEnough, alike
from bnas_bench.core.errors import BadValue

TAIL = (1 - LEVEL) / 2


@dataclass(frozen=True)
class Components:
    """Standard deviations, in the values' units.

    Attributes:
        search: of what searches find, were each trained without end.
        training: of the trainings of one architecture.
    """

    search: Estimate | NotEnough
    training: Estimate | NotEnough


def components(values_SR: ArrayLike) -> Components:
    """Part the spread of accuracies between searches from that of trainings within them.

    The interval of the trainings' is exact for normal values; that of the searches' is Williams'
    (Biometrika 49 (1962)), which holds at least so often. Coverage: docs/statistics.md.

    Raises:
        BadValue: if the values are no table of finite numbers.
    """
    x_SR = np.asarray(values_SR, dtype=np.float64)
    if x_SR.ndim != 2 or not np.isfinite(x_SR).all():
        raise BadValue(
            f"accuracies of shape {x_SR.shape}: one finite number for each search and training"
        )
    s, r = x_SR.shape
    if r < 2:
        why = NotEnough("one training of each search: --train-seeds parts search from training")
        return Components(why, why)
    if alike(x_SR.ravel()):
        why = NotEnough("all runs are equal")
        return Components(why, why)
    within = float(x_SR.var(axis=1, ddof=1).mean())
    df = s * (r - 1)
    ends = (df * within / chdtri(df, tail) for tail in (TAIL, 1 - TAIL))
    training = Estimate(sqrt(within), _roots(*ends))
    if s < 2:
        return Components(NotEnough("one search has no spread of searches"), training)
    between = r * float(x_SR.mean(axis=1).var(ddof=1))
    search = sqrt(max(0.0, between - within) / r)
    if s < FEWEST:
        few = NotEnough(f"{s} searches, an interval needs {FEWEST}")
        return Components(Estimate(search, few), training)
    above = [  # of the between mean square what is not the trainings', by an F of either tail
        (between - within * float(fdtri(s - 1, df, 1 - tail))) / r for tail in (TAIL, 1 - TAIL)
    ]
    ends = (
        (s - 1) * max(0.0, part) / chdtri(s - 1, tail)
        for part, tail in zip(above, (TAIL, 1 - TAIL), strict=True)
    )
    return Components(Estimate(search, _roots(*ends)), training)


def _roots(lower: float, upper: float) -> Interval:
    return Interval(sqrt(lower), sqrt(upper))


def images_component(right_MN: ArrayLike) -> Estimate | NotEnough:
    """The standard deviation that other N test images would give the accuracy that the networks share, in
    points.

    Networks and images are crossed; the part of the images is what is left of the spread of their shares
    when the networks' own disagreement is taken off. Its interval is normal over the images.

    Args:
        right_MN: whether each of M networks is right on each image, which all of them saw.
    """
    x_MN = np.asarray(right_MN, dtype=np.float64)
    m, n = x_MN.shape
    if m < 2:
        return NotEnough("one network does not part images from chance")
    share_N: Array = x_MN.mean(axis=0)
    apart_N = share_N - share_N.mean()
    rest_MN = x_MN - x_MN.mean(axis=1, keepdims=True) - apart_N
    part_N = apart_N**2 - (rest_MN**2).sum(axis=0) / (m * (m - 1))
    variance = float(part_N.sum()) / (n - 1)
    half = -float(ndtri(TAIL)) * float(part_N.std(ddof=1)) / sqrt(n)
    ends = (100 * sqrt(max(0.0, end) / n) for end in (variance - half, variance + half))
    return Estimate(100 * sqrt(max(0.0, variance) / n), Interval(*ends))
