"""Methods over several datasets: the table of means and ranks, and performance profiles."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

import numpy as np

from bnas_bench.analysis.frame import Results, Row
from bnas_bench.analysis.measures import MEASURES
from bnas_bench.analysis.stats import (
    CriticalDifference,
    Curve,
    NotEnough,
    critical_difference,
    performance_profile,
)
from bnas_bench.analysis.table import Column, Table, Value, missing
from bnas_bench.report.tables import METHOD
from bnas_bench.report.values import mean

GRID = 100
"""Accuracies at which a performance profile is taken."""


@dataclass(frozen=True)
class Family:
    """The settings of one space and budget, which differ in their datasets alone.

    Attributes:
        rows: by method and dataset, where runs finished.
    """

    space: str
    budget: str
    datasets: Sequence[str]
    rows: Mapping[str, Mapping[str, Row]]

    def __str__(self) -> str:
        return f"{self.space}, budget {self.budget}"

    @cached_property
    def complete(self) -> dict[str, Mapping[str, Row]]:
        """The methods all of whose trials finished on every dataset."""
        return {
            method: rows
            for method, rows in self.rows.items()
            if len(rows) == len(self.datasets) and all(row.complete for row in rows.values())
        }

    def critical(self) -> CriticalDifference | NotEnough:
        """Between the complete methods, by their mean test accuracy."""
        return critical_difference(
            {
                method: {
                    dataset: fmean(row.by_seed("test_accuracy").values())
                    for dataset, row in rows.items()
                }
                for method, rows in self.complete.items()
            }
        )

    def profiles(self) -> dict[str, Curve]:
        """The part of each complete method's runs, over all datasets, above each accuracy."""
        scores = {
            method: {
                name: list(row.by_seed("test_accuracy").values()) for name, row in rows.items()
            }
            for method, rows in self.complete.items()
        }
        every = [x for tasks in scores.values() for values in tasks.values() for x in values]
        if not every:
            return {}
        grid = np.linspace(min(every), max(every), GRID)
        found = {method: performance_profile(tasks, grid) for method, tasks in scores.items()}
        return {method: curve for method, curve in found.items() if isinstance(curve, Curve)}

    def ids(self) -> list[str]:
        return [run for rows in self.complete.values() for row in rows.values() for run in row.ids]


def families(results: Results) -> list[Family]:
    """The settings of each space and budget, with most runs first."""
    grouped: dict[tuple[str, str], dict[str, Sequence[Row]]] = defaultdict(dict)
    for setting, group in results.settings.items():
        grouped[setting.space, setting.budget][setting.dataset] = group
    found = []
    for (space, budget), settings in grouped.items():
        rows: dict[str, dict[str, Row]] = defaultdict(dict)
        for dataset, group in settings.items():
            for row in group:
                if row.runs:
                    rows[row.method][dataset] = row
        found.append(Family(space, budget, list(settings), rows))
    return found


def dataset_table(family: Family, name: str) -> Table | None:
    """Mean accuracy by method and dataset, and average ranks; None for a single dataset."""
    if len(family.datasets) < 2:
        return None
    found = family.critical()
    ranks = {} if isinstance(found, NotEnough) else found.ranks
    accuracy = MEASURES["test_accuracy"]
    lines = []
    for method, rows in family.rows.items():
        line = {"method": Value(text=method)}
        for dataset in family.datasets:
            row = rows.get(dataset)
            line[_key(dataset)] = (
                mean(row, "test_accuracy", accuracy) if row else missing("no run finished")
            )
        if rank := ranks.get(method):
            ids = [run for row in rows.values() for run in row.ids]
            line["rank"] = Value(text=f"{rank:.2f}", kind="computed", number=rank, runs=ids)
        lines.append(line)
    return Table(
        name=name,
        title=f"Datasets on {family}",
        caption=(
            f"Space {family.space}, budget {family.budget}. Test accuracy (%) on each dataset, mean ± sample "
            "standard deviation over the seeds [95 % t interval]; average rank over the datasets, 1 is best."
        ),
        columns=[
            METHOD,
            *(
                Column(key=_key(dataset), title=dataset, better="higher")
                for dataset in family.datasets
            ),
            *([Column(key="rank", title="average rank", better="lower")] if ranks else []),
        ],
        rows=lines,
        notes=[difference_in_words(family, found)],
    )


def difference_in_words(family: Family, found: CriticalDifference | NotEnough) -> str:
    """What the critical difference is, or why there is none."""
    if isinstance(found, NotEnough):
        return f"No critical difference on {family}: {found.reason}."
    words = (
        f"Friedman's test of {len(found.ranks)} methods on {found.n} datasets: p = {found.p:.2g}; average "
        f"ranks that differ by {found.difference:.2f} differ (Nemenyi, alpha {found.alpha:g})."
    )
    if left_out := [method for method in family.rows if method not in found.ranks]:
        words += f" Not ranked, as trials of them are missing: {', '.join(left_out)}."
    return words


def _key(dataset: str) -> str:
    return f"on-{dataset}"
