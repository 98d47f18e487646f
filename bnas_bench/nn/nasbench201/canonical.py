"""When two of NAS-Bench-201's cells compute the same functions.

A cell stands for a *family* of functions of its input, one for each value of its weights. Two cells
are the same here if a renaming of their convolutions makes their functions equal, whatever the weights
are. That is exact in real arithmetic (and at every precision; rounding aside), as

- a sum has no order, and `skip_connect` passes on what it gets;
- `none`, and every edge that leaves a node which nothing reaches, is an empty sum (`spaces/bnas_201.py`);
- pooling is linear and has no weights: it goes to the terms of a sum;
- a convolution has weights of its own, and is not linear: it stays one term, whatever it sees.

So a cell is a sum of terms n P^k a: pooled k times, the input or a convolution that sees such a sum. A
convolution that is read twice is one convolution, and two that see the same are two: a + a is not a + b.
The weights of a class' cells are drawn from one distribution and learn by the same rules, so that one cell
trained from several seeds stands for all of them.

NAS-Bench-201's own form (`to_unique_str` of its code), which finds 6,466 classes, keeps the zeros
of a sum and the brackets of sums of sums (without both it finds 4,930), and takes a convolution that is
read twice for two (told apart: 5,260). That pooling distributes joins some of these: 5,044.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import chain, groupby, permutations, product
from typing import NamedTuple

from bnas_bench.nn.nasbench201.cell import EDGES, NODES, NONE, POOL, SKIP

Edge = tuple[int, int]


class Atom(NamedTuple):
    """What is added up: the input (edge None) or an edge's convolution, pooled so many times."""

    edge: Edge | None
    pools: int


Sum = Counter[Atom]


class CanonicalForm(NamedTuple):
    """The canonical form of a cell.

    Attributes:
        text: such as `a = nor_conv_3x3(x); x + 2 a + P a`; equal for cells that compute the same.
        convolutions: the edges of a, b, ...: what is at the same place in two cells of one text does
            the same in both.
    """

    text: str
    convolutions: tuple[Edge, ...]


@cache
def canonical_form(operations: tuple[str, ...]) -> CanonicalForm:
    """The canonical form of the cell with these operations, in the order of `EDGES`."""
    output, seen = _sums(operations)
    kinds = dict(zip(EDGES, operations, strict=True))
    trees = {edge: _tree(edge, kinds, seen) for edge in _read(output, seen)}
    # A convolution's tree is longer than those of what it sees, so that names are known when needed.
    ranked = sorted(trees, key=lambda edge: (len(trees[edge]), trees[edge]))
    alike = [list(group) for _, group in groupby(ranked, key=trees.__getitem__)]
    return min(
        CanonicalForm(_text(output, seen, kinds, order), order)
        for parts in product(*map(permutations, alike))
        for order in [tuple(chain(*parts))]
    )


def _sums(operations: Sequence[str]) -> tuple[Sum, dict[Edge, Sum]]:
    """The output, and what each convolution sees."""
    nodes, seen = [Sum({Atom(None, 0): 1})], {}
    for j in NODES:
        total = Sum()
        for i in range(j):
            operation, source = operations[EDGES.index((i, j))], nodes[i]
            if operation == SKIP:
                total.update(source)
            elif operation == POOL:
                total.update({Atom(edge, k + 1): n for (edge, k), n in source.items()})
            elif operation != NONE and source:
                seen[i, j] = source
                total[Atom((i, j), 0)] = 1
        nodes.append(total)
    return nodes[-1], seen


def _read(output: Sum, seen: Mapping[Edge, Sum]) -> set[Edge]:
    """The convolutions that the output depends on."""
    found = {atom.edge for atom in output if atom.edge}
    return found.union(*(_read(seen[edge], seen) for edge in found))


def _tree(edge: Edge, kinds: Mapping[Edge, str], seen: Mapping[Edge, Sum]) -> str:
    """A convolution and all below it, in which equal parts may be one convolution or several."""
    return f"{kinds[edge]}({_written(seen[edge], lambda e: _tree(e, kinds, seen))})"


def _text(
    output: Sum, seen: Mapping[Edge, Sum], kinds: Mapping[Edge, str], order: Sequence[Edge]
) -> str:
    """The cell, its convolutions called a, b, ... in this order."""
    letters = dict(zip(order, "abcdef", strict=False))
    lines = [
        f"{letters[edge]} = {kinds[edge]}({_written(seen[edge], letters.__getitem__)})"
        for edge in order
    ]
    return "; ".join([*lines, _written(output, letters.__getitem__)])


def _written(total: Sum, name: Callable[[Edge], str]) -> str:
    """A sum's terms in the order of their names: `x + 2 a + PP a`; an empty one is `0`."""
    terms = sorted(
        (atom.edge is not None, name(atom.edge) if atom.edge else "x", atom.pools, n)
        for atom, n in total.items()
    )
    return " + ".join(_term(called, pools, n) for _, called, pools, n in terms) or "0"


def _term(called: str, pools: int, n: int) -> str:
    return " ".join([*([str(n)] if n > 1 else []), *(["P" * pools] if pools else []), called])
