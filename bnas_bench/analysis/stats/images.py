"""Two sets of trained networks on the same test images: what other images could change of their difference.

The images are what is drawn here. Each gives one difference, between the shares of either set that
classify it rightly, and the differences of independent images are independent: averaging over the networks
first is what makes the error robust to that they share the images (Liang and Zeger, Biometrika 73 (1986),
with the images as clusters; Miller, https://arxiv.org/abs/2411.00640, section 4). With one network on each
side it is McNemar's comparison, in the form that has an interval.

It conditions on the networks: it tells these apart, not the methods that found them, whose other seeds
give others (Dietterich, Neural Comput. 10 (1998)).
"""

from __future__ import annotations

from math import sqrt

import numpy as np
from numpy.typing import ArrayLike

from bnas_bench.analysis.stats.contrasts import Contrast
from bnas_bench.analysis.stats.values import NotEnough, count, finite
from bnas_bench.core.errors import BadValue

APART = 10
"""Images on which two sets must differ: the sum of fewer differences is not nearly normal."""


def by_image(x: ArrayLike, y: ArrayLike) -> Contrast | NotEnough:
    """The accuracy of x minus that of y in points, with its error over the test images.

    Args:
        x, y: by image, the share of the networks that classify it rightly, from 0 to 1.

    Raises:
        BadValue: if the two are not of equally many images.
    """
    xs, ys = finite(x, "shares"), finite(y, "shares")
    if len(xs) != len(ys):
        raise BadValue(f"{len(xs)} and {len(ys)} images; pair those of one test set")
    apart, n = 100 * (xs - ys), len(xs)
    if (differ := int(np.count_nonzero(np.abs(apart) > 1e-9))) < APART:
        return NotEnough(f"the networks differ on {count(differ, 'image')}, {APART} needed")
    return Contrast(
        (n, n), float(apart.mean()), sqrt(float(apart.var(ddof=1)) / n), n - 1, paired=True
    )
