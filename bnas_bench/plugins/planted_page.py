"""How much of the planted optima every method finds: a page in Markdown."""

from __future__ import annotations

import numpy as np

from bnas_bench.packed.engine.threads import torch_threads
from bnas_bench.plugins.checks.planted import (
    LEVEL,
    RESAMPLES,
    SEEDS,
    Trials,
    drawn,
    found_by_random,
    planted_trials,
)
from bnas_bench.plugins.checks.planted_ideas import BASELINE
from bnas_bench.plugins.checks.planted_tasks import IMAGES, TASKS
from bnas_bench.plugins.registry import discover

HEAD = f"""# Planted optima

Written by `make planted`, in some twenty minutes of one core. In {len(TASKS)} small tasks an
architecture is best by construction (`bnas_bench/plugins/checks/planted_tasks.py`). A method searches those
that its idea covers (`planted_ideas.py`) {len(SEEDS)} times, each time on images of its own, with its
defaults; `bars` and `nasbnn` are told what networks may cost, and `evolution` to ask for scores where the
task computes them. A cell is the mean share of decisions at their planted option, and the chance that
`{BASELINE}` is as good with as many passes ({LEVEL} and above is bold, and fails `bnas-bench check`); in its
own row, the chance that draws are (permutation tests, which show {1 / (1 + RESAMPLES)} at the least). A
number in brackets is the reason why a task is not asked of a method: `bnas-bench check` shows it as well.

- `destroys`: one option computes, the others look at what every network sees anyway, at noise, at nothing.
- `reach`: a decision's signal can be seen by one dilation alone, whatever the filters.
- `cost`: two kernels see the same; only the smaller one everywhere meets the limit of OPs. Here `{BASELINE}`
  draws nothing dearer.
- `child`: magnitudes tell a real-valued network twice as often as signs do, and nothing at 1 bit.
- `longer`: `destroys` with six times as many passes.
- `afford`: `cost` with ten times as many passes and images that train: `{BASELINE}` trains nine networks in
  both, and to evaluate one with inherited weights costs a tenth as much, beside a training.
- `distinct`: `destroys` without noise: what shows most that differs is best.
- `few`, `climb`: twelve decisions add up, of 16.8 million architectures, and the budget holds 36 and 225
  trainings of four epochs.
- `halve`: the same space; a network has learned 21 % of what it can after one epoch, 60 % after four and
  all of it after 27, so that one epoch tells bad from good and only a long training good from best.

Where a task's scores are computed (`few`, `climb`, `halve`), no network is trained: the closed form of the
architecture's accuracy answers, with the luck of {IMAGES} validation images, and charges what the training
would have cost. A method that the suite does not know is held to `destroys`, `reach` and `child`, and one
that asks for scores to `climb`.
"""


def planted_page() -> str:
    """The page; searches for all of it."""
    reasons: list[str] = []
    rows = [["", *TASKS], ["---"] * (1 + len(TASKS))]
    rows.append(["passes", *(f"{task.passes:,}" for task in TASKS.values())])
    rows.append(["draws", *(f"{np.mean(drawn(task)):.0%}" for task in TASKS)])
    with torch_threads(1):
        for name, method in discover("method").items():
            cells = [_cell(trials, reasons) for trials in planted_trials(method)]
            rows.append([f"`{name}`", *cells])
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    notes = "\n".join(f"{number}. {reason}." for number, reason in enumerate(reasons, 1))
    return f"{HEAD}\n{table}\n\n{notes}\n"


def _cell(trials: Trials, reasons: list[str]) -> str:
    if trials.left_out is not None:
        if trials.left_out not in reasons:
            reasons.append(trials.left_out)
        note = f"({reasons.index(trials.left_out) + 1})"
        if trials.method.name != BASELINE:
            return note
        return f"{np.mean(found_by_random(trials.name)):.0%} {note}"
    if trials.method.name == BASELINE:
        trials.__dict__["shares"] = found_by_random(trials.name)
    cell = f"{np.mean(trials.shares):.0%}, p = {trials.p:.2g}"
    return cell if trials.p < LEVEL else f"**{cell}**"
