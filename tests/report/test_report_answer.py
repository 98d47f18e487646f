"""The sentences at the head of a page, against records whose answer is plain."""

from __future__ import annotations

from pathlib import Path

import pytest

from bnas_bench.report.answer import Answer, answer
from bnas_bench.report.parts import short_budgets
from bnas_bench.runs.store import Store
from tests.helpers.records import done, failed, put, results, trials

NEAR = [90.0, 92.0, 91.0, 93.0]
"""Accuracies of four seeds."""


def answered(
    store: Store, ops: dict[str, float] | None = None, **accuracies: list[float]
) -> Answer:
    for method, values in accuracies.items():
        for trial, accuracy in zip(trials(method, seeds=len(values)), values, strict=True):
            count = {"nas-bnn": 1e6 * (ops or {}).get(method, 0.05), "honest": 6e4}
            put(store, done(trial, accuracy, ops=count))
    ((_, rows),) = results(store).settings.items()
    return answer(rows)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "some")


def test_searches_that_are_alike_are_not_told_apart(store: Store) -> None:
    found = answered(
        store, {"bats": 0.25}, random=NEAR, bats=NEAR[::-1], darts=[x + 0.5 for x in NEAR]
    )
    assert found.headline == "None of 2 searches is told apart from random sampling."
    assert found.shown == [
        "Nor are the methods told apart from each other: any of the 3 may be the best.",
        "At which cost: darts (highest mean, fewest OPs) has 92.00 % at 0.050 M OPs, 0.25 ms, 3.0 s of "
        "search; random has 91.50 % at 0.050 M OPs, 0.25 ms, 3.0 s of search.",
    ]
    (power,) = found.open
    assert power.startswith("With 4 seeds and the spread seen here (standard deviation 1.3 points)")


def test_of_two_either_may_be_the_best_and_there_is_one_pair(store: Store) -> None:
    found = answered(store, random=NEAR, bats=NEAR[::-1])
    assert found.shown[0] == (
        "Nor are the methods told apart from each other: either may be the best."
    )
    assert found.open[0].startswith("With 4 seeds and the spread seen here ")
    assert "points on; for 1 point it takes " in found.open[0]


def test_better_and_worse_than_random_are_named_with_their_points(store: Store) -> None:
    found = answered(
        store,
        random=NEAR,
        bats=[97.0, 98.0, 96.5, 98.5],
        darts=[71.0, 73.0, 70.5, 71.5],
        bars=NEAR[::-1],
    )
    assert found.headline == "Of 3 searches, 1 better and 1 worse than random sampling."
    assert found.shown[:3] == [
        "Shown better than random sampling: bats (+6.0 points).",
        "Shown worse than random sampling: darts (-20.0 points).",
        "Shown to be best: bats.",
    ]
    assert found.open[0] == "Not told apart from random sampling: bars."


def test_ingredients_are_told_apart_from_the_method_with_its_defaults(store: Store) -> None:
    worse, alike = "dcpnas[lam=0.0]", "dcpnas[mu=0.0]"
    found = answered(
        store, **{"random": NEAR, "dcpnas": NEAR, worse: [x - 9 for x in NEAR], alike: NEAR[::-1]}
    )
    said = f"Shown to differ from the same method with its defaults: {worse} (-9.0 points)."
    assert said in found.shown
    assert f"Not told apart from the same method with its defaults: {alike}." in found.open


def test_what_is_missing_is_said(store: Store) -> None:
    put(store, failed(trials("bats", seeds=5)[4], "Diverged"))
    found = answered(store, random=[*NEAR, 92.0], bats=NEAR)
    assert found.headline == "No search is compared with random sampling yet: trials are missing."
    assert found.open[0] == "No best method is named: that needs all trials, and bats has 4 of 5."


@pytest.mark.parametrize(
    ("method", "headline"),
    [
        ("bats", "bats: 91.50 % over 4 seeds, with nothing to compare it with."),
        ("random", "Random sampling alone has run here: there is no search to compare with it."),
    ],
)
def test_nothing_to_compare(store: Store, method: str, headline: str) -> None:
    assert answered(store, **{method: NEAR}).headline == headline


def test_without_random_sampling_the_command_that_adds_it_is_said(store: Store) -> None:
    (said,) = answered(store, bats=NEAR).open
    assert said == (
        "Whether a search beats random sampling: run that beside it, with --method random,bats."
    )
    found = answered(store, darts=[71.0, 73.0, 70.5, 71.5])
    assert found.headline == (
        "Random sampling has no run here: whether a search beats it is not known."
    )
    assert found.open[0] == said


def test_how_many_are_shown_not_to_be_the_best(store: Store) -> None:
    found = answered(store, random=NEAR, bats=NEAR[::-1], darts=[71.0, 73.0, 70.5, 71.5])
    assert "2 methods may be the best: random and bats; the other one is shown not to be." in (
        found.shown
    )


def test_random_sampling_of_two_versions_is_named(store: Store) -> None:
    for method in ("random", "bats"):
        for seed, trial in enumerate(trials(method, seeds=4)):
            source = f"{seed // 2}" * 12 if method == "random" else "0" * 12
            put(store, done(trial, NEAR[seed], method_source=source))
    ((_, rows),) = results(store).settings.items()
    assert answer(rows).headline == (
        "No search is compared with random sampling, which ran here as random (code 000000000000) and random "
        "(code 111111111111)."
    )


def test_budgets_have_short_names() -> None:
    names = ["quick", "smoke[passes=16000]", "quick[epochs=5]", "paper"]
    assert short_budgets(names) == {
        "quick": "quick 1",
        "smoke[passes=16000]": "smoke, changed",
        "quick[epochs=5]": "quick 2, changed",
        "paper": "paper",
    }
