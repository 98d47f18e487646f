"""What can be said of a plug-in without running it: its constructor and its file's docstring."""

from __future__ import annotations

import inspect
import math
from typing import Any

from bnas_bench.plugins.checks.contract import require
from bnas_bench.plugins.registry import Plugin
from bnas_bench.plugins.source import Source
from bnas_bench.search.strategy import options_of
from bnas_bench.search.untouched import untouched

ROOMS = ("core", "data", "nn", "packed", "cost", "search", "methods", "spaces")
"""Of `bnas_bench`, those that a method may import from: no room that knows tables or records."""

CLOSED = ("bnas_bench.data.datasets.load", "sklearn.datasets", "torchvision.datasets")
"""Beside the other rooms."""

PLAIN = (type(None), bool, int, float, str)


def check_import(plugin: Plugin) -> None:
    """Importing the file leaves torch's switches, the environment and the like as they are."""
    with untouched("the file, as it is imported,"):
        plugin.load()


def check_constructor(plugin: Plugin) -> None:
    """The constructor takes keyword-only options and keeps each under its name."""
    cls = plugin.load()
    signature = inspect.signature(cls).parameters
    for name, parameter in signature.items():
        require(
            parameter.kind is parameter.KEYWORD_ONLY,
            f"the constructor's '{name}' is not keyword-only; decorate the class with "
            "@dataclass(kw_only=True), or write the argument behind a *",
        )
    instance = plugin.make({})
    for name, parameter in signature.items():
        default = parameter.default
        kept = vars(instance).get(name, parameter.empty)
        require(
            kept is default or (type(kept) is type(default) and kept == default),
            f"option '{name}' is {default!r}, and the instance keeps "
            f"{'nothing' if kept is parameter.empty else repr(kept)} under that name",
        )
    if plugin.kind == "method":
        for name, hint in inspect.get_annotations(cls).items():
            require(
                name in signature or "ClassVar" in str(hint),
                f"'{name}' reads like an option and is none; decorate the class with "
                "@dataclass(kw_only=True), or annotate it as a ClassVar",
            )
        for name in vars(instance):
            require(
                name in signature,
                f"the constructor makes '{name}'; let it store its options and nothing else",
            )


def check_defaults(plugin: Plugin) -> None:
    """Every default is a finite plain value or a tuple of them, and the same without an import."""
    for name, default in options_of(plugin.load()).items():
        require(
            _is_plain(default),
            f"the default of option '{name}' is {default!r}; "
            "use None, a bool, a finite number, a text or a tuple of these",
        )
    require(
        plugin.defaults == options_of(plugin.load()),
        f"the file reads as if the defaults were {plugin.defaults}",
    )


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(type(part) in PLAIN and _is_plain(part) for part in value)
    return type(value) in PLAIN and (not isinstance(value, float) or math.isfinite(value))


def check_docstring(plugin: Plugin) -> None:
    """The file opens with a title; it says what deviates from its paper and what that left open."""
    lines = [line.strip() for line in plugin.doc.splitlines()]
    require(bool(lines and lines[0]), "the file has no docstring; open it with a title")
    if "not from a paper" in " ".join(plugin.doc.split()).lower():
        return
    for section in ("Deviations", "Open in the paper"):
        require(
            any(line.rstrip(":.") == section for line in lines),
            f"the file's docstring has no section '{section}'; "
            "add it, or the words 'not from a paper'",
        )


def check_imports(plugin: Plugin) -> None:
    """A method imports nothing that knows test images, tables or records of other trials."""
    for name in Source.read(plugin.file).imports() if plugin.kind == "method" else ():
        package, *parts = name.split(".")
        closed = package == "bnas_bench" and parts[:1] not in [[room] for room in ROOMS]
        closed |= any(f"{name}.".startswith(f"{shut}.") for shut in CLOSED)
        require(
            not closed,
            f"the file imports {name}, which knows what a search is not to see; "
            "its task and its meter are all that a search has",
        )


FILE_CHECKS = (check_import, check_constructor, check_defaults, check_docstring, check_imports)
