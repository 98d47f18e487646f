"""Loops over a map as rows of lanes, shape (R, L): L a multiple of the channels, which so lie side by side.

Per lane: `mean`; `rate`, 1 / the standard deviation; `gain` and `shift` of an affine normalisation; the
PReLU's `slope`. With x = (y - mean) * rate the loops are about

    z = prelu(gain * x + shift + residual)    and    sign(z),

where `residual` may be None, and so may `bound`, beyond which the sign has no derivative: then z itself
is meant. Sums over up to `BLOCK` rows are float32, their sums float64.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

# Sums in any order, a product and a sum as one; infinities and NaN stay what they are.
loop = numba.njit(fastmath={"contract", "reassoc", "nsz"}, cache=True, nogil=True)

BLOCK = 64
ZERO, ONE = np.float32(0), np.float32(1)
Array = Any


@loop
def moments(y: Array, near: Array, sums: Array) -> None:
    """Add up y - near and its squares, into (2, L): where near is not far from the mean, little is lost."""
    rows, lanes = y.shape
    part = np.zeros((2, lanes), np.float32)
    a, b = part[0], part[1]
    for first in range(0, rows, BLOCK):
        part[:] = ZERO
        for r in range(first, min(rows, first + BLOCK)):
            for k in range(lanes):
                v = y[r, k] - near[k]
                a[k] += v
                b[k] += v * v
        sums += part


@loop
def forward(
    y: Array,
    residual: Array,
    mean: Array,
    rate: Array,
    gain: Array,
    shift: Array,
    slope: Array,
    bound: Any,
    out: Array,
) -> None:
    """z, or its sign."""
    rows, lanes = y.shape
    for r in range(rows):
        for k in range(lanes):
            u = (y[r, k] - mean[k]) * rate[k] * gain[k] + shift[k]
            if residual is not None:
                u += residual[r, k]
            z = u if u > ZERO else u * slope[k]
            if bound is not None:
                z = -ONE if z < ZERO else ONE
            out[r, k] = z


@loop
def backward(
    grad: Array,
    y: Array,
    residual: Array,
    mean: Array,
    rate: Array,
    gain: Array,
    shift: Array,
    slope: Array,
    bound: Any,
    out: Array,
    sums: Array,
) -> None:
    """The gradient of u = gain * x + shift + residual as `out`, and three sums, added to (3, L).

    They are of that gradient, of it times x, and of the slope's gradient.
    """
    rows, lanes = y.shape
    part = np.zeros((3, lanes), np.float32)
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
                out[r, k] = du
        sums += part


@loop
def through_norm(
    du: Array,
    y: Array,
    mean: Array,
    rate: Array,
    gain: Array,
    mean_du: Array,
    mean_dux: Array,
    out: Array,
) -> None:
    """The gradient of y: rate * gain * (du - mean(du) - x * mean(du * x)); `out` may be `du`."""
    rows, lanes = y.shape
    for r in range(rows):
        for k in range(lanes):
            x = (y[r, k] - mean[k]) * rate[k]
            out[r, k] = rate[k] * gain[k] * (du[r, k] - mean_du[k] - x * mean_dux[k])
