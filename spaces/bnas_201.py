"""NAS-Bench-201's space with 1-bit convolutions: all its 15,625 cells, and which of them are the same.

NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search. Xuanyi Dong, Yi Yang.
ICLR 2020, https://arxiv.org/abs/2001.00326, section 2.1; code: https://github.com/D-X-Y/NAS-Bench-201

Deviations
    Convolutions are 1-bit: BN, sign, convolution with a scale, identity shortcut, PReLU, where the
    paper has ReLU, convolution, BN. At W32A32 they are the real-valued twins of that.
    A reduction is the paper's residual block, 1-bit and with a shortcut around each of its two 3x3
    convolutions. The first one's is the paper's: 2x2 average pooling and a 1x1 convolution, which has
    1-bit weights and sees real activations, as in the reductions of darts-binary.
    The last activation is a PReLU.
    A node that nothing reaches is empty, and so is all that leaves it: in the paper's networks a
    convolution of zeros gives what its normalisation adds. Its own count of 6,466 different cells takes
    them for empty, too. Edges that carry nothing from the input to the output are not built.

Open in the paper
    Images of 64 pixels and more: ResNet's stem, a 7x7 convolution of stride 2 and max pooling.
    How a search's strengths become a cell: the strongest operation of every edge, `none` among them,
    which is the last of equal ones.
    Which cells compute the same functions: `bnas_bench/nn/nasbench201/canonical.py` finds 5,044 families
    of functions, and says where the 6,466 come from.
    341 cells give nothing: the logits of their networks are the same for all images. They are members,
    as in the paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache, cached_property
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bnas_bench.core.architecture import Architecture, Decision
from bnas_bench.core.budget import NetworkSpec, Scale
from bnas_bench.core.errors import BadValue
from bnas_bench.nn.nasbench201 import cell
from bnas_bench.nn.nasbench201.canonical import canonical_form
from bnas_bench.nn.nasbench201.cell import (
    CONV_3X3,
    EDGES,
    KERNELS,
    NODES,
    NONE,
    OPERATIONS,
    SKIP,
    STAGES,
    live,
    skeleton,
)
from bnas_bench.search.space import SearchSpace

if TYPE_CHECKING:
    from bnas_bench.cost.formula import OpsFormula
    from bnas_bench.nn.nasbench201.network import SkeletonNetwork
    from bnas_bench.nn.nasbench201.supernet import SkeletonSupernet

PAPER_CELLS, PAPER_CHANNELS = 17, 16

SHAPE = (len(OPERATIONS),) * len(EDGES)
"""Of an array with a number for every member."""


class Bnas201(SearchSpace):
    """Cells of six edges with five operations each, in three stages; all but the ends 1-bit."""

    def __init__(self) -> None:
        self.decisions = tuple(Decision(edge_name(i, j), OPERATIONS) for i, j in EDGES)
        self.nodes = tuple(tuple(EDGES.index((i, j)) for i in range(j)) for j in NODES)

    def size(self) -> int:
        return len(OPERATIONS) ** len(EDGES)

    def sample(self, rng: np.random.Generator) -> Architecture:
        return self.architecture(rng.integers(len(OPERATIONS), size=len(EDGES)).tolist())

    def mutate(self, arch: Architecture, rng: np.random.Generator) -> Architecture:
        """Another operation on one edge."""
        path = self.path(arch)
        edge, step = int(rng.integers(len(EDGES))), int(rng.integers(1, len(OPERATIONS)))
        path[edge] = (path[edge] + step) % len(OPERATIONS)
        return self.architecture(path)

    def crossover(
        self, first: Architecture, second: Architecture, rng: np.random.Generator
    ) -> Architecture:
        """Every edge is taken as one of the two parents has it."""
        paths, parents = (self.path(first), self.path(second)), rng.integers(2, size=len(EDGES))
        return self.architecture([paths[parent][edge] for edge, parent in enumerate(parents)])

    def derive(self, strengths: Sequence[np.ndarray]) -> Architecture:
        """The strongest operation of every edge, `none` among them; of equal ones the first."""
        return self.architecture([int(np.argmax(strength)) for strength in strengths])

    def check(self, arch: Architecture) -> None:
        self.check_choices(arch)

    def operations(self, arch: Architecture) -> tuple[str, ...]:
        """Of the edges, in the order of `EDGES`."""
        return tuple(OPERATIONS[k] for k in self.path(arch))

    def member(self, operations: Sequence[str]) -> Architecture:
        """The architecture of these operations."""
        return self.architecture([OPERATIONS.index(operation) for operation in operations])

    def parse(self, text: str) -> Architecture:
        """Read JSON, or NAS-Bench-201's text `|OP~0|+|OP~0|OP~1|+|OP~0|OP~1|OP~2|`."""
        if text.lstrip("\ufeff \t\r\n").startswith("{"):
            return super().parse(text)
        return self.member(cell.read(text))

    def genotype(self, arch: Architecture) -> str:
        """NAS-Bench-201's text form."""
        return cell.write(self.operations(arch))

    def canonical(self, arch: Architecture) -> Architecture:
        """The member that stands for all that compute the same functions as `arch`.

        Of those the one that has the fewest convolutions and pools, then the fewest edges; then the first.
        """
        return self._at(int(classes()[np.ravel_multi_index(self.path(arch), SHAPE)]))

    @cached_property
    def representatives(self) -> tuple[Architecture, ...]:
        """One member of every class, in the order of the members."""
        return tuple(map(self._at, dict.fromkeys(classes().tolist())))

    def _at(self, place: int) -> Architecture:
        """The member at a place in the order of all."""
        return self.architecture([int(k) for k in np.unravel_index(place, SHAPE)])

    def largest(self) -> Architecture:
        return self.member([CONV_3X3] * len(EDGES))

    def smallest(self) -> Architecture:
        """`none` costs as little as `skip_connect`, but would leave no path."""
        return self.member([SKIP] * len(EDGES))

    def fit(self, scale: Scale) -> Scale:
        """Three stages of equally many cells, and two reductions."""
        if scale.cells is None:
            return scale
        return replace(scale, cells=_cells(scale.cells))

    def spec(
        self,
        scale: Scale,
        shape: tuple[int, int, int],
        classes: int,
        *,
        final: bool,  # noqa: ARG002  the paper searches at the final scale
    ) -> NetworkSpec:
        """`cells` are 3 N + 2, the reductions among them; N is 5 and C is 16 in the paper."""
        cells = PAPER_CELLS if scale.cells is None else scale.cells
        channels = PAPER_CHANNELS if scale.channels is None else scale.channels
        if cells != _cells(cells):
            raise BadValue(
                f"{cells} cells build no network of bnas-201: it has three stages of N cells and two "
                f"reductions; the next scale that works has {_cells(cells)}"
            )
        if channels < 1:
            raise BadValue(f"{channels} channels build no network of bnas-201; it takes at least 1")
        return NetworkSpec(shape, classes, cells, channels)

    def network(
        self, arch: Architecture, spec: NetworkSpec, rng: np.random.Generator
    ) -> SkeletonNetwork:
        from bnas_bench.nn.nasbench201.network import SkeletonNetwork
        from bnas_bench.nn.network import initialised_by

        self.check(arch)
        with initialised_by(rng):
            return SkeletonNetwork(self.operations(arch), spec)

    def supernet(
        self, spec: NetworkSpec, rng: np.random.Generator, *, partial: int = 1
    ) -> SkeletonSupernet:
        from bnas_bench.nn.nasbench201.supernet import SkeletonSupernet
        from bnas_bench.nn.network import initialised_by

        with initialised_by(rng):
            return SkeletonSupernet(spec, partial)

    def ops(self, spec: NetworkSpec, convention: str = "nas-bnn") -> OpsFormula:
        """One number for all that is in every network, and a table of all cells, whose live edges count."""
        from bnas_bench.cost.formula import OpsFormula, Term, convolution_ops, linear_ops, pixels

        def cost(inputs: int, outputs: int, kernel: int, area: int, *bits: int) -> float:
            return convolution_ops(
                inputs, outputs, kernel, area, bits=bits or (1, 1), convention=convention
            )

        kernel, early = (7, 2) if spec.large else (3, 0)
        fixed = cost(
            spec.shape[0], spec.channels, kernel, pixels(spec.shape, early // 2), 32, 32
        ) + linear_ops(spec.channels << STAGES - 1, spec.classes, convention=convention)
        per_cell = np.zeros(SHAPE)
        for place in skeleton(spec):
            c, area = place.outputs, pixels(spec.shape, early + place.halvings)
            if place.reduces:
                fixed += cost(place.inputs, c, 3, area) + cost(c, c, 3, area)
                fixed += cost(place.inputs, c, 1, area, 1, 32)
            else:
                for name, side in KERNELS.items():
                    per_cell += cost(c, c, side, area) * live_number(name)
        return OpsFormula([Term((), np.array(fixed)), Term(tuple(range(len(EDGES))), per_cell)])

    def draw(self, arch: Architecture, path: Path | str) -> None:
        from bnas_bench.search.drawing import draw_cells

        self.check(arch)
        pairs = {
            j: [
                (op, i)
                for (i, target), op in zip(EDGES, self.operations(arch), strict=True)
                if target == j and op != NONE
            ]
            for j in NODES
        }
        draw_cells({"cell": pairs}, path, inputs=1)


@cache
def classes() -> np.ndarray:
    """Per member, in their order, the place of the one that stands for it, shape (15,625,).

    Read from a file, as finding them takes longer than a search that a table answers; `found_classes`
    finds them.
    """
    return np.load(Path(cell.__file__).with_name("classes.npy"))


def found_classes() -> np.ndarray:
    """The same, found by the cells' canonical forms."""
    members = list(product(OPERATIONS, repeat=len(EDGES)))
    texts = [canonical_form(operations).text for operations in members]
    found: dict[str, int] = {}
    for place, text in enumerate(texts):
        found[text] = min(found.get(text, place), place, key=lambda k: (_work(members[k]), k))
    return np.array([found[text] for text in texts], np.uint16)


def edge_name(i: int, j: int) -> str:
    return f"edge({i},{j})"


def _cells(cells: int) -> int:
    """The fewest from `cells` on that a skeleton can have."""
    return STAGES * max(1, -(-(cells - STAGES + 1) // STAGES)) + STAGES - 1


def _work(operations: Sequence[str]) -> tuple[int, int]:
    """How many convolutions and pools a cell has, and how many edges."""
    edges = [operation for operation in operations if operation != NONE]
    return sum(operation != SKIP for operation in edges), len(edges)


@cache
def live_number(operation: str) -> np.ndarray:
    """How many live edges of every cell have that operation, shape (5, 5, 5, 5, 5, 5)."""
    chosen = np.indices(SHAPE)
    alive = np.array(live(list(chosen != OPERATIONS.index(NONE))))
    return (alive & (chosen == OPERATIONS.index(operation))).sum(0)
