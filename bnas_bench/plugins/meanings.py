"""What the options of a method or a space mean, from the docstrings of its classes: nothing is run."""

from __future__ import annotations

import re
from collections.abc import Iterable

from bnas_bench.plugins.registry import BASES, Plugin
from bnas_bench.plugins.source import Source

ENTRY = re.compile(r"((?:\w+, )*\w+): (.*)")
"""A line of a docstring that begins what one or several arguments mean."""


def meanings(plugin: Plugin) -> dict[str, str]:
    """What each option means, by its name; those of which no docstring says it are left out."""
    docs = Source.read(plugin.file).docs(plugin.class_name, BASES[plugin.kind].__name__)
    found: dict[str, str] = {}
    for doc in docs:
        found = dict(_arguments(doc)) | found
    return {name: found[name] for name in plugin.defaults if name in found}


def _arguments(doc: str) -> Iterable[tuple[str, str]]:
    """The names under `Args:`, each with its text on one line."""
    _, _, after = doc.partition("Args:\n")
    entries: list[tuple[list[str], list[str]]] = []
    for line in after.splitlines():
        if line and not line.startswith("    "):
            break
        if not line.startswith("        ") and (found := ENTRY.fullmatch(line.strip())):
            entries.append((found[1].split(", "), [found[2]]))
        elif entries:
            entries[-1][1].append(line.strip())
    for names, lines in entries:
        yield from ((name, " ".join(filter(None, lines))) for name in names)
