"""A space whose best architecture is known by construction. Not from a paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from bnas_bench.core.architecture import Architecture, Decision
from bnas_bench.core.budget import NetworkSpec, Scale
from bnas_bench.cost.formula import OpsFormula, Term, convolution_ops, linear_ops, pixels
from bnas_bench.nn.network import Network, Supernet, initialised_by
from bnas_bench.plugins.checks.planted_networks import (
    WIDER,
    Look,
    PlantedNetwork,
    PlantedSupernet,
)
from bnas_bench.search.space import SearchSpace


class PlantedSpace(SearchSpace):
    """Decisions on how to look at an image, none of which ties another.

    Args:
        options: every decision's, by name; None sees nothing. No option stands at the same index
            in all decisions.
        planted: the best option of every decision.
        given: a look that every network has.
    """

    def __init__(
        self,
        *,
        name: str,
        options: Mapping[str, Look | None],
        planted: tuple[str, ...],
        given: Look,
    ) -> None:
        self.name, self.options, self.planted, self.given = name, options, planted, given
        names = tuple(options)
        turned = [names[k % len(names) :] + names[: k % len(names)] for k in range(len(planted))]
        self.decisions = tuple(Decision(f"part{k}", order) for k, order in enumerate(turned))
        self.nodes = tuple((k,) for k in range(len(planted)))

    @property
    def looks(self) -> dict[str, Look]:
        return {name: look for name, look in self.options.items() if look}

    @property
    def best(self) -> Architecture:
        """What is planted."""
        return self.of(self.planted)

    def share(self, arch: Architecture) -> float:
        """The part of the decisions that take their planted option, from 0 to 1."""
        best = self.best.choices
        return sum(arch.choices[name] == best[name] for name in best) / len(best)

    def of(self, options: Sequence[str]) -> Architecture:
        """The architecture whose decisions take these options, in their order."""
        return Architecture(self.name, {f"part{k}": option for k, option in enumerate(options)})

    def everywhere(self, option: str) -> Architecture:
        """The architecture whose decisions all take one option."""
        return self.of([option] * len(self.planted))

    def size(self) -> int:
        return len(self.options) ** len(self.planted)

    def check(self, arch: Architecture) -> None:
        self.check_choices(arch)

    def sample(self, rng: np.random.Generator) -> Architecture:
        names = list(self.options)
        return self.of([names[k] for k in rng.integers(len(names), size=len(self.planted))])

    def mutate(self, arch: Architecture, rng: np.random.Generator) -> Architecture:
        part = self.decisions[rng.integers(len(self.decisions))]
        others = [option for option in part.options if option != arch.choices[part.name]]
        changed = {part.name: others[rng.integers(len(others))]}
        return Architecture(self.name, {**arch.choices, **changed})

    def crossover(
        self, first: Architecture, second: Architecture, rng: np.random.Generator
    ) -> Architecture:
        parents = first.choices, second.choices
        return Architecture(
            self.name, {d.name: parents[rng.integers(2)][d.name] for d in self.decisions}
        )

    def derive(self, strengths: Sequence[np.ndarray]) -> Architecture:
        return self.architecture([int(np.argmax(strength)) for strength in strengths])

    def network(self, arch: Architecture, spec: NetworkSpec, rng: np.random.Generator) -> Network:
        chosen = [arch.choices[d.name] for d in self.decisions]
        sights = {
            name: [k for k, option in enumerate(chosen) if option == name]
            for name in self.looks
            if name in chosen
        }
        with initialised_by(rng):
            return PlantedNetwork(self.looks, sights, self.given, spec)

    def supernet(
        self, spec: NetworkSpec, rng: np.random.Generator, *, partial: int = 1
    ) -> Supernet:
        places = {name: [d.options.index(name) for d in self.decisions] for name in self.looks}
        with initialised_by(rng):
            return PlantedSupernet(self.looks, places, len(self.options), self.given, spec, partial)

    def largest(self) -> Architecture:
        looks = self.looks
        return self.everywhere(max(looks, key=lambda name: looks[name].kernel))

    def smallest(self) -> Architecture:
        kernels = {name: look.kernel if look else 0 for name, look in self.options.items()}
        return self.everywhere(min(kernels, key=lambda name: kernels[name]))

    def ops(self, spec: NetworkSpec, convention: str = "nas-bnn") -> OpsFormula:
        def of(look: Look | None) -> float:
            if look is None:
                return 0.0
            area = pixels(spec.shape)
            return convolution_ops(1, spec.channels, look.kernel, area, convention=convention)

        maps = (spec.cells + WIDER) * spec.channels
        fixed = WIDER * of(self.given) + linear_ops(maps, spec.classes, convention=convention)
        return OpsFormula(
            [
                Term((), np.array(fixed)),
                *(
                    Term((k,), np.array([of(self.options[str(option)]) for option in d.options]))
                    for k, d in enumerate(self.decisions)
                ),
            ]
        )

    def draw(self, arch: Architecture, path: Path | str) -> None:
        from bnas_bench.search.drawing import draw_rows

        draw_rows({name: [str(option)] for name, option in arch.choices.items()}, path)

    def spec(
        self,
        scale: Scale,
        shape: tuple[int, int, int],
        classes: int,
        *,
        final: bool,  # noqa: ARG002
    ) -> NetworkSpec:
        return NetworkSpec(shape, classes, len(self.planted), scale.channels or 4)
