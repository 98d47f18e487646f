"""The space of NAS-BNN: 1-bit MobileNetV1 with a choice of depth, widths, kernels and groups.

NAS-BNN: Neural Architecture Search for Binary Neural Networks.
Zhihao Lin, Yongtao Wang, Jinhe Zhang, Xiaojie Chu, Haibin Ling. 2024, https://arxiv.org/abs/2408.15484,
table 1 and sections 3.2 and 3.3; code: https://github.com/VDIGPKU/NAS-BNN.

Deviations
    Decisions are named by the paper's widths at every scale; a scale of C channels builds C / 32 of
    each. Images smaller than 128 pixels a side keep the last of the five halvings alone, as many as
    leave 4 pixels a side, but always the three before stages 3, 4 and 5: 64 pixels are halved four
    times; 32, 16 and 8 pixels three times, to 4, 2 and 1. With two halvings 8x8 images would cost
    three times as much.
    Batch norms behind 1-bit convolutions start at a scale of 0.1 instead of 1. From 1 the 32 to 42
    signs in a row let nothing through that short trainings could learn from: with `random` on the
    digits, budget quick, one seed each, 10.8 % of the test images were right, and 91.7 % from 0.1.
    The stem's quantiser is LSQ's own, signed and with one step each for weights and inputs. The
    published code has a step per channel of the weights and leaves the inputs real, though it counts
    the product as one of 8 by 8 bits, as the paper does; here it is one.
    Every kernel size has a matrix of Bi-Transformation; in the published code the largest alone.

Open in the paper
    Which layers the L of Eq. (3) are: the stem and all layers that the depths leave in. As the widest
    option of the stem and of every stage is the next stage's narrowest, the rule binds within stages
    alone, and they are independent. The space then has 3.324e17 members (the paper: 3.3e17).
    How groups share weights: as in the published code, see `bnas_bench.nn.nasbnn.supernet`.
    Bi-Transformation has one matrix per layer and kernel size, also where a derived network is trained
    from scratch; a 1x1 kernel has none, as a scalar would cancel in Eq. (6).
    Real weights pass Eq. (6) too.
    What is left where section 4.4.3 (figure 3 b) removes one of the two. Without Bi-Transformation
    both domains share the weights as they are; the matrices that make 3x3 kernels of the 5x5 ones
    (Once-for-All's) stay. Without weight normalisation the scale factor is the mean absolute weight,
    the signs are of weights that nothing centres, and real weights are used as they are, their
    variance left to the batch norm behind; it would cancel a 1x1 kernel's scalar as well, which still
    has none. The straight-through estimator, which passes gradients of weights within [-1, 1], then
    passes those of nearly all: the latent weights start at torch's default size, where normalised
    ones have unit variance.
    Relaxed mixes (NAS-BNN samples paths): a layer is the weighted sum of what it would be at each
    input width, kernel and group count; a stage that of its last layers, masked to their widths as in
    BARS Eq. (4).
    The recipe of a training from scratch: the harness' own, as in all spaces.
    Table 6 prints the same layers for NAS-BNN-D and -E: 124 M OPs; E's own are not known.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import combinations_with_replacement, pairwise, product
from math import floor, log2, prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bnas_bench.core.architecture import Architecture, Decision, Option
from bnas_bench.core.budget import NetworkSpec, Scale, next_multiple
from bnas_bench.core.errors import BadValue, InvalidArchitecture
from bnas_bench.nn.nasbnn.stage import Layer, Stage
from bnas_bench.search.space import SearchSpace

if TYPE_CHECKING:
    from bnas_bench.cost.formula import OpsFormula, Term
    from bnas_bench.nn.nasbnn.network import MobileNetwork, Treatment
    from bnas_bench.nn.nasbnn.supernet import ElasticSupernet

STEM = (24, 32, 48)
STAGES = (
    Stage((2, 3), (48, 64, 96), (3,), (1,), stride=1),
    Stage((2, 3), (96, 128, 192), (3, 5), (1, 2), stride=2),
    Stage((2, 3), (192, 256, 384), (3, 5), (2, 4), stride=2),
    Stage((8, 9), (384, 512, 768), (3, 5), (4, 8), stride=2),
    Stage((2, 3), (768, 1024, 1536), (3, 5), (8, 16), stride=2),
)
"""Table 1."""

CHANNELS = 32
"""The scale of table 1: the middle width of the stem, which is MobileNetV1's first."""

UNIT = 4
"""Channels of the smallest scale: there the widths are the smallest whole multiples."""

HALVINGS = 5
KEPT = 3
"""Halvings of table 1, and those that images of any size keep."""

PARTS = ("width", "kernel", "groups")
"""What a layer decides, in this order."""


@dataclass(frozen=True)
class Place:
    """Where a stage's decisions stand in the space, and which widths its layers may have together.

    Attributes:
        depth: position of its depth; the layers' decisions follow, layer by layer.
        forms: every depth with every sequence of widths, as indices, shape (forms, 1 + layers);
            absent layers stand at 0.
        members: how many architectures of the stage have a form.
    """

    stage: Stage
    depth: int
    forms: np.ndarray
    members: tuple[int, ...]

    @property
    def layers(self) -> int:
        return max(self.stage.depths)

    def layer(self, j: int) -> tuple[int, int, int]:
        """Positions of the width, the kernel and the groups of layer j, counted from 0."""
        first = self.depth + 1 + len(PARTS) * j
        return first, first + 1, first + 2

    @cached_property
    def share(self) -> np.ndarray:
        """The probability of each form where all members have the same, shape (forms,)."""
        return np.array(self.members) / sum(self.members)

    @cached_property
    def alive(self) -> np.ndarray:
        """Which layers a form has, shape (forms, layers)."""
        return np.arange(self.layers) < np.array(self.stage.depths)[self.forms[:, :1]]


def place(stage: Stage, depth: int, *, non_decreasing: bool) -> Place:
    """The place of a stage whose first decision, its depth, stands at `depth`."""
    forms, members, options = [], [], range(len(stage.widths))
    for index, layers in enumerate(stage.depths):
        sequences: Iterator[tuple[int, ...]]
        if non_decreasing:
            sequences = combinations_with_replacement(options, layers)
        else:
            sequences = product(options, repeat=layers)
        for widths in sequences:
            forms.append((index, *widths, *[0] * (max(stage.depths) - layers)))
            members.append((len(stage.kernels) * len(stage.groups)) ** layers)
    return Place(stage, depth, np.array(forms), tuple(members))


@dataclass(kw_only=True, eq=False)
class NasBnn(SearchSpace):
    """1-bit MobileNetV1 blocks in five stages, behind an 8-bit stem.

    Args:
        non_decreasing: whether widths may never decrease, Eq. (3).
        bi_transformation: whether weights pass Eq. (5) on their way to 1 bit.
        weight_normalisation: whether weights, real and 1-bit ones, pass Eq. (6).
    """

    non_decreasing: bool = True
    bi_transformation: bool = True
    weight_normalisation: bool = True

    def __post_init__(self) -> None:
        decisions = [Decision("stem.width", STEM)]
        self._starts = []
        for i, stage in enumerate(STAGES, start=1):
            self._starts.append(len(decisions))
            decisions.append(Decision(f"stage{i}.depth", stage.depths))
            for j in range(1, max(stage.depths) + 1):
                for part, options in zip(
                    PARTS, (stage.widths, stage.kernels, stage.groups), strict=True
                ):
                    decisions.append(Decision(f"stage{i}.layer{j}.{part}", options))
        self.decisions = tuple(decisions)

    @cached_property
    def places(self) -> tuple[Place, ...]:
        return tuple(
            place(stage, start, non_decreasing=self.non_decreasing)
            for stage, start in zip(STAGES, self._starts, strict=True)
        )

    def size(self) -> int:
        return len(STEM) * prod(sum(place.members) for place in self.places)

    def sample_paths(self, number: int, rng: np.random.Generator) -> np.ndarray:
        """`path(...)` of many architectures, each valid one with equal probability.

        Returns:
            shape (number, decisions), int64.
        """
        paths = np.zeros((number, len(self.decisions)), dtype=np.int64)
        paths[:, 0] = rng.integers(len(STEM), size=number)
        for place in self.places:
            drawn = rng.choice(len(place.forms), size=number, p=place.share)
            layers = paths[:, place.depth + 1 :][:, : len(PARTS) * place.layers]
            paths[:, place.depth], layers[:, 0::3] = place.forms[drawn, 0], place.forms[drawn, 1:]
            alive, stage = place.alive[drawn], place.stage
            layers[:, 1::3] = rng.integers(len(stage.kernels), size=alive.shape) * alive
            layers[:, 2::3] = rng.integers(len(stage.groups), size=alive.shape) * alive
        return paths

    def sample(self, rng: np.random.Generator) -> Architecture:
        draws = iter(rng.random(len(self.decisions) + len(self.places)).tolist())
        choices: dict[str, Option] = {"stem.width": STEM[int(len(STEM) * next(draws))]}
        for bounds, forms in self._drawn:
            for name, options in forms[bisect(bounds, next(draws))]:
                choices[name] = options[int(len(options) * next(draws))]
        return Architecture(self.name, choices)

    @cached_property
    def _drawn(self) -> list[tuple[list[float], list[list[tuple[str, tuple[Option, ...]]]]]]:
        """Per stage how likely its forms are, cumulated, and what each of them leaves to be drawn."""
        found = []
        for place in self.places:
            bounds = place.share.cumsum()[:-1].tolist()
            forms: list[list[tuple[str, tuple[Option, ...]]]] = []
            for (depth, *widths), alive in zip(place.forms, place.alive, strict=True):
                fixed = {place.depth: depth}
                fixed |= {place.layer(j)[0]: width for j, width in enumerate(widths)}
                last = place.layer(int(alive.sum()))[0]
                forms.append(
                    [
                        (d.name, (d.options[fixed[k]],) if k in fixed else d.options)
                        for k, d in enumerate(self.decisions[place.depth : last], place.depth)
                    ]
                )
            found.append((bounds, forms))
        return found

    def mutate(self, arch: Architecture, rng: np.random.Generator) -> Architecture:
        """Give one decision another option, where the rule leaves one; draw the layers it adds."""
        names = [decision.name for decision in self.decisions if decision.name in arch.choices]
        for name in rng.permutation(names):
            here = self.decisions[self.index(name)]
            mutants = [
                choices
                for option in here.options
                if option != arch.choices[name]
                and not self._decrease(choices := {**arch.choices, name: option})
            ]
            if mutants:
                return self._completed(mutants[int(rng.integers(len(mutants)))], rng)
        raise AssertionError("kernels have two options and no rule")

    def _completed(self, choices: Mapping[str, Option], rng: np.random.Generator) -> Architecture:
        """With the layers that a depth asks for and without those that it leaves out."""
        complete: dict[str, Option] = {}
        absent, widest = self.absent(choices), 0
        for decision in self.decisions:
            if decision.name in absent:
                continue
            option, is_width = choices.get(decision.name), decision.name.endswith(".width")
            if option is None:
                least = widest if is_width and self.non_decreasing else 0
                options = [o for o in decision.options if int(o) >= least]
                option = options[int(rng.integers(len(options)))]
            complete[decision.name] = option
            widest = int(option) if is_width else widest
        return Architecture(self.name, complete)

    def crossover(
        self, first: Architecture, second: Architecture, rng: np.random.Generator
    ) -> Architecture:
        """Every stage takes depth and widths from one parent, kernels and groups from either."""
        parents = [first, second]
        choices = {"stem.width": parents[int(rng.integers(2))].choices["stem.width"]}
        for place in self.places:
            heads, tails = (parents[k] for k in rng.permutation(2))
            last, _, _ = place.layer(place.layers)
            for decision in self.decisions[place.depth : last]:
                name = decision.name
                if name in heads.choices:
                    swap = name.endswith((".kernel", ".groups")) and rng.integers(2)
                    source = tails if swap and name in tails.choices else heads
                    choices[name] = source.choices[name]
        return Architecture(self.name, choices)

    def derive(self, strengths: Sequence[np.ndarray]) -> Architecture:
        """The valid architecture of the largest sum of strengths.

        A decision counts by what its option lacks of its strongest one: otherwise layers that a
        depth adds would speak for it by their number. Absent layers lack nothing.
        """
        lacks = [np.asarray(s, dtype=np.float64) - np.max(s) for s in strengths]
        path = [int(lack.argmax()) for lack in lacks]
        for place in self.places:
            total = lacks[place.depth][place.forms[:, 0]]
            for j, alive in enumerate(place.alive.T):
                width, _, _ = place.layer(j)
                total = total + alive * lacks[width][place.forms[:, 1 + j]]
            best = place.forms[total.argmax()]
            path[place.depth] = int(best[0])
            for j in range(place.layers):
                path[place.layer(j)[0]] = int(best[1 + j])
        return self.architecture(path)

    def largest(self) -> Architecture:
        return self._extreme(-1, groups=0)

    def smallest(self) -> Architecture:
        return self._extreme(0, groups=-1)

    def _extreme(self, index: int, *, groups: int) -> Architecture:
        return self.architecture(
            [
                range(len(d.options))[groups if d.name.endswith(".groups") else index]
                for d in self.decisions
            ]
        )

    def absent(self, choices: Mapping[str, Option]) -> Set[str]:
        names: set[str] = set()
        for i, by_depth in enumerate(self._beyond, start=1):
            names |= by_depth.get(choices.get(f"stage{i}.depth"), frozenset())
        return names

    @cached_property
    def _beyond(self) -> list[dict[Option | None, frozenset[str]]]:
        """Per stage and depth the decisions of the layers that lie beyond it."""
        return [
            {
                depth: frozenset(
                    f"stage{i}.layer{j}.{part}"
                    for j in range(depth + 1, max(stage.depths) + 1)
                    for part in PARTS
                )
                for depth in stage.depths
            }
            for i, stage in enumerate(STAGES, start=1)
        ]

    def check(self, arch: Architecture) -> None:
        self.check_choices(arch)
        if decrease := self._decrease(arch.choices):
            before, after = decrease
            least = arch.choices[before.name]
            raise InvalidArchitecture(
                f"'{after.name}' is {arch.choices[after.name]} behind '{before.name}' of {least}, "
                "and widths never decrease here; its options there: "
                f"{', '.join(str(o) for o in after.options if int(o) >= int(least))}"
            )

    def _decrease(self, choices: Mapping[str, Option]) -> tuple[Decision, Decision] | None:
        """Two successive widths of which the second is the smaller, where the rule forbids that."""
        if not self.non_decreasing:
            return None
        absent = self.absent(choices)
        widths = [d for d in self._widths if d.name in choices and d.name not in absent]
        for before, after in pairwise(widths):
            if int(choices[after.name]) < int(choices[before.name]):
                return before, after
        return None

    @cached_property
    def _widths(self) -> list[Decision]:
        return [decision for decision in self.decisions if decision.name.endswith(".width")]

    def fit(self, scale: Scale) -> Scale:
        """Without a number of cells, and with channels that table 1's widths can be scaled to."""
        return replace(scale, cells=None, channels=next_multiple(scale.channels, UNIT))

    def spec(
        self,
        scale: Scale,
        shape: tuple[int, int, int],
        classes: int,
        *,
        final: bool,  # noqa: ARG002
    ) -> NetworkSpec:
        """Search and final networks are of one scale: 32 channels (table 1); cells are the layers."""
        if scale.cells is not None:
            raise BadValue(
                f"nas-bnn chooses its depth itself, so {scale.cells} cells build none; "
                "leave --cells out"
            )
        works = self.fit(scale).channels
        if scale.channels != works:
            raise BadValue(
                f"{scale.channels} channels leave a layer of nas-bnn without a whole number of "
                f"channels; the smallest scale that works from there is {works}"
            )
        layers = sum(max(stage.depths) for stage in STAGES)
        return NetworkSpec(shape, classes, layers, CHANNELS if works is None else works)

    def network(
        self, arch: Architecture, spec: NetworkSpec, rng: np.random.Generator
    ) -> MobileNetwork:
        from bnas_bench.nn.nasbnn.network import MobileNetwork
        from bnas_bench.nn.network import initialised_by

        self.check(arch)
        path, ((stem, stride), stages) = self.path(arch), scaled(spec)
        layers: list[list[Layer]] = []
        for place, stage in zip(self.places, stages, strict=True):
            layers.append([])
            for j in range(stage.depths[path[place.depth]]):
                width, kernel, groups = (path[position] for position in place.layer(j))
                layers[-1].append(
                    Layer(
                        stage.widths[width],
                        stage.kernels[kernel],
                        stage.groups[groups],
                        1 if j else stage.stride,
                    )
                )
        with initialised_by(rng):
            return MobileNetwork((stem[path[0]], stride), layers, spec, self._treatment)

    def supernet(
        self, spec: NetworkSpec, rng: np.random.Generator, *, partial: int = 1
    ) -> ElasticSupernet:
        from bnas_bench.nn.nasbnn.supernet import ElasticSupernet
        from bnas_bench.nn.network import initialised_by

        if partial != 1:
            raise BadValue(
                f"partial={partial} asks for edges between nodes, which nas-bnn has none of; "
                "leave it at 1"
            )
        with initialised_by(rng):
            return ElasticSupernet(*scaled(spec), spec, self._treatment)

    @property
    def _treatment(self) -> Treatment:
        from bnas_bench.nn.nasbnn.network import Treatment

        return Treatment(self.bi_transformation, self.weight_normalisation)

    def ops(self, spec: NetworkSpec, convention: str = "nas-bnn") -> OpsFormula:
        from bnas_bench.cost.formula import OpsFormula

        return OpsFormula(self._terms(spec, convention))

    def _terms(self, spec: NetworkSpec, convention: str) -> Iterator[Term]:
        from bnas_bench.cost.formula import convolution_ops, linear_ops, pixels

        cost = partial(convolution_ops, convention=convention)
        (stem, stride), stages = scaled(spec)
        halvings = stride - 1
        area = pixels(spec.shape, halvings)
        yield term((0,), [cost(spec.shape[0], c, 3, area, bits=(8, 8)) for c in stem])
        # What a layer reads: the position of its width, the widths, and under which depths.
        reads: list[tuple[int, tuple[int, ...], Gates]] = [(0, stem, {})]
        for place, stage in zip(self.places, stages, strict=True):
            halvings += stage.stride - 1
            area = pixels(spec.shape, halvings)
            for j in range(place.layers):
                width, kernel, groups = place.layer(j)
                alive = {place.depth: [float(j < depth) for depth in stage.depths]}
                for before, inputs, gates in reads:
                    spatial = [
                        [
                            [cost(c, c, k, area, groups=g) for g in stage.groups]
                            for k in stage.kernels
                        ]
                        for c in inputs
                    ]
                    pointwise = [[cost(c, out, 1, area) for out in stage.widths] for c in inputs]
                    both = np.array(spatial)[..., None] + np.array(pointwise)[:, None, None]
                    yield term((before, kernel, groups, width), both, gates | alive)
                reads = [(width, stage.widths, {})]
            reads = [
                (
                    place.layer(last - 1)[0],
                    stage.widths,
                    {place.depth: [float(last == depth) for depth in stage.depths]},
                )
                for last in stage.depths
            ]
        for before, inputs, gates in reads:
            head = [linear_ops(c, spec.classes, convention=convention) for c in inputs]
            yield term((before,), head, gates)

    def draw(self, arch: Architecture, path: Path | str) -> None:
        from bnas_bench.search.drawing import draw_rows

        rows = {"stem": [f"c{arch.choices['stem.width']} k3 8 bit"]}
        for i, stage in enumerate(STAGES, start=1):
            rows[f"stage {i}"] = [
                "c{} k{} g{}".format(*(arch.choices[f"stage{i}.layer{j}.{part}"] for part in PARTS))
                for j in range(1, max(stage.depths) + 1)
                if f"stage{i}.layer{j}.width" in arch.choices
            ]
        draw_rows(rows, path)


Gates = dict[int, list[float]]
"""Per position of a depth whether a layer is there, or is read, at each of its options: 1 or 0."""


def term(decisions: tuple[int, ...], table: Sequence[Any], gates: Gates | None = None) -> Term:
    """A term of an OpsFormula that is zero where a gate is shut."""
    from bnas_bench.cost.formula import Term

    costs = np.array(table)
    for depth, gate in (gates or {}).items():
        if not all(gate):
            decisions, costs = (depth, *decisions), np.multiply.outer(gate, costs)
    return Term(decisions, costs)


def scaled(spec: NetworkSpec) -> tuple[tuple[tuple[int, ...], int], list[Stage]]:
    """Table 1 at a scale: widths and stride of the stem, and the stages."""
    kept = min(max(floor(log2(min(spec.shape[1:]))) - 2, KEPT), HALVINGS)
    left_out = HALVINGS - kept  # first the stem's, then those of the first stages that have one
    widths = [
        tuple(width * spec.channels // CHANNELS for width in widths)
        for widths in (STEM, *(stage.widths for stage in STAGES))
    ]
    stages = [
        replace(stage, widths=mine, stride=stage.stride if i >= left_out else 1)
        for i, (stage, mine) in enumerate(zip(STAGES, widths[1:], strict=True))
    ]
    return (widths[0], 1 if left_out else 2), stages
