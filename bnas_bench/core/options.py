"""Which values an option takes, as its annotation says: `epochs: Count = 50`, `clip: Positive = 5.0`.

The names below are Python's own types with a range beside them. Whatever may be typed is annotated so:
the options of methods and spaces, and the fields of `Recipe`, `Scale` and `Budget`. The harness holds
values against them before anything is imported or built.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import GenericAlias, NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from bnas_bench.core.errors import BadValue, brief


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`; both ends are among them unless they are left out."""

    low: float
    high: float
    without_low: bool = False
    without_high: bool = False

    def __contains__(self, number: Any) -> bool:
        if self.low < number < self.high:
            return True
        if number == self.low:
            return not self.without_low
        return number == self.high and not self.without_high

    def __str__(self) -> str:
        least = "above" if self.without_low else "of at least"
        most = "below" if self.without_high else "at most"
        return f"{least} {self.low:,} and {most} {self.high:,}"


MOST = 10**9
"""Of whatever is counted: more of it ends no more today, and fits no table."""

FAR = 10**6
"""Rates, weights and norms beyond it drown everything else in float32."""

Count = Annotated[int, Range(1, MOST)]
Whole = Annotated[int, Range(0, MOST)]
Few = Annotated[int, Range(1, 100)]
"""What a network is assembled from piece by piece: cells, blocks, groups."""

Amount = Annotated[float, Range(0, FAR)]
Positive = Annotated[float, Range(1e-9, FAR)]
"""What something is divided by, or cut off at."""
Signed = Annotated[float, Range(-FAR, FAR)]

Share = Annotated[float, Range(0, 1)]
BelowOne = Annotated[float, Range(0, 1, without_high=True)]
AboveZero = Annotated[float, Range(0, 1, without_low=True)]
Between = Annotated[float, Range(0, 1, without_low=True, without_high=True)]

Width = Annotated[int, Range(1, 10**5)]
"""Channels of a map, or pixels of its side; what is too large for the machine is weighed later."""

Classes = Annotated[int, Range(1, 10**6)]
Batch = Annotated[int, Range(1, 10**5)]
Passes = Annotated[int, Range(1, 10**15)]

Threads = Annotated[int, Range(1, 1024)]
Seed = Annotated[int, Range(0, 2**63 - 1)]
Grid = Annotated[int, Range(1, 10_000)]
"""Of what a command makes one after the other: seeds of a row, architectures of a table."""

NAMES = {name: value for name, value in vars().items() if get_origin(value) is Annotated}
PLAIN: Mapping[str, type] = {"bool": bool, "int": int, "float": float, "str": str}

FORMS: Mapping[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
}


@dataclass(frozen=True)
class Form:
    """What one option takes.

    Attributes:
        type: bool, int, float or str; None where nothing says, and any of them will do.
        range: of a number.
        many: whether it takes several, a tuple of them, each once.
        may_be_none: whether it may be left open.
    """

    type: type | None
    range: Range | None = None
    many: bool = False
    may_be_none: bool = False

    def __str__(self) -> str:
        form = FORMS[self.type] if self.type else "a value"
        range_ = f" {self.range}" if self.range else ""
        return f"{form}{range_}{', or none' if self.may_be_none else ''}"

    def takes(self, value: Any) -> bool:
        """Whether it takes a value, already typed; of several, whether it takes this one."""
        wanted = int | float if self.type is float else self.type or object
        if not isinstance(value, wanted) or (isinstance(value, bool) and self.type in (int, float)):
            return False
        return self.range is None or value in self.range

    def check(self, value: Any, what: str) -> None:
        """Raise unless it takes a value, already typed, and of several each, and each once.

        Args:
            what: names the option: "hyperparameter of dcpnas 'lam'".

        Raises:
            BadValue: with the option, the value and what it takes.
        """
        if value is None and self.may_be_none:
            return
        if self.many and not isinstance(value, tuple | list):
            raise BadValue(f"{what} is '{brief(value)}'; it takes several, each {self}")
        values = value if self.many else (value,)
        for k, one in enumerate(values):
            if not self.takes(one):
                raise BadValue(f"{what} is '{brief(one)}'; it takes {self}")
            if one in values[:k]:
                raise BadValue(f"{what} holds '{brief(one)}' twice: name each once")


def form_of(hint: Any) -> Form | None:
    """The form that an annotation asks for; None of one that is of no such kind."""
    if hint in FORMS:
        return Form(hint)
    origin, inside = get_origin(hint), get_args(hint)
    if origin is Annotated:
        ranges = [extra for extra in inside[1:] if isinstance(extra, Range)]
        form = form_of(inside[0])
        return replace(form, range=ranges[0]) if form and ranges else form
    if origin is tuple and inside[1:] == (...,):
        form = form_of(inside[0])
        return form and replace(form, many=True)
    if origin in (Union, UnionType) and len(inside) == 2 and NoneType in inside:
        (other,) = (part for part in inside if part is not NoneType)
        form = form_of(other)
        return form and replace(form, may_be_none=True)
    return None


def form_like(default: Any) -> Form | None:
    """The form of an option of which nothing but its default is known; None if no text can write one."""
    if isinstance(default, tuple):
        like = form_like(default[0]) if default else Form(None)
        return like and replace(like, many=True)
    if default is None:
        return Form(None, may_be_none=True)
    return Form(type(default)) if type(default) in FORMS else None


def forms_of(cls: type) -> dict[str, Form]:
    """The forms of a dataclass' fields, but for those of no such kind."""
    hints = get_type_hints(cls, include_extras=True)
    return {name: form for name, hint in hints.items() if (form := form_of(hint))}


def form_written(annotation: ast.expr | None, names: Mapping[str, str]) -> Form | None:
    """The form of an annotation in a file that is read and not run.

    Args:
        names: what the file has imported from here, by the name that it has there.
    """

    def hint(node: ast.expr | None) -> Any:
        match node:
            case ast.Name(id=name) if name in names:
                return NAMES.get(names[name])
            case ast.Name(id=name):
                return PLAIN.get(name)
            case ast.Subscript(
                value=ast.Name(id="tuple"),
                slice=ast.Tuple(elts=[item, ast.Constant(value=end)]),
            ) if end is ...:
                return (inner := hint(item)) and GenericAlias(tuple, (inner, ...))
            case ast.BinOp(left=left, op=ast.BitOr(), right=ast.Constant(value=None)):
                return (inner := hint(left)) and inner | None
        return None

    return form_of(hint(annotation))
