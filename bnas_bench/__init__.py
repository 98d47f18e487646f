"""bnas-bench: which search strategy finds the better 1-bit network, and what that network costs.

`import bnas_bench as bb`, and then:

    frame = bb.run(["random", "dcpnas[lam=0]"], space="darts-binary", seeds=3, budget="smoke")
    bb.summarise(frame)

Everything is loaded when it is first used, so that importing this package takes no time.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

__version__ = "0.1.0"

AUTHORS = {
    **dict.fromkeys(("Architecture", "Decision", "Mix", "Option"), "core.architecture"),
    **dict.fromkeys(("Budget", "NetworkSpec", "Recipe", "Scale"), "core.budget"),
    **dict.fromkeys(("Candidate", "SearchResult", "SearchStrategy"), "search.strategy"),
    "SearchSpace": "search.space",
}
"""What a file of a method or a space is written with, and where it stands."""

PACKAGES = ("methods", "spaces", "report")
"""Verbs that are packages as well: `bb.methods()`, and `bnas_bench.methods.dcpnas`."""

FACE = {
    **AUTHORS,
    **dict.fromkeys(("method", "space"), "plugins.making"),
    **dict.fromkeys((*PACKAGES, "datasets", "budgets", "run", "load_results", "export"), "api"),
    **dict.fromkeys(("reproduce", "audit", "measure", "load_network", "show", "table"), "api"),
    **dict.fromkeys(("summarise", "interval"), "analysis.summary"),
}
"""All that a notebook needs, and where it stands."""


def __getattr__(name: str) -> Any:
    if name in FACE:
        return getattr(importlib.import_module(f"bnas_bench.{FACE[name]}"), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *FACE})


class _Verb(ModuleType):
    """A package that can be called: whatever has imported it, `bb.methods()` lists the methods."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return getattr(importlib.import_module("bnas_bench.api"), self.__name__.rpartition(".")[2])(
            *args, **kwargs
        )


for _name in PACKAGES:
    importlib.import_module(f"bnas_bench.{_name}").__class__ = _Verb
