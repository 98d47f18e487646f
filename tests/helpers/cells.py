"""Cells of the toy plug-ins."""

from __future__ import annotations

import math
import os
from functools import partial
from pathlib import Path
from typing import Any

from bnas_bench.core import Budget
from bnas_bench.grid import Cell, Choice, expand
from bnas_bench.registry import find

TOY = Path(__file__).with_name("toy.py")

BUDGET = Budget("toy", 3000, 64, search_fraction=0.5, valid_fraction=0.2, epochs=4, train_batch=128)


def toy_method(**options: Any) -> Choice:
    plugin = find("method", f"{TOY}:ToyMethod")
    return plugin, plugin.defaults | options


def toy_space(**options: Any) -> Choice:
    plugin = find("space", f"{TOY}:ToySpace")
    return plugin, plugin.defaults | options


def toy_cells(*options: dict[str, Any], seeds: int = 1, budget: Budget = BUDGET) -> list[Cell]:
    """A cell for every set of the method's options."""
    methods = [toy_method(**each) for each in options or [{}]]
    return expand(methods, [toy_space()], ["digits"], [budget], seeds)


def toy_cell(budget: Budget = BUDGET, space: dict[str, Any] | None = None, **options: Any) -> Cell:
    return Cell(*toy_method(**options), *toy_space(**(space or {})), "digits", budget, 0)


def run_saving_always(cell: Cell, root: Path, trace: Path) -> None:
    """Run a cell in this process, with a checkpoint after every epoch and a trace of the search."""
    from bnas_bench import run
    from bnas_bench.checkpoint import Checkpoint
    from bnas_bench.store import Store

    os.environ["TOY_TRACE"] = str(trace)
    run.Checkpoint = partial(Checkpoint, share=math.inf)  # type: ignore[misc, assignment]
    run.run_cell(cell, Store(root), threads=1)
