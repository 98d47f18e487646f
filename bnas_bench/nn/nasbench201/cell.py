"""NAS-Bench-201's cell as a combinatorial object, its text, and the skeleton that it stands in.

NAS-Bench-201 (Dong and Yang, ICLR 2020), https://arxiv.org/abs/2001.00326, section 2.1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache, reduce
from itertools import repeat
from operator import or_
from typing import Any, NamedTuple, TypeVar

from bnas_bench.core.budget import NetworkSpec
from bnas_bench.core.errors import InvalidArchitecture, brief

SKIP, CONV_1X1, CONV_3X3, POOL, NONE = OPERATIONS = (
    "skip_connect",
    "nor_conv_1x1",
    "nor_conv_3x3",
    "avg_pool_3x3",
    "none",
)
KERNELS = {CONV_1X1: 1, CONV_3X3: 3}
"""Sides of the convolutions' kernels."""

NODES = (1, 2, 3)
"""Each is a sum of its edges. Node 0 is the cell's input, node 3 its output."""

EDGES = tuple((i, j) for j in NODES for i in range(j))
"""In the order of the text."""

STAGES = 3
FORM = "|OP~0|+|OP~0|OP~1|+|OP~0|OP~1|OP~2|"

There = TypeVar("There", bound=Any)
"""Whether something is there: a bool, or an array or a tensor of them for many cells at once."""


class Place(NamedTuple):
    """Where a cell or a reduction stands in the skeleton.

    Attributes:
        inputs, outputs: channels; a reduction has twice as many behind it.
        halvings: how often the maps that leave it have been halved since the stem.
    """

    inputs: int
    outputs: int
    halvings: int

    @property
    def reduces(self) -> bool:
        return self.inputs != self.outputs


def skeleton(spec: NetworkSpec) -> Iterator[Place]:
    """N cells, a reduction, N cells, a reduction, N cells: `spec.cells` = 3 N + 2, as the authors count."""
    for stage in range(STAGES):
        width = spec.channels << stage
        if stage:
            yield Place(width // 2, width, stage)
        yield from repeat(Place(width, width, stage), cells_per_stage(spec.cells))


def cells_per_stage(cells: int) -> int:
    """N, of so many cells and reductions."""
    return (cells - STAGES + 1) // STAGES


def fed(there: Sequence[There]) -> list[There]:
    """Per node whether anything of the input reaches it.

    Args:
        there: per edge whether it is more than `none`.
    """
    found = [there[0] | True]
    for j in NODES:
        ways = (found[i] & there[EDGES.index((i, j))] for i in range(j))
        found.append(reduce(or_, ways))
    return found


def live(there: Sequence[There]) -> list[There]:
    """Per edge whether it carries anything from the input to the output; `there` as for `fed`."""
    used = {NODES[-1]: there[0] | True}
    for i in reversed(range(NODES[-1])):
        ways = (there[EDGES.index((i, j))] & used[j] for j in NODES if j > i)
        used[i] = reduce(or_, ways)
    sources = fed(there)
    return [sources[i] & edge & used[j] for (i, j), edge in zip(EDGES, there, strict=True)]


@cache
def live_edges(operations: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    """The live edges of one cell."""
    alive = live([operation != NONE for operation in operations])
    return tuple(edge for edge, is_live in zip(EDGES, alive, strict=True) if is_live)


def write(operations: Sequence[str]) -> str:
    """NAS-Bench-201's text of a cell: per node its edges' operations and sources."""
    parts = [
        "".join(f"|{op}~{i}" for op, (i, j) in zip(operations, EDGES, strict=True) if j == node)
        for node in NODES
    ]
    return "+".join(f"{part}|" for part in parts)


def read(text: str) -> list[str]:
    """The operations of the edges; a node may name its sources in any order.

    Raises:
        InvalidArchitecture: if the text is none of NAS-Bench-201's.
    """
    nodes = [part.strip() for part in text.split("+")]
    if len(nodes) != len(NODES) or not all(re.fullmatch(r"(\|[^|~]*~\d)+\|", n) for n in nodes):
        raise InvalidArchitecture(
            f"'{brief(text)}' is no JSON and no cell of NAS-Bench-201, which is written {FORM}"
        )
    found = {}
    for j, node in zip(NODES, nodes, strict=True):
        edges = [edge.split("~") for edge in node[1:-1].split("|")]
        if sorted(i for _, i in edges) != [str(i) for i in range(j)]:
            sources = ", ".join(i for _, i in edges)
            raise InvalidArchitecture(
                f"node {j} takes edges from {brief(sources)}; it takes one from each node below it"
            )
        for operation, i in edges:
            if operation not in OPERATIONS:
                raise InvalidArchitecture(
                    f"'{brief(operation)}' from node {i} into node {j} is no operation of NAS-Bench-201; "
                    f"its operations: {', '.join(OPERATIONS)}"
                )
            found[int(i), j] = operation
    return [found[edge] for edge in EDGES]
