"""Stand-alone networks of NAS-Bench-201's cells and skeleton, their convolutions 1-bit.

NAS-Bench-201 (Dong and Yang, ICLR 2020), https://arxiv.org/abs/2001.00326: see `spaces/bnas_201.py`.

Legend of tensor names: B batch, C channels, H and W height and width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from bnas_bench.core.budget import NetworkSpec
from bnas_bench.nn.binary import BinaryConv2d, Precision, PReLU
from bnas_bench.nn.blocks import Head, channels_last, inference_layout
from bnas_bench.nn.nasbench201.cell import (
    EDGES,
    KERNELS,
    NODES,
    POOL,
    STAGES,
    live_edges,
    skeleton,
)
from bnas_bench.nn.network import ListOf, Network, last


def wire(
    x_BCHW: Tensor, operations: tuple[str, ...], run: Callable[[Tensor, int, int], Tensor]
) -> Tensor:
    """The output of one cell: every node is the sum of its live edges; zeros if it has none.

    Args:
        operations: in the order of `EDGES`.
        run: the operation of edge (i, j), on the map of node i.
    """
    nodes, edges = {0: x_BCHW}, live_edges(operations)
    for j in NODES:
        maps = [run(nodes[i], i, j) for i, target in edges if target == j]
        if maps:
            nodes[j] = sum(maps[1:], start=maps[0])
    return nodes[NODES[-1]] if NODES[-1] in nodes else torch.zeros_like(x_BCHW)


def pool() -> nn.AvgPool2d:
    """3x3 average pooling that leaves a map's size."""
    return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)


class Stem(nn.Sequential):
    """Real 3x3 convolution, BN; for large images ResNet's 7x7 convolution, BN, max pooling."""

    def __init__(self, spec: NetworkSpec, *, affine: bool = True) -> None:
        kernel, stride = (7, 2) if spec.large else (3, 1)
        super().__init__(
            nn.Conv2d(
                spec.shape[0], spec.channels, kernel, stride, padding=kernel // 2, bias=False
            ),
            nn.BatchNorm2d(spec.channels, affine=affine, track_running_stats=affine),
            nn.MaxPool2d(3, 2, padding=1) if spec.large else nn.Identity(),
        )


class BinaryBlock(nn.Module):
    """BN, 1-bit convolution, shortcut, PReLU.

    At stride 2 the shortcut is a 2x2 average pooling and a 1x1 convolution with 1-bit weights.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel_size: int, *, stride: int = 1, affine: bool = True
    ) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(inputs, affine=affine, track_running_stats=affine)
        self.conv = BinaryConv2d(
            inputs, outputs, kernel_size, stride=stride, padding=kernel_size // 2
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride == 2:
            self.shortcut = nn.Sequential(
                nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False),
                BinaryConv2d(inputs, outputs, 1, precision=Precision.W1A32),
            )
        self.prelu = PReLU(outputs)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.prelu(self.conv(self.norm(x_BCHW)) + self.shortcut(x_BCHW))


class Reduction(nn.Sequential):
    """NAS-Bench-201's residual block of stride 2: two 3x3 convolutions, twice the channels."""

    def __init__(self, inputs: int, outputs: int, *, affine: bool = True) -> None:
        super().__init__(
            BinaryBlock(inputs, outputs, 3, stride=2, affine=affine),
            BinaryBlock(outputs, outputs, 3, affine=affine),
        )


class Cell(nn.Module):
    """One cell, of which only the live edges are built."""

    def __init__(self, operations: tuple[str, ...], channels: int) -> None:
        super().__init__()
        self.operations = operations
        chosen = dict(zip(EDGES, operations, strict=True))
        self.edges = nn.ModuleDict(
            {f"{i}_{j}": self.operation(chosen[i, j], channels) for i, j in live_edges(operations)}
        )

    @staticmethod
    def operation(name: str, channels: int) -> nn.Module:
        """The module of one edge."""
        if name in KERNELS:
            return BinaryBlock(channels, channels, KERNELS[name])
        return pool() if name == POOL else nn.Identity()

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return wire(x_BCHW, self.operations, lambda node, i, j: self.edges[f"{i}_{j}"](node))


class Closing(nn.Sequential):
    """BN, PReLU: what the last maps go through before the head."""

    def __init__(self, channels: int, *, affine: bool = True) -> None:
        super().__init__(
            nn.BatchNorm2d(channels, affine=affine, track_running_stats=affine), PReLU(channels)
        )


class SkeletonNetwork(Network):
    """Stem, three stages of a repeated cell with reductions between, head.

    Args:
        operations: of the cell's edges, in the order of `EDGES`.
    """

    def __init__(self, operations: tuple[str, ...], spec: NetworkSpec) -> None:
        super().__init__()
        self.stem = Stem(spec)
        self.cells = ListOf[Cell | Reduction](
            Reduction(place.inputs, place.outputs)
            if place.reduces
            else Cell(operations, place.outputs)
            for place in skeleton(spec)
        )
        width = spec.channels << STAGES - 1
        self.closing = Closing(width)
        self.head = Head(width, spec.classes)

    def features(self, x_BCHW: Tensor) -> Tensor:
        return last(self.successive(x_BCHW))

    def successive(self, x_BCHW: Tensor) -> Iterator[Tensor]:
        yield (y_BCHW := self.stem(channels_last(inference_layout(self, x_BCHW))))
        for cell in self.cells:
            yield (y_BCHW := cell(y_BCHW))
        yield self.closing(y_BCHW)
