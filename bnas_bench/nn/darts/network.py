"""Stand-alone networks of DARTS cells."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, cat, nn

from bnas_bench.core.budget import NetworkSpec
from bnas_bench.nn.blocks import (
    AuxiliaryHead,
    Head,
    ImageNetStem,
    SmallStem,
    channels_last,
    inference_layout,
    zeros_after,
)
from bnas_bench.nn.darts.bundles import Convolutions
from bnas_bench.nn.darts.topology import CellPlan, plan, reduction_cells
from bnas_bench.nn.network import ListOf, Network, last

Pairs = dict[int, list[tuple[str, int]]]
"""Per intermediate node the (operation, source) pairs of its live edges."""


class Operation(Protocol):
    """Builds the module of one edge of a stand-alone network."""

    def __call__(self, name: str, channels: int, stride: int) -> nn.Module: ...


class MakePreprocess(Protocol):
    """Builds what a cell does to an input; `reduce` halves its side."""

    def __call__(
        self, in_channels: int, channels: int, *, reduce: bool, affine: bool
    ) -> nn.Module: ...


@dataclass(frozen=True)
class Parts:
    """What the cells of a space are made of.

    Attributes:
        operations: the options of every edge, in order.
        operation: builds an edge of a stand-alone network.
        preprocess: builds what a cell does to an input.
        convolutions: what the convolutions of many edges are bundled into.
    """

    operations: tuple[str, ...]
    operation: Operation
    preprocess: MakePreprocess
    convolutions: Convolutions


def make_stem(spec: NetworkSpec, *, affine: bool = True) -> SmallStem | ImageNetStem:
    """The real-valued stem that the size of the images asks for."""
    stem = ImageNetStem if spec.large else SmallStem
    return stem(spec.shape[0], spec.channels, affine=affine)


class Cell(nn.Module):
    """One cell: preprocess both inputs, add up the live edges of each node, concatenate the nodes."""

    def __init__(self, pairs: Pairs, place: CellPlan, parts: Parts) -> None:
        super().__init__()
        self.stride, self.width = place.stride, place.width
        self.preprocess0 = parts.preprocess(
            place.older, place.width, reduce=place.reduce_first, affine=True
        )
        self.preprocess1 = parts.preprocess(place.newer, place.width, reduce=False, affine=True)
        self.pairs = pairs
        self.edges = nn.ModuleDict(
            {
                f"{i}_{j}": parts.operation(op, place.width, place.stride if i < 2 else 1)
                for j, node in pairs.items()
                for op, i in node
            }
        )

    def forward(self, older: Tensor, newer: Tensor) -> Tensor:
        nodes = [self.preprocess0(older), self.preprocess1(newer)]
        for j, node in self.pairs.items():
            maps = [self.edges[f"{i}_{j}"](nodes[i]) for _, i in node]
            if not maps:
                maps = [zeros_after(nodes[0], self.stride, self.width)]
            nodes.append(sum(maps[1:], start=maps[0]))
        return cat(nodes[2:], dim=1)


class CellNetwork(Network):
    """Stem, normal cells with the reduction cells among them, head.

    Args:
        cells: the pairs of the normal and of the reduction cell.
    """

    def __init__(self, cells: dict[str, Pairs], spec: NetworkSpec, parts: Parts) -> None:
        super().__init__()
        self.stem = make_stem(spec)
        self.cells = ListOf[Cell](Cell(cells[place.kind], place, parts) for place in plan(spec))
        newer = len(cells["normal"]) * self.cells[-1].width
        self.auxiliary: AuxiliaryHead | None = None
        self.auxiliary_index = reduction_cells(spec)[-1]
        if spec.auxiliary:
            side = self.cells[self.auxiliary_index]
            self.auxiliary = AuxiliaryHead(len(side.pairs) * side.width, spec.classes)
        self.head = Head(newer, spec.classes)

    def successive(self, x_BCHW: Tensor) -> Iterator[Tensor]:
        older, newer = self.stem(channels_last(inference_layout(self, x_BCHW)))
        yield older
        yield newer
        for cell in self.cells:
            older, newer = newer, cell(older, newer)
            yield newer

    def features(self, x_BCHW: Tensor) -> Tensor:
        return last(self.successive(x_BCHW))

    def both(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor | None]:
        _, _, *maps = self.successive(x_BCHW)
        features, side = maps[-1], maps[self.auxiliary_index]
        auxiliary = self.auxiliary(side) if self.auxiliary and self.training else None
        return self.head(features), auxiliary
