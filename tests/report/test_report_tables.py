"""The tables of a report, against numbers worked out by hand or by scipy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from scipy.stats import ttest_rel, wilcoxon

from bnas_bench.analysis.frame import Results
from bnas_bench.analysis.table import Table, Value
from bnas_bench.report.contrasts import against_random, front_table, rank_table
from bnas_bench.report.datasets import dataset_table, families
from bnas_bench.report.tables import best, comparison, lost
from bnas_bench.runs.store import Store
from tests.helpers.records import done, failed, planned, put, trials
from tests.helpers.records import results as results_of


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "some")


def fill(store: Store, accuracies: dict[str, list[float]], **fields: object) -> Results:
    for method, values in accuracies.items():
        for trial, accuracy in zip(trials(method, seeds=len(values)), values, strict=True):
            put(store, done(trial, accuracy, **fields))
    return results_of(store)


def compared(results: Results) -> Table:
    ((setting, rows),) = results.settings.items()
    return comparison(setting, rows, "main", ["bnas-bench run"])


def row(table: Table, method: str) -> dict[str, Value]:
    (found,) = (row for row in table.rows if row["method"].text == method)
    return dict(found)


def test_means_spread_and_interval(store: Store) -> None:
    results = fill(store, {"random": [90.0, 92.0, 97.0]})
    found = row(compared(results), "random")
    accuracy = found["test_accuracy"]
    # sd sqrt(26 / 2) = 3.6056; t of 2 degrees of freedom is 4.3027, times sd / sqrt(3): 8.9567.
    assert accuracy.text == "93.00 ± 3.61"
    assert accuracy.lower == pytest.approx(93 - 8.9567, abs=1e-3)
    assert accuracy.upper == pytest.approx(93 + 8.9567, abs=1e-3)
    assert (accuracy.n, accuracy.kind, accuracy.number) == (3, "measured", 93)
    assert accuracy.runs == [trial.id for trial in trials("random", seeds=3)]
    assert found["iqm"].text == ""
    shown = {key: (value.text, value.kind) for key, value in found.items() if value.kind != "text"}
    assert shown | {"test_accuracy": ("", "")} == {
        "test_accuracy": ("", ""),
        "parameters": ("5,000", "counted"),
        "ops": ("0.050", "counted"),
        "ops_honest": ("0.060", "counted"),
        "memory_bits": ("10.0", "counted"),
        "packed_latency_ms": ("0.25", "measured"),
        "latency_ms": ("2.50", "simulated"),
        "passes": ("2,000", "measured"),
        "search_seconds": ("3.0", "measured"),
        "train_seconds": ("4.0", "measured"),
        "search_step_mib": ("5.0", "measured"),
    }


def test_the_interquartile_mean_from_four_seeds_on(store: Store) -> None:
    found = row(compared(fill(store, {"random": [90.0, 92.0, 94.0, 99.0]})), "random")
    assert found["iqm"].text == "93.00"  # the mean of 92 and 94
    assert 90 <= found["iqm"].lower < 93 < found["iqm"].upper <= 99


def test_one_seed_has_no_spread(store: Store) -> None:
    accuracy = row(compared(fill(store, {"random": [90.0]})), "random")["test_accuracy"]
    assert (accuracy.text, accuracy.lower, accuracy.upper) == ("90.00 ± -", None, None)


def test_missing_trials_stand_in_the_table(store: Store) -> None:
    one, two = trials("random", seeds=2)
    put(store, done(one, 90.0))
    put(store, failed(two, "Diverged: nan"))
    put(store, failed(trials("dcpnas")[0], "no sense", "refused"))
    results = results_of(store)
    table = compared(results)
    assert row(table, "random")["n"].text == "1/2"
    assert row(table, "random")["n"].note == "seed 1 failed: Diverged: nan"
    dcpnas = row(table, "dcpnas")
    assert (dcpnas["n"].text, dcpnas["n"].note) == (
        "0/2",
        "seed 1 has not run; seed 0 refused: no sense",
    )
    assert dcpnas["test_accuracy"].kind == "missing"
    listed = lost(results)
    assert [
        tuple(line[key].text for key in ("method", "seed", "state", "reason", "trial"))
        for line in listed.rows
    ] == [
        ("random", "1", "failed", "Diverged: nan", two.id),
        ("dcpnas", "0", "refused", "no sense", trials("dcpnas")[0].id),
        ("dcpnas", "1", "has not run", "", ""),
    ]


def test_nothing_is_listed_as_missing_where_nothing_is(store: Store) -> None:
    assert lost(fill(store, {"random": [90.0]})) is None


def test_no_mean_of_what_a_seed_lacks(store: Store) -> None:
    one, two = trials("random", seeds=2)
    put(store, done(one, 90.0))
    put(store, done(two, 90.0, packed_latency_ms=None, packed_reason="no such layer"))
    latency = row(compared(results_of(store)), "random")["packed_latency_ms"]
    assert (latency.kind, latency.note) == ("missing", "not in the record of seed 1: no such layer")


def test_a_winner_only_where_its_interval_is_clear(store: Store) -> None:
    rows = fill(store, {"random": [50.0, 51.0, 52.0], "dcpnas": [90.0, 91.0, 92.0]}).rows
    assert best(rows).startswith("Best test accuracy: dcpnas")
    rows = fill(store, {"random": [50.0, 51.0, 52.0], "darts": [50.0, 52.0, 54.0]}).rows
    assert [row.method for row in rows] == ["random", "darts", "dcpnas"]
    assert best(rows[:2]) == "No winner is named: the intervals of random and darts overlap."


def test_no_winner_between_runs_of_different_code(store: Store) -> None:
    fill(store, {"random": [50.0, 51.0, 52.0]})
    results = fill(store, {"dcpnas": [90.0, 91.0, 92.0]}, harness_source="other")
    notes = compared(results).notes
    assert "No winner is named: the runs differ in harness_source." in notes
    assert "The methods differ in harness_source: they do not compare." in notes


def test_seeds_of_different_code_are_rows_of_their_own(store: Store) -> None:
    one, two = trials("random", seeds=2)
    put(store, done(one, 90.0, method_source="a"))
    put(store, done(two, 90.0, method_source="b"))
    table = compared(results_of(store))
    assert [line["method"].text for line in table.rows] == ["random (code a)", "random (code b)"]


def test_the_caption_names_budget_and_machines(store: Store) -> None:
    one, two = trials("random", seeds=2)
    put(store, done(one, 90.0))
    put(store, done(two, 90.0, device_name="Some GPU", device="cuda"))
    assert compared(results_of(store)).caption.startswith(
        "Space darts-binary, dataset digits, budget smoke; measured on Some CPU (CPU threads: 1) and "
        "Some GPU (CPU threads: 1), whose times do not compare; a budget other than paper reproduces no "
        "paper's numbers."
    )


def test_against_random_as_scipy_has_it(store: Store) -> None:
    random, dcpnas, darts = (
        [50.0, 53.0, 51.0, 57.0, 54.5],
        [60.0, 59.0, 66.0, 61.5, 62.0],
        [50.5, 52.0, 54.0, 58.0, 55.0],
    )
    results = fill(store, {"random": random, "dcpnas": dcpnas, "darts": darts})
    ((setting, rows),) = results.settings.items()
    table = against_random(setting, rows, "random")
    tests = {name: ttest_rel(x, random) for name, x in (("dcpnas", dcpnas), ("darts", darts))}
    for name, x in (("dcpnas", dcpnas), ("darts", darts)):
        found, test = row(table, name), tests[name]
        interval = test.confidence_interval()
        assert found["n"].number == 5
        assert found["difference"].number == pytest.approx(sum(x) / 5 - sum(random) / 5)
        assert found["difference"].lower == pytest.approx(interval.low)
        assert found["difference"].upper == pytest.approx(interval.high)
        assert found["t"].number == pytest.approx(test.pvalue)
        assert found["wilcoxon"].number == pytest.approx(wilcoxon(x, random).pvalue)
        assert found["least"].number == 2 / 2**5
        assert found["relative"].number == pytest.approx(100 * (sum(x) / sum(random) - 1))
    # Holm: the smaller of two p is doubled, the larger stays (or takes the doubled one's place).
    small, large = sorted(test.pvalue for test in tests.values())
    assert row(table, "dcpnas")["holm"].number == pytest.approx(2 * small)
    assert row(table, "darts")["holm"].number == pytest.approx(max(large, 2 * small))
    # All 25 pairs of dcpnas and random are won.
    assert row(table, "dcpnas")["improvement"].number == 1
    assert row(table, "dcpnas")["improvement"].note.startswith("no interval: ")


def test_pairs_are_of_shared_seeds(store: Store) -> None:
    fill(store, {"random": [50.0, 60.0]})
    put(store, done(trials("dcpnas", seeds=2)[1], 63.0))
    results = results_of(store)
    ((setting, rows),) = results.settings.items()
    found = row(against_random(setting, rows, "random"), "dcpnas")
    assert (found["n"].number, found["difference"].text) == (1, "+3.00")
    assert found["t"].kind == "missing"


def test_without_random_there_is_no_comparison_with_it(store: Store) -> None:
    results = fill(store, {"dcpnas": [90.0], "darts": [91.0]})
    ((setting, rows),) = results.settings.items()
    assert against_random(setting, rows, "random") is None


def test_ranks_are_over_the_seeds_of_each_method(store: Store) -> None:
    valid = {"random": [10.0, 20.0, 30.0, 40.0], "dcpnas": [90.0, 80.0, 70.0, 60.0]}
    for method, values in valid.items():
        for number, (trial, value) in enumerate(zip(trials(method, seeds=4), values, strict=True)):
            put(store, done(trial, 50.0 + number, valid_accuracy=value))
    for trial in trials("bats", seeds=4):
        put(store, done(trial, 50.0, valid_accuracy=None))
    ((setting, rows),) = results_of(store).settings.items()
    table = rank_table(setting, rows, "ranks")
    assert {line["method"].text: line["tau"].number for line in table.rows} == {
        "random": 1.0,
        "dcpnas": -1.0,
    }


def test_hypervolumes_by_hand(store: Store) -> None:
    for trial, (accuracy, ops) in zip(
        trials("random", seeds=2), [(55.0, 100.0), (82.0, 200.0)], strict=True
    ):
        put(store, done(trial, accuracy, ops={"nas-bnn": ops, "honest": ops}))
    trial = trials("dcpnas")[0]
    put(store, done(trial, 50.0, front_size=1, ops={"nas-bnn": 50.0, "honest": 50.0}))
    member = {"architecture": {}, "valid_accuracy": 55.0, "ops": 60.0}
    (store.folder(trial.id) / "front.json").write_text(json.dumps([member]))
    ((setting, rows),) = results_of(store).settings.items()
    table = front_table(setting, rows, "fronts", store)
    # Reference: chance, 10 %, and 1.1 x 200 = 220 OPs; the rectangle is 90 x 220.
    random = (45 * (200 - 100) + 72 * (220 - 200)) / (90 * 220)
    assert row(table, "random")["front"].number == pytest.approx(100 * random)
    assert row(table, "dcpnas")["front"].number == pytest.approx(100 * 40 * 170 / (90 * 220))
    # Of the search: 1.1 x 60 = 66 OPs.
    assert row(table, "dcpnas")["searches"].number == pytest.approx(100 * 45 * 6 / (90 * 66))
    assert "searches" not in row(table, "random")


DATASETS = ["digits", "cifar10", "cifar100", "fashion-mnist", "imagefolder:x"]


def test_ranks_over_five_datasets(store: Store) -> None:
    for method, better in (("random", 0), ("darts", 1), ("dcpnas", 2)):
        for number, trial in enumerate(trials(method, datasets=DATASETS)):
            put(store, done(trial, 10.0 * number + better))
    put(store, done(trials("bats")[0], 5.0))
    (family,) = families(results_of(store))
    table = dataset_table(family, "datasets")
    ranks = {line["method"].text: line["rank"].number for line in table.rows if "rank" in line}
    assert ranks == {"dcpnas": 1.0, "darts": 2.0, "random": 3.0}
    assert [column.key for column in table.columns][-1] == "rank"
    # Demsar: q of 3 methods at 0.05 is 2.343; times sqrt(3 x 4 / (6 x 5)).
    assert "differ by 1.48 differ" in table.notes[0]
    assert table.notes[0].endswith("Not ranked, as a dataset lacks them: bats.")
    assert row(table, "bats")["on-cifar10"].kind == "missing"


def test_why_there_is_no_critical_difference(store: Store) -> None:
    for trial in trials("random,darts,dcpnas", datasets=DATASETS[:2]):
        put(store, done(trial, 50.0))
    (family,) = families(results_of(store))
    assert dataset_table(family, "datasets").notes == [
        "No critical difference on darts-binary, budget smoke: seeds are not datasets: 2 datasets, 5 needed."
    ]


def test_a_damaged_folder_is_listed_by_its_name(store: Store) -> None:
    fill(store, {"random": [90.0]})
    (store.trials / "odd-name").mkdir()
    (store.trials / "odd-name" / "record.json").write_text("[]")
    (line,) = lost(results_of(store)).rows
    assert (line["trial"].text, line["state"].text) == ("odd-name", "damaged")
    assert line["reason"].text == "record.json is no record"


def test_a_refused_record_needs_no_numbers(store: Store) -> None:
    fill(store, {"random": [90.0]})
    put(store, planned(trials("darts")[0], status="refused", reason="no"))
    assert row(compared(results_of(store)), "darts")["n"].text == "0/1"
