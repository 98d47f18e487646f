"""What a page's figures are drawn from, and what it says of them in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from bnas_bench.analysis.frame import Row
from bnas_bench.report.model import RunView
from bnas_bench.report.plots import (
    ENTRIES,
    accuracy_seen,
    cost_seen,
    curves_seen,
    plots,
    ranks_seen,
    regret_seen,
    thinned,
)
from bnas_bench.report.style import looks
from bnas_bench.runs.store import Store
from tests.helpers.records import done, put, results, trials


@pytest.fixture
def rows(tmp_path: Path) -> list[Row]:
    """Two methods with three seeds each: bats is more accurate, and costs more."""
    store = Store(tmp_path / "some")
    for method, level in (("random", 90.0), ("bats", 95.0)):
        for seed, trial in enumerate(trials(method, seeds=3)):
            ops = {"nas-bnn": 1e6 * (level - 85 + seed), "honest": 6e4}
            put(store, done(trial, level + seed, ops=ops, packed_latency_ms=None))
    ((_, found),) = results(store).settings.items()
    return list(found)


def test_methods_runs_and_curves(rows: list[Row]) -> None:
    first = rows[0].runs[0].id
    views = {
        run.id: RunView(
            id=run.id,
            status="ok",
            command="",
            config={"lr": row.method, "schema": "1", "seed": str(run.seed[1])},
            architecture={"normal.edge(0,2)": f"conv_{row.method}", "normal.edge(1,2)": "none"},
        )
        for row in rows
        for run in row.runs
    }
    found = plots(rows, looks(["darts", "random", "bats"]), {first: ([1, 2], [50, 60])}, views, {})
    random, bats = found["methods"]
    assert (random["name"], random["colour"], random["mean"]) == ("random", 1, 91.0)
    # sd 1, t of 2 degrees of freedom 4.30265, over sqrt(3): 2.48414.
    assert (random["lower"], random["upper"]) == (88.5159, 93.4841)
    assert (bats["name"], bats["upper"]) == ("bats", 98.4841)
    assert [(run["method"], run["seed"], run["accuracy"]) for run in found["runs"][2:4]] == [
        (0, "2", 92.0),
        (1, "0", 95.0),
    ]
    assert found["runs"][3]["costs"] == [10.0, None, 10.0, 5000.0, 3.0]
    assert found["costs"][:2] == ["OPs nas-bnn (M)", "packed latency (ms)"]
    assert found["operations"] == ["conv_bats", "conv_random"]
    assert found["differing"] == ["lr", "seed"]
    middle = rows[1].runs[1]
    assert found["gallery"][1] == {
        "method": 1,
        "id": middle.id,
        "choices": views[middle.id].architecture,
    }
    assert found["curves"] == [{"method": 0, "id": first, "x": [1, 2], "y": [50, 60]}]


def test_what_is_seen_is_said(rows: list[Row]) -> None:
    assert accuracy_seen(rows) == (
        "Mean test accuracy in %, best first: bats 96.0, random 91.0. Single runs lie between 90.0 and 97.0."
    )
    assert cost_seen(rows) == (
        "6 runs from 5.000 to 12.000 OPs nas-bnn (M). On the front, by rising cost: random (5.000, 90.0 %), "
        "random (6.000, 91.0 %), random (7.000, 92.0 %), bats (10.000, 95.0 %), bats (11.000, 96.0 %), "
        "bats (12.000, 97.0 %)."
    )
    assert cost_seen(rows, "packed_latency_ms") == "No run is shown."
    curves = {"bats": [([1, 2], [50.0, 60.0]), ([1, 2], [50.0, 40.0])]}
    assert curves_seen(curves) == (
        "Validation accuracy in % at the end of each method's searches, on average: bats 50.0, not always "
        "rising."
    )


def test_what_a_table_says_of_searches(rows: list[Row]) -> None:
    views = {run: RunView(id=run, status="ok", command="") for row in rows for run in row.ids}
    searches = {"bats": [([100, 200], [4.0, 2.0]), ([100, 200], [2.0, 0.0])]}
    found = plots(rows, looks(["random", "bats"]), {}, views, searches)
    (curve,) = found["regrets"]
    assert (curve["method"], curve["x"][-1], len(curve["x"])) == (1, 200, ENTRIES)
    assert curve["y"][0] is None  # before the first incumbent
    assert {y for x, y in zip(curve["x"], curve["y"], strict=True) if 100 <= x < 200} == {3}
    assert (curve["y"][-1], curve["lower"][-1], curve["upper"][-1]) == (1, 0, 2)
    assert regret_seen({**searches, "random": [([1], [5.0])]}) == (
        "Mean regret in points at the end of the searches, the least first: bats 1.00, random 5.00."
    )
    assert ranks_seen({"random": [10.0, 50.0, 60.0], "bats": [99.0]}) == (
        "Per cent of the table that is worse than what the median seed found, the highest first: bats 99.0, "
        "random 50.0."
    )


def test_a_long_curve_keeps_its_ends() -> None:
    x, y = thinned(range(1000), [k / 10 for k in range(1000)])
    assert len(x) == len(y) == ENTRIES
    assert (x[0], x[-1], y[-1]) == (0, 999, 99.9)
    assert thinned([7.0], [1.0]) == ([7.0], [1.0])
