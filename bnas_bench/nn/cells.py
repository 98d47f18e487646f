"""Stand-alone networks of DARTS cells."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, cat, nn

from bnas_bench.core import NetworkSpec
from bnas_bench.nn.binary import Precision
from bnas_bench.nn.blocks import (
    AuxiliaryHead,
    FactorisedReduction,
    Head,
    ImageNetStem,
    Preprocess,
    SmallStem,
    channels_last,
)
from bnas_bench.nn.network import ListOf, Network

IMAGENET_SIDE = 64
"""Images of at least this many pixels a side take the ImageNet stem."""

Pairs = dict[int, list[tuple[str, int]]]
"""Per intermediate node the (operation, source) pairs of its live edges."""


class Operation(Protocol):
    """Builds the module of one edge."""

    def __call__(self, name: str, channels: int, stride: int) -> nn.Module: ...


def make_stem(spec: NetworkSpec, *, affine: bool = True) -> SmallStem | ImageNetStem:
    """The real-valued stem that the size of the images asks for."""
    stem = ImageNetStem if min(spec.shape[1:]) >= IMAGENET_SIDE else SmallStem
    return stem(spec.shape[0], spec.channels, affine=affine)


def preprocess_first(
    in_channels: int, channels: int, *, reduce: bool, precision: Precision, affine: bool = True
) -> nn.Module:
    """What a cell does to its older input: halve it too where the cell before was a reduction."""
    make = FactorisedReduction if reduce else Preprocess
    return make(in_channels, channels, precision=precision, affine=affine)


def reduction_cells(cells: int) -> tuple[int, int]:
    """Which cells, counted from 0, halve the map: 1 and 3 of 6 (search), 3 and 6 of 10 (final)."""
    return (cells - 1) // 3, 2 * (cells - 1) // 3


class Cell(nn.Module):
    """One cell: preprocess both inputs, add up the live edges of each node, concatenate the nodes."""

    def __init__(
        self,
        pairs: Pairs,
        channels: tuple[int, int, int],
        *,
        stride: int,
        reduce_first: bool,
        preprocessing: Precision,
        operation: Operation,
    ) -> None:
        super().__init__()
        older, newer, width = channels
        self.preprocess0 = preprocess_first(
            older, width, reduce=reduce_first, precision=preprocessing
        )
        self.preprocess1 = Preprocess(newer, width, precision=preprocessing)
        self.pairs = pairs
        self.edges = nn.ModuleDict(
            {
                f"{i}_{j}": operation(op, width, stride if i < 2 else 1)
                for j, node in pairs.items()
                for op, i in node
            }
        )

    def forward(self, older: Tensor, newer: Tensor) -> Tensor:
        nodes = [self.preprocess0(older), self.preprocess1(newer)]
        for j, node in self.pairs.items():
            maps = [self.edges[f"{i}_{j}"](nodes[i]) for _, i in node]
            nodes.append(maps[0] + maps[1])
        return cat(nodes[2:], dim=1)


class CellNetwork(Network):
    """Stem, normal cells with two reduction cells among them, head.

    Args:
        cells: the pairs of the normal and of the reduction cell.
        operation: builds an edge's module.
        preprocessing: precision of the cells' preprocessing.
    """

    def __init__(
        self,
        cells: dict[str, Pairs],
        spec: NetworkSpec,
        operation: Operation,
        preprocessing: Precision,
    ) -> None:
        super().__init__()
        self.stem = make_stem(spec)
        older, newer = self.stem.out_channels
        width, reduced = spec.channels, self.stem.reduced
        self.cells: ListOf[Cell] = ListOf()
        self.auxiliary: AuxiliaryHead | None = None
        reductions = reduction_cells(spec.cells)
        self.auxiliary_index = reductions[1]
        for index in range(spec.cells):
            reduction = index in reductions
            width *= 2 if reduction else 1
            pairs = cells["reduce" if reduction else "normal"]
            self.cells.append(
                Cell(
                    pairs,
                    (older, newer, width),
                    stride=2 if reduction else 1,
                    reduce_first=reduced,
                    preprocessing=preprocessing,
                    operation=operation,
                )
            )
            older, newer, reduced = newer, len(pairs) * width, reduction
            if spec.auxiliary and index == self.auxiliary_index:
                self.auxiliary = AuxiliaryHead(newer, spec.classes)
        self.head = Head(newer, spec.classes)

    def maps(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """The maps that the head and the auxiliary head see."""
        older, newer = self.stem(channels_last(x_BCHW))
        side = newer
        for index, cell in enumerate(self.cells):
            older, newer = newer, cell(older, newer)
            if index == self.auxiliary_index:
                side = newer
        return newer, side

    def features(self, x_BCHW: Tensor) -> Tensor:
        return self.maps(x_BCHW)[0]

    def both(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor | None]:
        features, side = self.maps(x_BCHW)
        auxiliary = self.auxiliary(side) if self.auxiliary and self.training else None
        return self.head(features), auxiliary
