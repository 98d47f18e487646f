"""The DARTS cell as a combinatorial object: its edges, its genotype, and how a search derives one.

DARTS (Liu et al., ICLR 2019), https://arxiv.org/abs/1806.09055. Shared by every space whose cells
have two input nodes (0, 1), four intermediate nodes (2 to 5) and 14 edges.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence
from math import comb, prod

import numpy as np

from bnas_bench.core import Architecture, Decision, SearchSpace
from bnas_bench.errors import InvalidArchitecture

CELLS = ("normal", "reduce")
NODES = (2, 3, 4, 5)
EDGES = tuple((i, j) for j in NODES for i in range(j))
NONE = "none"

Pair = tuple[str, int]
"""An operation and the node that its edge comes from."""


def decision_name(cell: str, i: int, j: int) -> str:
    return f"{cell}.edge({i},{j})"


class CellSpace(SearchSpace):
    """A normal and a reduction cell: an operation for each edge, two live edges into every node.

    Args:
        operations: the edge's options; `none` is one of them and marks an edge that is not there.
    """

    def __init__(self, operations: tuple[str, ...]) -> None:
        self.operations = operations
        self.live = tuple(op for op in operations if op != NONE)
        self.decisions = tuple(
            Decision(decision_name(cell, i, j), operations) for cell in CELLS for i, j in EDGES
        )

    def size(self) -> int:
        """Per node j: which two of its j edges live, and an operation on each."""
        per_cell = prod(comb(j, 2) * len(self.live) ** 2 for j in NODES)
        return per_cell ** len(CELLS)

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
                if live != 2:
                    raise InvalidArchitecture(
                        f"node {j} of the {cell} cell has {live} live edges; it takes exactly 2"
                    )

    def sample(self, rng: np.random.Generator) -> Architecture:
        def node(j: int) -> list[Pair]:
            sources = rng.choice(j, size=2, replace=False)
            return [(str(rng.choice(self.live)), int(i)) for i in sources]

        return self.assemble({cell: {j: node(j) for j in NODES} for cell in CELLS})

    def mutate(self, arch: Architecture, rng: np.random.Generator) -> Architecture:
        """Give one live edge another operation, or move it to another source."""
        cells = {cell: {j: self.pairs(arch, cell, j) for j in NODES} for cell in CELLS}
        cell, j, slot = str(rng.choice(CELLS)), int(rng.choice(NODES)), int(rng.integers(2))
        op, i = cells[cell][j][slot]
        taken = {source for _, source in cells[cell][j]}
        neighbours = [(other, i) for other in self.live if other != op]
        neighbours += [(op, source) for source in range(j) if source not in taken]
        cells[cell][j][slot] = neighbours[int(rng.integers(len(neighbours)))]
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

        Args:
            strengths: per decision a weight per operation, comparable between the edges of a node
                (the softmax of alpha). Ties go to the lower source and the earlier operation.
        """
        live = [self.operations.index(op) for op in self.live]

        def node(cell: str, j: int) -> list[Pair]:
            weights = [strengths[self.index(decision_name(cell, i, j))][live] for i in range(j)]
            order = sorted(range(j), key=lambda i: (-float(weights[i].max()), i))
            return [(self.live[int(weights[i].argmax())], i) for i in order[:2]]

        return self.assemble({cell: {j: node(cell, j) for j in NODES} for cell in CELLS})

    def parse(self, text: str) -> Architecture:
        """Read JSON, or DARTS' text form (parsed, never evaluated)."""
        text = text.strip()
        if text.startswith("{"):
            try:
                arch = Architecture.from_json(json.loads(text))
            except json.JSONDecodeError as error:
                raise InvalidArchitecture(
                    f"the JSON stops making sense at line {error.lineno}, column {error.colno}: {error.msg}"
                ) from None
        else:
            arch = self.assemble({cell: self._nodes(cell, p) for cell, p in _read(text).items()})
        self.check(arch)
        return arch

    def genotype(self, arch: Architecture) -> str:
        """DARTS' text form: `Genotype(normal=[...], normal_concat=..., reduce=[...], ...)`."""
        fields = []
        for cell in CELLS:
            pairs = [pair for j in NODES for pair in self.pairs(arch, cell, j)]
            fields += [f"{cell}={pairs!r}", f"{cell}_concat={list(NODES)!r}"]
        return f"Genotype({', '.join(fields)})"

    def _nodes(self, cell: str, pairs: list[Pair]) -> dict[int, list[Pair]]:
        if len(pairs) != 2 * len(NODES):
            raise InvalidArchitecture(
                f"'{cell}' lists {len(pairs)} edges; it takes 8, two per node"
            )
        nodes = {j: pairs[2 * k : 2 * k + 2] for k, j in enumerate(NODES)}
        for j, node in nodes.items():
            for op, i in node:
                if op not in self.live:
                    raise InvalidArchitecture(
                        f"'{op}' into node {j} of '{cell}' is no operation of this space; "
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


def _read(text: str) -> dict[str, list[Pair]]:
    """The two lists of a `Genotype(...)` text, whatever stands before it (`NAME = `)."""
    try:
        tree = ast.parse(text, mode="exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None) or 1
        column = getattr(error, "offset", None) or 1
        raise InvalidArchitecture(
            f"the genotype stops making sense at line {line}, column {column}; "
            "it is written Genotype(normal=[(operation, node), ...], normal_concat=[2, 3, 4, 5], "
            "reduce=[...], reduce_concat=[2, 3, 4, 5])"
        ) from None
    match tree.body:
        case [ast.Expr(value=ast.Call() as call)] | [ast.Assign(value=ast.Call() as call)]:
            pass
        case _:
            raise InvalidArchitecture("the text is neither JSON nor one Genotype(...)")
    if not (isinstance(call.func, ast.Name) and call.func.id == "Genotype") or call.args:
        raise InvalidArchitecture(
            "the text is no Genotype(normal=..., normal_concat=..., reduce=..., reduce_concat=...)"
        )
    fields = {str(keyword.arg): keyword.value for keyword in call.keywords}
    wanted = {f"{cell}{ending}" for cell in CELLS for ending in ("", "_concat")}
    if set(fields) != wanted or len(call.keywords) != len(wanted):
        raise InvalidArchitecture(
            f"the genotype has the fields {', '.join(sorted(fields)) or 'none'}; "
            f"it needs {', '.join(sorted(wanted))}, each once"
        )
    for cell in CELLS:
        concat = _concat(fields[f"{cell}_concat"])
        if sorted(map(repr, concat)) != [repr(j) for j in NODES]:
            raise InvalidArchitecture(
                f"'{cell}_concat' is {concat}; a cell here concatenates the nodes 2, 3, 4, 5"
            )
    return {cell: _edge_list(cell, fields[cell]) for cell in CELLS}


def _concat(node: ast.expr) -> list[object]:
    """`[2, 3, 4, 5]`, `(2, 3, 4, 5)` or `range(2, 6)`; anything else is empty, which is no concat."""
    match node:
        case ast.Call(
            func=ast.Name(id="range"),
            args=[ast.Constant(value=int(start)), ast.Constant(value=int(stop))],
            keywords=[],
        ):
            return list(range(start, min(stop, start + 100)))
        case ast.List(elts=elements) | ast.Tuple(elts=elements):
            return [e.value for e in elements if isinstance(e, ast.Constant)]
    return []


def _edge_list(cell: str, node: ast.expr) -> list[Pair]:
    if not isinstance(node, ast.List | ast.Tuple):
        raise InvalidArchitecture(f"'{cell}' is no list of (operation, node) pairs")
    pairs = []
    for position, element in enumerate(node.elts):
        match element:
            case ast.Tuple(elts=[ast.Constant(value=str(op)), ast.Constant(value=int(i))]) if not (
                isinstance(i, bool)
            ):
                pairs.append((op, i))
            case _:
                raise InvalidArchitecture(
                    f"entry {position} of '{cell}' is {ast.unparse(element)}; "
                    "it must be an (operation, node) pair such as ('skip_connect', 0)"
                )
    return pairs
