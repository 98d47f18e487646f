"""Reads what is typed: `random,dcpnas[lam=0,decoupled=false]`, `quick[passes=20000]`.

A value is converted by the type of the default that it replaces.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from bnas_bench.core import PRECISIONS, Budget, Recipe, Scale
from bnas_bench.errors import BadValue, UnknownName


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
    return [_parse(piece.strip()) for piece in re.split(r",(?![^\[]*\])", text)]


def parse_spec(text: str) -> Spec:
    """Read one `name` or `name[key=value,...]`.

    Raises:
        BadValue: if the text has another form, or is a list.
    """
    specs = parse_specs(text)
    if len(specs) > 1:
        raise BadValue(f"'{text}' names {len(specs)} things where one is wanted")
    return specs[0]


def _parse(piece: str) -> Spec:
    match = re.fullmatch(r"([^\[\]]+?)\s*(?:\[([^\[\]]*)\])?", piece)
    if match is None:
        raise BadValue(f"'{piece}' is not of the form name or name[key=value,key=value]")
    name, inside = match[1], (match[2] or "").strip()
    options: dict[str, str] = {}
    for pair in inside.split(",") if inside else []:
        key, equals, value = (part.strip() for part in pair.partition("="))
        if not (key and equals):
            raise BadValue(f"'{pair.strip()}' in '{piece}' is not of the form key=value")
        if key in options:
            raise BadValue(f"'{key}' stands twice in '{piece}': give it one value")
        options[key] = value
    return Spec(name, options)


def label(name: str, options: Mapping[str, Any]) -> str:
    """The text form of a name with typed options, which `parse_specs` and `resolve` read back."""
    return f"{name}[{','.join(pairs(options))}]" if options else name


def pairs(options: Mapping[str, Any]) -> list[str]:
    """Typed options in text form, `key=value` each."""
    return [f"{key}={_text(value)}" for key, value in options.items()]


def _text(value: Any) -> str:
    if isinstance(value, tuple | list):  # JSON has no tuples
        return "+".join(map(_text, value))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def resolve(options: Mapping[str, str], defaults: Mapping[str, Any], what: str) -> dict[str, Any]:
    """All options of a plug-in, typed: its defaults, replaced by what was written.

    Args:
        what: names an option in errors: "hyperparameter of dcpnas".

    Raises:
        UnknownName: if an option has no default.
        BadValue: if a value is not of its default's type.
    """
    resolved = dict(defaults)
    for key, text in options.items():
        if key not in defaults:
            raise UnknownName(what, key, defaults)
        resolved[key] = _convert(text, defaults[key], f"{what} '{key}'")
    return resolved


def changed(options: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The options that are not at their default."""
    return {key: value for key, value in options.items() if value != defaults.get(key, ...)}


def resolve_budget(spec: Spec, presets: Mapping[str, Budget]) -> Budget:
    """A preset, with the fields that were written replaced: `quick[passes=20000,recipe.cutout=0]`.

    Its name then carries the fields that differ.

    Raises:
        UnknownName: if there is no such preset or field.
        BadValue: if a value is not of the field's type, or not above zero (zero or more in a recipe).
    """
    if spec.name not in presets:
        raise UnknownName("budget", spec.name, presets)
    preset, what = presets[spec.name], f"field of budget {spec.name}"
    before = budget_fields(preset)
    typed = {key: None if _may_be_none(key) else value for key, value in before.items()}
    typed |= {key: getattr(Recipe, key.removeprefix(RECIPE)) for key in before if key in _recipe()}
    written = resolve(spec.options, typed, what)
    after = before | {key: written[key] for key in spec.options}
    for key, text in spec.options.items():
        if key.startswith(RECIPE):
            _check_recipe(after[key], text, f"{what} '{key}'")
            continue
        wanted, value = float if isinstance(before[key], float) else int, after[key]
        if value is not None and not (isinstance(value, wanted) and value > 0):
            kind = "number" if wanted is float else "whole number"
            raise BadValue(f"{what} '{key}' is '{text}'; it takes a {kind} above zero")
    edits = changed(after, before)

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


def _may_be_none(field: str) -> bool:
    """Whether a budget may leave it to the method, the recipe or the space."""
    return "." in field or field in ("passes", "epochs", "train_batch")


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
        for stage in ("search", "final")
        for key, value in vars(getattr(budget, stage)).items()
    }
    return plain | scales | {key: budget.recipe.get(key.removeprefix(RECIPE)) for key in _recipe()}


RECIPE = "recipe."


def _recipe() -> list[str]:
    """The fields of a recipe, as a budget names them; two of them have names of their own there."""
    own = ("epochs", "batch_size")
    return [f"{RECIPE}{field.name}" for field in fields(Recipe) if field.name not in own]


def _check_recipe(value: Any, text: str, what: str) -> None:
    if isinstance(value, str):
        if value not in PRECISIONS:
            raise UnknownName("precision", value, PRECISIONS)
    elif value < 0:
        raise BadValue(f"{what} is '{text}'; it takes a number of at least zero")


def _convert(text: str, default: Any, what: str) -> Any:
    if default is None:
        return None if text.lower() == "none" else _guess(text)
    if isinstance(default, tuple):
        parts = [part.strip() for part in text.split("+")] if text else []
        if not default:
            return tuple(map(_guess, parts))
        return tuple(_convert(part, default[0], what) for part in parts)
    if type(default) not in _FORMS:
        raise BadValue(f"{what} holds a {type(default).__name__}: only Python code can set it")
    form, read = _FORMS[type(default)]
    try:
        return read(text)
    except ValueError:
        raise BadValue(f"{what} is '{text}'; it takes {form}") from None


def _guess(text: str) -> Any:
    """The value for an option whose default does not say its type."""
    for read in (_int, _float):
        try:
            return read(text)
        except ValueError:
            pass
    return text


def _bool(text: str) -> bool:
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if text.lower() not in words:
        raise ValueError
    return words[text.lower()]


def _int(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        number = float(text)
        if not number.is_integer():  # 1e4 is a whole number, 0.5 and inf are not
            raise
        return int(number)


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError
    return number


_FORMS: dict[type, tuple[str, Callable[[str], Any]]] = {
    bool: ("true or false", _bool),
    int: ("a whole number", _int),
    float: ("a number", _float),
    str: ("a text", str),
}
