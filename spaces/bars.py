"""The space of BARS: cell topologies, depths and widths of networks without a real layer inside.

BARS: Joint Search of Cell Topology and Layout for Accurate and Efficient Binary ARchitectures.
Tianchen Zhao, Xuefei Ning, Jianfei Chen, Songyi Yang, Huazhong Yang, Shuang Liang, Yu Wang, Peng Lei.
https://arxiv.org/abs/2011.10804, sections 3.1 and 4.1. Its appendix, with the settings of the
experiments, is not at hand.

Deviations
    None that we know of.

Open in the paper
    Nodes and edges of a cell: four nodes, each with an edge from the input and from every earlier
    node ("densely-connected"); any number of them may be `none`, and a node without live edges is 0.
    Reduction cells: each of the two has a topology of its own. Its width is that of the stage that it
    leads to. Its preprocessing goes to half the channels of a node at the old resolution; the two
    staggered convolutions of an edge from the input bring them to all of a node's.
    The shortcuts of a strided edge, and the `shortcut` on it: every second pixel of the map and of
    the staggered map, concatenated; it has no parameters. Concatenation is channel by channel here,
    so that the first channels of a wide network are a narrow one.
    The shortcut across a reduction cell: likewise, and cut or filled with zeros to the new width.
    A node's width: each node keeps its first channels. Eq. (4) masks every map of a stage once; at
    mixed widths, the signs that a convolution sees are masked as the map is.
    The stem: a real 3x3 convolution to the channels of one node, which every node of the first
    stage's input repeats (for images of 64 pixels and more ResNet's 7x7 stem). Nodes have twice the
    channels from stage to stage.
    The order in a layer: sign, convolution, BN, shortcut (Bi-Real Net); no other activation.
    Channels of a node at full width: 72. Table 2 counts 2 operations a MAC on CIFAR-10 (its ResNet-18
    has 1,094 M BiOps and 547 M 1-bit MACs). Its 2, 2 and 3 M FLOPs are then stems of 36, 36 and 54
    channels, which are widths of 72. So counted, half of the networks of this space lie between 506
    and 1,417 M BiOps, and 57, 92 and 99.8 % below its three (1,027, 2,096, 3,747 M).
    The deepest stage: `depth`, 3 in the paper's example. The training recipe: the harness' own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import lcm, prod
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bnas_bench.core.architecture import Architecture, Decision, Option
from bnas_bench.core.budget import NetworkSpec, Scale, next_multiple
from bnas_bench.core.errors import BadValue, UnknownName
from bnas_bench.core.options import Few
from bnas_bench.nn.bars.layout import (
    CONV,
    EDGES,
    GROUPS,
    NODES,
    NONE,
    OPERATIONS,
    SHORTCUT,
    STAGES,
    Choice,
    Layout,
    share,
    stage_channels,
)
from bnas_bench.search.space import SearchSpace

if TYPE_CHECKING:
    from bnas_bench.cost.formula import OpsFormula, Term
    from bnas_bench.nn.bars.network import StagedNetwork
    from bnas_bench.nn.bars.supernet import StagedSupernet

WIDTHS = (0.25, 0.5, 0.75, 1.0)
TOPOLOGIES = {
    "stage": ("stage1", "reduce1", "stage2", "reduce2", "stage3"),
    "normal-reduce": ("normal", "reduce", "normal", "reduce", "normal"),
}
"""By the option `cells`, the topology of each group of cells."""

PAPER_CHANNELS = 72


@dataclass(kw_only=True, eq=False)
class Bars(SearchSpace):
    """Cell topologies, depths and widths of three stages; all but the first and last layer 1-bit.

    Args:
        depth: the most cells that a stage may have; it chooses from 0 to `depth`.
        cells: `stage`, a topology for each stage and each reduction cell, or `normal-reduce`, one for
            all stages and one for the reduction cells (table 1).
        search_width, search_depth: whether the stages choose their widths and depths (table 1); the
            largest otherwise.
        cell_shortcut: whether a shortcut leads across each cell (table 1).
    """

    depth: Few = 3
    cells: str = "stage"
    search_width: bool = True
    search_depth: bool = True
    cell_shortcut: bool = True

    def __post_init__(self) -> None:
        if self.cells not in TOPOLOGIES:
            raise UnknownName("cells of bars", self.cells, TOPOLOGIES)
        self.topologies = TOPOLOGIES[self.cells]
        self.widths = WIDTHS if self.search_width else WIDTHS[-1:]
        depths = tuple(range(self.depth + 1)) if self.search_depth else (self.depth,)

        names = [edge_name(t, i, j) for t in dict.fromkeys(self.topologies) for i, j in EDGES]
        found = [Decision(name, OPERATIONS) for name in names]
        stages = [f"stage{stage + 1}" for stage in range(STAGES)]
        found += [Decision(f"{stage}.depth", depths) for stage in stages]
        found += [Decision(f"{stage}.width", self.widths) for stage in stages]
        self.decisions = tuple(found)

        choices = {d.name: Choice(position, d.options) for position, d in enumerate(found)}
        self.layout = Layout(
            tuple(tuple(choices[edge_name(t, i, j)] for i, j in EDGES) for t in self.topologies),
            tuple(choices[f"{stage}.depth"] for stage in stages),
            tuple(choices[f"{stage}.width"] for stage in stages),
        )
        self.nodes = tuple(
            tuple(choices[edge_name(t, i, j)].position for i in range(j))
            for t in dict.fromkeys(self.topologies)
            for j in NODES
        )

    def size(self) -> int:
        return prod(len(decision.options) for decision in self.decisions)

    def sample(self, rng: np.random.Generator) -> Architecture:
        return self.architecture([int(rng.integers(len(d.options))) for d in self.decisions])

    def mutate(self, arch: Architecture, rng: np.random.Generator) -> Architecture:
        """Another option for one decision, each change with equal probability."""
        changes = [
            (decision.name, option)
            for decision in self.decisions
            for option in decision.options
            if option != arch.choices[decision.name]
        ]
        name, option = changes[int(rng.integers(len(changes)))]
        return Architecture(self.name, {**arch.choices, name: option})

    def crossover(
        self, first: Architecture, second: Architecture, rng: np.random.Generator
    ) -> Architecture:
        """Every decision is taken as one of the two parents takes it."""
        parents = (first, second)
        return Architecture(
            self.name,
            {d.name: parents[int(rng.integers(2))].choices[d.name] for d in self.decisions},
        )

    def derive(self, strengths: Sequence[np.ndarray]) -> Architecture:
        """The strongest option of every decision, `none` included (section 4.3).

        Ties go to the earlier option.
        """
        return self.architecture([int(np.argmax(strength)) for strength in strengths])

    def check(self, arch: Architecture) -> None:
        self.check_choices(arch)

    def options(self, arch: Architecture) -> Layout[Option]:
        """The options that an architecture takes."""
        return self.layout.map(lambda c: arch.choices[self.decisions[c.position].name])

    def largest(self) -> Architecture:
        return self.derive([_all_of(d, CONV, largest=True) for d in self.decisions])

    def smallest(self) -> Architecture:
        """Shortcuts on all edges, no cells but the two that reduce, the smallest width.

        `none` costs as little, but without the shortcut across the cells it would leave no path.
        """
        return self.derive([_all_of(d, SHORTCUT, largest=False) for d in self.decisions])

    def fit(self, scale: Scale) -> Scale:
        """The space chooses the depth; every width must be a whole number of channels."""
        return replace(scale, cells=None, channels=next_multiple(scale.channels, self._step))

    def spec(
        self,
        scale: Scale,
        shape: tuple[int, int, int],
        classes: int,
        *,
        final: bool,  # noqa: ARG002  the search runs at the final scale (section 1)
    ) -> NetworkSpec:
        """`channels` are those of a node in the first stage; `cells` of the deepest network."""
        if scale.cells is not None:
            raise BadValue(
                f"cells={scale.cells} cannot be kept: bars chooses how many cells a stage has, up to "
                "its option 'depth'; leave the scale's cells open"
            )
        channels = PAPER_CHANNELS if scale.channels is None else scale.channels
        if channels < 1 or channels % self._step:
            fitting = next_multiple(channels, self._step)
            raise BadValue(
                f"a network of bars with {channels} channels has no whole number of them at width "
                f"{self.widths[0]}; the smallest that works is {fitting}"
            )
        cells = STAGES * self.depth + STAGES - 1
        return NetworkSpec(shape, classes, cells, channels)

    @property
    def _step(self) -> int:
        """What the channels must be a multiple of."""
        return lcm(*(Fraction(width).denominator for width in self.widths))

    def network(
        self, arch: Architecture, spec: NetworkSpec, rng: np.random.Generator
    ) -> StagedNetwork:
        from bnas_bench.nn.bars.network import StagedNetwork
        from bnas_bench.nn.network import initialised_by

        self.check(arch)
        with initialised_by(rng):
            return StagedNetwork(spec, self.options(arch), across=self.cell_shortcut)

    def supernet(
        self, spec: NetworkSpec, rng: np.random.Generator, *, partial: int = 1
    ) -> StagedSupernet:
        from bnas_bench.nn.bars.supernet import StagedSupernet
        from bnas_bench.nn.network import initialised_by

        if partial < 1 or spec.channels % partial:
            raise BadValue(
                f"partial={partial} takes no whole number of the {spec.channels} channels; "
                "give a divisor of them"
            )
        with initialised_by(rng):
            return StagedSupernet(spec, self.layout, across=self.cell_shortcut, partial=partial)

    def ops(self, spec: NetworkSpec, convention: str = "nas-bnn") -> OpsFormula:
        """Stem and head by a width, a stage's cells by its depth and width, reductions by two widths."""
        from bnas_bench.cost.formula import OpsFormula

        return OpsFormula(self._terms(spec, convention))

    def _terms(self, spec: NetworkSpec, convention: str) -> Iterator[Term]:
        from bnas_bench.cost.formula import Term, convolution_ops, linear_ops, pixels

        def cost(inputs: int, outputs: int, kernel: int, area: int, bits: int = 1) -> float:
            both = (bits, bits)
            return convolution_ops(inputs, outputs, kernel, area, bits=both, convention=convention)

        def channels(stage: int) -> list[int]:
            """Of a node, per width."""
            return [share(width, stage_channels(spec.channels, stage)) for width in self.widths]

        is_conv = np.array([option == CONV for option in OPERATIONS], dtype=float)
        widths = [choice.position for choice in self.layout.widths]
        kernel, early = (7, 2) if spec.large else (3, 0)  # the first stage's map is halved twice
        area = pixels(spec.shape, early // 2)
        stem = [cost(spec.shape[0], c, kernel, area, 32) for c in channels(0)]
        yield Term((widths[0],), np.array(stem))
        for group, edges in zip(GROUPS, self.layout.edges, strict=True):
            before, after = channels(group.source), channels(group.target)
            area = pixels(spec.shape, early + group.source)
            halved = pixels(spec.shape, early + group.target)
            # An edge from the input has a convolution for each of the staggered maps.
            first = [
                group.stride * cost(c // group.stride, c // group.stride, 3, halved) for c in after
            ]
            later = [cost(c, c, 3, halved) for c in after]
            scope: tuple[int, ...] = (widths[group.target],)
            if group.stride == 1:
                depth = self.layout.depths[group.source]
                scope = (depth.position, *scope)
                times = np.array(depth.options, dtype=float)
                preprocess = [cost(len(NODES) * c, c, 1, area) for c in after]
                yield Term(scope, np.outer(times, preprocess))
                is_run = np.outer(is_conv, times)
            else:
                between = [[cost(len(NODES) * b, a // 2, 1, area) for a in after] for b in before]
                yield Term((widths[group.source], *scope), np.array(between))
                is_run = is_conv
            for (i, _), edge in zip(EDGES, edges, strict=True):
                table = np.multiply.outer(is_run, first if i == 0 else later)
                yield Term((edge.position, *scope), table)
        head = [
            linear_ops(len(NODES) * c, spec.classes, convention=convention)
            for c in channels(STAGES - 1)
        ]
        yield Term((widths[-1],), np.array(head))

    def draw(self, arch: Architecture, path: Path | str) -> None:
        from bnas_bench.search.drawing import draw_cells

        self.check(arch)
        layout = self.options(arch)
        titles: dict[str, list[str]] = {}
        for topology, group in zip(self.topologies, GROUPS, strict=True):
            width = f"width {layout.widths[group.target]}"
            if group.stride == 1:
                depth = layout.depths[group.source]
                text = f"stage {group.source + 1}: depth {depth}, {width}"
            else:
                text = f"reduction {group.target}: {width}"
            titles.setdefault(topology, []).append(text)
        cells = {}
        for topology, options in zip(self.topologies, layout.edges, strict=True):
            chosen = [(j, str(op), i) for (i, j), op in zip(EDGES, options, strict=True)]
            cells["; ".join(titles[topology])] = {
                j: [(op, i) for target, op, i in chosen if target == j and op != NONE]
                for j in NODES
            }
        draw_cells(cells, path, inputs=1)


def edge_name(topology: str, i: int, j: int) -> str:
    return f"{topology}.edge({i},{j})"


def _all_of(decision: Decision, operation: str, *, largest: bool) -> np.ndarray:
    """Strengths for an operation on every edge, and for the largest or smallest number elsewhere."""
    if operation in decision.options:
        return np.array([option == operation for option in decision.options])
    numbers = np.array(decision.options, dtype=float)
    return numbers if largest else -numbers
