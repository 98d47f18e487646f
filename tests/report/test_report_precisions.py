"""What a table says of two precisions, and of the architectures that runs found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import kendalltau

from bnas_bench.analysis.frame import Row
from bnas_bench.analysis.stats import NotEnough
from bnas_bench.report.precisions import BothPrecisions, both_precisions
from bnas_bench.runs.store import Store
from tests.helpers.records import done, put, results, trials
from tests.helpers.tables import DEFINITION, order, row, table_that_judges

HELD = 60
LACKING = 3
"""Of them those that the table has at one bit alone."""


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[int, float]]:
    """By precision the mean accuracies of architectures, by their places; two are far below all others."""
    rng = np.random.default_rng(0)
    rows, found = [], dict[str, dict[int, float]]()
    for place in range(HELD):
        for precision in ("W1A1", "W32A32")[: 1 + (place < HELD - LACKING)]:
            level = 100 if place < 2 else 300
            hits = (level + rng.integers(0, 40, DEFINITION.seeds)).tolist()
            rows.append(replace(row(order()[place], precision), test_hits=hits))
            found.setdefault(precision, {})[place] = 100 * float(np.mean(hits)) / 360
    table_that_judges(tmp_path, rows, monkeypatch)
    return found


def rows(
    folder: Path, places: list[int], definition: str = DEFINITION.digest
) -> tuple[Store, list[Row]]:
    """A method whose seeds found these architectures."""
    store = Store(folder / "results" / "some")
    for place, trial in zip(
        places, trials("random", space="bnas-201", seeds=len(places)), strict=True
    ):
        judged = {"regret": 1.0, "percentile": 50.0, "table": {"definition": definition}}
        put(store, done(trial, 90.0, architecture=order()[place].to_json(), **judged))
    ((_, found),) = results(store).settings.items()
    return store, list(found)


def test_it_is_what_the_table_says_at_both(
    tmp_path: Path, table: dict[str, dict[int, float]]
) -> None:
    places = [5, 7, HELD - 1]  # the last without its real-valued twin
    store, found = rows(tmp_path, places)
    both = both_precisions(found, store)
    assert isinstance(both, BothPrecisions)
    known = range(HELD - LACKING)
    assert np.sort(both.real) == pytest.approx(sorted(table["W32A32"].values()), abs=1e-6)
    bits, real = ([table[p][k] for k in known] for p in ("W1A1", "W32A32"))
    assert both.tau.value == pytest.approx(kendalltau(bits, real).statistic, abs=1e-9)
    assert both.tau.lower < both.tau.value < both.tau.upper
    assert list(both.found) == found[0].ids[:2]
    for place, run in zip(places[:2], found[0].ids, strict=False):
        pair = (table["W32A32"][place], table["W1A1"][place])
        assert both.found[run] == pytest.approx(pair, abs=1e-6)
    (points,) = both.points(found).values()
    assert [(p.x, p.y) for p in points] == list(both.found.values())

    caption = both.caption(found)
    assert "(57, of 5,044, a random sample)" in caption
    assert "Of 1 of 3 runs the table has no real-valued accuracy." in caption
    assert "57 architectures from " in both.seen(found)
    assert f"random {np.mean([table['W32A32'][k] for k in places[:2]]):.1f} and " in both.seen(
        found
    )


def test_the_least_accurate_lie_beyond_the_axes(
    tmp_path: Path, table: dict[str, dict[int, float]]
) -> None:
    store, found = rows(tmp_path, [5])
    both = both_precisions(found, store)
    assert isinstance(both, BothPrecisions)
    left_out = len(both.real) - len(both.cloud[0])
    assert 2 <= left_out <= 6
    assert min(both.cloud[0]) > table["W32A32"][0]
    assert f"{left_out} of less than" in both.caption(found)

    store, found = rows(tmp_path / "other", [0, 1])
    both = both_precisions(found, store)
    assert isinstance(both, BothPrecisions)
    assert both.least == (
        pytest.approx(min(table["W32A32"][k] for k in (0, 1))),
        pytest.approx(min(table["W1A1"][k] for k in (0, 1))),
    )
    assert len(both.cloud[0]) == len(both.real)
    assert "beyond the axes" not in both.caption(found)

    store, found = rows(tmp_path / "many", [0, *range(5, 45)])
    both = both_precisions(found, store)
    assert isinstance(both, BothPrecisions)
    (points,) = both.points(found).values()
    hidden = len(both.found) - len(points)
    assert 1 <= hidden <= 4
    assert min(p.x for p in points) > table["W32A32"][0]
    assert f"What {hidden} of 41 runs found lies beyond them, too." in both.caption(found)


@pytest.mark.usefixtures("table")
def test_runs_that_found_nothing_the_table_has_at_both_leave_the_cloud(
    tmp_path: Path, table: dict[str, dict[int, float]]
) -> None:
    store, found = rows(tmp_path, [HELD - 1, HELD - 2])
    both = both_precisions(found, store)
    assert isinstance(both, BothPrecisions)
    assert both.found == {}
    assert both.least == tuple(
        pytest.approx(np.quantile([*table[p].values()][: HELD - LACKING], 0.05), rel=1e-9)
        for p in ("W32A32", "W1A1")
    )
    assert "Of 2 of 2 runs the table has no real-valued accuracy" in both.caption(found)
    assert both.seen(found).endswith("not in the table.")


def test_without_a_table_there_is_none_and_another_does_not_stand_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, found = rows(tmp_path, [5], definition="")
    assert both_precisions(found, store) is None
    store, found = rows(tmp_path / "other", [5], definition="0" * 12)
    assert both_precisions(found, store) == NotEnough(
        "the table that judged these runs is not here"
    )
    table_that_judges(tmp_path / "one", [row(order()[k]) for k in range(9)], monkeypatch)
    store, found = rows(tmp_path / "third", [5])
    why = both_precisions(found, store)
    assert isinstance(why, NotEnough)
    assert "W32A32" in why.reason
