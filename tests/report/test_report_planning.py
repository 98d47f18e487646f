"""What seeds could show, against drawing them."""

from __future__ import annotations

from pathlib import Path

import pytest
from scipy.stats import nct, t

from bnas_bench.report.planning import power_tables
from bnas_bench.runs.store import Store
from tests.helpers.cli import fail, succeed
from tests.helpers.records import done, put, results, trials


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two methods of three seeds: variances of 13 and 1, so that the pooled deviation is sqrt(7)."""
    store = Store(tmp_path / "some")
    for method, values in (("random", [90.0, 92.0, 97.0]), ("dcpnas", [80.0, 81.0, 82.0])):
        for trial, accuracy in zip(trials(method, seeds=3), values, strict=True):
            put(store, done(trial, accuracy))
    return store


def test_plans_are_those_of_the_noncentral_t(store: Store) -> None:
    (table,) = power_tables(results(store), [2.0])
    assert "2.65 points, pooled over 2 methods" in table.caption
    by_plan = {line["plan"].text: line["one"] for line in table.rows}
    least = by_plan["10 seeds"].number
    shift = least / (7**0.5 * (2 / 10) ** 0.5)
    assert nct.sf(t.ppf(0.975, 18), 18, shift) == pytest.approx(0.8)
    n = by_plan["2 points"].number
    for seeds, enough in ((n, True), (n - 1, False)):
        df, shift = 2 * seeds - 2, 2 / (7**0.5 * (2 / seeds) ** 0.5)
        assert bool(nct.sf(t.ppf(0.975, df), df, shift) >= 0.8) is enough


def test_the_command_prints_them(store: Store) -> None:
    root = str(store.root.parent)
    output = succeed("power", "some", "--results", root, "--difference", "2", "--difference", "5")
    assert "2 points" in output
    assert "5 points" in output
    error = fail("power", "some", "--results", root, "--difference", "0")
    assert error.startswith("bnas-bench: --difference is '0'; it takes a number of at least")


def test_without_spread_nothing_is_planned(tmp_path: Path) -> None:
    store = Store(tmp_path / "some")
    put(store, done(trials("random")[0], 90.0))
    (table,) = power_tables(results(store), [1.0])
    assert not table.rows
    assert table.caption.startswith("no two runs of one method")
