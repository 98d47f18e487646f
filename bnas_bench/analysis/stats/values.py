"""What a statistic returns, and what it takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bnas_bench.core.errors import BadValue

LEVEL = 0.95
"""The level of every interval and band."""

Better = Literal["higher", "lower"]
"""Which way a score is better."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class NotEnough:
    """Stands where a statistic cannot be had.

    Attributes:
        reason: one sentence, without a full stop.
    """

    reason: str


@dataclass(frozen=True)
class Interval:
    """An interval of level `LEVEL`, in the units of what it is about."""

    lower: float
    upper: float


@dataclass(frozen=True)
class Estimate:
    """A statistic of a sample and its interval."""

    value: float
    interval: Interval | NotEnough


def finite(values: ArrayLike, what: str) -> Array:
    """The values as a vector.

    Raises:
        BadValue: if they are no vector, or one of them is no finite number.
    """
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1:
        raise BadValue(f"{what} of shape {x.shape}; one vector is needed")
    if not np.isfinite(x).all():
        bad = x[~np.isfinite(x)][0]
        raise BadValue(f"{what} with {bad}, which is no finite number; leave out what has no value")
    return x


def rounded(values: Array, scale: float) -> Array:
    """Without the noise of floating point, which would break ties: to about 1e-12 of `scale`."""
    unit = 2.0 ** np.frexp(scale)[1]
    return np.round(values / unit, 12) * unit


def alike(values: Array) -> bool:
    """Whether the values are equal but for the noise of floating point."""
    return bool(np.ptp(values) <= 1e-12 * np.abs(values).max())


def count(n: int, noun: str) -> str:
    """As in "1 run", "2 runs"."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
