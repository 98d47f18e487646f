"""The vocabulary: Decision, Architecture, SearchSpace, SearchStrategy, SearchResult, Budget.

Nothing here imports torch at run time, so listing, checking and planning stay instant.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from bnas_bench.errors import InvalidArchitecture, brief
from bnas_bench.options import Amount, Batch, BelowOne, Between, Count, Few, Passes, Share, Width
from bnas_bench.strict import BadJson, read_json

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from bnas_bench.cost.formula import OpsFormula
    from bnas_bench.data import Task
    from bnas_bench.meter import Meter
    from bnas_bench.nn.network import Network, Supernet

Option: TypeAlias = "str | int | float"

Mix: TypeAlias = "Sequence[int | Tensor]"
"""What a supernet's forward takes: per decision, in the space's order, an option's index (only that
path runs) or a weight per option, shape (options,) (they are mixed)."""


@dataclass(frozen=True)
class Decision:
    """One named categorical choice, such as `normal.edge(0,2)` among eight operations."""

    name: str
    options: tuple[Option, ...]


@dataclass(frozen=True)
class Architecture:
    """A point of a search space, as a value: one option per decision.

    JSON form: `{"space": NAME, "choices": {decision: option}}`.
    """

    space: str
    choices: Mapping[str, Option]

    def __post_init__(self) -> None:
        object.__setattr__(self, "choices", dict(self.choices))

    def __hash__(self) -> int:
        return hash((self.space, tuple(sorted(self.choices.items()))))

    @property
    def id(self) -> str:
        """Ten hexadecimal digits that depend on the space's name and the choices alone."""
        canonical = json.dumps([self.space, sorted(self.choices.items())])
        return hashlib.sha256(canonical.encode()).hexdigest()[:10]

    def to_json(self) -> dict[str, Any]:
        return {"space": self.space, "choices": dict(self.choices)}

    @classmethod
    def from_json(cls, value: Any) -> Architecture:
        """Read the JSON form.

        Raises:
            InvalidArchitecture: if a key is missing or of the wrong type.
        """
        match value:
            case {"space": str(space), "choices": dict(choices)} if len(value) == 2:
                for decision, option in choices.items():
                    if not isinstance(option, str | int | float):
                        raise InvalidArchitecture(
                            f"decision '{brief(decision)}' holds a {type(option).__name__}; "
                            "an option is a text or a number"
                        )
                return cls(space, choices)
        raise InvalidArchitecture(
            'an architecture is written {"space": NAME, "choices": {decision: option}} and nothing else'
        )


PRECISIONS = ("W32A32", "W32A1", "W1A32", "W1A1")
"""Bits of weights (W) and activations (A) that a network can run at."""

IMAGENET_SIDE = 64
"""Images of at least this many pixels a side are large: they take the papers' ImageNet stems."""


@dataclass(frozen=True)
class NetworkSpec:
    """The frame that a network or supernet is built into: what comes in, what goes out, how large.

    Attributes:
        shape: (channels, height, width) of an input image.
        classes: how many logits come out.
        cells: depth, in the space's own unit (cells, blocks).
        channels: width of the first cell.
        auxiliary: whether to build the training-only auxiliary head, where the space has one.
    """

    shape: tuple[int, int, int]
    classes: int
    cells: int
    channels: int
    auxiliary: bool = False

    @property
    def large(self) -> bool:
        """Whether the images are ImageNet's rather than CIFAR's in size."""
        return min(self.shape[1:]) >= IMAGENET_SIDE


@dataclass(frozen=True)
class Recipe:
    """How a derived network is trained from scratch: the same for every method.

    The defaults are DCP-NAS' section 4.1.3 for CIFAR-10, `imagenet` its own for ImageNet. Optimiser:
    Adam, cosine to zero.
    """

    epochs: Count = 600
    batch_size: Batch = 96
    lr: Amount = 0.0025
    momentum: BelowOne = 0.9
    weight_decay: Amount = 1e-5
    clip: Amount = 5.0
    cutout: Share = 0.5
    """Side of the square that is blanked out, as a part of the image's side (16 of 32 pixels)."""
    label_smoothing: BelowOne = 0.0
    auxiliary: Amount = 0.0
    """Weight of the auxiliary head's loss; 0 builds none."""
    precision: str = "W1A1"
    """One of `PRECISIONS`: what the network is trained, tested and measured at."""

    @classmethod
    def imagenet(cls) -> Recipe:
        return cls(
            epochs=512,
            batch_size=512,
            lr=0.001,
            weight_decay=3e-5,
            clip=0.0,
            cutout=0.0,
            label_smoothing=0.1,
        )


@dataclass(frozen=True)
class Scale:
    """The size of the networks at one stage of a run.

    Attributes:
        cells: depth; None is the paper's for the space.
        channels: width of the first cell; None is the paper's for the space.
        image: images are resized to this many pixels a side; None leaves them as they are.
    """

    cells: Few | None = None
    channels: Width | None = None
    image: Width | None = None


@dataclass(frozen=True)
class Budget:
    """What a cell of the comparison may spend, and at which scale; the same for every method.

    Attributes:
        passes: one image through one network forward and backward is 1, forward only 1/3. None leaves
            each method its own paper's number of epochs.
        batch_size: of the search.
        search_fraction: the part of the training images that trains weights during the search.
        valid_fraction: the part of the training images, disjoint from it, that validates.
        search, final: the scale of the supernets and of the derived network.
        epochs: of the final training; None is the recipe's own.
        train_batch: batch size of the final training; None is the recipe's own.
    """

    name: str
    passes: Passes | None
    batch_size: Batch
    search_fraction: Between = 0.5
    valid_fraction: Between = 0.05
    search: Scale = Scale()
    final: Scale = Scale()
    epochs: Count | None = None
    train_batch: Batch | None = None
    recipe: Mapping[str, float | str] = field(default_factory=dict)
    """Further fields of the space's recipe that the budget replaces (DCP-NAS table 9)."""


def next_multiple(number: int | None, step: int) -> int | None:
    """The smallest positive multiple of `step` from `number` on; None stays None."""
    return None if number is None else step * max(1, -(-number // step))


class SearchSpace(ABC):
    """An ordered tuple of decisions, the rules that tie them, and the networks they describe.

    Constructors take keyword-only options and store them. Spaces are immutable. An option's annotation
    says what it takes (`bnas_bench.options`) and is checked before anything is built; names, and what
    ties several options, the constructor checks itself.
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


@dataclass(frozen=True)
class Candidate:
    """A member of the front between accuracy and cost that a search hands back.

    Attributes:
        valid: its accuracy on the validation images, from 0 to 1, as the search estimates it.
        ops: its OPs at the search's scale.
    """

    arch: Architecture
    valid: float
    ops: float


@dataclass(frozen=True)
class SearchResult:
    """What a search returns.

    Attributes:
        best: the architecture that the harness trains and tests.
        valid: the search's own estimate of its accuracy on the validation images, where it has one.
        notes: small facts worth a column in the record (numbers, texts).
        front: the search's other finds, by rising OPs, where it looks for more than one network.
        heir: the network of `best` at the search's scale with the weights that it inherits from the
            search; the harness tests it beside the one that it trains from scratch.
        finetune: the learning rate and the numbers of epochs at which the harness also tests it
            fine-tuned.
    """

    best: Architecture
    valid: float | None = None
    notes: Mapping[str, float | int | str] = field(default_factory=dict)
    front: Sequence[Candidate] = ()
    heir: Network | None = None
    finetune: tuple[float, tuple[int, ...]] = (0.0, ())


class SearchStrategy(ABC):
    """A way to search. One file, one subclass, one method.

    Constructors take keyword-only hyperparameters, whose defaults are the paper's, and only store
    them under the same name; annotations say what they take (`bnas_bench.options`), `validate` what ties
    them. The strategy owns its loop; the meter owns the clock and counts the
    passes of every network itself.
    """

    @abstractmethod
    def search(
        self, space: SearchSpace, task: Task, meter: Meter, rng: np.random.Generator
    ) -> SearchResult:
        """Search `space` on the training and validation images of `task`, within the meter's budget.

        All randomness comes from `rng`. What must survive a kill is handed to
        `meter.epochs(state=...)`.
        """

    def validate(self) -> None:  # noqa: B027
        """Raise UnknownName or BadValue unless the hyperparameters make sense.

        The harness calls it before any search starts.
        """

    def refuses(self, space: SearchSpace) -> str | None:  # noqa: ARG002
        """One line on why this strategy makes no sense on `space`; None where it does."""
        return None


def options_of(make: Callable[..., Any]) -> dict[str, Any]:
    """The keyword-only options of a strategy's or space's constructor, with their defaults."""
    return {
        name: parameter.default
        for name, parameter in inspect.signature(make).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
