"""Runs so far below all others that they would take most of a figure's axis."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor

import numpy as np

from bnas_bench.analysis.frame import Row

FENCE = 3.0
"""Interquartile ranges below the lower quartile beyond which a value is far out (Tukey, 1977)."""


def edge(rows: Sequence[Row]) -> float | None:
    """Where an axis of accuracies in % begins, if some lie far below the others; else None.

    The mean of a method is on the axis, wherever its runs lie.
    """
    runs = np.array([value for row in rows for value in row.accuracies()])
    if not runs.size:
        return None
    lower, upper = np.quantile(runs, [0.25, 0.75])
    means = [float(np.mean(row.accuracies())) for row in rows if row.accuracies()]
    fence = lower - FENCE * (upper - lower)
    begin = float(floor(min(runs[runs >= fence].min(), *means) - 0.5))
    return begin if (runs < begin).any() else None


def said(rows: Sequence[Row], where: tuple[str, str]) -> str:
    """Which runs an axis that begins at the `edge` does not hold, for a caption; else nothing.

    Args:
        where: what becomes of one, and of several.
    """
    begin = edge(rows)
    if begin is None:
        return ""
    beyond = sorted(value for row in rows for value in row.accuracies() if value < begin)
    runs, place = ("1 run", where[0]) if len(beyond) == 1 else (f"{len(beyond)} runs", where[1])
    return f" {runs} of less than {begin:g} % (from {beyond[0]:.1f} %) {place}."
