"""Records read as rows: what is one thing, what is missing, and what must not be pooled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bnas_bench.analysis.frame import Missing, Results, Row, differing
from bnas_bench.analysis.labels import dataset_name
from bnas_bench.report.values import befell
from bnas_bench.runs.store import Store
from tests.helpers.records import done, failed, put, results, trials, unchecked


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results" / "some")


def only(found: Results) -> Row:
    (row,) = found.rows
    return row


def test_rows_by_method_and_options_random_first(store: Store) -> None:
    for number, trial in enumerate(trials("dcpnas,random,dcpnas[lam=0]", seeds=2)):
        put(store, done(trial, 90.0 + number))
    found = results(store)
    assert [(str(s), len(rows)) for s, rows in found.settings.items()] == [
        ("darts-binary, digits, budget smoke", 3)
    ]
    assert [row.method for row in found.rows] == ["random", "dcpnas", "dcpnas[lam=0.0]"]
    # Methods vary fastest: random got 91 and 94.
    assert found.rows[0].by_seed("test_accuracy") == {(0, 0): 91.0, (0, 1): 94.0}
    assert found.rows[0].planned == 2
    assert found.stray == []


def test_a_seed_that_another_method_has_is_missing(store: Store) -> None:
    for trial in trials("random", seeds=3):
        put(store, done(trial, 90.0))
    put(store, done(trials("dcpnas", seeds=2)[1], 90.0))
    random, dcpnas = results(store).rows
    assert random.missing == []
    assert dcpnas.missing == [Missing((0, 0), "has not run"), Missing((0, 2), "has not run")]
    assert befell(dcpnas.missing) == "seeds 0, 2 have not run"


def test_failed_refused_unfinished_and_damaged_trials_are_told(store: Store) -> None:
    one, two, three, four, five = trials("dcpnas", seeds=5)
    put(store, done(one, 90.0))
    put(store, failed(two, "Diverged: the loss\nis nan"))
    put(store, failed(three, "it makes no sense", "refused"))
    store.folder(four.id).mkdir()
    store.folder(five.id).mkdir()
    (store.folder(five.id) / "record.json").write_text('{"schema": 2, ')
    row = only(results(store))
    assert [(trial.seed, trial.state, trial.id) for trial in row.missing] == [
        ((0, 1), "failed", two.id),
        ((0, 2), "refused", three.id),
        ((0, 3), "unfinished", four.id),
        ((0, 4), "damaged", five.id),
    ]
    assert row.missing[0].reason == "Diverged: the loss is nan"
    assert row.missing[3].reason.startswith("record.json cannot be read")
    assert str(store.root) not in befell(row.missing)


def test_a_folder_that_may_belong_to_two_rows_belongs_to_none(store: Store) -> None:
    plain, other = trials("dcpnas,dcpnas[lam=0]", seeds=1)
    put(store, done(plain, 90.0))
    put(store, done(other, 90.0))
    unknown = trials("dcpnas[lam=1]", seeds=2)[1]
    store.folder(unknown.id).mkdir()
    found = results(store)
    assert [(trial.id, trial.state) for trial in found.stray] == [(unknown.id, "unfinished")]
    assert all(row.missing == [] for row in found.rows)


def test_a_folder_of_a_seed_that_is_there_is_of_another_configuration(store: Store) -> None:
    put(store, done(trials("dcpnas")[0], 90.0))
    other = trials("dcpnas[lam=0]")[0]
    store.folder(other.id).mkdir()
    found = results(store)
    assert only(found).missing == []
    assert [trial.id for trial in found.stray] == [other.id]


def test_two_root_seeds_are_different_seeds(store: Store) -> None:
    for root in (0, 7):
        put(store, done(trials("random", root_seed=root)[0], 90.0 + root))
    assert only(results(store)).by_seed("test_accuracy") == {(0, 0): 90.0, (7, 0): 97.0}


def test_budgets_are_never_pooled(store: Store) -> None:
    put(store, done(trials("random")[0], 90.0))
    put(store, done(trials("random", budget="quick")[0], 95.0))
    put(store, done(trials("random", budget="smoke[passes=5000]")[0], 93.0))
    found = results(store)
    assert {s.budget: rows[0].planned for s, rows in found.settings.items()} == {
        "quick": 1,
        "smoke": 1,
        "smoke[passes=5000]": 1,
    }


def altered(trial: Any, accuracy: float, part: str, **fields: Any) -> dict[str, Any]:
    """A record of the same names and another content, as an older version may have left it."""
    record = done(trial, accuracy)
    record["config"] = record["config"] | {part: record["config"][part] | fields}
    record["id"] = f"{record['id'][:-8]}0badcafe"
    return record


def test_a_budget_of_one_name_and_other_content_is_another_budget(store: Store) -> None:
    trial = trials("random")[0]
    put(store, done(trial, 90.0))
    put(store, altered(trial, 10.0, "budget", passes=77))
    found = results(store)
    assert [s.budget for s in found.settings] == ["smoke (passes 3000)", "smoke (passes 77)"]
    assert [rows[0].by_seed("test_accuracy")[0, 0] for rows in found.settings.values()] == [90, 10]


def test_a_method_of_one_name_and_other_content_is_another_row(store: Store) -> None:
    trial = trials("random")[0]
    put(store, done(trial, 90.0))
    put(store, altered(trial, 10.0, "method", source="beef"))
    assert [row.method for row in results(store).rows] == [
        "random (source -)",
        "random (source beef)",
    ]


def test_datasets_are_named_by_their_last_folder_unless_two_share_it(store: Store) -> None:
    assert dataset_name("imagefolder:data/cifar10-jpeg") == "cifar10-jpeg"
    assert dataset_name("imagefolder:data/cifar10-jpeg/") == "cifar10-jpeg"
    assert dataset_name("digits") == "digits"
    for trial in trials("random", datasets=["imagefolder:a/x", "imagefolder:b/x", "digits"]):
        put(store, done(trial, 90.0))
    assert sorted(setting.dataset for setting in results(store).settings) == [
        "digits",
        "x (imagefolder:a/x)",
        "x (imagefolder:b/x)",
    ]


@pytest.mark.parametrize("bad", [{"test_accuracy": float("nan")}, {"ops": {}}, {"ops": None}])
def test_a_record_without_its_numbers_is_damaged(store: Store, bad: dict[str, Any]) -> None:
    good, broken = trials("random", seeds=2)
    put(store, done(good, 90.0))
    record = done(broken, 91.0) | bad
    store.folder(broken.id).mkdir()
    (store.folder(broken.id) / "record.json").write_bytes(unchecked(record))
    row = only(results(store))
    assert [run.id for run in row.runs] == [good.id]
    assert [(trial.seed, trial.state) for trial in row.missing] == [((0, 1), "damaged")]


def test_what_runs_differ_in(store: Store) -> None:
    for trial, source in zip(trials("random", seeds=2), "ab", strict=True):
        put(store, done(trial, 90.0, harness_source=source))
    row = only(results(store))
    assert list(differing(row.runs)) == ["harness_source"]


def test_settings_with_most_runs_come_first(store: Store) -> None:
    put(store, done(trials("random")[0], 90.0))
    for trial in trials("random", budget="quick", seeds=2):
        put(store, done(trial, 90.0))
    assert [setting.budget for setting in results(store).settings] == ["quick", "smoke"]
