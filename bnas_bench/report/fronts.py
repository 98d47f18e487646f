"""The table of fronts between accuracy and OPs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import isfinite

from bnas_bench.analysis.frame import Row, Setting
from bnas_bench.analysis.logs import NO_LOG
from bnas_bench.analysis.stats import hypervolume
from bnas_bench.analysis.table import Column, Table, Value
from bnas_bench.core.files import read_regular
from bnas_bench.report.tables import METHOD, N, circumstances, warnings
from bnas_bench.report.values import average, counted
from bnas_bench.runs.store import Store

BEYOND = 1.1
"""OPs of the reference point, as a multiple of the dearest network's, so that this one counts too."""

Front = tuple[Sequence[float], Sequence[float]]
"""Accuracies in per cent, and OPs."""


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
            line["runs"] = average([volume], row.ids, n=len(row.runs))
        if ids := [run.id for run in row.runs if run.front_size]:
            volumes = [_volume(searched[run], searched_corner) for run in ids]
            line["searches"] = average(volumes, ids, spread=True)
        lines.append(line)
    columns = [Column(key="runs", title="front of the runs (%)", better="higher")]
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
