"""Plug-ins as results name them: only those that are known already; no file that came along is run."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from bnas_bench.core.errors import BenchError
from bnas_bench.plugins.registry import Kind, Plugin, known
from bnas_bench.plugins.spec import pairs, parse_spec
from bnas_bench.search.space import SearchSpace


def space(name: str, options: Mapping[str, Any], plugin: Plugin | None = None) -> SearchSpace:
    """The space of a record, with options as JSON gives them back.

    Args:
        plugin: what a person has named in place of the record's.

    Raises:
        BenchError: if no known space has that name, or it has no such options.
    """
    plugin = plugin or known("space", name)
    texts = dict(pair.split("=", 1) for pair in pairs(options))
    made = plugin.make(plugin.resolve(texts))
    made.name = name  # as its architectures name it, wherever the person's file lies
    return made


def written(text: str) -> SearchSpace:
    """The space that a file names as a command line would, `bnas-201` or `darts-binary[zeroise=true]`.

    Raises:
        BenchError: if no known space has that name, or it has no such options.
    """
    spec = parse_spec(text)
    plugin = known("space", spec.name)
    return plugin.make(plugin.resolve(spec.options))


@cache
def defaults(kind: Kind, name: str) -> Mapping[str, Any]:
    """A plug-in's options, which a row's name need not say.

    None are known of code that is gone, or in a file that nobody has named: its rows say every option.
    """
    try:
        return known(kind, name).defaults
    except BenchError:
        return {}
