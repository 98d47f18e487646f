"""A grid as a file: what `run` is given, in TOML."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from bnas_bench.core.errors import BadValue, UnknownName, brief
from bnas_bench.core.files import kind_of, write_atomically
from bnas_bench.plugins.registry import is_file
from bnas_bench.plugins.spec import parse_specs

FIELDS = {
    "method": "methods",
    "space": "spaces",
    "dataset": "datasets",
    "budget": "budgets",
    "seeds": "seeds",
    "seed": "seed",
    "set": "settings",
    "train": "train",
    "name": "name",
    "backend": "backend",
    "ray-address": "ray_address",
    "threads": "threads",
    "devices": "devices",
    "batch-norm": "batch_norm",
}
"""The names in the file, those of the options, and the parameters of `run`: what the records depend on,
and where they lie."""

TEXTS = ("name", "backend", "ray-address", "batch-norm")
MANY = ("method", "space", "dataset", "budget", "set")


def read(path: Path) -> dict[str, Any]:
    """The parameters of `run` that a file gives.

    Raises:
        BadValue: if it is no such file, or a value is of another kind.
        UnknownName: if a name is not one of `FIELDS`.
    """
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise BadValue(f"cannot read a grid from '{path}': {reason}") from error
    found = {}
    for key, value in content.items():
        if key not in FIELDS:
            raise UnknownName(f"field in {path}", key, FIELDS)
        if key in MANY:
            value = [value] if isinstance(value, str) else value
            if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
                raise BadValue(f"'{key}' in {path} is no text and no list of texts")
        elif not isinstance(value, bool if key == "train" else str if key in TEXTS else int):
            raise BadValue(f"'{key}' in {path} is {value!r}: write it as --{key} takes it")
        found[FIELDS[key]] = value
    return found


def refuse_code() -> None:
    """Have no code run that a grid's file names, and nobody on the command line.

    Raises:
        BadValue: if it names a method or a space in a file.
    """
    context = click.get_current_context()
    for key in ("method", "space"):
        if context.get_parameter_source(FIELDS[key]) is not ParameterSource.DEFAULT_MAP:
            continue
        for spec in (spec for text in context.params[FIELDS[key]] for spec in parse_specs(text)):
            if is_file(spec.name):
                raise BadValue(
                    f"the grid names a {key} that is code in a file, '{brief(spec.name)}', and nothing that "
                    f"came with a grid is run: name its {key}s yourself, with --{key}, if you trust that file"
                )


def text(given: dict[str, Any]) -> str:
    """The file that gives these parameters of `run`."""
    lines = []
    for key, parameter in FIELDS.items():
        value = given[parameter]
        if value not in ((), None):
            plain = [*value] if key in MANY else value
            lines.append(f"{key} = {json.dumps(plain)}\n")
    return "".join(lines)


def _default(ctx: click.Context, _param: click.Parameter, path: Path | None) -> Path | None:
    """Let the file say what the command line does not."""
    if path is not None:
        ctx.default_map = {**(ctx.default_map or {}), **read(path)}
    return path


def write(path: Path, given: dict[str, Any]) -> None:
    """Write the grid, so that `--grid` gives it again.

    Raises:
        BadValue: if another file is there.
    """
    if kind_of(path) is not None and path.suffix != ".toml":
        raise BadValue(f"'{path}' is there and no grid: choose a name that ends in .toml")
    write_atomically(path, text(given).encode())


def grid_options(command: Callable[..., None]) -> Callable[..., None]:
    """Gives `run` the options `--grid`, which is read before all others, and `--save-grid`."""
    file = click.Path(path_type=Path, dir_okay=False)
    for decorate in (
        click.option("--save-grid", type=file, help="Write the grid as such a file."),
        click.option(
            "--grid",
            type=file,
            is_eager=True,
            expose_value=False,
            callback=_default,
            help="A TOML file of these options: method, space, dataset, budget, seeds, seed, set, train, "
            "name, backend, ray-address, threads, devices, batch-norm; the command line overrules it.",
        ),
    ):
        command = decorate(command)
    return command
