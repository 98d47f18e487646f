"""Batch norms as numbers, and as the thresholds of the signs behind them.

All of it asks torch's own functions, so that what they round is rounded here.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

LARGEST = 0x7F7FFFFF
"""The bits of the largest finite 32-bit float."""


def batch_norm(norm: nn.BatchNorm2d) -> tuple[np.ndarray, np.ndarray]:
    """Scale and offset, shape (C,), with which inference is `fma(x, scale, offset)`.

    At zero that is the offset; without mean and bias it has none, and is the scale at one.
    """
    one = torch.ones(1, norm.num_features, 1, 1)
    without_mean = torch.zeros(norm.num_features), norm.running_var
    scale = nn.functional.batch_norm(one, *without_mean, norm.weight, None, eps=norm.eps)
    return numbers(scale), numbers(norm(torch.zeros_like(one)))


def threshold(positive: Callable[[Tensor], Tensor], channels: int) -> tuple[np.ndarray, np.ndarray]:
    """The numbers from which on a monotone function is positive, found by bisection.

    Args:
        positive: from numbers, shape (1, C, 1, 1), to whether the function is, of the same shape.
            It may rise in some channels and fall in others.

    Returns:
        thresholds t and flips f, shape (C,), such that x >= t differs from f exactly where the
        function is positive, for every finite x. Where it always is, t is -inf; where it never is, inf.
    """

    def at(keys: np.ndarray) -> np.ndarray:
        x = torch.from_numpy(_floats(keys)).view(1, channels, 1, 1)
        return positive(x).flatten().numpy()

    low = np.full(channels, -LARGEST, dtype=np.int64)
    high = -low
    first, last = at(low), at(high)
    flips = first & ~last
    while (high - low > 1).any():
        middle = (low + high) // 2
        beyond = at(middle) != flips
        low, high = np.where(beyond, low, middle), np.where(beyond, middle, high)
    constant = np.where(first, -np.inf, np.inf)
    return np.where(first == last, constant, _floats(high)).astype(np.float32), flips


def numbers(x: Tensor) -> np.ndarray:
    """A tensor's numbers in a row, as 32-bit floats of their own."""
    return x.detach().flatten().numpy().astype(np.float32)


def _floats(keys: np.ndarray) -> np.ndarray:
    """The 32-bit floats that whole numbers stand for, in the same order; 0 is zero."""
    magnitudes = np.abs(keys).astype(np.uint32).view(np.float32)
    return np.where(keys < 0, -magnitudes, magnitudes)
