"""An architecture that is given: nothing is searched, and nothing of the budget is spent.

Not from a paper. With it a network that a paper publishes trains as every derived network does:
`--method given[path=...]` on its space, where `path` is what `SearchSpace.path` says of it. No list
of methods has it, and no comparison of searches, as it is none.
"""

from __future__ import annotations

from dataclasses import dataclass
from string import ascii_lowercase, digits
from typing import TYPE_CHECKING

from bnas_bench.core.errors import BadValue
from bnas_bench.search.strategy import SearchResult, SearchStrategy

if TYPE_CHECKING:
    import numpy as np

    from bnas_bench.core.architecture import Architecture
    from bnas_bench.data.datasets import Task
    from bnas_bench.search.meter import Meter
    from bnas_bench.search.space import SearchSpace

DIGITS = digits + ascii_lowercase
"""The place of an option among its decision's: 0 to 9, then a to z."""


def written(space: SearchSpace, arch: Architecture) -> str:
    """The path of an architecture as `path` takes it."""
    return "".join(DIGITS[place] for place in space.path(arch))


@dataclass(kw_only=True)
class Given(SearchStrategy):
    """The architecture of a path.

    Args:
        path: per decision of the space, in their order, the place of its option, a digit or letter each.
    """

    path: str = ""

    def search(
        self,
        space: SearchSpace,
        task: Task,  # noqa: ARG002
        meter: Meter,  # noqa: ARG002
        rng: np.random.Generator,  # noqa: ARG002
    ) -> SearchResult:
        places = [DIGITS.find(letter) for letter in self.path]
        options = [len(decision.options) for decision in space.decisions]
        if len(places) != len(options) or not all(
            0 <= place < n for place, n in zip(places, options, strict=True)
        ):
            raise BadValue(
                f"path '{self.path}' is no architecture of {space.name}: give one digit or letter for "
                f"each of its {len(options)} decisions, the place of the option"
            )
        return SearchResult(space.architecture(places))
