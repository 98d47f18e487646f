"""What a report says of searches that did not learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bnas_bench.analysis.table import Table
from bnas_bench.report.learned import learned_table
from bnas_bench.runs.store import Store
from tests.helpers.records import done, put, results, trials


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "some")


def learned(signs: float | None, *, above: bool = True, precision: str = "W1A1") -> dict[str, Any]:
    supernet = {
        "precision": precision,
        "signs": 1000,
        "signs_changed": signs,
        "path_valid_accuracy": 40.0,
        "path_valid_at_least": 25.0,
        "above_chance": above,
    }
    return {"chance": 10.0, "steps": {"w": 3}, "supernets": {"child.supernet": supernet}}


def table_of(store: Store, found: list[dict[str, Any]], passes: float = 2000) -> Table | None:
    made = trials("random", seeds=len(found))
    for trial, one in zip(made, found, strict=True):
        put(store, done(trial, 90.0, learned=one, passes=passes))
    ((setting, rows),) = results(store).settings.items()
    return learned_table(setting, rows, "learned")


def test_a_search_that_changed_no_signs_is_named(store: Store) -> None:
    table = table_of(store, [learned(0.1), learned(0.3)])
    assert table is not None
    (line,) = table.rows
    assert (line["supernet"].text, line["signs"].text, line["path"].text) == (
        "child (W1A1)",
        "0.20",
        "40.0",
    )
    assert line["above"].text == "2/2"
    assert table.notes[0] == (
        "Searches that did not learn: random (its child changed 0.2 % of its signs, so that it ranks "
        "nearly random weights)."
    )


def test_a_path_at_chance_is_named_even_where_signs_changed(store: Store) -> None:
    table = table_of(store, [learned(30.0), learned(30.0, above=False)])
    assert table is not None
    assert "left a path that is not above chance at 1 of 2 seeds" in table.notes[0]


def test_a_real_valued_supernet_is_not_asked_for_signs(store: Store) -> None:
    table = table_of(store, [learned(0.0, precision="W32A32")])
    assert table is not None
    assert table.rows[0]["signs"].text == "real-valued"
    assert table.notes[0].startswith("Every supernet changed at least 5 %")


def test_a_budget_that_was_not_spent_is_named(store: Store) -> None:
    budget = trials("random", seeds=1)[0].budget.passes
    assert budget
    table = table_of(store, [learned(30.0)], passes=0.5 * budget)
    assert table is not None
    assert table.rows[0]["spent"].text == "50.0"
    assert table.notes[-1] == "Under 97 % of the budget was spent by random (50.0 %)."


def test_rank_correlations_are_within_supernets_and_averaged_over_them(store: Store) -> None:
    alone = [float(x) for x in range(40, 60)]
    turned = [*alone[:10], *reversed(alone[10:])]  # 45 of 190 pairs the wrong way round
    found = [ranked(learned(30.0), valid, alone) for valid in (alone, alone, turned)]
    table = table_of(store, found)
    assert table is not None
    (line,) = table.rows
    tau = (190 - 2 * 45) / 190
    assert line["tau"].number == pytest.approx((2 + tau) / 3)
    assert (line["tau"].n, line["tau"].upper) == (3, 1)
    assert "within one supernet" in table.caption
    flat = table_of(store, [ranked(learned(30.0), [10.0] * 20, alone)])
    assert flat is not None
    assert "all 20 supernet accuracies are equal" in flat.rows[0]["tau"].note


def ranked(one: dict[str, Any], valid: list[float], alone: list[float]) -> dict[str, Any]:
    supernet = one["supernets"]["child.supernet"] | {"drawn_valid_accuracies": valid}
    return one | {"drawn_test_accuracies": alone, "supernets": {"child.supernet": supernet}}


@pytest.mark.parametrize(
    ("valid", "alone"), [([1.0], [1.0, 2.0]), ([1.0], None), ("x", [1.0]), ([200.0], [1.0])]
)
def test_rankings_of_other_lengths_or_kinds_are_no_records(
    store: Store, valid: Any, alone: Any
) -> None:
    (trial,) = trials("random")
    one = ranked(learned(30.0), valid, alone)
    if alone is None:
        del one["drawn_test_accuracies"]
    put(store, done(trial, 90.0, learned=one))
    assert "'learned' is" in str(store.state(trial.id).reason)


def test_records_from_before_say_nothing(store: Store) -> None:
    assert table_of(store, [{}]) is None
