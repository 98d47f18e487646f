"""Whether torch rounds once in a batch norm on this machine, as the packed engine does."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F


def rounds_once() -> bool:
    """(1 + e)^2 - (1 + 2e) is e^2 if the product is not rounded before the sum, and otherwise 0."""
    ones, e = torch.ones(8), 2.0**-12
    x = torch.full((1, 8, 4, 4), 1 + e).contiguous(memory_format=torch.channels_last)
    y = F.batch_norm(x, 0 * ones, ones, (1 + e) * ones, -(1 + 2 * e) * ones, eps=0.0)
    return bool((y == e**2).all())


needs_one_rounding = pytest.mark.skipif(
    not rounds_once(),
    reason="torch rounds twice in a batch norm here, so that the engine's last digits differ",
)
