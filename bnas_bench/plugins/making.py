"""Makes methods and spaces from text: `dcpnas[lam=0]`, `darts-binary[zeroise=true]`, `my/file.py:Class`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bnas_bench.plugins.registry import Kind, Plugin, find
from bnas_bench.plugins.spec import Spec, parse_spec
from bnas_bench.search.space import SearchSpace
from bnas_bench.search.strategy import SearchStrategy

Choice = tuple[Plugin, Mapping[str, Any]]
"""A plug-in with all its options."""


def choose(kind: Kind, what: str | Spec, common: Mapping[str, str] | None = None) -> Choice:
    """The plug-in that a text names, with all its options, typed.

    Args:
        common: options that the text may overrule.

    Raises:
        UnknownName: if nothing has that name, or it has no such option.
        BadValue: if the text has another form, or an option does not take its value.
        BadPlugin: if the file cannot be used.
    """
    spec = what if isinstance(what, Spec) else parse_spec(what)
    plugin = find(kind, spec.name)
    return plugin, plugin.resolve({**(common or {}), **spec.options})


def method(text: str) -> SearchStrategy:
    """The method that is written so, as `dcpnas[lam=0]`; raises what `choose` raises."""
    plugin, options = choose("method", text)
    return plugin.make(options)


def space(text: str) -> SearchSpace:
    """The space that is written so, as `darts-binary[zeroise=true]`; raises what `choose` raises."""
    plugin, options = choose("space", text)
    return plugin.make(options)
