"""Cells in three stages with a reduction cell between them, as a combinatorial object (BARS)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from math import ceil
from typing import Any, Generic, NamedTuple, TypeVar

NODES = (1, 2, 3, 4)
"""The intermediate nodes of a cell; its preprocessed input is node 0."""

EDGES = tuple((i, j) for j in NODES for i in range(j))
CONV, SHORTCUT, NONE = OPERATIONS = ("conv_3x3", "shortcut", "none")
STAGES = 3

T = TypeVar("T")
U = TypeVar("U")


class Group(NamedTuple):
    """Cells of one topology that follow each other: those of a stage, or one reduction cell.

    Attributes:
        source, target: the stages, from 0, whose widths come in and go out; two in a reduction.
    """

    source: int
    target: int

    @property
    def stride(self) -> int:
        return 1 + self.target - self.source


GROUPS = tuple(Group(k // 2, (k + 1) // 2) for k in range(2 * STAGES - 1))
"""Stage 1, reduction 1, stage 2, reduction 2, stage 3."""


class Choice(NamedTuple):
    """A decision: its position in the space, and its options."""

    position: int
    options: tuple[Any, ...]


@dataclass(frozen=True)
class Layout(Generic[T]):
    """Something for each choice that makes a network: the choice, the option taken, its weights.

    Attributes:
        edges: per group, in the order of `EDGES`.
        depths, widths: per stage.
    """

    edges: tuple[tuple[T, ...], ...]
    depths: tuple[T, ...]
    widths: tuple[T, ...]

    def map(self, change: Callable[[T], U]) -> Layout[U]:
        return Layout(
            tuple(tuple(map(change, group)) for group in self.edges),
            tuple(map(change, self.depths)),
            tuple(map(change, self.widths)),
        )

    def all(self) -> Iterator[T]:
        """Edges, depths, widths."""
        yield from chain(*self.edges, self.depths, self.widths)

    def cells(self, group: Group) -> T | int:
        """How many cells a group has: what its stage's depth says, or one that reduces."""
        return self.depths[group.source] if group.stride == 1 else 1


def stage_channels(first: int, stage: int) -> int:
    """Channels of each of a cell's nodes at full width: they double from stage to stage."""
    return first << stage


def share(width: float, channels: int) -> int:
    """How many of the channels a width keeps: the first ones, and one that it cuts."""
    return ceil(width * channels)
