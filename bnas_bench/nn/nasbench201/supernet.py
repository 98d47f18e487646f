"""The weight-sharing network of NAS-Bench-201's cells: relaxed, a single path, or on partial channels.

All edges that leave a node run together: its map is normalised once (search networks normalise
without affine parameters), and the convolutions of one size are one convolution.

Legend of tensor names: B batch, E edges of the cell, F edges that leave a node, O operations, C
channels, H, W.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from bnas_bench.core.architecture import Mix
from bnas_bench.core.budget import NetworkSpec
from bnas_bench.core.errors import BadValue
from bnas_bench.nn.binary import BinaryConv2d, Filters, PReLU
from bnas_bench.nn.blocks import Head, channels_last
from bnas_bench.nn.darts.bundled import copy_part
from bnas_bench.nn.darts.supernet import copy_matching, partial_join
from bnas_bench.nn.kernels import normalise, prelu
from bnas_bench.nn.nasbench201.cell import (
    EDGES,
    KERNELS,
    NODES,
    NONE,
    OPERATIONS,
    POOL,
    SKIP,
    STAGES,
    fed,
    live_edges,
    skeleton,
)
from bnas_bench.nn.nasbench201.network import (
    BinaryBlock,
    Cell,
    Closing,
    Reduction,
    SkeletonNetwork,
    Stem,
    pool,
    wire,
)
from bnas_bench.nn.network import ListOf, Network, Supernet

COLUMNS = {operation: k for k, operation in enumerate(OPERATIONS)}


def from_fed_nodes(weights_EO: Tensor) -> Tensor:
    """The weights of a mixed cell, zero on the edges that leave a node which nothing reaches.

    A normalisation would make something of its empty map: of zeros the signs are +1.
    """
    there_E = (weights_EO[:, : COLUMNS[NONE]] != 0).any(1)
    nodes = fed(there_E.unbind())
    return weights_EO * torch.stack([nodes[i] for i, _ in EDGES])[:, None]


class FanBlock(nn.Module):
    """The blocks of one kernel on all F edges that leave a node; `BinaryBlock` is one alone."""

    def __init__(self, channels: int, fan: int, kernel_size: int) -> None:
        super().__init__()
        self.channels, self.fan = channels, fan
        self.conv = BinaryConv2d(channels, fan * channels, kernel_size, padding=kernel_size // 2)
        self.prelu = PReLU(fan * channels)

    def forward(self, x_BCHW: Tensor, normalised_BCHW: Tensor) -> Tensor:
        """One map per edge, shape (B, F, C, H, W)."""
        y = self.conv(normalised_BCHW) + x_BCHW.repeat(1, self.fan, 1, 1)
        return self.prelu(y).unflatten(1, (self.fan, self.channels))

    def part(self, f: int) -> slice:
        """The channels of one edge."""
        return slice(f * self.channels, (f + 1) * self.channels)

    def path(self, x_BCHW: Tensor, f: int) -> Tensor:
        """The block of one edge, shape (B, C, H, W)."""
        weight = self.conv.effective_weight(self.part(f))
        y = self.conv.convolve(normalise(x_BCHW), weight, 1) + x_BCHW
        return prelu(y, self.prelu.weight[self.part(f)])

    def norms(self) -> Tensor:
        """Squared 2-norm of each edge's effective weights, shape (F,)."""
        return self.conv.effective_weight().square().unflatten(0, (self.fan, -1)).flatten(1).sum(1)

    @torch.no_grad()
    def bequeath(self, f: int, heir: BinaryBlock) -> None:
        copy_part(self.conv, self.part(f), heir.conv)
        heir.prelu.weight.copy_(self.prelu.weight[self.part(f)])


class Fan(nn.Module):
    """All edges that leave a node, F of them, each with all operations."""

    def __init__(self, channels: int, fan: int) -> None:
        super().__init__()
        self.channels = channels
        self.pool = pool()
        self.blocks = ListOf[FanBlock](FanBlock(channels, fan, k) for k in KERNELS.values())

    def forward(self, x_BCHW: Tensor, weights_FO: Tensor) -> Tensor:
        """The mixed edges, shape (B, F, C, H, W)."""
        normalised = normalise(x_BCHW)
        plain_BOCHW = torch.stack([x_BCHW, self.pool(x_BCHW)], 1)
        plain_FO = torch.stack([weights_FO[:, COLUMNS[name]] for name in (SKIP, POOL)], 1)
        total = torch.einsum("bochw,fo->bfchw", plain_BOCHW, plain_FO)
        for name, block in zip(KERNELS, self.blocks, strict=True):
            scale = weights_FO[:, COLUMNS[name], None, None, None]
            total = torch.addcmul(total, block(x_BCHW, normalised), scale)
        return total

    def block(self, operation: str) -> FanBlock:
        """The blocks of one of `KERNELS`."""
        return self.blocks[list(KERNELS).index(operation)]

    def path(self, x_BCHW: Tensor, f: int, operation: str) -> Tensor:
        """One operation of one edge, shape (B, C, H, W)."""
        if operation in KERNELS:
            return self.block(operation).path(x_BCHW, f)
        return self.pool(x_BCHW) if operation == POOL else x_BCHW


class MixedCell(nn.Module):
    """A cell of the supernet: a fan for each node but the last.

    Args:
        partial: one channel in so many runs through the operations (PC-DARTS).
    """

    def __init__(self, channels: int, partial: int) -> None:
        super().__init__()
        self.partial = partial
        self.fans = ListOf[Fan](Fan(channels // partial, NODES[-1] - i) for i in range(NODES[-1]))

    @staticmethod
    def place(i: int, j: int) -> int:
        """The place of edge (i, j) among those that leave node i."""
        return j - i - 1

    def forward(self, x_BCHW: Tensor, weights_EO: Tensor) -> Tensor:
        sums = [torch.zeros_like(x_BCHW)] * len(NODES)
        for i, fan in enumerate(self.fans):
            rows = [weights_EO[EDGES.index((i, j))] for j in NODES if j > i]
            mixed = self.edges(fan, x_BCHW, torch.stack(rows)).unbind(1)
            x_BCHW, *sums = [a + b for a, b in zip(sums, mixed, strict=True)]
        return x_BCHW

    def edges(self, fan: Fan, x_BCHW: Tensor, weights_FO: Tensor) -> Tensor:
        """The mixed edges of a node, on all channels or on one in `partial`."""
        if self.partial == 1:
            return fan(x_BCHW, weights_FO)
        few, rest = x_BCHW[:, : fan.channels], x_BCHW[:, fan.channels :]
        passing = torch.einsum("bchw,f->bfchw", rest, weights_FO.sum(1))
        return partial_join(fan(channels_last(few), weights_FO), passing, self.partial)

    def path(self, x_BCHW: Tensor, operations: tuple[str, ...]) -> Tensor:
        """The cell whose edges run one operation each."""
        chosen = dict(zip(EDGES, operations, strict=True))
        return wire(
            x_BCHW,
            operations,
            lambda node, i, j: self.fans[i].path(node, self.place(i, j), chosen[i, j]),
        )

    def filters(self, operations: tuple[str, ...]) -> Iterator[Filters]:
        """The 1-bit convolutions that `path` runs."""
        chosen = dict(zip(EDGES, operations, strict=True))
        for i, j in live_edges(operations):
            if chosen[i, j] in KERNELS:
                block = self.fans[i].block(chosen[i, j])
                yield block.conv.filters(block.part(self.place(i, j)))

    def norms(self) -> Tensor:
        """Squared 2-norm of each edge's weights, in the order of `EDGES`."""
        fans = [torch.stack([block.norms() for block in fan.blocks]).sum(0) for fan in self.fans]
        return torch.stack([fans[i][self.place(i, j)] for i, j in EDGES])

    def bequeath(self, cell: Cell) -> None:
        chosen = dict(zip(EDGES, cell.operations, strict=True))
        for i, j in live_edges(cell.operations):
            heir = cell.edges[f"{i}_{j}"]
            if isinstance(heir, BinaryBlock):
                self.fans[i].block(chosen[i, j]).bequeath(self.place(i, j), heir)


class SkeletonSupernet(Supernet):
    """Stem, three stages of mixed cells with reductions between, head. The mix is that of the edges.

    Args:
        partial: K of PC-DARTS; such a supernet takes only weights.
    """

    def __init__(self, spec: NetworkSpec, partial: int = 1) -> None:
        super().__init__()
        if partial < 1 or spec.channels % partial:
            raise BadValue(
                f"partial={partial} takes no whole number of the {spec.channels} channels; "
                "give a divisor of them"
            )
        self.partial = partial
        self.stem = Stem(spec, affine=False)
        self.cells = ListOf[MixedCell | Reduction](
            Reduction(place.inputs, place.outputs, affine=False)
            if place.reduces
            else MixedCell(place.outputs, partial)
            for place in skeleton(spec)
        )
        width = spec.channels << STAGES - 1
        self.closing = Closing(width, affine=False)
        self.head = Head(width, spec.classes)

    def features(self, x_BCHW: Tensor, mix: Mix) -> Tensor:
        chosen = self._prepared(mix, x_BCHW)
        y_BCHW = self.stem(channels_last(x_BCHW))
        for cell in self.cells:
            if isinstance(cell, Reduction):
                y_BCHW = cell(y_BCHW)
            elif isinstance(chosen, Tensor):
                y_BCHW = cell(y_BCHW, chosen)
            else:
                y_BCHW = cell.path(y_BCHW, chosen)
        return self.closing(y_BCHW)

    def _prepared(self, mix: Mix, x: Tensor) -> Tensor | tuple[str, ...]:
        """The edges as weights (E, O), or as one path if all are indices."""
        if self.partial == 1 and not any(isinstance(entry, Tensor) for entry in mix):
            return tuple(OPERATIONS[int(entry)] for entry in mix)
        eye = torch.eye(len(OPERATIONS), device=x.device, dtype=x.dtype)
        rows = [entry if isinstance(entry, Tensor) else eye[entry] for entry in mix]
        return from_fed_nodes(torch.stack(rows))

    def mixed(self) -> list[MixedCell]:
        """The cells that are no reductions."""
        return [cell for cell in self.cells if isinstance(cell, MixedCell)]

    def filters(self, path: Sequence[int]) -> Iterator[Filters]:
        operations = tuple(OPERATIONS[k] for k in path)
        for cell in self.cells:
            if isinstance(cell, MixedCell):
                yield from cell.filters(operations)
            else:
                for conv in cell.modules():
                    if isinstance(conv, BinaryConv2d):
                        yield conv.filters()

    def weight_norms(self) -> Tensor:
        """Squared 2-norm per edge, over all cells."""
        return torch.stack([cell.norms() for cell in self.mixed()]).sum(0)

    @torch.no_grad()
    def bequeath(self, network: Network) -> None:
        assert isinstance(network, SkeletonNetwork)
        for name in ("stem", "closing", "head"):
            copy_matching(getattr(self, name), getattr(network, name))
        for cell, heir in zip(self.cells, network.cells, strict=True):
            if isinstance(cell, MixedCell):
                assert isinstance(heir, Cell)
                cell.bequeath(heir)
            else:
                copy_matching(cell, heir)
