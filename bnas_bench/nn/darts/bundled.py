"""The blocks of many edges of a DARTS cell at once: what bundles are made of.

Legend: B batch, K operations, S source nodes, F edges that leave each source, C channels, H, W.
A bundle's channels are ordered (K, S, F, C).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from bnas_bench.nn.binary import BinaryConv2d, Filters, Precision, PReLU
from bnas_bench.nn.blocks import (
    FactorisedReduction,
    GroupedBlock,
    SeparableBlock,
    halves,
    shift,
    shuffle,
)
from bnas_bench.nn.kernels import prelu, prelu_of_norm_sum
from bnas_bench.nn.network import ListOf

Parts = tuple[Tensor, ...]
"""Weights and slopes of a block on some edges, in the order in which it uses them."""


@dataclass(frozen=True)
class Kernel:
    """The convolution of an operation; `repeats` blocks of it, the stride in the first."""

    size: int
    dilation: int
    repeats: int = 1

    @property
    def padding(self) -> int:
        return self.dilation * (self.size - 1) // 2


def fan_out(x: Tensor, channels: int, fan: int) -> Tensor:
    """Repeat the maps of sources for so many edges of each.

    Args:
        x: the sources' maps side by side, shape (B, S*C, H, W), of so many channels each.

    Returns:
        One map per edge, shape (B, S*F*C, H, W), channels last.
    """
    x_BHWSC = x.permute(0, 2, 3, 1).unflatten(3, (-1, 1, channels))
    return x_BHWSC.expand(-1, -1, -1, -1, fan, -1).flatten(3).permute(0, 3, 1, 2)


class Bundle(nn.Module):
    """One convolutional block for each of K operations on each of S x F edges.

    Args:
        kernels: of the operations.
    """

    heir: ClassVar[type[nn.Module]]
    """The stand-alone block of one edge."""

    def __init__(
        self,
        kernels: Sequence[Kernel],
        channels: int,
        sources: int,
        fan: int,
        *,
        stride: int,
    ) -> None:
        super().__init__()
        self.channels, self.sources, self.fan, self.stride = channels, sources, fan, stride
        self.kinds = len(kernels)

    def part(self, k: int, edges: range) -> slice:
        """The channels of some edges' operation among all of the bundle's."""
        start = (k * self.sources * self.fan + edges.start) * self.channels
        return slice(start, start + len(edges) * self.channels)

    def apart(self, u: Tensor, chunks: Sequence[range]) -> list[Sequence[Tensor]]:
        """What channels have, by operation and then by chunk of the edges; one split, as the gradient of
        each slice by itself would be as large as `u`.

        Args:
            u: shape (S*F*C or K*S*F*C, ...).
        """
        sizes = [len(edges) * self.channels for edges in chunks]
        return [each.split(sizes) for each in u.split(sum(sizes))]

    @abstractmethod
    def parts(self, chunks: Sequence[range]) -> list[list[Parts]]:
        """The weights as convolutions use them, and the slopes, by operation and by chunk of all edges."""

    @abstractmethod
    def own(self, k: int, edge: range) -> Parts:
        """Those of one block."""

    @abstractmethod
    def forward(self, x: Tensor, normalised: Tensor, k: int, parts: Parts) -> Tensor:
        """One operation's block on each of some edges, each on its own map: (B, E*C, H', W')."""

    @abstractmethod
    def filters(self, k: int, edge: range) -> Iterator[Filters]:
        """The 1-bit convolutions of one block."""

    @abstractmethod
    def bequeath(self, k: int, edge: range, heir: nn.Module) -> None:
        """Copy the weights of one block into its stand-alone module."""


class SeparableBundle(Bundle):
    """Separable blocks."""

    heir = SeparableBlock

    def __init__(
        self,
        kernels: Sequence[Kernel],
        channels: int,
        sources: int,
        fan: int,
        *,
        stride: int,
        depthwise: Precision,
    ) -> None:
        super().__init__(kernels, channels, sources, fan, stride=stride)
        width = sources * fan * channels
        total = self.kinds * width
        self.depthwise = ListOf[BinaryConv2d](
            BinaryConv2d(
                width,
                width,
                kernel.size,
                stride=stride,
                padding=kernel.padding,
                dilation=kernel.dilation,
                groups=width,
                precision=depthwise,
            )
            for kernel in kernels
        )
        self.prelu_mid = PReLU(total)
        self.pointwise = BinaryConv2d(total, total, 1, groups=total // channels)
        self.prelu_out = PReLU(total)

    def parts(self, chunks: Sequence[range]) -> list[list[Parts]]:
        depthwise = [self.apart(conv.effective_weight(), chunks)[0] for conv in self.depthwise]
        others = self.prelu_mid.weight, self.pointwise.effective_weight(), self.prelu_out.weight
        of_kinds = zip(depthwise, *(self.apart(u, chunks) for u in others), strict=True)
        return [list(zip(*of_kind, strict=True)) for of_kind in of_kinds]

    def own(self, k: int, edge: range) -> Parts:
        part = self.part(k, edge)
        return (
            self.depthwise[k].effective_weight(self.part(0, edge)),
            self.prelu_mid.weight[part],
            self.pointwise.effective_weight(part),
            self.prelu_out.weight[part],
        )

    def forward(self, x: Tensor, normalised: Tensor, k: int, parts: Parts) -> Tensor:
        depthwise, slope_mid, pointwise, slope_out = parts
        y = self.depthwise[k].convolve(normalised, depthwise, len(depthwise))
        y = self.pointwise.activated(y, slope_mid)
        y = self.pointwise.product(y, pointwise, len(depthwise) // self.channels)
        return prelu_of_norm_sum(y, x if self.stride == 1 else None, slope_out)

    def filters(self, k: int, edge: range) -> Iterator[Filters]:
        yield self.depthwise[k].filters(self.part(0, edge))
        yield self.pointwise.filters(self.part(k, edge))

    @torch.no_grad()
    def bequeath(self, k: int, edge: range, heir: nn.Module) -> None:
        assert isinstance(heir, SeparableBlock)
        part = self.part(k, edge)
        copy_part(self.depthwise[k], self.part(0, edge), heir.depthwise)
        copy_part(self.pointwise, part, heir.pointwise)
        heir.prelu_mid.weight.copy_(self.prelu_mid.weight[part])
        heir.prelu_out.weight.copy_(self.prelu_out.weight[part])


class GroupedBundle(Bundle):
    """Grouped convolutions, each edge's channels in groups of their own."""

    heir = GroupedBlock

    def __init__(
        self,
        kernels: Sequence[Kernel],
        channels: int,
        sources: int,
        fan: int,
        *,
        stride: int,
        groups: int,
        shuffled: int,
    ) -> None:
        super().__init__(kernels, channels, sources, fan, stride=stride)
        width = sources * fan * channels
        self.groups, self.shuffled = groups, shuffled
        self.convs = ListOf[BinaryConv2d](
            BinaryConv2d(
                width,
                width,
                kernel.size,
                stride=stride,
                padding=kernel.padding,
                dilation=kernel.dilation,
                groups=sources * fan * groups,
            )
            for kernel in kernels
        )
        self.prelu = PReLU(self.kinds * width)

    def parts(self, chunks: Sequence[range]) -> list[list[Parts]]:
        weights = [self.apart(conv.effective_weight(), chunks)[0] for conv in self.convs]
        of_kinds = zip(weights, self.apart(self.prelu.weight, chunks), strict=True)
        return [list(zip(*of_kind, strict=True)) for of_kind in of_kinds]

    def own(self, k: int, edge: range) -> Parts:
        weight = self.convs[k].effective_weight(self.part(0, edge))
        return weight, self.prelu.weight[self.part(k, edge)]

    def forward(self, x: Tensor, normalised: Tensor, k: int, parts: Parts) -> Tensor:
        weight, slope = parts
        edges = len(weight) // self.channels
        y = prelu(self.convs[k].convolve(normalised, weight, edges * self.groups), slope)
        return shuffle(y + x if self.stride == 1 else y, self.shuffled, edges=edges)

    def filters(self, k: int, edge: range) -> Iterator[Filters]:
        yield self.convs[k].filters(self.part(0, edge))

    @torch.no_grad()
    def bequeath(self, k: int, edge: range, heir: nn.Module) -> None:
        assert isinstance(heir, GroupedBlock)
        copy_part(self.convs[k], self.part(0, edge), heir.conv)
        heir.prelu.weight.copy_(self.prelu.weight[self.part(k, edge)])


class BundledReduction(nn.Module):
    """The factorised reduction of `skip_connect` at stride 2, for S x F edges."""

    def __init__(self, channels: int, sources: int, fan: int, precision: Precision) -> None:
        super().__init__()
        self.channels, self.sources, self.fan = channels, sources, fan
        self.even, self.odd = (
            BinaryConv2d(
                sources * channels,
                sources * fan * half,
                1,
                stride=2,
                groups=sources,
                precision=precision,
            )
            for half in halves(channels)
        )
        self.prelu = PReLU(sources * fan * channels)

    def forward(self, normalised: Tensor) -> Tensor:
        """All S*F reductions, shape (B, S*F*C, H/2, W/2)."""
        both = self.even(normalised), self.odd(shift(normalised))
        edges = (self.sources * self.fan, -1)
        y_BHWEC = torch.cat([y.permute(0, 2, 3, 1).unflatten(3, edges) for y in both], dim=4)
        y = y_BHWEC.flatten(3).permute(0, 3, 1, 2)
        return prelu_of_norm_sum(y, None, self.prelu.weight)

    def parts(self, s: int, f: int) -> list[slice]:
        """The channels of one edge in each of the two convolutions."""
        edge = s * self.fan + f
        return [slice(edge * half, (edge + 1) * half) for half in halves(self.channels)]

    def path(self, normalised: Tensor, s: int, f: int) -> Tensor:
        """One reduction alone on its own map (B, C, H, W)."""
        y = torch.cat(
            [
                conv.convolve(u, conv.effective_weight(part), 1)
                for conv, u, part in zip(
                    (self.even, self.odd),
                    (normalised, shift(normalised)),
                    self.parts(s, f),
                    strict=True,
                )
            ],
            dim=1,
        )
        return prelu_of_norm_sum(y, None, self.slopes(s, f))

    def filters(self, s: int, f: int) -> Iterator[Filters]:
        """The convolutions of one reduction, where they have 1-bit weights."""
        for conv, part in zip((self.even, self.odd), self.parts(s, f), strict=True):
            if conv.own.weight_bits == 1:
                yield conv.filters(part)

    def slopes(self, s: int, f: int) -> Tensor:
        """The PReLU slopes of one edge."""
        edge = s * self.fan + f
        return self.prelu.weight[edge * self.channels : (edge + 1) * self.channels]

    @torch.no_grad()
    def bequeath(self, s: int, f: int, heir: FactorisedReduction) -> None:
        first, second = self.parts(s, f)
        copy_part(self.even, first, heir.even)
        copy_part(self.odd, second, heir.odd)
        heir.prelu.weight.copy_(self.slopes(s, f))


@torch.no_grad()
def copy_part(conv: BinaryConv2d, part: slice, heir: BinaryConv2d) -> None:
    """Copy some output channels of a bundled convolution into a stand-alone one."""
    heir.weight.copy_(conv.weight[part])
    if conv.scale == "learned":
        heir.beta.copy_(conv.beta[part])
