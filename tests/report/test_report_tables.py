"""The tables of a report, against numbers worked out by hand or by scipy."""

from __future__ import annotations

from math import sqrt
from pathlib import Path
from statistics import variance

import pytest
from scipy.stats import mannwhitneyu, t, ttest_ind, ttest_rel

from bnas_bench.analysis.frame import DRAWS, Results
from bnas_bench.analysis.table import Table, Value
from bnas_bench.report.contrasts import against_random, gain_table
from bnas_bench.report.datasets import dataset_table, families
from bnas_bench.report.ingredients import ingredients_table
from bnas_bench.report.tables import comparison, lost
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
    assert accuracy.upper == 100  # not 93 + 8.96: the scale ends there
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
    assert found["iqm"].note == "no interval: 2 runs in the middle, an interval needs 3"


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


def test_a_winner_only_where_all_others_are_excluded(store: Store) -> None:
    results = fill(store, {"random": [50.0, 51.0, 52.0], "dcpnas": [90.0, 91.0, 92.0]})
    table = compared(results)
    assert "Shown to be best: dcpnas; every other method is excluded." in table.notes
    assert row(table, "dcpnas")["best"].text == "shown best"
    assert row(table, "random")["best"].text.startswith("excluded, p = ")
    results = fill(store, {"darts": [90.0, 90.5, 92.5]})
    table = compared(results)
    assert (
        "No method is shown to be best. Not excluded as best: darts and dcpnas." in table.notes
        or "No method is shown to be best. Not excluded as best: dcpnas and darts." in table.notes
    )
    assert any(note.startswith("Shown worse, at a level of 5 %") for note in table.notes)
    # The means are equal; sd of 1 and 1.32 leave a difference of 2 points within a t interval of 3 seeds.
    assert any("differ by less than 1 point is not shown" in note for note in table.notes)


def test_survivors_are_no_winners(store: Store) -> None:
    """Two of five seeds left, and both above all others: no winner, and none with chance for the lost."""
    fill(store, {"random": [50.0, 51.0, 52.0, 53.0, 52.0]})
    for number, trial in enumerate(trials("dcpnas", seeds=5)):
        put(store, done(trial, 90.0 + number) if number < 2 else failed(trial, "Diverged: nan"))
    table = compared(results_of(store))
    assert "No winner is named: that needs all trials, and dcpnas has 2 of 5." in table.notes
    assert "best" not in row(table, "random")
    chance = row(table, "dcpnas")["chance"]
    assert (chance.number, chance.kind) == (pytest.approx((90 + 91 + 3 * 10) / 5), "computed")
    assert row(table, "random")["chance"].number == pytest.approx(51.6)
    (second,) = (note for note in table.notes if note.startswith("If a failure counts as chance"))
    assert "(10 %): No method is shown to be best." in second
    for trial in trials("dcpnas", seeds=5):
        put(store, failed(trial, "Diverged: nan"))
    table = compared(results_of(store))
    assert "No winner is named: that needs all trials, and dcpnas has 0 of 5." in table.notes
    (second,) = (note for note in table.notes if note.startswith("If a failure counts as chance"))
    assert "Shown to be best: random" in second
    ((setting, rows),) = results_of(store).settings.items()
    contrast = row(against_random(setting, rows, "random"), "dcpnas")["difference"]
    assert contrast.note == "a contrast needs all trials, and dcpnas has 0 of 5 trials"


def test_a_trial_that_is_not_over_is_no_failure(store: Store) -> None:
    fill(store, {"random": [50.0, 51.0, 52.0], "dcpnas": [90.0, 91.0]})
    table = compared(results_of(store))
    assert "Not over, and not counted as chance either: trials of dcpnas." in table.notes
    assert row(table, "dcpnas")["chance"].kind == "missing"


def test_what_is_refused_does_not_compete(store: Store) -> None:
    fill(store, {"random": [50.0, 51.0, 52.0], "dcpnas": [90.0, 91.0, 92.0]})
    for trial in trials("bats", seeds=3):
        put(store, failed(trial, "no such cell", "refused"))
    notes = compared(results_of(store)).notes
    assert "Shown to be best: dcpnas; every other method is excluded." in notes
    assert any(note.startswith("Not compared, as they cannot run here: bats") for note in notes)


def test_one_architecture_twice_is_flagged(store: Store) -> None:
    for trial in trials("random", seeds=2):
        put(store, done(trial, 50.0, architecture_id="a"))
    fill(store, {"dcpnas": [50.0, 51.0]})
    (note,) = (note for note in compared(results_of(store)).notes if note.startswith("Runs that"))
    assert note.endswith("tells them apart: random 2 of 2.")


def test_the_test_images_leave_an_error(store: Store) -> None:
    results = fill(store, {"random": [90.0, 90.0]}, test_images=900)
    # sqrt(0.9 x 0.1 / 900) = 1 %
    said = "there are 900 test images leaves each accuracy a standard error of 1.0 points"
    assert said in compared(results).caption


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
    assert "of Welch's t test on all runs" in table.caption
    tests = {
        name: ttest_ind(x, random, equal_var=False)
        for name, x in (("dcpnas", dcpnas), ("darts", darts))
    }
    for name, x in (("dcpnas", dcpnas), ("darts", darts)):
        found, test = row(table, name), tests[name]
        interval = test.confidence_interval()
        assert found["n"].number == 5
        assert found["difference"].number == pytest.approx(sum(x) / 5 - sum(random) / 5)
        assert found["difference"].lower == pytest.approx(interval.low)
        assert found["difference"].upper == pytest.approx(interval.high)
        assert (found["p"].number, found["p"].kind) == (pytest.approx(test.pvalue), "computed")
        exact = mannwhitneyu(x, random, method="exact").pvalue
        assert found["ranks"].number == pytest.approx(exact)
        assert found["least"].number == pytest.approx(2 / 252)
        assert found["relative"].note == "it needs 20 runs of random[form=draw], there are 0"
    # Holm: the smaller of two p is doubled, the larger stays (or takes the doubled one's place).
    for test, adjusted in (("p", "holm"), ("ranks", "ranks_holm")):
        small, large = sorted(row(table, name)[test].number for name in ("dcpnas", "darts"))
        assert row(table, "dcpnas")[adjusted].number == pytest.approx(2 * small)
        assert row(table, "darts")[adjusted].number == pytest.approx(max(large, 2 * small))
    # All 25 pairs of dcpnas and random are won, and the interval stays.
    improvement = row(table, "dcpnas")["improvement"]
    assert (improvement.number, improvement.upper) == (1, 1)
    assert 0.4 < improvement.lower < 0.7


def test_pairing_is_used_where_the_seeds_move_all_methods_alike(store: Store) -> None:
    random, dcpnas = [50.0, 60.0, 55.0, 42.0], [52.0, 61.5, 57.5, 44.0]
    ((setting, rows),) = fill(store, {"random": random, "dcpnas": dcpnas}).settings.items()
    table = against_random(setting, rows, "random")
    assert "of the t test paired by seed" in table.caption
    assert row(table, "dcpnas")["p"].number == pytest.approx(ttest_rel(dcpnas, random).pvalue)


def test_improvement_is_over_the_average_of_draws(store: Store) -> None:
    """The draws may have more seeds than the methods; the interval is Fieller's, by its definition."""
    draws = [40.0 + k % 5 for k in range(20)]
    methods = {"random": [50.0, 52.0, 54.0], "dcpnas": [60.0, 61.0, 63.0]}
    ((setting, rows),) = fill(store, {DRAWS: draws} | methods).settings.items()
    assert all(one.complete for one in rows)
    found = row(against_random(setting, rows, "random"), "dcpnas")["relative"]
    x = methods["dcpnas"]
    assert found.number == pytest.approx(100 * (184 / 3 / 42 - 1))
    a, b = variance(x) / 3, variance(draws) / 20
    df = (a + b) ** 2 / (a**2 / 2 + b**2 / 19)
    for end in (found.lower, found.upper):
        ratio = 1 + end / 100
        error = sqrt(a + ratio**2 * b)
        assert abs(184 / 3 - ratio * 42) / error == pytest.approx(t.ppf(0.975, df))


def test_an_ingredient_is_held_against_the_method_with_its_defaults(store: Store) -> None:
    whole, without = [60.0, 59.0, 66.0, 61.5, 62.0], [50.5, 52.0, 54.0, 58.0, 55.0]
    base, ablated, other = "dcpnas", "dcpnas[lam=0.0]", "darts"
    fill(store, {base: whole, "random": whole, "random[form=draw]": whole, other: whole})
    results = fill(store, {ablated: without}, search_seconds=0.5)
    ((setting, rows),) = results.settings.items()
    table = ingredients_table(setting, rows, "ingredients")
    assert [line["method"].text for line in table.rows] == [ablated]
    found, test = row(table, ablated), ttest_ind(without, whole, equal_var=False)
    assert found["difference"].number == pytest.approx(sum(without) / 5 - sum(whole) / 5)
    assert found["p"].number == found["holm"].number == pytest.approx(test.pvalue)
    seconds = {one.method: one.by_seed("search_seconds")[0, 0] for one in rows}
    assert found["seconds"].number == pytest.approx(seconds[ablated] / seconds[base])
    assert found["seconds"].number != 1


def test_without_a_variant_or_its_method_no_ingredient_is_spoken_of(store: Store) -> None:
    results = fill(store, {"dcpnas[lam=0.0]": [90.0], "darts": [91.0], "random[form=draw]": [90.0]})
    ((setting, rows),) = results.settings.items()
    assert ingredients_table(setting, rows, "ingredients") is None


def test_without_random_there_is_no_comparison_with_it(store: Store) -> None:
    results = fill(store, {"dcpnas": [90.0], "darts": [91.0]})
    ((setting, rows),) = results.settings.items()
    assert against_random(setting, rows, "random") is None


def test_gain_over_random_by_hand(store: Store) -> None:
    """Against 60 % at 200 OPs: 80 % at 100 take half of both sides; what is worse in one takes nothing."""
    points = {
        "random": [(50.0, 150.0), (70.0, 250.0)],
        "dcpnas": [(80.0, 100.0), (80.0, 300.0)],
        "darts": [(59.0, 1.0), (59.0, 1.0)],
    }
    for method, found in points.items():
        for trial, (accuracy, ops) in zip(trials(method, seeds=2), found, strict=True):
            put(store, done(trial, accuracy, ops={"nas-bnn": ops, "honest": ops}))
    ((setting, rows),) = results_of(store).settings.items()
    table = gain_table(setting, rows, "gain")
    assert [line["method"].text for line in table.rows] == ["darts", "dcpnas"]
    assert row(table, "dcpnas")["gain"].number == pytest.approx(25 / 2)
    assert row(table, "darts")["gain"].number == 0


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
    assert table.notes[0].endswith("Not ranked, as trials of them are missing: bats.")
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
