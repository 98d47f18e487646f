"""The weight-sharing network of DARTS cells.

A mixed cell of 14 edges and 8 operations runs as four bundles (see `bundles.py`); one path runs
one operation per edge, with the same weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bnas_bench.core.architecture import Mix
from bnas_bench.core.budget import NetworkSpec
from bnas_bench.core.errors import BadValue
from bnas_bench.nn.binary import BinaryConv2d, Filters
from bnas_bench.nn.blocks import Head, channels_last, shuffle, zeros_after
from bnas_bench.nn.darts.bundles import EdgeBundle, NodeMaps
from bnas_bench.nn.darts.network import CellNetwork, Parts, make_stem
from bnas_bench.nn.darts.topology import CELLS, EDGES, NODES, CellPlan, plan
from bnas_bench.nn.network import ListOf, Network, Supernet


def partial_join(mixed_BFCHW: Tensor, passing_BFCHW: Tensor, k: int) -> Tensor:
    """PC-DARTS section 3.2: the processed channels and those that pass by, side by side, shuffled.

    Xu et al., ICLR 2020, https://arxiv.org/abs/1907.05737.
    """
    joined = torch.cat([mixed_BFCHW, passing_BFCHW], dim=2)
    return shuffle(joined.flatten(0, 1), k).unflatten(0, joined.shape[:2])


class MixedCell(nn.Module):
    """A cell of the supernet: four bundles, which leave the inputs and the nodes 2, 3 and 4."""

    def __init__(self, place: CellPlan, parts: Parts, partial: int) -> None:
        super().__init__()
        self.operations, self.partial = parts.operations, partial
        self.preprocess0 = parts.preprocess(
            place.older, place.width, reduce=place.reduce_first, affine=False
        )
        self.preprocess1 = parts.preprocess(place.newer, place.width, reduce=False, affine=False)
        self.width = place.width
        self.bundles = ListOf[EdgeBundle](
            EdgeBundle(
                parts.operations,
                parts.convolutions,
                place.width // partial,
                2 if k == 0 else 1,
                4 - k,
                stride=place.stride if k == 0 else 1,
            )
            for k in range(4)
        )
        for k in range(4):
            sources = (0, 1) if k == 0 else (k + 1,)
            rows = [[EDGES.index((i, j)) for j in NODES if j > max(i, 1)] for i in sources]
            self.register_buffer(f"rows{k}", torch.tensor(rows), persistent=False)

    @staticmethod
    def place(i: int, j: int) -> tuple[int, int, int]:
        """Where edge (i, j) lies: its bundle, its source in it, its place among the source's."""
        return (0, i, j - 2) if i < 2 else (i - 1, 0, j - i - 1)

    def forward(self, older: Tensor, newer: Tensor, weights: Tensor) -> Tensor:
        """The mixed cell; `weights` has shape (14 edges, operations)."""
        x = torch.cat([self.preprocess0(older), self.preprocess1(newer)], dim=1)
        nodes: list[Tensor] = []
        sums: list[Tensor] = []
        for k, bundle in enumerate(self.bundles):
            out = self.edges(bundle, x, weights[self.get_buffer(f"rows{k}")])
            sums = [a + b for a, b in zip(sums, out, strict=True)] if sums else list(out)
            x = sums.pop(0)
            nodes.append(x)
        return torch.cat(nodes, dim=1)

    def edges(self, bundle: EdgeBundle, x: Tensor, weights: Tensor) -> Sequence[Tensor]:
        """A bundle's mixed edges, on all channels or on one in `partial` (PC-DARTS): a map per target."""
        if self.partial == 1:
            return bundle(x, weights)
        x_BSCHW = x.unflatten(1, (bundle.sources, self.width))
        few = x_BSCHW[:, :, : bundle.channels].flatten(1, 2)
        mixed = torch.stack(bundle(channels_last(few), weights), 1)
        rest = x_BSCHW[:, :, bundle.channels :].flatten(1, 2)
        if bundle.stride == 2:
            rest = F.max_pool2d(rest, 2, ceil_mode=True)
        rest = rest.unflatten(1, (bundle.sources, -1))
        passing = torch.einsum("bschw,sf->bfchw", rest, weights.sum(-1))
        return partial_join(mixed, passing, self.partial).unbind(1)

    def path(self, older: Tensor, newer: Tensor, choices: Sequence[int]) -> Tensor:
        """The cell whose edges run one operation each, `none` where an edge is not there."""
        stride = self.bundles[0].stride
        nodes = [
            NodeMaps(self.preprocess0(older), stride),
            NodeMaps(self.preprocess1(newer), stride),
        ]
        for j in NODES:
            total = None
            for i in range(j):
                name = self.operations[choices[EDGES.index((i, j))]]
                if name != "none":
                    k, s, f = self.place(i, j)
                    y = self.bundles[k].path(nodes[i], s, f, name)
                    total = y if total is None else total + y
            if total is None:
                total = zeros_after(nodes[0].x, stride, self.width)
            nodes.append(NodeMaps(total, 1))
        return torch.cat([maps.x for maps in nodes[2:]], dim=1)

    def filters(self, choices: Sequence[int]) -> Iterator[Filters]:
        """The 1-bit convolutions of the cell that `path` runs."""
        for preprocess in (self.preprocess0, self.preprocess1):
            for module in preprocess.modules():
                if isinstance(module, BinaryConv2d) and module.own.weight_bits == 1:
                    yield module.filters()
        for (i, j), choice in zip(EDGES, choices, strict=True):
            k, s, f = self.place(i, j)
            yield from self.bundles[k].filters(s, f, self.operations[choice])


class CellSupernet(Supernet):
    """Stem, mixed cells, head. The mix has one entry per edge: 14 normal, then 14 reduction ones."""

    def __init__(self, spec: NetworkSpec, parts: Parts, partial: int) -> None:
        super().__init__()
        if spec.channels % partial:
            raise BadValue(
                f"{spec.channels} channels cannot be divided by partial={partial}; "
                f"the next scale that can has {-(-spec.channels // partial) * partial}"
            )
        self.operations, self.partial = parts.operations, partial
        self.stem = make_stem(spec, affine=False)
        self.plan = list(plan(spec))
        self.cells = ListOf[MixedCell](MixedCell(place, parts, partial) for place in self.plan)
        self.head = Head(len(NODES) * self.plan[-1].width, spec.classes)

    def features(self, x_BCHW: Tensor, mix: Mix) -> Tensor:
        per_kind = {
            kind: self._prepared(mix[k * len(EDGES) : (k + 1) * len(EDGES)], x_BCHW)
            for k, kind in enumerate(CELLS)
        }
        older, newer = self.stem(channels_last(x_BCHW))
        for place, cell in zip(self.plan, self.cells, strict=True):
            choice = per_kind[place.kind]
            if isinstance(choice, Tensor):
                older, newer = newer, cell(older, newer, choice)
            else:
                older, newer = newer, cell.path(older, newer, choice)
        if newer.requires_grad:
            newer.register_hook(channels_last)  # the pool's own would be copied at every layer
        return newer

    def _prepared(self, mix: Mix, x: Tensor) -> Tensor | list[int]:
        """A cell's edges as weights (14, operations), or as one path if all are indices."""
        if self.partial == 1 and not any(isinstance(entry, Tensor) for entry in mix):
            return [int(entry) for entry in mix]
        eye = torch.eye(len(self.operations), device=x.device, dtype=x.dtype)
        return torch.stack([e if isinstance(e, Tensor) else eye[e] for e in mix])

    def filters(self, path: Sequence[int]) -> Iterator[Filters]:
        for place, cell in zip(self.plan, self.cells, strict=True):
            start = len(EDGES) * CELLS.index(place.kind)
            yield from cell.filters(path[start : start + len(EDGES)])

    def weight_norms(self) -> Tensor:
        """Squared 2-norm per edge, over all cells of its kind; operations without weights add none."""
        totals = []
        for kind in CELLS:
            cells = [c for p, c in zip(self.plan, self.cells, strict=True) if p.kind == kind]
            norms = [torch.stack([c.bundles[k].norms() for c in cells]).sum(0) for k in range(4)]
            for i, j in EDGES:
                k, s, f = MixedCell.place(i, j)
                totals.append(norms[k][s, f])
        return torch.stack(totals)

    @torch.no_grad()
    def bequeath(self, network: Network) -> None:
        """Copy the weights of a path into its stand-alone network of the same spec."""
        assert isinstance(network, CellNetwork)
        copy_matching(self.stem, network.stem)
        copy_matching(self.head, network.head)
        for mixed, cell in zip(self.cells, network.cells, strict=True):
            copy_matching(mixed.preprocess0, cell.preprocess0)
            copy_matching(mixed.preprocess1, cell.preprocess1)
            for j, pairs in cell.pairs.items():
                for operation, i in pairs:
                    k, s, f = MixedCell.place(i, j)
                    mixed.bundles[k].bequeath(s, f, operation, cell.edges[f"{i}_{j}"])


def copy_matching(source: nn.Module, heir: nn.Module) -> None:
    """Copy every parameter of `source` into the one of the same name; `heir` may have more."""
    for name, parameter in source.named_parameters():
        heir.get_parameter(name).copy_(parameter)
