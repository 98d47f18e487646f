"""The settings of results as a page tells them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from bnas_bench.analysis.frame import Row, Setting
from bnas_bench.analysis.table import Table
from bnas_bench.report.answer import answer
from bnas_bench.report.model import Part, Picture, RunView
from bnas_bench.report.tables import circumstances

BUDGET = "budget."
"""What the lines of a run's configuration begin with that say its budget."""


def part(
    name: str,
    setting: Setting,
    rows: Sequence[Row],
    budget: str,
    views: Mapping[str, RunView],
    tables: Sequence[Table],
    pictures: Sequence[Picture],
    plots: Mapping[str, Any],
) -> Part:
    """A setting with at least one row.

    Args:
        name: of the setting in files.
        budget: its short name.
        views: of its runs, by id.
        tables: its own, the comparison first.
    """
    runs = [run for row in rows for run in row.runs]
    images = {run.test_images for run in runs} - {0}
    dataset = setting.dataset + (f", {images.pop():,} test images" if len(images) == 1 else "")
    return Part(
        name=name,
        title=f"{setting.space}, {setting.dataset}, budget {budget}",
        answer=answer(rows),
        circumstances={
            "space": setting.space,
            "dataset": dataset,
            "budget": budget,
            "seeds": _seeds(rows),
            "machine": " and ".join(sorted({run.facts["machine"] for run in runs})),
        },
        budget=_budget(setting, views[runs[0].id].config) if runs else {},
        # The longest first, as the others are within it.
        said=[f"{circumstances(setting, rows)}. ", f", on {setting}", f" on {setting}"],
        tables=tables,
        pictures=pictures,
        plots=plots,
    )


def short_budgets(budgets: Sequence[str]) -> dict[str, str]:
    """A short name for each: what stands before its bracket, numbered where that is not enough."""
    plain = {budget: re.split(r"\[| \(", budget)[0] for budget in dict.fromkeys(budgets)}
    shared, used = Counter(plain.values()), Counter[str]()
    short = {}
    for budget, name in plain.items():
        used[name] += 1
        number = f" {used[name]}" if shared[name] > 1 else ""
        short[budget] = f"{name}{number}" + (", changed" if budget != name else "")
    return short


def _seeds(rows: Sequence[Row]) -> str:
    """How many there are of each method: "3", or "10 to 30"."""
    counts = {row.planned for row in rows}
    return f"{min(counts)}" if len(counts) == 1 else f"{min(counts)} to {max(counts)}"


def _budget(setting: Setting, config: Mapping[str, str]) -> dict[str, str]:
    """What a budget's name stands for."""
    lines = {k.removeprefix(BUDGET): v for k, v in config.items() if k.startswith(BUDGET)}
    return {"name": setting.budget} | {k: v for k, v in lines.items() if k != "name"}
