"""DARTS cells and how they stand in a network.

DARTS (Liu et al., ICLR 2019), https://arxiv.org/abs/1806.09055.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bnas_bench.core.budget import NetworkSpec

CELLS = ("normal", "reduce")
NODES = (2, 3, 4, 5)
EDGES = tuple((i, j) for j in NODES for i in range(j))
NONE = "none"

Pair = tuple[str, int]
"""An operation and the node that its edge comes from."""


def decision_name(cell: str, i: int, j: int) -> str:
    return f"{cell}.edge({i},{j})"


@dataclass(frozen=True)
class CellPlan:
    """Where a cell stands in a network.

    Attributes:
        kind: `normal` or `reduce`.
        older, newer: channels of its two inputs.
        width: channels of its nodes.
        reduce_first: whether its older input has twice the side of its newer one.
        halvings: how often the newer input's side has been halved.
    """

    kind: str
    older: int
    newer: int
    width: int
    reduce_first: bool
    halvings: int

    @property
    def stride(self) -> int:
        """Of the edges that leave the inputs."""
        return 2 if self.kind == "reduce" else 1


SMALLEST = 4
"""Pixels a side that two halvings leave at least: on maps of 2x2 pixels a separable 3x3 convolution is a
5x5 one, and every dilated convolution a 1x1 one."""


def reduction_cells(spec: NetworkSpec) -> tuple[int, ...]:
    """Which cells, counted from 0, halve the map: 1 and 3 of 6 (search), 3 and 6 of 10 (final).

    Images whose side does not bear two halvings have one, after the first third: cell 1 of 3.
    """
    if not spec.large and min(spec.shape[1:]) < 4 * SMALLEST:
        return (spec.cells // 3,)
    return (spec.cells - 1) // 3, 2 * (spec.cells - 1) // 3


def plan(spec: NetworkSpec) -> Iterator[CellPlan]:
    """The cells of a network: the channels double at each reduction."""
    older = newer = spec.channels if spec.large else 3 * spec.channels
    reductions = reduction_cells(spec)
    width, reduced, halvings = spec.channels, spec.large, 3 if spec.large else 0
    for index in range(spec.cells):
        reduction = index in reductions
        width *= 2 if reduction else 1
        kind = "reduce" if reduction else "normal"
        yield CellPlan(kind, older, newer, width, reduced, halvings)
        older, newer, reduced = newer, len(NODES) * width, reduction
        halvings += reduction
