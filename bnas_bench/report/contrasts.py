"""Tables of statistics over the seeds of a setting: against `random`, of ranks, of fronts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import isfinite

from bnas_bench.analysis.frame import Row, Setting
from bnas_bench.analysis.searches import NO_LOG
from bnas_bench.analysis.stats import (
    Estimate,
    NotEnough,
    Paired,
    holm,
    hypervolume,
    improvement_over_random,
    paired,
    probability_of_improvement,
    rank_correlation,
)
from bnas_bench.analysis.table import Column, Table, Value, missing
from bnas_bench.core.files import read_regular
from bnas_bench.report.tables import METHOD, N, circumstances, warnings
from bnas_bench.report.values import average, counted, estimate, p_value
from bnas_bench.runs.store import Store

RANDOM = "random"
"""The method that all others are compared with."""

BEYOND = 1.1
"""OPs of the reference point, as a multiple of the dearest network's, so that this one counts too."""

Front = tuple[Sequence[float], Sequence[float]]
"""Accuracies in per cent, and OPs."""

PAIRED = {
    "n": "n",
    "difference": "difference (points)",
    "t": "p of t test",
    "holm": "p of t test (Holm)",
    "wilcoxon": "p of Wilcoxon",
    "least": "least p of Wilcoxon",
}


def against_random(setting: Setting, rows: Sequence[Row], name: str) -> Table | None:
    """Every method against `random` on the seeds that both have; None without two to compare."""
    base = next((row for row in rows if row.method == RANDOM and row.runs), None)
    others = [row for row in rows if row is not base and row.runs]
    if base is None or not others:
        return None
    found = {
        row.method: paired(row.by_seed("test_accuracy"), base.by_seed("test_accuracy"))
        for row in others
    }
    tested = {
        method: pair.t_p
        for method, pair in found.items()
        if isinstance(pair, Paired) and isinstance(pair.t_p, float)
    }
    adjusted = holm(tested)
    columns = {
        **{key: Column(key=key, title=title) for key, title in PAIRED.items()},
        "improvement": Column(key="improvement", title="P(better)", better="higher"),
        "relative": Column(key="relative", title="RI (%)", better="higher"),
    }
    return Table(
        name=name,
        title=f"Against random on {setting}",
        caption=(
            f"{circumstances(setting, rows)}. Test accuracy minus that of random, on the n seeds that "
            "both have: mean [95 % t interval]; p of the paired t test, by itself and with Holm's "
            f"correction for {len(tested)} comparisons; p of the exact Wilcoxon test, and the least that "
            "it can give for n. On all seeds of both [95 % bootstrap interval]: the probability that a run "
            "is better than one of random, and RI = 100 (accuracy - random) / random."
        ),
        columns=[METHOD, *columns.values()],
        rows=[
            {"method": Value(text=row.method)}
            | _tests(found[row.method], adjusted.get(row.method), [*row.ids, *base.ids])
            | _improvements(row, base)
            for row in others
        ],
        notes=warnings(rows),
    )


def _tests(
    pair: Paired | NotEnough, adjusted: float | None, ids: Sequence[str]
) -> dict[str, Value]:
    if isinstance(pair, NotEnough):
        return {key: missing(pair.reason) for key in PAIRED}
    return {
        "n": Value(text=str(pair.n), number=pair.n, runs=ids),
        "difference": estimate(Estimate(pair.difference, pair.interval), ids, pair.n, "+.2f"),
        "t": p_value(pair.t_p, ids, pair.n),
        "holm": p_value(pair.t_p if adjusted is None else adjusted, ids, pair.n),
        "wilcoxon": p_value(pair.wilcoxon_p, ids, pair.n),
        "least": p_value(pair.smallest_p, ids, pair.n),
    }


def _improvements(row: Row, base: Row) -> dict[str, Value]:
    x, y = (list(side.by_seed("test_accuracy").values()) for side in (row, base))
    ids = [*row.ids, *base.ids]
    better = probability_of_improvement({"": x}, {"": y})
    return {
        "improvement": estimate(better, ids, len(ids)),
        "relative": estimate(improvement_over_random(x, y), ids, len(ids), "+.2f"),
    }


def rank_table(setting: Setting, rows: Sequence[Row], name: str) -> Table | None:
    """How well a search's own estimate ranks what it finds; None if no search has one.

    Methods are not pooled: they estimate by different means (on a supernet's weights, after short
    trainings), and a correlation over all of them would compare the means.
    """
    lines = [line for row in rows if (line := _ranks(row))]
    if not lines:
        return None
    return Table(
        name=name,
        title=f"Estimate of the search against test accuracy on {setting}",
        caption=(
            f"{circumstances(setting, rows)}. Rank correlation [95 % bootstrap interval], over the n seeds "
            "of a method, between the validation accuracy that its search saw (on inherited weights, where "
            "it trains a supernet) and the test accuracy after training from scratch. Methods are not "
            "pooled, as they estimate by different means."
        ),
        columns=[
            METHOD,
            N,
            Column(key="tau", title="Kendall's tau-b", better="higher"),
            Column(key="rho", title="Spearman's rho", better="higher"),
        ],
        rows=lines,
        notes=warnings(rows),
    )


def _ranks(row: Row) -> Mapping[str, Value] | None:
    pairs = {
        run.id: (valid, run.values["test_accuracy"])
        for run in row.runs
        if (valid := run.values["valid_accuracy"]) is not None
    }
    if not pairs:
        return None
    ids, n = list(pairs), len(pairs)
    found = rank_correlation(*zip(*pairs.values(), strict=True))
    tau, rho = (found, found) if isinstance(found, NotEnough) else (found.tau, found.rho)
    return {
        "method": Value(text=row.method),
        "n": Value(text=str(n), number=n, runs=ids),
        "tau": estimate(tau, ids, n),
        "rho": estimate(rho, ids, n),
    }


def front_table(setting: Setting, rows: Sequence[Row], name: str, store: Store) -> Table | None:
    """The hypervolumes of each method's front of runs and of its searches' fronts.

    None if no run finished.
    """
    runs = [run for row in rows for run in row.runs]
    if not runs:
        return None
    chance = 100 / runs[0].classes
    of_runs = {
        row.method: (
            list(row.by_seed("test_accuracy").values()),
            list(row.by_seed("ops").values()),
        )
        for row in rows
    }
    searched = {run.id: read_front(store, run.id) for run in runs if run.front_size}
    corner, searched_corner = (
        (chance, BEYOND * max((ops for _, front in fronts for ops in front), default=1.0))
        for fronts in (of_runs.values(), searched.values())
    )
    lines = []
    for row in rows:
        line = {"method": Value(text=row.method), "n": counted(row)}
        if row.runs:
            volume = _volume(of_runs[row.method], corner)
            line["front"] = average([volume], row.ids, n=len(row.runs))
        if ids := [run.id for run in row.runs if run.front_size]:
            volumes = [_volume(searched[run], searched_corner) for run in ids]
            line["searches"] = average(volumes, ids, spread=True)
        lines.append(line)
    columns = [Column(key="front", title="front of the runs (%)", better="higher")]
    caption = (
        f"{circumstances(setting, rows)}. Hypervolume in per cent of the rectangle from the reference "
        f"point to 100 % at no OPs. Front of the runs: of test accuracy and OPs (nas-bnn), reference "
        f"{chance:g} % and {corner[1] / 1e6:,.3f} M OPs; it can only grow with n."
    )
    if searched:
        columns.append(Column(key="searches", title="fronts of the searches (%)", better="higher"))
        caption += (
            " Fronts of the searches: of validation accuracy and OPs at the search's scale, as each "
            "search estimates them, mean ± sample standard deviation [95 % t interval], reference "
            f"{chance:g} % and {searched_corner[1] / 1e6:,.3f} M OPs."
        )
    return Table(
        name=name,
        title=f"Fronts of accuracy and OPs on {setting}",
        caption=caption,
        columns=[METHOD, N, *columns],
        rows=lines,
        notes=warnings(rows),
    )


def _volume(front: Front, corner: tuple[float, float]) -> float:
    """In per cent of the largest."""
    chance, ops = corner
    return 100 * hypervolume(*front, corner) / ((100 - chance) * ops)


def read_front(store: Store, run: str) -> Front:
    """The members of a search's front; none if the file is gone or cannot be read."""
    try:
        members = json.loads(read_regular(store.folder(run) / "front.json"))
        front = [float(m["valid_accuracy"]) for m in members], [float(m["ops"]) for m in members]
    except (OSError, *NO_LOG):
        return [], []
    return front if all(map(isfinite, front[0] + front[1])) else ([], [])
