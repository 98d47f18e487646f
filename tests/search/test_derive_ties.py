"""Which of equal strengths an architecture is derived from, in every space.

Ties are common: every search begins with equal strengths, and a search that a small budget ends may
not have told them apart. Strengths here take two values only.
"""

from collections.abc import Iterator
from itertools import combinations_with_replacement, islice, product

import numpy as np
import pytest

from bnas_bench.nn.darts.topology import CELLS, NODES, decision_name
from bnas_bench.plugins.registry import find, names
from bnas_bench.search.space import SearchSpace

CELL_SPACES = [
    ("darts-binary", {}),
    ("darts-binary", {"zeroise": True}),
    ("bats", {}),
]
FLAT_SPACES = [
    ("bars", {}),
    ("bnas-201", {}),
    ("handcrafted", {}),
]
STAGED_SPACES = [
    ("nas-bnn", {}),
    ("nas-bnn", {"non_decreasing": False}),
]


def drawn(space: SearchSpace) -> Iterator[list[np.ndarray]]:
    """All strengths equal; then zeros and ones, by rising numbers of ones."""
    rng = np.random.default_rng(0)
    yield [np.zeros(len(d.options)) for d in space.decisions]
    for share in np.linspace(0.05, 0.95, 40):
        yield [(rng.random(len(d.options)) < share).astype(float) for d in space.decisions]


def test_every_space_is_tried() -> None:
    tried = {name for name, _ in CELL_SPACES + FLAT_SPACES + STAGED_SPACES}
    assert tried == set(names("space"))


@pytest.mark.parametrize(("name", "options"), CELL_SPACES)
def test_of_equal_edges_the_live_and_then_the_lower_is_kept(name: str, options: dict) -> None:
    """And on an edge the earlier operation, which with `zeroise` is none."""
    space = find("space", name).make(options)
    assert space.decisions[0].options[0] == "none"

    def kept(table: dict[str, np.ndarray], cell: str, j: int) -> list[tuple[str, int]]:
        edges = []
        for i in range(j):
            decision = space.decisions[space.index(decision_name(cell, i, j))]
            strengths = dict(zip(decision.options, table[decision.name], strict=True))
            if not options:
                strengths.pop("none")
            most = max(strengths.values())
            first = next(op for op, strength in strengths.items() if strength == most)
            edges.append((-most, first == "none", i, first))
        return [(first, i) for _, is_none, i, first in sorted(edges)[:2] if not is_none]

    for strengths in drawn(space):
        table = {d.name: s for d, s in zip(space.decisions, strengths, strict=True)}
        arch = space.derive(strengths)
        for cell, j in product(CELLS, NODES):
            assert space.pairs(arch, cell, j) == sorted(kept(table, cell, j), key=lambda p: p[1])


@pytest.mark.parametrize(("name", "options"), FLAT_SPACES)
def test_of_equal_options_the_first_is_taken(name: str, options: dict) -> None:
    space = find("space", name).make(options)
    for strengths in drawn(space):
        path = [s.tolist().index(max(s)) for s in strengths]
        assert space.derive(strengths) == space.architecture(path)


@pytest.mark.parametrize(("name", "options"), STAGED_SPACES)
def test_of_equal_stages_the_first_depth_and_then_the_first_widths_are_taken(
    name: str, options: dict
) -> None:
    space = find("space", name).make(options)

    def sequences(layers: int) -> Iterator[tuple[int, ...]]:
        free = product(range(3), repeat=layers)
        return free if options else combinations_with_replacement(range(3), layers)

    for strengths in islice(drawn(space), 0, None, 4):
        lacks = {d.name: s - s.max() for d, s in zip(space.decisions, strengths, strict=True)}
        chosen = {name: int(lack.argmax()) for name, lack in lacks.items()}
        for depth in (d for d in space.decisions if d.name.endswith(".depth")):
            best = -np.inf
            for index, layers in enumerate(depth.options):
                layer_names = [
                    depth.name.replace("depth", f"layer{j + 1}.width") for j in range(layers)
                ]
                for widths in sequences(layers):
                    form = {depth.name: index, **dict(zip(layer_names, widths, strict=True))}
                    total = sum(lacks[name][option] for name, option in form.items())
                    if total > best:
                        best, first = total, form
            chosen |= first
        expected = space.architecture([chosen[d.name] for d in space.decisions])
        assert space.derive(strengths) == expected
