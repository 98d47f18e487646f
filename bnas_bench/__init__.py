"""bnas-bench: which search strategy finds the better 1-bit network, and what that network costs.

Everything is loaded when it is first used, so that importing this package takes no time.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

AUTHORS = {
    **dict.fromkeys(("Architecture", "Decision", "Mix", "Option"), "core.architecture"),
    **dict.fromkeys(("Budget", "NetworkSpec", "Recipe", "Scale"), "core.budget"),
    **dict.fromkeys(("Candidate", "SearchResult", "SearchStrategy"), "search.strategy"),
    "SearchSpace": "search.space",
}
"""What a file of a method or a space is written with, and where it stands."""


def __getattr__(name: str) -> Any:
    if name in AUTHORS:
        return getattr(importlib.import_module(f"bnas_bench.{AUTHORS[name]}"), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *AUTHORS})
