"""How much of the planted optima every method finds: a page in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from bnas_bench.plugins.checks.contract import one_thread
from bnas_bench.plugins.checks.planted import (
    BASELINE,
    COMPARED,
    LEVEL,
    PASSES,
    RESAMPLES,
    SEEDS,
    Trials,
    drawn,
    left_out,
)
from bnas_bench.plugins.checks.planted_tasks import TASKS
from bnas_bench.plugins.registry import Plugin, discover

HEAD = f"""# Planted optima

Written by `make planted`, in some twenty minutes of one core. Four small tasks have an architecture that
is best by construction (`bnas_bench/plugins/checks/planted_tasks.py`). Every method searches each of them
with its defaults and {PASSES:,} passes, {len(SEEDS)} times, each time on images of its own; `bars` and
`nasbnn` are told what networks may cost. A cell is the mean share of decisions at their planted option, the
chance that draws from the space reach it, and the chance that `{BASELINE}` does, a search at the same budget
(permutation tests, which show {1 / (1 + RESAMPLES)} at the least). `bnas-bench check` wants the first below
{LEVEL}: **what misses it is bold**. A number in brackets is the reason why a task is not asked of a method.

- `destroys`: one option computes, the others look at what every network sees anyway, at noise, at nothing.
- `reach`: a decision's signal can be seen by one dilation alone, whatever the filters.
- `cost`: two kernels see the same; only the smaller one everywhere meets the limit of OPs.
- `child`: magnitudes tell a real-valued network twice as often as signs do, and nothing at 1 bit.
"""


def planted_page() -> str:
    """The page; searches for all of it."""
    reasons: list[str] = []
    rows = [["", *TASKS], ["---"] * (1 + len(TASKS))]
    rows.append(["draws", *(f"{np.mean(drawn(task)):.0%}" for task in TASKS)])
    methods = discover("method")
    baseline = {task: Trials(methods[BASELINE], task) for task in TASKS}
    with one_thread():
        for name, method in methods.items():
            rows.append([f"`{name}`", *_cells(method, baseline, reasons)])
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    notes = "\n".join(f"{number}. {reason}." for number, reason in enumerate(reasons, 1))
    return f"{HEAD}\n{table}\n\n{notes}\n"


def _cells(method: Plugin, baseline: Mapping[str, Trials], reasons: list[str]) -> Iterator[str]:
    for task in TASKS:
        if reason := left_out(method.name, task):
            if reason not in reasons:
                reasons.append(reason)
            note = f"({reasons.index(reason) + 1})"
            yield f"{np.mean(baseline[task].shares):.0%} {note}" if reason == COMPARED else note
            continue
        trials = Trials(method, task)
        cell = f"{np.mean(trials.shares):.0%}, p = {trials.p:.2g}"
        if left_out(BASELINE, task) == COMPARED:
            cell += f" and {trials.chance(baseline[task].shares):.2g}"
        yield cell if trials.p < LEVEL else f"**{cell}**"
