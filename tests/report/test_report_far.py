"""Axes of accuracies where a run lies far below all others."""

from __future__ import annotations

from pathlib import Path

import pytest

from bnas_bench.analysis.frame import Row
from bnas_bench.report import far
from bnas_bench.runs.store import Store
from tests.helpers.records import done, put, results, trials

NEAR = [86.0, 87.0, 88.0, 87.5, 86.5]


def rows(tmp_path: Path, **accuracies: list[float]) -> list[Row]:
    store = Store(tmp_path / "some")
    for method, values in accuracies.items():
        for trial, value in zip(trials(method, seeds=len(values)), values, strict=True):
            put(store, done(trial, value))
    ((_, found),) = results(store).settings.items()
    return list(found)


@pytest.mark.parametrize(
    ("bats", "edge"),
    [
        (NEAR, None),
        ([*NEAR[:4], 84.0], None),
        ([*NEAR[:4], 10.0], 71.0),  # the mean of bats, 71.7, stays on the axis
        ([10.0] * 5, None),
    ],
)
def test_an_axis_begins_above_what_lies_far_below(
    tmp_path: Path, bats: list[float], edge: float | None
) -> None:
    found = rows(tmp_path, random=NEAR, darts=NEAR, bats=bats)
    assert far.edge(found) == edge
    assert far.said(found, ("is away", "are away")) == (
        "" if edge is None else " 1 run of less than 71 % (from 10.0 %) is away."
    )
