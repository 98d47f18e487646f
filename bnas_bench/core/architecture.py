"""Decision, Architecture and Mix: a point of a search space, as a value."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from bnas_bench.core.errors import InvalidArchitecture, brief

if TYPE_CHECKING:
    from torch import Tensor


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
