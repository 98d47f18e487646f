"""The weight-sharing network of DARTS cells.

A mixed cell of 14 edges and 8 operations runs as four bundles (see `bundles.py`); one path runs
one operation per edge, with the same weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from bnas_bench.core import Mix, NetworkSpec
from bnas_bench.nn.binary import BinaryConv2d, Filters, Precision
from bnas_bench.nn.blocks import Head, Preprocess, channels_last
from bnas_bench.nn.bundles import EdgeBundle, NodeMaps, Separable
from bnas_bench.nn.cells import CellNetwork, make_stem, preprocess_first, reduction_cells
from bnas_bench.nn.network import ListOf, Network, Supernet
from bnas_bench.topology import CELLS, EDGES, NODES


class MixedCell(nn.Module):
    """A cell of the supernet: four bundles, which leave the inputs and the nodes 2, 3 and 4."""

    def __init__(
        self,
        operations: tuple[str, ...],
        separable: dict[str, Separable],
        channels: tuple[int, int, int],
        *,
        stride: int,
        reduce_first: bool,
        preprocessing: Precision,
        depthwise: Precision,
    ) -> None:
        super().__init__()
        older, newer, width = channels
        self.operations = operations
        self.preprocess0 = preprocess_first(
            older, width, reduce=reduce_first, precision=preprocessing, affine=False
        )
        self.preprocess1 = Preprocess(newer, width, precision=preprocessing, affine=False)
        self.bundles = ListOf[EdgeBundle](
            EdgeBundle(
                operations,
                separable,
                width,
                2 if k == 0 else 1,
                4 - k,
                stride=stride if k == 0 else 1,
                depthwise=depthwise,
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
            out = bundle(x, weights[self.get_buffer(f"rows{k}")])
            sums = (
                list(out.unbind(1))
                if k == 0
                else [a + b for a, b in zip(sums, out.unbind(1), strict=True)]
            )
            x = sums.pop(0)
            nodes.append(x)
        return torch.cat(nodes, dim=1)

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
                total = nodes[0].zeros(nodes[0].x.shape[1])
            nodes.append(NodeMaps(total, 1))
        return torch.cat([maps.x for maps in nodes[2:]], dim=1)

    def filters(self, choices: Sequence[int]) -> Iterator[Filters]:
        """The 1-bit convolutions of the cell that `path` runs."""
        for preprocess in (self.preprocess0, self.preprocess1):
            for module in preprocess.modules():
                if isinstance(module, BinaryConv2d):
                    yield module.filters()
        for (i, j), choice in zip(EDGES, choices, strict=True):
            k, s, f = self.place(i, j)
            yield from self.bundles[k].filters(s, f, self.operations[choice])


class CellSupernet(Supernet):
    """Stem, mixed cells, head. The mix has one entry per edge: 14 normal, then 14 reduction ones."""

    def __init__(
        self,
        operations: tuple[str, ...],
        separable: dict[str, Separable],
        spec: NetworkSpec,
        *,
        preprocessing: Precision,
        depthwise: Precision,
    ) -> None:
        super().__init__()
        self.operations = operations
        self.stem = make_stem(spec, affine=False)
        older, newer = self.stem.out_channels
        width, reduced = spec.channels, self.stem.reduced
        self.reductions = reduction_cells(spec.cells)
        self.cells: ListOf[MixedCell] = ListOf()
        for index in range(spec.cells):
            reduction = index in self.reductions
            width *= 2 if reduction else 1
            self.cells.append(
                MixedCell(
                    operations,
                    separable,
                    (older, newer, width),
                    stride=2 if reduction else 1,
                    reduce_first=reduced,
                    preprocessing=preprocessing,
                    depthwise=depthwise,
                )
            )
            older, newer, reduced = newer, len(NODES) * width, reduction
        self.head = Head(newer, spec.classes)

    def features(self, x_BCHW: Tensor, mix: Mix) -> Tensor:
        per_kind = {
            kind: self._prepared(mix[k * len(EDGES) : (k + 1) * len(EDGES)], x_BCHW)
            for k, kind in enumerate(CELLS)
        }
        older, newer = self.stem(channels_last(x_BCHW))
        for index, cell in enumerate(self.cells):
            choice = per_kind["reduce" if index in self.reductions else "normal"]
            if isinstance(choice, Tensor):
                older, newer = newer, cell(older, newer, choice)
            else:
                older, newer = newer, cell.path(older, newer, choice)
        return newer

    def _prepared(self, mix: Mix, x: Tensor) -> Tensor | list[int]:
        """A cell's edges as weights (14, operations), or as one path if all are indices."""
        if not any(isinstance(entry, Tensor) for entry in mix):
            return [int(entry) for entry in mix]
        eye = torch.eye(len(self.operations), device=x.device, dtype=x.dtype)
        return torch.stack([e if isinstance(e, Tensor) else eye[e] for e in mix])

    def filters(self, path: Sequence[int]) -> Iterator[Filters]:
        for index, cell in enumerate(self.cells):
            start = len(EDGES) if index in self.reductions else 0
            yield from cell.filters(path[start : start + len(EDGES)])

    def weight_norms(self) -> Tensor:
        """Squared 2-norm per edge, over all cells of its kind; operations without weights add none."""
        totals = []
        for kind in CELLS:
            cells = [
                cell
                for index, cell in enumerate(self.cells)
                if (index in self.reductions) == (kind == "reduce")
            ]
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
