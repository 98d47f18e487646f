"""Loops over a map as rows of lanes, shape (R, L): L a multiple of the channels C, which so lie side by side.

`kept` holds what a normalisation is per lane, shape (5, L): the mean; the rate, 1 / the standard
deviation; gain and shift of an affine one; the PReLU's slope. With x = (y - mean) * rate the loops are
about

    z = prelu(gain * x + shift + residual)    and    sign(z),

where `residual` may be None, and so may `bound`, beyond which the sign has no derivative: then z itself
is meant. Sums over up to `BLOCK` rows are float32, their sums float64. One call does all that a pass
needs, as the call alone takes as long as a small map.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

# Sums in any order, a product and a sum as one; infinities and NaN stay what they are.
FASTMATH = {"contract", "reassoc", "nsz"}
loop = numba.njit(fastmath=FASTMATH, cache=True, nogil=True)

# What a loop calls is compiled into it. As a function of its own it exists twice, rounded differently: as
# compiled alone, and with the loop; which one a process calls depends on what lies in numba's cache.
within = numba.njit(fastmath=FASTMATH, cache=True, nogil=True, forceinline=True)

BLOCK = 64
ZERO, ONE = np.float32(0), np.float32(1)
Array = Any


@within
def by_channel(sums: Array, channels: int) -> Array:
    """Sums of lanes, shape (N, L), as those of channels, shape (N, C)."""
    made = np.zeros((len(sums), channels))
    for first in range(0, sums.shape[1], channels):
        made += sums[:, first : first + channels]
    return made


@within
def by_lane(values: Array, made: Array) -> None:
    """Values of channels, shape (C,), for each of their lanes, into (L,)."""
    for first in range(0, len(made), len(values)):
        made[first : first + len(values)] = values


@within
def moments(y: Array, statistics: Array) -> None:
    """Mean and (biased) variance per channel, into (2, C) float64.

    The sums are of y - near, a pixel of the map: where that is not far from the mean, little is lost.
    """
    rows, lanes = y.shape
    channels = statistics.shape[1]
    near, part = np.empty(lanes, np.float32), np.empty((2, lanes), np.float32)
    total = np.zeros((2, lanes))
    by_lane(y[0, :channels], near)
    a, b = part[0], part[1]
    for first in range(0, rows, BLOCK):
        part[:] = ZERO
        for r in range(first, min(rows, first + BLOCK)):
            for k in range(lanes):
                v = y[r, k] - near[k]
                a[k] += v
                b[k] += v * v
        total += part
    found = by_channel(total, channels) * (channels / y.size)
    for c in range(channels):
        statistics[0, c] = found[0, c] + near[c]
        statistics[1, c] = max(found[1, c] - found[0, c] * found[0, c], 0.0)


@loop
def forward(
    y: Array,
    residual: Array,
    slope: Array,
    weight: Array,
    bias: Array,
    eps: float,
    bound: Any,
    statistics: Array,
    kept: Array,
    out: Array,
) -> None:
    """z, or its sign, as `out`; `statistics` and `kept` are filled.

    Args:
        slope, weight, bias: per channel; each may be None.
    """
    rows, lanes = y.shape
    moments(y, statistics)
    by_lane(statistics[0], kept[0])
    by_lane(1 / np.sqrt(statistics[1] + eps), kept[1])
    kept[2], kept[3], kept[4] = ONE, ZERO, ONE
    if weight is not None:
        by_lane(weight, kept[2])
    if bias is not None:
        by_lane(bias, kept[3])
    if slope is not None:
        by_lane(slope, kept[4])
    mean, rate, gain, shift, steep = kept[0], kept[1], kept[2], kept[3], kept[4]
    for r in range(rows):
        for k in range(lanes):
            u = (y[r, k] - mean[k]) * rate[k] * gain[k] + shift[k]
            if residual is not None:
                u += residual[r, k]
            z = u if u > ZERO else u * steep[k]
            if bound is not None:
                z = -ONE if z < ZERO else ONE
            out[r, k] = z


@loop
def backward(
    grad: Array,
    y: Array,
    residual: Array,
    kept: Array,
    bound: Any,
    sums: Array,
    of_u: Array,
    of_y: Array,
) -> None:
    """The gradients of u = gain * x + shift + residual and, unless `of_y` is None, of y.

    Args:
        sums: of the channels, filled: the gradients of shift, gain and slope, shape (3, C).
        of_y: may be `of_u`.
    """
    rows, lanes = y.shape
    mean, rate, gain, shift, slope = kept[0], kept[1], kept[2], kept[3], kept[4]
    part, total = np.empty((3, lanes), np.float32), np.zeros((3, lanes))
    a, b, c = part[0], part[1], part[2]
    for first in range(0, rows, BLOCK):
        part[:] = ZERO
        for r in range(first, min(rows, first + BLOCK)):
            for k in range(lanes):
                x = (y[r, k] - mean[k]) * rate[k]
                u = x * gain[k] + shift[k]
                if residual is not None:
                    u += residual[r, k]
                dz = grad[r, k]
                if bound is not None:
                    z = u if u > ZERO else u * slope[k]
                    dz = dz if abs(z) <= bound else ZERO
                du = dz if u > ZERO else dz * slope[k]
                a[k] += du
                b[k] += du * x
                c[k] += ZERO if u > ZERO else dz * u
                of_u[r, k] = du
        total += part
    sums[:] = by_channel(total, sums.shape[1])
    if of_y is not None:
        through_norm(of_u, y, kept, sums, of_y)


@within
def through_norm(dy: Array, y: Array, kept: Array, sums: Array, out: Array) -> None:
    """rate * gain * (dy - mean(dy) - x * mean(dy * x)): how a normalised map moves with y along dy, or
    the gradient of y where dy is that of the normalised map; `out` may be `dy`.

    Args:
        sums: of dy and dy * x over the map, shape (2 or more, C).
    """
    rows, lanes = y.shape
    means = np.empty((2, lanes), np.float32)
    for n in range(2):
        by_lane(sums[n] * (sums.shape[1] / y.size), means[n])
    mean, rate, gain = kept[0], kept[1], kept[2]
    a, b = means[0], means[1]
    for r in range(rows):
        for k in range(lanes):
            x = (y[r, k] - mean[k]) * rate[k]
            out[r, k] = rate[k] * gain[k] * (dy[r, k] - a[k] - x * b[k])


@loop
def tangent(
    dy: Array,
    dresidual: Array,
    y: Array,
    residual: Array,
    kept: Array,
    bound: Any,
    channels: int,
    out: Array,
) -> None:
    """How z, or its sign by its estimator, moves as y moves along dy, and the residual along dresidual."""
    rows, lanes = y.shape
    mean, rate, gain, shift, slope = kept[0], kept[1], kept[2], kept[3], kept[4]
    part, total = np.empty((2, lanes), np.float32), np.zeros((2, lanes))
    a, b = part[0], part[1]
    for first in range(0, rows, BLOCK):
        part[:] = ZERO
        for r in range(first, min(rows, first + BLOCK)):
            for k in range(lanes):
                a[k] += dy[r, k]
                b[k] += dy[r, k] * ((y[r, k] - mean[k]) * rate[k])
        total += part
    through_norm(dy, y, kept, by_channel(total, channels), out)
    for r in range(rows):
        for k in range(lanes):
            u = (y[r, k] - mean[k]) * rate[k] * gain[k] + shift[k]
            if residual is not None:
                u += residual[r, k]
            du = out[r, k]
            if dresidual is not None:
                du += dresidual[r, k]
            dz = du if u > ZERO else du * slope[k]
            if bound is not None:
                z = u if u > ZERO else u * slope[k]
                dz = dz if abs(z) <= bound else ZERO
            out[r, k] = dz
