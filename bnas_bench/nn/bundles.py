"""Bundles of the edges of a DARTS cell, with what they share computed once.

All edges that leave the same nodes at the same time run as one *bundle*: the map of a node is
normalised, binarised and pooled once for all its edges and operations (search networks normalise
without affine parameters), its depthwise convolutions of one kernel size are one call, and the
pointwise convolutions and normalisations of all edges and operations are one call each. A cell of
14 edges and 8 operations so takes 4 bundles instead of 112 separate operations, and `path` runs one
operation of one edge with the same weights.

Legend: B batch, K operations, S source nodes, F edges that leave each source, C channels, H, W.
A bundle's channels are ordered (K, S, F, C).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bnas_bench.nn.binary import BinaryConv2d, Filters, Precision
from bnas_bench.nn.blocks import (
    FactorisedReduction,
    SeparableBlock,
    channels_last,
    halves,
    shift,
)
from bnas_bench.nn.network import ListOf


@dataclass(frozen=True)
class Separable:
    """An operation made of `repeats` separable blocks, the stride in the first."""

    kernel_size: int
    dilation: int
    repeats: int


def normalise(x: Tensor) -> Tensor:
    """Batch normalisation by the batch's own statistics, without affine parameters."""
    return F.batch_norm(x, None, None, training=True)


class NodeMaps:
    """What all the edges from a bundle's sources share, each computed once, when first asked for.

    Args:
        x: the sources' maps side by side, shape (B, S*C, H, W).
    """

    def __init__(self, x: Tensor, stride: int) -> None:
        self.x, self.stride = x, stride

    @cached_property
    def normalised(self) -> Tensor:
        return normalise(self.x)

    @cached_property
    def max_pool(self) -> Tensor:
        return normalise(F.max_pool2d(self.x, 3, self.stride, padding=1))

    @cached_property
    def avg_pool(self) -> Tensor:
        return normalise(F.avg_pool2d(self.x, 3, self.stride, padding=1, count_include_pad=False))

    def zeros(self, channels: int) -> Tensor:
        height, width = (-(-side // self.stride) for side in self.x.shape[-2:])
        return self.x.new_zeros(len(self.x), channels, height, width)


class BundledBlocks(nn.Module):
    """One separable block for each of K operations on each of S x F edges.

    Args:
        shared: whether the F edges of a source and all operations read the same map (B, S*C, H, W);
            otherwise each reads its own, (B, K*S*F*C, H, W).
    """

    def __init__(
        self,
        operations: Sequence[Separable],
        channels: int,
        sources: int,
        fan: int,
        *,
        stride: int,
        depthwise: Precision,
        shared: bool,
    ) -> None:
        super().__init__()
        self.channels, self.sources, self.fan, self.stride = channels, sources, fan, stride
        self.shared = shared
        width = sources * fan * channels
        total = len(operations) * width
        self.depthwise = ListOf[BinaryConv2d](
            BinaryConv2d(
                width,
                width,
                op.kernel_size,
                stride=stride,
                padding=op.dilation * (op.kernel_size - 1) // 2,
                dilation=op.dilation,
                groups=width,
                precision=depthwise,
            )
            for op in operations
        )
        self.prelu_mid = nn.PReLU(total)
        self.pointwise = BinaryConv2d(total, total, 1, groups=total // channels)
        self.prelu_out = nn.PReLU(total)

    def part(self, k: int, s: int, f: int) -> slice:
        """The channels of one edge's operation among all of the bundle's."""
        start = ((k * self.sources + s) * self.fan + f) * self.channels
        return slice(start, start + self.channels)

    def forward(self, x: Tensor, normalised: Tensor) -> Tensor:
        """All K*S*F blocks, shape (B, K*S*F*C, H', W')."""
        kinds = len(self.depthwise)
        if self.shared:
            x, fanned = self.fan_out(x), self.fan_out(normalised)
            inputs = [fanned] * kinds
        else:
            inputs = [channels_last(u) for u in normalised.chunk(kinds, dim=1)]
        maps = [conv(u) for conv, u in zip(self.depthwise, inputs, strict=True)]
        y = self.prelu_mid(normalise(torch.cat(maps, dim=1)))
        y = normalise(self.pointwise(y))
        if self.stride == 1:
            y = y + (torch.cat([x] * kinds, dim=1) if self.shared else x)
        return self.prelu_out(y)

    def fan_out(self, x: Tensor) -> Tensor:
        """Repeat each source's map for its F edges, shape (B, S*F*C, H, W)."""
        x_BHWSC = x.permute(0, 2, 3, 1).unflatten(3, (self.sources, 1, self.channels))
        return x_BHWSC.expand(-1, -1, -1, -1, self.fan, -1).flatten(3).permute(0, 3, 1, 2)

    def path(self, x: Tensor, normalised: Tensor, k: int, s: int, f: int) -> Tensor:
        """One block alone on its own map (B, C, H, W)."""
        conv, part = self.depthwise[k], self.part(k, s, f)
        y = conv.convolve(normalised, conv.effective_weight(self.part(0, s, f)), self.channels)
        y = F.prelu(normalise(y), self.prelu_mid.weight[part])
        y = normalise(self.pointwise.convolve(y, self.pointwise.effective_weight(part), 1))
        return F.prelu(y + x if self.stride == 1 else y, self.prelu_out.weight[part])

    @torch.no_grad()
    def bequeath(self, k: int, s: int, f: int, heir: SeparableBlock) -> None:
        part = self.part(k, s, f)
        copy_part(self.depthwise[k], self.part(0, s, f), heir.depthwise)
        copy_part(self.pointwise, part, heir.pointwise)
        heir.prelu_mid.weight.copy_(self.prelu_mid.weight[part])
        heir.prelu_out.weight.copy_(self.prelu_out.weight[part])


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
        self.prelu = nn.PReLU(sources * fan * channels)

    def forward(self, normalised: Tensor) -> Tensor:
        """All S*F reductions, shape (B, S*F*C, H/2, W/2)."""
        edges = (self.sources * self.fan, -1)
        y = torch.cat(
            [
                self.even(normalised).unflatten(1, edges),
                self.odd(shift(normalised)).unflatten(1, edges),
            ],
            dim=2,
        )
        return self.prelu(normalise(y.flatten(1, 2)))

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
        return F.prelu(normalise(y), self.slopes(s, f))

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


class EdgeBundle(nn.Module):
    """All the edges that leave S nodes of a cell, F from each.

    Args:
        operations: the options of every edge, in order.
        separable: which of them are separable convolutions, and of what kind.
    """

    def __init__(
        self,
        operations: tuple[str, ...],
        separable: dict[str, Separable],
        channels: int,
        sources: int,
        fan: int,
        *,
        stride: int,
        depthwise: Precision,
    ) -> None:
        super().__init__()
        self.operations = operations
        self.channels, self.sources, self.fan, self.stride = channels, sources, fan, stride
        # Twice repeated operations first: their second blocks then read one leading slice.
        present = {name: op for name, op in separable.items() if name in operations}
        self.blocks = sorted(present, key=lambda name: -present[name].repeats)
        self.deep = [name for name in self.blocks if present[name].repeats == 2]
        self.plain = [
            name
            for name in operations
            if name in ("max_pool_3x3", "avg_pool_3x3") or (name == "skip_connect" and stride == 1)
        ]
        self.first: BundledBlocks | None = None
        self.second: BundledBlocks | None = None
        self.reduction: BundledReduction | None = None
        if self.blocks:
            self.first = BundledBlocks(
                [present[name] for name in self.blocks],
                channels,
                sources,
                fan,
                stride=stride,
                depthwise=depthwise,
                shared=True,
            )
        if self.deep:
            self.second = BundledBlocks(
                [present[name] for name in self.deep],
                channels,
                sources,
                fan,
                stride=1,
                depthwise=depthwise,
                shared=False,
            )
        if stride == 2 and "skip_connect" in operations:
            self.reduction = BundledReduction(channels, sources, fan, Precision.W1A32)

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        """The mixed edges, summed over the sources.

        Args:
            x: the sources' maps side by side, shape (B, S*C, H, W).
            weights: per edge and operation, shape (S, F, operations).

        Returns:
            One map per target, shape (B, F, C, H', W').
        """
        maps = NodeMaps(x, self.stride)
        s, f, c = self.sources, self.fan, self.channels
        terms: list[Tensor] = []

        def add(y: Tensor, names: list[str]) -> None:
            """Weigh maps of shape (B, K*S*F*C, H, W) and sum over K and S."""
            columns = [self.operations.index(name) for name in names]
            scale = weights[..., columns].permute(2, 0, 1).reshape(-1, f, 1)
            y_BHWKFC = y.permute(0, 2, 3, 1).unflatten(3, (-1, f, c))
            terms.append((y_BHWKFC * scale).sum(3).permute(0, 3, 4, 1, 2))

        if self.plain:
            kinds = [self.plain_map(maps, name).unflatten(1, (s, c)) for name in self.plain]
            columns = [self.operations.index(name) for name in self.plain]
            terms.append(
                torch.einsum("bkschw,sfk->bfchw", torch.stack(kinds, 1), weights[..., columns])
            )
        if self.reduction is not None:
            add(self.reduction(maps.normalised), ["skip_connect"])
        if self.first is not None:
            y = self.first(x, maps.normalised)
            deep = len(self.deep) * s * f * c
            if self.second is not None:
                z = channels_last(y[:, :deep])
                add(self.second(z, normalise(z)), self.deep)
            if len(self.blocks) > len(self.deep):
                add(y[:, deep:], self.blocks[len(self.deep) :])
        if not terms:
            return maps.zeros(f * c).unflatten(1, (f, c))
        return torch.stack(terms).sum(0) if len(terms) > 1 else terms[0]

    def plain_map(self, maps: NodeMaps, name: str) -> Tensor:
        """The output of an operation without weights, the same for all edges of a source."""
        match name:
            case "max_pool_3x3":
                return maps.max_pool
            case "avg_pool_3x3":
                return maps.avg_pool
        return maps.x

    def path(self, maps: NodeMaps, s: int, f: int, operation: str) -> Tensor:
        """One operation of one edge on its own node's maps, shape (B, C, H', W')."""
        if operation in self.plain:
            return self.plain_map(maps, operation)
        if operation == "skip_connect" and self.reduction is not None:
            return self.reduction.path(maps.normalised, s, f)
        y = maps.x
        for bundle, names in ((self.first, self.blocks), (self.second, self.deep)):
            if bundle is not None and operation in names:
                u = maps.normalised if bundle is self.first else normalise(y)
                y = bundle.path(y, u, names.index(operation), s, f)
        return y

    def norms(self) -> Tensor:
        """Squared 2-norm of each edge's effective weights, shape (S, F)."""
        total = torch.zeros(self.sources, self.fan, device=next(self.parameters()).device)
        for conv in self.modules():
            if isinstance(conv, BinaryConv2d):
                squares = conv.effective_weight().square().flatten(1).sum(1)
                kinds = max(1, len(squares) // (self.sources * self.fan * self.channels))
                per_edge = squares.view(kinds, self.sources, self.fan, -1)
                total = total + per_edge.sum((0, 3))
        return total

    def filters(self, s: int, f: int, operation: str) -> Iterator[Filters]:
        """The 1-bit convolutions of one operation of one edge."""
        if self.reduction is not None and operation == "skip_connect":
            convs = (self.reduction.even, self.reduction.odd)
            for conv, part in zip(convs, self.reduction.parts(s, f), strict=True):
                yield conv.filters(part)
        for bundle, names in ((self.first, self.blocks), (self.second, self.deep)):
            if bundle is not None and operation in names:
                k = names.index(operation)
                yield bundle.depthwise[k].filters(bundle.part(0, s, f))
                yield bundle.pointwise.filters(bundle.part(k, s, f))

    def bequeath(self, s: int, f: int, operation: str, heir: nn.Module) -> None:
        """Copy the weights of one operation of one edge into its stand-alone module."""
        if self.reduction is not None and isinstance(heir, FactorisedReduction):
            self.reduction.bequeath(s, f, heir)
        blocks = iter([m for m in heir.modules() if isinstance(m, SeparableBlock)])
        for bundle, names in ((self.first, self.blocks), (self.second, self.deep)):
            if bundle is not None and operation in names:
                bundle.bequeath(names.index(operation), s, f, next(blocks))


@torch.no_grad()
def copy_part(conv: BinaryConv2d, part: slice, heir: BinaryConv2d) -> None:
    """Copy some output channels of a bundled convolution into a stand-alone one."""
    heir.weight.copy_(conv.weight[part])
    heir.beta.copy_(conv.beta[part])
