"""Bundles of the edges of a DARTS cell, with what they share computed once.

All edges that leave the same nodes at the same time run as one *bundle*: the map of a node is
normalised and pooled once for all its edges and operations (search networks normalise without
affine parameters), and an operation's convolutions and normalisations are one call for as many edges
as the cache holds. A cell of 14 edges and 8 operations so takes 4 bundles instead of 112 separate
operations, and `path` runs one operation of one edge with the same weights.

Legend: B batch, K operations, S source nodes, F edges that leave each source, C channels, H, W.
A bundle's channels are ordered (K, S, F, C).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bnas_bench.nn.binary import BinaryConv2d, Filters, Precision
from bnas_bench.nn.blocks import FactorisedReduction, channels_last, zeros_after
from bnas_bench.nn.darts.bundled import Bundle, BundledReduction, Kernel, Parts, fan_out
from bnas_bench.nn.kernels import normalise

CACHE = 8 << 20
"""Bytes of the maps that are worked on at once on a CPU, where more of them would leave its cache."""


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


class MakeBundle(Protocol):
    """Builds the bundle of several operations."""

    def __call__(
        self,
        kernels: Sequence[Kernel],
        channels: int,
        sources: int,
        fan: int,
        *,
        stride: int,
    ) -> Bundle: ...


@dataclass(frozen=True)
class Convolutions:
    """What an edge's convolutional operations are, and how those of many edges are bundled.

    Attributes:
        kernels: by the name of the operation.
        reduction: precision of `skip_connect` at stride 2.
    """

    kernels: Mapping[str, Kernel]
    bundle: MakeBundle
    reduction: Precision


class EdgeBundle(nn.Module):
    """All the edges that leave S nodes of a cell, F from each.

    Args:
        operations: the options of every edge, in order.
    """

    def __init__(
        self,
        operations: tuple[str, ...],
        convolutions: Convolutions,
        channels: int,
        sources: int,
        fan: int,
        *,
        stride: int,
    ) -> None:
        super().__init__()
        self.operations = operations
        self.channels, self.sources, self.fan, self.stride = channels, sources, fan, stride
        kernels = {op: k for op, k in convolutions.kernels.items() if op in operations}
        self.blocks = sorted(kernels, key=lambda name: -kernels[name].repeats)
        self.deep = [name for name in self.blocks if kernels[name].repeats == 2]
        self.plain = [
            name
            for name in operations
            if name in ("max_pool_3x3", "avg_pool_3x3") or (name == "skip_connect" and stride == 1)
        ]

        # Among an edge's weights; on the device, where indices of Python's would be copied in every step.
        for name, chosen in (("block_places", self.blocks), ("plain_places", self.plain)):
            places = torch.tensor([operations.index(each) for each in chosen], dtype=torch.long)
            self.register_buffer(name, places, persistent=False)

        def bundle(names: list[str], stride: int) -> Bundle | None:
            chosen = [kernels[name] for name in names]
            if not chosen:
                return None
            return convolutions.bundle(chosen, channels, sources, fan, stride=stride)

        self.first = bundle(self.blocks, stride)
        self.second = bundle(self.deep, 1)
        self.reduction: BundledReduction | None = None
        if stride == 2 and "skip_connect" in operations:
            self.reduction = BundledReduction(channels, sources, fan, convolutions.reduction)

    block_places: Tensor
    plain_places: Tensor

    def forward(self, x: Tensor, weights: Tensor) -> list[Tensor]:
        """The mixed edges, summed over the sources: a map per target, each of shape (B, C, H', W').

        Args:
            x: the sources' maps side by side, shape (B, S*C, H, W).
            weights: per edge and operation, shape (S, F, operations).
        """
        maps = NodeMaps(x, self.stride)
        terms: list[Sequence[Tensor]] = []
        if self.plain:
            terms.append(self.unweighted(maps, weights.index_select(-1, self.plain_places)))
        if self.reduction is not None:
            scale = weights[..., self.operations.index("skip_connect")].flatten()
            y = self.reduction(maps.normalised)
            y = y * scale.repeat_interleave(self.channels).view(-1, 1, 1)
            terms += self.by_source(y.split(self.channels, 1))
        if self.blocks:
            terms += self.convolved(maps, weights.flatten(0, 1))
        if not terms:
            return [zeros_after(x, self.stride, self.channels)] * self.fan
        return [reduce(torch.add, found) for found in zip(*terms, strict=True)]

    def unweighted(self, maps: NodeMaps, weights: Tensor) -> Sequence[Tensor]:
        """The operations without weights of their own, as one product of matrices, a map per target.

        Args:
            weights: shape (S, F, operations).
        """
        kinds = [self.plain_map(maps, name).permute(0, 2, 3, 1) for name in self.plain]
        by_source = zip(*(kind.split(self.channels, 3) for kind in kinds), strict=True)
        x_NBHWC = torch.stack([x for source in by_source for x in source])
        product = weights.transpose(0, 1).flatten(1) @ x_NBHWC.flatten(1)
        return product.view(-1, *x_NBHWC.shape[1:]).permute(0, 1, 4, 2, 3).unbind()

    def convolved(self, maps: NodeMaps, weights: Tensor) -> list[Sequence[Tensor]]:
        """The operations with convolutions, weighed, a map per target for each source.

        Args:
            weights: shape (S*F, operations).
        """
        assert self.first is not None
        weights = weights.index_select(-1, self.block_places)
        chunks = self.chunks(maps.x)
        first = self.first.parts(chunks)
        second = self.second.parts(chunks) if self.second is not None else []
        found: list[Tensor] = []
        for i, (x, normalised) in enumerate(self.fanned(maps, chunks)):
            scales = weights[chunks[i].start : chunks[i].stop].repeat_interleave(self.channels, 0)
            total: Tensor | None = None
            for k, scale in enumerate(scales.t()[..., None, None]):
                again = second[k][i] if k < len(second) else None
                y = self.block(k, x, normalised, first[k][i], again)
                total = y * scale if total is None else torch.addcmul(total, y, scale)
            assert total is not None
            found += total.split(self.channels, 1)
        return self.by_source(found)

    def by_source(self, found: Sequence[Tensor]) -> list[Sequence[Tensor]]:
        """The maps of all edges, as a map per target for each source."""
        return [found[start : start + self.fan] for start in range(0, len(found), self.fan)]

    def block(
        self, k: int, x: Tensor, normalised: Tensor, first: Parts, second: Parts | None = None
    ) -> Tensor:
        """One operation on some edges, once or twice; see `Bundle.forward`."""
        assert self.first is not None
        y = self.first(x, normalised, k, first)
        if second is None:
            return y
        assert self.second is not None
        return self.second(y, normalise(y), k, second)

    def chunks(self, x: Tensor) -> list[range]:
        """The edges, all at once where a map of each fits the cache, and else as many of one source as do,
        or one."""
        edges = range(self.sources * self.fan)
        fitting = CACHE // max(1, x[:, : self.channels].numel() * x.element_size())
        if fitting >= len(edges) or x.device.type != "cpu":
            return [edges]
        step = max(1, fitting)
        of_sources = (edges[start : start + self.fan] for start in edges[:: self.fan])
        return [
            own[start : start + step] for own in of_sources for start in range(0, self.fan, step)
        ]

    def fanned(self, maps: NodeMaps, chunks: Sequence[range]) -> Iterator[tuple[Tensor, Tensor]]:
        """The maps of each chunk's edges and their normalised maps, as `fan_out` gives them."""
        c, f = self.channels, self.fan
        if len(chunks) == 1:
            yield fan_out(maps.x, c, f), fan_out(maps.normalised, c, f)
            return
        split = [u.split(c, 1) for u in (maps.x, maps.normalised)]
        alone = [[channels_last(source) for source in parts] for parts in zip(*split, strict=True)]
        for edges in chunks:
            x, normalised = alone[edges.start // f]
            yield fan_out(x, c, len(edges)), fan_out(normalised, c, len(edges))

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
        assert self.first is not None
        k, edge = self.blocks.index(operation), self.edge(s, f)
        again = self.second.own(k, edge) if self.second and operation in self.deep else None
        return self.block(k, maps.x, maps.normalised, self.first.own(k, edge), again)

    def edge(self, s: int, f: int) -> range:
        """One edge, among those of the bundle."""
        return range(s * self.fan + f, s * self.fan + f + 1)

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
            yield from self.reduction.filters(s, f)
        for bundle, names in ((self.first, self.blocks), (self.second, self.deep)):
            if bundle is not None and operation in names:
                yield from bundle.filters(names.index(operation), self.edge(s, f))

    def bequeath(self, s: int, f: int, operation: str, heir: nn.Module) -> None:
        """Copy the weights of one operation of one edge into its stand-alone module."""
        if self.reduction is not None and isinstance(heir, FactorisedReduction):
            self.reduction.bequeath(s, f, heir)
        bundles = ((self.first, self.blocks), (self.second, self.deep))
        mine = [(b, names) for b, names in bundles if b is not None and operation in names]
        blocks = [m for m in heir.modules() if mine and isinstance(m, mine[0][0].heir)]
        for (bundle, names), block in zip(mine, blocks, strict=True):
            bundle.bequeath(names.index(operation), self.edge(s, f), block)
