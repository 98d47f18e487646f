"""The contract of a method: SearchStrategy, and what its search returns."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from bnas_bench.core.architecture import Architecture
from bnas_bench.core.budget import Protocol
from bnas_bench.search.space import SearchSpace

if TYPE_CHECKING:
    import numpy as np

    from bnas_bench.data.datasets import Task
    from bnas_bench.nn.network import Network
    from bnas_bench.search.meter import Meter


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

    A strategy is a dataclass whose fields, keyword-only, are its hyperparameters; their defaults are the
    paper's. (A constructor that takes them by keyword and only stores them does as well.) Annotations say
    what they take (`bnas_bench.core.options`), `validate` what ties them. The strategy owns its loop; the
    meter owns the clock and counts the passes of every network itself.

    Attributes:
        protocol: how its paper searches, for the budget `paper`.
    """

    protocol: ClassVar[Protocol] = Protocol()

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
