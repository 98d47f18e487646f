"""The contract of a space: SearchSpace.

Nothing here imports torch at run time, so listing, checking and planning stay instant.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence, Set
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from bnas_bench.core.architecture import Architecture, Decision, Option
from bnas_bench.core.budget import IMAGENET_SIDE, NetworkSpec, Recipe, Scale
from bnas_bench.core.errors import InvalidArchitecture, brief
from bnas_bench.core.strict import BadJson, read_json

if TYPE_CHECKING:
    import numpy as np

    from bnas_bench.cost.formula import OpsFormula
    from bnas_bench.nn.network import Network, Supernet


class SearchSpace(ABC):
    """An ordered tuple of decisions, the rules that tie them, and the networks they describe.

    Constructors take keyword-only options and store them, as those of dataclasses do. Spaces are
    immutable. An option's annotation says what it takes (`bnas_bench.core.options`) and is checked before
    anything is built; names, and what ties several options, the constructor checks itself.
    """

    decisions: tuple[Decision, ...]
    name: str = ""
    """Set by the registry: the file's name with dashes."""

    nodes: tuple[tuple[int, ...], ...] = ()
    """Per node of a cell the positions of the decisions that are the edges into it; empty where
    decisions are no edges. Only a space that has them builds supernets of partial channels."""

    @abstractmethod
    def size(self) -> int:
        """The exact number of valid architectures."""

    @abstractmethod
    def sample(self, rng: np.random.Generator) -> Architecture:
        """Draw a valid architecture, each with equal probability."""

    @abstractmethod
    def mutate(self, arch: Architecture, rng: np.random.Generator) -> Architecture:
        """A valid architecture that differs from `arch` in one place."""

    @abstractmethod
    def crossover(
        self, first: Architecture, second: Architecture, rng: np.random.Generator
    ) -> Architecture:
        """A valid architecture, every part of which comes from one of the two."""

    @abstractmethod
    def derive(self, strengths: Sequence[np.ndarray]) -> Architecture:
        """The valid architecture that a search's strengths, one per option per decision, point at."""

    @abstractmethod
    def check(self, arch: Architecture) -> None:
        """Raise InvalidArchitecture, naming the decision and its options, unless `arch` fits."""

    def parse(self, text: str) -> Architecture:
        """Read an architecture in the space's text forms; JSON is always one of them.

        Raises:
            InvalidArchitecture: if the text is not one, or not of this space.
        """
        try:
            arch = Architecture.from_json(read_json(text))
        except BadJson as error:
            raise InvalidArchitecture(f"the JSON {error}") from None
        self.check(arch)
        return arch

    @abstractmethod
    def network(self, arch: Architecture, spec: NetworkSpec, rng: np.random.Generator) -> Network:
        """The stand-alone network, its weights drawn from `rng` alone."""

    @abstractmethod
    def supernet(
        self, spec: NetworkSpec, rng: np.random.Generator, *, partial: int = 1
    ) -> Supernet:
        """The weight-sharing network, its weights drawn from `rng` alone.

        Args:
            partial: K of PC-DARTS: one channel in K runs through an edge's mixed operations, the
                others pass by, weighted by the sum of the edge's weights. Such a supernet takes only
                weights, no path. Spaces without `nodes` know 1 alone.
        """

    @abstractmethod
    def largest(self) -> Architecture:
        """The architecture of the most OPs: widest, deepest, largest kernels, fewest groups."""

    @abstractmethod
    def smallest(self) -> Architecture:
        """The architecture of the fewest OPs that still has a path from image to logits."""

    @abstractmethod
    def ops(self, spec: NetworkSpec, convention: str = "nas-bnn") -> OpsFormula:
        """OPs of the stand-alone networks, by a formula; equal to the ledger's count.

        Raises:
            UnknownName: if there is no such convention.
            BadValue: if it charges more than convolutions and linear layers, as `flops` does.
        """

    @abstractmethod
    def draw(self, arch: Architecture, path: Path | str) -> None:
        """Write a drawing of `arch`; the ending of `path` gives the format."""

    @abstractmethod
    def spec(
        self, scale: Scale, shape: tuple[int, int, int], classes: int, *, final: bool
    ) -> NetworkSpec:
        """Fill a scale's open values with the paper's, for the search's or the final network."""

    def recipe(self, shape: tuple[int, int, int]) -> Recipe:
        """How derived networks are trained on images of this shape; alike in all spaces but for good
        reason, so that a comparison of spaces is one of spaces."""
        return Recipe.imagenet() if min(shape[1:]) >= IMAGENET_SIDE else Recipe()

    def is_real(self, arch: Architecture) -> bool:  # noqa: ARG002
        """Whether the network has no 1-bit layer: a real-valued twin, there for comparison."""
        return False

    def fit(self, scale: Scale) -> Scale:
        """The smallest scale of at least `scale` that the space can build; `spec` takes it."""
        return scale

    def absent(self, choices: Mapping[str, Option]) -> Set[str]:  # noqa: ARG002
        """The decisions that do not arise under the others' options: layers beyond the depth."""
        return frozenset()

    def path(self, arch: Architecture) -> list[int]:
        """A mix in which only the path of `arch` runs: per decision the index of its option.

        Decisions that do not arise stand at 0.
        """
        return [
            places[arch.choices[name]] if name in arch.choices else 0
            for name, places in self._places
        ]

    @cached_property
    def _places(self) -> list[tuple[str, dict[Option, int]]]:
        return [(d.name, {o: k for k, o in enumerate(d.options)}) for d in self.decisions]

    def architecture(self, path: Sequence[int]) -> Architecture:
        """The architecture whose decisions take these options; those that do not arise are left out."""
        choices = {d.name: d.options[k] for d, k in zip(self.decisions, path, strict=True)}
        absent = self.absent(choices)
        return Architecture(self.name, {n: o for n, o in choices.items() if n not in absent})

    def canonical(self, arch: Architecture) -> Architecture:
        """The architecture that stands for all that compute the same functions as `arch`."""
        return arch

    @property
    def representatives(self) -> Sequence[Architecture]:
        """Every architecture that stands for others or itself; empty where a space is too large to list."""
        return ()

    def index(self, decision: str) -> int:
        """Position of a decision by its name."""
        return [d.name for d in self.decisions].index(decision)

    def check_choices(self, arch: Architecture) -> None:
        """The part of `check` that is the same for all spaces: the name, the decisions, the options."""
        if arch.space != self.name:
            raise InvalidArchitecture(
                f"the architecture is of space '{brief(arch.space)}', not of '{self.name}'"
            )
        known = {d.name: d for d in self.decisions}
        for name in arch.choices:
            if name not in known:
                raise InvalidArchitecture(f"'{brief(name)}' is no decision of space '{self.name}'")
        absent = self.absent(arch.choices)
        for decision in self.decisions:
            if decision.name in absent:
                if decision.name in arch.choices:
                    raise InvalidArchitecture(
                        f"decision '{decision.name}' does not arise in this architecture; leave it out"
                    )
                continue
            if decision.name not in arch.choices:
                raise InvalidArchitecture(f"decision '{decision.name}' is missing")
            option = arch.choices[decision.name]
            if not any(option == o and type(option) is type(o) for o in decision.options):
                options = ", ".join(str(o) for o in decision.options)
                raise InvalidArchitecture(
                    f"'{brief(option)}' is no option of decision '{decision.name}'; its options: {options}"
                )
