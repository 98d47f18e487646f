"""The DARTS cell as a search space: its combinatorics, its genotype, and how a search derives one.

DARTS (Liu et al., ICLR 2019), https://arxiv.org/abs/1806.09055. Shared by every space whose cells
have two input nodes (0, 1), four intermediate nodes (2 to 5) and 14 edges.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from math import comb, prod
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bnas_bench.core.architecture import Architecture, Decision
from bnas_bench.core.budget import IMAGENET_SIDE, NetworkSpec, Recipe, Scale
from bnas_bench.core.errors import InvalidArchitecture, brief
from bnas_bench.nn.darts.topology import CELLS, EDGES, NODES, NONE, Pair, decision_name, plan
from bnas_bench.search import genotype
from bnas_bench.search.space import SearchSpace

if TYPE_CHECKING:
    from bnas_bench.cost.formula import OpsFormula
    from bnas_bench.nn.darts.network import CellNetwork, Parts
    from bnas_bench.nn.darts.supernet import CellSupernet


class CellSpace(SearchSpace):
    """A normal and a reduction cell: an operation for each edge, two live edges into every node.

    Args:
        operations: the edge's options; `none` is one of them and marks an edge that is not there.
        zeroise: whether a node may also keep one live edge or none at all: the Zeroise layer of BNAS
            (Kim et al., ECCV 2020), https://arxiv.org/abs/2002.06963.
    """

    def __init__(self, operations: tuple[str, ...], zeroise: bool) -> None:
        self.operations = operations
        self.zeroise = zeroise
        self.live = tuple(op for op in operations if op != NONE)
        self.decisions = tuple(
            Decision(decision_name(cell, i, j), operations) for cell in CELLS for i, j in EDGES
        )
        self.nodes = tuple(
            tuple(k * len(EDGES) + EDGES.index((i, j)) for i in range(j))
            for k in range(len(CELLS))
            for j in NODES
        )

    def size(self) -> int:
        """Per node j: which two of its j edges live, and an operation on each."""
        return prod(sum(self._ways(j)) for j in NODES) ** len(CELLS)

    def _ways(self, j: int) -> list[int]:
        """In how many ways node j can have 0, 1 and 2 live edges."""
        ways = [comb(j, live) * len(self.live) ** live for live in range(3)]
        return ways if self.zeroise else [0, 0, ways[2]]

    def assemble(self, cells: dict[str, dict[int, list[Pair]]]) -> Architecture:
        """The architecture whose node j of a cell takes the two given (operation, source) pairs."""
        choices = {d.name: NONE for d in self.decisions}
        for cell, nodes in cells.items():
            for j, pairs in nodes.items():
                for op, i in pairs:
                    choices[decision_name(cell, i, j)] = op
        return Architecture(self.name, choices)

    def pairs(self, arch: Architecture, cell: str, j: int) -> list[Pair]:
        """The live (operation, source) pairs into node j, by source."""
        options = [(str(arch.choices[decision_name(cell, i, j)]), i) for i in range(j)]
        return [(op, i) for op, i in options if op != NONE]

    def check(self, arch: Architecture) -> None:
        self.check_choices(arch)
        for cell in CELLS:
            for j in NODES:
                live = len(self.pairs(arch, cell, j))
                if live > 2 or (live < 2 and not self.zeroise):
                    raise InvalidArchitecture(
                        f"node {j} of the {cell} cell has {live} live edges; "
                        f"it takes {'at most' if self.zeroise else 'exactly'} 2"
                    )

    def sample(self, rng: np.random.Generator) -> Architecture:
        def node(j: int) -> list[Pair]:
            live = 2
            if self.zeroise:
                ways = np.array(self._ways(j))
                live = int(rng.choice(3, p=ways / ways.sum()))
            sources = rng.choice(j, size=live, replace=False)
            return [(str(rng.choice(self.live)), int(i)) for i in sources]

        return self.assemble({cell: {j: node(j) for j in NODES} for cell in CELLS})

    def mutate(self, arch: Architecture, rng: np.random.Generator) -> Architecture:
        """Give one live edge another operation, or move it to another source (or drop or add it)."""
        cells = {cell: {j: self.pairs(arch, cell, j) for j in NODES} for cell in CELLS}
        cell, j = str(rng.choice(CELLS)), int(rng.choice(NODES))
        pairs = cells[cell][j]
        free = [source for source in range(j) if source not in {i for _, i in pairs}]
        neighbours: list[list[Pair]] = []
        for slot, (op, i) in enumerate(pairs):
            others = pairs[:slot] + pairs[slot + 1 :]
            neighbours += [[*others, (other, i)] for other in self.live if other != op]
            neighbours += [[*others, (op, source)] for source in free]
            neighbours += [others] if self.zeroise else []
        if len(pairs) < 2:
            neighbours += [[*pairs, (op, source)] for op in self.live for source in free]
        cells[cell][j] = neighbours[int(rng.integers(len(neighbours)))]
        return self.assemble(cells)

    def crossover(
        self, first: Architecture, second: Architecture, rng: np.random.Generator
    ) -> Architecture:
        """Every node takes both its edges from one of the two parents."""
        parents = (first, second)
        return self.assemble(
            {
                cell: {j: self.pairs(parents[int(rng.integers(2))], cell, j) for j in NODES}
                for cell in CELLS
            }
        )

    def derive(self, strengths: Sequence[np.ndarray]) -> Architecture:
        """DARTS section 2.4: every node keeps its two strongest edges, `none` left out of account.

        With `zeroise`, `none` takes part (BNAS): an edge that it wins is kept as no edge.

        Args:
            strengths: per decision a weight per operation, comparable between the edges of a node
                (the softmax of alpha). Ties go to live edges, the lower source, the earlier operation.
        """
        ops = self.operations if self.zeroise else self.live
        columns = [self.operations.index(op) for op in ops]

        def node(cell: str, j: int) -> list[Pair]:
            weights = [strengths[self.index(decision_name(cell, i, j))][columns] for i in range(j)]
            winners = [ops[int(w.argmax())] for w in weights]
            order = sorted(range(j), key=lambda i: (-weights[i].max(), winners[i] == NONE, i))
            return [(winners[i], i) for i in order[:2] if winners[i] != NONE]

        return self.assemble({cell: {j: node(cell, j) for j in NODES} for cell in CELLS})

    @abstractmethod
    def parts(self, *, partial: int = 1) -> Parts:
        """What networks, and supernets of so partial channels, are built from."""

    def network(
        self, arch: Architecture, spec: NetworkSpec, rng: np.random.Generator
    ) -> CellNetwork:
        from bnas_bench.nn.darts.network import CellNetwork
        from bnas_bench.nn.network import initialised_by

        self.check(arch)
        pairs = {cell: {j: self.pairs(arch, cell, j) for j in NODES} for cell in CELLS}
        with initialised_by(rng):
            return CellNetwork(pairs, spec, self.parts())

    def supernet(
        self, spec: NetworkSpec, rng: np.random.Generator, *, partial: int = 1
    ) -> CellSupernet:
        from bnas_bench.nn.darts.supernet import CellSupernet
        from bnas_bench.nn.network import initialised_by

        with initialised_by(rng):
            return CellSupernet(spec, self.parts(partial=partial), partial)

    @abstractmethod
    def preprocess_bits(self) -> tuple[int, int]:
        """Bits of the weights and activations of a cell's preprocessing."""

    @abstractmethod
    def edge_ops(
        self, operation: str, channels: int, pixels: int, stride: int, convention: str
    ) -> float:
        """OPs of a live edge whose output has so many pixels."""

    def ops(self, spec: NetworkSpec, convention: str = "nas-bnn") -> OpsFormula:
        """A table per edge, and one number for stem, preprocessing and head."""
        from bnas_bench.cost.formula import OpsFormula, Term, convolution_ops, linear_ops, pixels

        def real(inputs: int, outputs: int, kernel: int, area: int) -> float:
            bits = (32, 32)
            return convolution_ops(inputs, outputs, kernel, area, bits=bits, convention=convention)

        image, c = spec.shape[0], spec.channels
        cells = list(plan(spec))
        if spec.large:
            steps = ((image, c // 2, 1), (c // 2, c, 2), (c, c, 3))
            fixed = sum(real(before, after, 3, pixels(spec.shape, n)) for before, after, n in steps)
        else:
            fixed = real(image, 3 * c, 3, pixels(spec.shape))
        terms = []
        for cell in cells:
            area = pixels(spec.shape, cell.halvings)
            for inputs in (cell.older, cell.newer):
                bits = self.preprocess_bits()
                fixed += convolution_ops(
                    inputs, cell.width, 1, area, bits=bits, convention=convention
                )
            for position, (i, _) in enumerate(EDGES):
                stride = cell.stride if i < 2 else 1
                out = pixels(spec.shape, cell.halvings + cell.stride - 1)
                table = [
                    self.edge_ops(op, cell.width, out, stride, convention) if op != NONE else 0.0
                    for op in self.operations
                ]
                decision = position + len(EDGES) * CELLS.index(cell.kind)
                terms.append(Term((decision,), np.array(table)))
        fixed += linear_ops(len(NODES) * cells[-1].width, spec.classes, convention=convention)
        return OpsFormula([Term((), np.array(fixed)), *terms])

    def recipe(self, shape: tuple[int, int, int]) -> Recipe:
        """With DARTS' auxiliary head for ImageNet-like images (DCP-NAS section 4.1.3)."""
        recipe = super().recipe(shape)
        return replace(recipe, auxiliary=0.4) if min(shape[1:]) >= IMAGENET_SIDE else recipe

    def largest(self) -> Architecture:
        return self.derive(self._edge_costs())

    def smallest(self) -> Architecture:
        """Free operations only, where there are such; `none` would leave no path."""
        costs = [-cost for cost in self._edge_costs()]
        for cost in costs:
            cost[self.operations.index(NONE)] = -np.inf
        return self.derive(costs)

    def draw(self, arch: Architecture, path: Path | str) -> None:
        from bnas_bench.search.drawing import draw_cells

        titles = {"normal": "normal cell", "reduce": "reduction cell"}
        draw_cells(
            {titles[cell]: {j: self.pairs(arch, cell, j) for j in NODES} for cell in CELLS}, path
        )

    def _edge_costs(self) -> list[np.ndarray]:
        """OPs of every operation on every edge, at the paper's scale."""
        spec = self.spec(Scale(), (3, 32, 32), 10, final=True)
        tables = {term.decisions: term.table for term in self.ops(spec).terms}
        return [tables[edge,] for edge in range(len(self.decisions))]

    def parse(self, text: str) -> Architecture:
        """Read JSON, or DARTS' text form as `bnas_bench.search.genotype` finds it (never evaluated)."""
        if text.lstrip("\ufeff \t\r\n").startswith("{") and not genotype.is_written(text):
            return super().parse(text)
        cells = genotype.read(text)
        arch = self.assemble({cell: self._nodes(cell, pairs) for cell, pairs in cells.items()})
        self.check(arch)
        return arch

    def genotype(self, arch: Architecture) -> str:
        """DARTS' text form: `Genotype(normal=[...], normal_concat=..., reduce=[...], ...)`."""
        fields = []
        for cell in CELLS:
            pairs = [pair for j in NODES for pair in self._two_pairs(arch, cell, j)]
            fields += [f"{cell}={pairs!r}", f"{cell}_concat={list(NODES)!r}"]
        return f"Genotype({', '.join(fields)})"

    def _two_pairs(self, arch: Architecture, cell: str, j: int) -> list[Pair]:
        """The live pairs into node j, and `none` for what it has less than two of."""
        pairs = self.pairs(arch, cell, j)
        free = [i for i in range(j) if i not in {source for _, source in pairs}]
        return pairs + [(NONE, i) for i in free[: 2 - len(pairs)]]

    def _nodes(self, cell: str, pairs: list[Pair]) -> dict[int, list[Pair]]:
        if len(pairs) != 2 * len(NODES):
            raise InvalidArchitecture(
                f"'{cell}' lists {len(pairs)} edges; it takes 8, two per node"
            )
        nodes = {j: pairs[2 * k : 2 * k + 2] for k, j in enumerate(NODES)}
        for j, node in nodes.items():
            for op, i in node:
                if op not in (self.operations if self.zeroise else self.live):
                    raise InvalidArchitecture(
                        f"'{brief(op)}' into node {j} of '{cell}' is no operation of this space; "
                        f"its operations: {', '.join(self.live)}"
                    )
                if not 0 <= i < j:
                    raise InvalidArchitecture(
                        f"node {j} of '{cell}' takes an edge from node {i}; it can from 0 to {j - 1}"
                    )
            if node[0][1] == node[1][1]:
                raise InvalidArchitecture(
                    f"node {j} of '{cell}' takes both its edges from node {node[0][1]}; "
                    "they must come from two nodes"
                )
        return nodes
