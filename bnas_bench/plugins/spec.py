"""Reads what is typed: `random,dcpnas[lam=0,decoupled=false]`, `quick[passes=20000]`.

A value is converted, and held against its range, as the option's annotation says
(`bnas_bench.core.options`); without one, by the type of the default that it replaces.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from functools import cache
from typing import Any

from bnas_bench.core.budget import (
    OPTIMISERS,
    PRECISIONS,
    TEACHERS,
    Budget,
    Protocol,
    Recipe,
    Scale,
)
from bnas_bench.core.errors import BadValue, UnknownName, brief
from bnas_bench.core.options import Form, form_like, form_of, forms_of


@dataclass(frozen=True)
class Spec:
    """A name and the options written behind it, not yet converted: `dcpnas[lam=0]`."""

    name: str
    options: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return label(self.name, self.options)


def parse_specs(text: str) -> list[Spec]:
    """Read a list of `name` and `name[key=value,...]`, split at the commas outside brackets.

    Raises:
        BadValue: if the text has another form.
    """
    return [_parse(piece.strip()) for piece in _pieces(text)]


def parse_spec(text: str) -> Spec:
    """Read one `name` or `name[key=value,...]`.

    Raises:
        BadValue: if the text has another form, or is a list.
    """
    specs = parse_specs(text)
    if len(specs) > 1:
        raise BadValue(f"'{brief(text)}' names {len(specs)} things where one is wanted")
    return specs[0]


def parse_options(texts: Iterable[str], where: str) -> dict[str, str]:
    """Read `key=value` each, where a key may stand once.

    Args:
        where: names the place in errors.

    Raises:
        BadValue: if a text has another form.
    """
    options: dict[str, str] = {}
    for text in texts:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not (key and equals) or set(text) & set("[],"):
            raise BadValue(f"'{brief(text.strip())}' in {where} is not of the form key=value")
        if key in options:
            raise BadValue(f"'{brief(key)}' stands twice in {where}: give it one value")
        options[key] = value
    return options


def _pieces(text: str) -> list[str]:
    """The text, split at the commas that no bracket encloses."""
    pieces, inside = [[""]], False
    for part in re.split(r"([\[\],])", text):
        if part == "," and not inside:
            pieces.append([])
            continue
        inside = part == "[" or (inside and part != "]")
        pieces[-1].append(part)
    return ["".join(parts) for parts in pieces]


def _parse(piece: str) -> Spec:
    name, bracket, rest = piece.partition("[")
    name, inside = name.strip(), rest.removesuffix("]").strip()
    is_closed = rest.endswith("]") if bracket else "]" not in name
    if not name or not is_closed or set(inside) & set("[]"):
        raise BadValue(f"'{brief(piece)}' is not of the form name or name[key=value,key=value]")
    return Spec(name, parse_options(inside.split(",") if inside else [], f"'{brief(piece)}'"))


def label(name: str, options: Mapping[str, Any]) -> str:
    """The text form of a name with typed options, which `parse_specs` and `resolve` read back."""
    return f"{name}[{','.join(pairs(options))}]" if options else name


def pairs(options: Mapping[str, Any]) -> list[str]:
    """Typed options in text form, `key=value` each."""
    return [f"{key}={written(value)}" for key, value in options.items()]


def written(value: Any) -> str:
    """A typed value in text form: `3`, `true`, `none`, `a+b`."""
    if isinstance(value, tuple | list):  # JSON has no tuples
        return "+".join(map(written, value))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def resolve(
    options: Mapping[str, str],
    defaults: Mapping[str, Any],
    what: str,
    forms: Mapping[str, Form] | None = None,
) -> dict[str, Any]:
    """All options of a plug-in, typed: its defaults, replaced by what was written.

    Args:
        what: names an option in errors: "hyperparameter of dcpnas".
        forms: what options take; one that is not among them takes what is of its default's type.

    Raises:
        UnknownName: if an option has no default.
        BadValue: if a value is none that its option takes.
    """
    resolved = dict(defaults)
    for key, text in options.items():
        if key not in defaults:
            raise UnknownName(what, key, defaults)
        form = (forms or {}).get(key) or form_like(defaults[key])
        if form is None:
            kind = type(defaults[key]).__name__
            raise BadValue(f"{what} '{key}' holds a {kind}: only Python code can set it")
        resolved[key] = _convert(text, form, f"{what} '{key}'")
    return resolved


def changed(options: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The options that are not at their default."""
    return {key: value for key, value in options.items() if value != defaults.get(key, ...)}


def resolve_budget(spec: Spec, presets: Mapping[str, Budget]) -> Budget:
    """A preset, with the fields that were written replaced: `quick[passes=20000,recipe.cutout=0]`.

    Its name then carries the fields that differ.

    Raises:
        UnknownName: if there is no such preset, field, precision or optimiser.
        BadValue: if a value is none that its field takes, or two fields contradict each other.
    """
    if spec.name not in presets:
        raise UnknownName("budget", spec.name, presets)
    preset = presets[spec.name]
    before = budget_fields(preset)
    forms = {
        # One batch and split for all methods, where the preset does not leave them to each.
        key: replace(
            form, may_be_none=form.may_be_none and (key not in SPLIT or before[key] is None)
        )
        for key, form in _budget_forms().items()
    }
    after = resolve(spec.options, before, f"field of budget {spec.name}", forms)
    edits = changed(after, before)
    for what, known in NAMED.items():
        if (value := edits.get(f"{RECIPE}{what}") or known[0]) not in known:
            raise UnknownName(what, value, known)
    if after[f"{RECIPE}teacher"] == "parent" and after[f"{RECIPE}auxiliary"]:
        raise BadValue(
            f"recipe.auxiliary of budget {spec.name} is {after[f'{RECIPE}auxiliary']}, and CP-NAS' loss "
            "behind recipe.teacher=parent knows no auxiliary head: leave one of them out"
        )
    if edits.keys() & {"search_fraction", "valid_fraction"}:
        _check_fractions(after["search_fraction"], after["valid_fraction"], spec.name)

    def part(stage: str) -> dict[str, Any]:
        return {key.removeprefix(stage): edits[key] for key in edits if key.startswith(stage)}

    return replace(
        preset,
        name=label(preset.name, edits),
        search=replace(preset.search, **part("search.")),
        final=replace(preset.final, **part("final.")),
        recipe={**preset.recipe, **part(RECIPE)},
        **{key: value for key, value in edits.items() if "." not in key},
    )


def _check_fractions(search: float | None, valid: float | None, budget: str) -> None:
    # 0.9 + 0.1 may be a little more than 1, as in `data.task`.
    if search is not None and valid is not None and search + valid > 1 + 1e-9:
        raise BadValue(
            f"search_fraction {search} and valid_fraction {valid} of budget {budget} are two parts "
            "of the training images: give 1 at most together"
        )


@cache
def _budget_forms() -> dict[str, Form]:
    """What the fields of a budget take, by the names that they are written with."""
    scale = forms_of(Scale)
    scales = {f"{stage}.{key}": scale[key] for stage in STAGES for key in scale}
    recipe = {f"{RECIPE}{key}": form for key, form in forms_of(Recipe).items()}
    return forms_of(Budget) | scales | recipe


def budget_fields(budget: Budget) -> dict[str, Any]:
    """The fields of a budget by the names that they are written with: `passes`, `search.cells`.

    Those of the recipe are None where they are the space's own.
    """
    plain = {
        key: value
        for key, value in vars(budget).items()
        if not isinstance(value, str | Scale | Mapping)
    }
    scales = {
        f"{stage}.{key}": value
        for stage in STAGES
        for key, value in vars(getattr(budget, stage)).items()
    }
    return plain | scales | {key: budget.recipe.get(key.removeprefix(RECIPE)) for key in _recipe()}


RECIPE, STAGES = "recipe.", ("search", "final")
NAMED = {
    "precision": PRECISIONS,
    "optimiser": OPTIMISERS,
    "first": ("none", *PRECISIONS),
    "teacher": TEACHERS,
}
"""What fields of a recipe are named by."""
SPLIT = tuple(field.name for field in fields(Protocol))


def _recipe() -> list[str]:
    """The fields of a recipe, as a budget names them; two of them have names of their own there."""
    own = ("epochs", "batch_size")
    return [f"{RECIPE}{field.name}" for field in fields(Recipe) if field.name not in own]


def _convert(text: str, form: Form, what: str) -> Any:
    if form.may_be_none and text.lower() == "none":
        return None
    parts = [part.strip() for part in text.split("+")] if text else []
    value = tuple(_read(p, form, what) for p in parts) if form.many else _read(text, form, what)
    form.check(value, what)
    return value


def read_number(text: str, kind: Any, what: str) -> Any:
    """The number that is written, of a kind in `bnas_bench.core.options`.

    Args:
        what: names it in errors: "--seeds".

    Raises:
        BadValue: if the text is none, or it is out of range.
    """
    form = form_of(kind)
    assert form is not None, f"{kind} says no type"
    return _read(text.strip(), form, what)


def _read(text: str, form: Form, what: str) -> Any:
    """A value that the form takes; where its type is open, of the first that the text is one of."""
    for kind in (form.type,) if form.type else (int, float, str):
        with suppress(ValueError):
            if form.takes(value := READERS[kind](text)):
                return value
    raise BadValue(f"{what} is '{brief(text)}'; it takes {form}")


def _bool(text: str) -> bool:
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if text.lower() not in words:
        raise ValueError
    return words[text.lower()]


def whole_number(text: str) -> int:
    """The whole number that is written; `1000`, `1_000` and `1e3` are one.

    Raises:
        ValueError: if none is.
    """
    with suppress(ValueError):  # which is also what Python raises of thousands of digits
        return int(_ascii(text))
    if not (number := _float(text)).is_integer():
        raise ValueError
    return int(number)


def _float(text: str) -> float:
    number = float(_ascii(text))
    if not math.isfinite(number):  # nan, and 1e400, which Python takes for inf
        raise ValueError
    return number


def _ascii(text: str) -> str:
    """The text itself; Python would read the digits of every script."""
    if not text.isascii():
        raise ValueError
    return text


READERS: Mapping[type, Callable[[str], Any]] = {
    bool: _bool,
    int: whole_number,
    float: _float,
    str: str,
}
