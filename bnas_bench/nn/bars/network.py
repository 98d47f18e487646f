"""Networks of stages whose depth and width are chosen, all layers 1-bit but the first and the last.

BARS (Zhao et al., 2020), https://arxiv.org/abs/2011.10804, sections 3.1 and 4.1: see `spaces/bars.py`.

A map here is the maps of a cell's four nodes side by side. A width keeps the first channels of each
node, so that a narrow network is a part of the wide one. Where a layer of stride 2 makes two channels
of one, they stand next to each other, for the same reason.

Legend of tensor names: B batch, F edges that leave a node, N nodes, C channels, H, W.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bnas_bench.core.budget import NetworkSpec
from bnas_bench.nn.bars.layout import (
    CONV,
    EDGES,
    GROUPS,
    NODES,
    NONE,
    Layout,
    share,
    stage_channels,
)
from bnas_bench.nn.binary import BinaryConv2d
from bnas_bench.nn.blocks import Head, inference_layout, shift
from bnas_bench.nn.network import ListOf, Network, last


def aggregate(weights: Tensor, maps: Sequence[Tensor]) -> Tensor:
    """Eq. (3): y_aggr = sum_i m_i y_i, the stage's input and its cells' outputs weighted by depth."""
    total = weights[0] * maps[0]
    for m, y in zip(weights[1:], maps[1:], strict=True):
        total = total + m * y
    return total


def width_mask(weights: Tensor, widths: Sequence[float], channels: int) -> Tensor:
    """Eq. (4): sum_i m_i M_i, where M_i is 1 on the first channels of width i; shape (channels,)."""
    places = torch.arange(channels, device=weights.device)
    kept = torch.stack([places < share(width, channels) for width in widths])
    return weights @ kept.to(weights.dtype)


def staggered(x_BCHW: Tensor, stride: int) -> list[Tensor]:
    """What the convolutions of a layer see: the map, and at stride 2 also the map one pixel on."""
    return [x_BCHW] if stride == 1 else [x_BCHW, shift(x_BCHW)]


def interleave(maps: Sequence[Tensor]) -> Tensor:
    """Concatenate maps channel by channel: the first channel of each, then the second of each."""
    return maps[0] if len(maps) == 1 else torch.stack(list(maps), dim=2).flatten(1, 2)


def shortcut(x_BCHW: Tensor, stride: int) -> Tensor:
    """The map itself; at stride 2 every second pixel of the two staggered maps, twice the channels."""
    return interleave([v[:, :, ::stride, ::stride] for v in staggered(x_BCHW, stride)])


def resized(x_BCHW: Tensor, channels: int) -> Tensor:
    """Cut each node's channels, or add zeros to them, until they are as many as asked."""
    x_BNCHW = x_BCHW.unflatten(1, (len(NODES), -1))
    return F.pad(x_BNCHW, (0, 0, 0, 0, 0, channels - x_BNCHW.shape[2])).flatten(1, 2)


def wire(
    x: Tensor, options: Sequence[Any], stride: int, conv: Callable[[Tensor, int, int], Tensor]
) -> Tensor:
    """The nodes of one cell, concatenated: each the sum of its live edges, zero if it has none.

    Args:
        x: the preprocessed input, node 0.
        options: per edge of `EDGES`.
        conv: the convolution of edge (i, j), normalised and without its extra shortcut.
    """
    chosen = dict(zip(EDGES, options, strict=True))
    nodes, carried = [x], [shortcut(x, stride)]
    for j in NODES:
        total: Tensor | None = None
        for i in range(j):
            if chosen[i, j] == NONE:
                continue
            y = carried[i]
            if chosen[i, j] == CONV:
                y = conv(nodes[i], i, j) + y
            total = y if total is None else total + y
        nodes.append(torch.zeros_like(carried[0]) if total is None else total)
        carried.append(nodes[-1])
    return torch.cat(nodes[1:], dim=1)


class Preprocess(nn.Sequential):
    """1-bit 1x1 convolution, BN: what a cell does to its only input."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv = BinaryConv2d(in_channels, channels, 1, scale="layer")
        self.norm = nn.BatchNorm2d(channels)


class StaggeredConv(nn.Module):
    """1-bit 3x3 convolution, BN; at stride 2 two of them, the second on the map one pixel on.

    `channels` come in, and leave for each of the convolutions.
    """

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.convs = ListOf[BinaryConv2d](
            BinaryConv2d(channels, channels, 3, stride=stride, padding=1, scale="layer")
            for _ in range(stride)
        )
        self.norm = nn.BatchNorm2d(stride * channels)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        inputs = staggered(x_BCHW, self.stride)
        return self.norm(interleave([c(v) for c, v in zip(self.convs, inputs, strict=True)]))


class Cell(nn.Module):
    """One cell of a stand-alone network.

    Args:
        options: per edge of `EDGES`.
        in_channels, channels: of each node before and in this cell.
        across: whether a shortcut leads across the cell.
    """

    def __init__(
        self, options: Sequence[Any], in_channels: int, channels: int, stride: int, *, across: bool
    ) -> None:
        super().__init__()
        self.options, self.channels, self.stride, self.across = options, channels, stride, across
        self.preprocess = Preprocess(len(NODES) * in_channels, channels // stride)
        self.convs = ListOf[StaggeredConv]()
        self.places: dict[tuple[int, int], int] = {}
        for (i, j), option in zip(EDGES, options, strict=True):
            if option == CONV:
                halving = stride if i == 0 else 1
                self.places[i, j] = len(self.convs)
                self.convs.append(StaggeredConv(channels // halving, halving))

    def conv(self, i: int, j: int) -> StaggeredConv:
        """The convolution of an edge."""
        return self.convs[self.places[i, j]]

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x = self.preprocess(x_BCHW)
        y_BCHW = wire(x, self.options, self.stride, lambda node, i, j: self.conv(i, j)(node))
        if self.across:
            y_BCHW = y_BCHW + resized(shortcut(x_BCHW, self.stride), self.channels)
        return y_BCHW


class Stem(nn.Module):
    """Real convolution, BN: 3x3 for small images, for large ones ResNet's 7x7 and max pooling.

    Its map stands at each of four nodes.
    """

    def __init__(self, spec: NetworkSpec, channels: int, *, affine: bool = True) -> None:
        super().__init__()
        kernel, stride = (7, 2) if spec.large else (3, 1)
        self.conv = nn.Conv2d(
            spec.shape[0], channels, kernel, stride, padding=kernel // 2, bias=False
        )
        self.norm = nn.BatchNorm2d(channels, affine=affine, track_running_stats=affine)
        self.pool = nn.MaxPool2d(3, 2, padding=1) if spec.large else nn.Identity()

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.spread(self.norm(self.conv(x_BCHW)))

    def spread(self, y_BCHW: Tensor) -> Tensor:
        return self.pool(y_BCHW).repeat(1, len(NODES), 1, 1)


class StagedNetwork(Network):
    """Stem, three stages with a reduction cell between them, head.

    Args:
        spec: `channels` are those of each node in the first stage, at full width.
        layout: the options; no cell beyond a stage's depth is built.
        across: whether a shortcut leads across each cell.
    """

    head: Head

    def __init__(self, spec: NetworkSpec, layout: Layout[Any], *, across: bool) -> None:
        super().__init__()
        channels = [
            share(width, stage_channels(spec.channels, stage))
            for stage, width in enumerate(layout.widths)
        ]
        self.stem = Stem(spec, channels[0])
        self.groups = ListOf[ListOf[Cell]]()
        for group, options in zip(GROUPS, layout.edges, strict=True):
            cells = layout.cells(group)
            before, after = channels[group.source], channels[group.target]
            self.groups.append(
                ListOf[Cell](
                    Cell(options, before, after, group.stride, across=across) for _ in range(cells)
                )
            )
        self.head = Head(len(NODES) * channels[-1], spec.classes)

    def features(self, x_BCHW: Tensor) -> Tensor:
        return last(self.successive(x_BCHW))

    def successive(self, x_BCHW: Tensor) -> Iterator[Tensor]:
        yield (y_BCHW := self.stem(inference_layout(self, x_BCHW)))
        for cells in self.groups:
            for cell in cells:
                yield (y_BCHW := cell(y_BCHW))
        yield inference_layout(self, y_BCHW)  # interleaving left it, and means differ
