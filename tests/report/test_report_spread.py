"""Searches that were trained several times: parted spread, and no search counted twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bnas_bench.analysis.records import to_frame
from bnas_bench.analysis.stats import Estimate, components
from bnas_bench.analysis.summary import summarise, table
from bnas_bench.analysis.table import Table
from bnas_bench.report.contrasts import against_random
from bnas_bench.report.images import images_table
from bnas_bench.report.spread import spread_table
from bnas_bench.runs.store import Record, Store
from tests.helpers.records import failed, put, put_predicted, results, trials

SEEDS, TRAININGS, IMAGES = 4, 3, 500
PLANNED = trials("random,bats", seeds=SEEDS, budget=f"smoke[train_seeds={TRAININGS}]")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results" / "some")


def filled(store: Store) -> list[Record]:
    rng = np.random.default_rng(0)
    records = []
    for trial in PLANNED:
        share = 0.8 + 0.05 * rng.normal() + 0.1 * (trial.method.name == "bats")
        right_RN = rng.random((TRAININGS, IMAGES)) < share
        each = [round(100 * float(part), 6) for part in right_RN.mean(axis=1)]
        records.append(put_predicted(store, trial, right_RN, test_accuracies=each))
    return records


def made(store: Store) -> Table | None:
    ((setting, rows),) = results(store).settings.items()
    return spread_table(setting, rows, "spread", store)


def test_the_spread_is_parted(store: Store) -> None:
    records = filled(store)
    found = made(store)
    assert found is not None
    assert [line["method"].text for line in found.rows] == ["random", "bats"]
    for line in found.rows:
        own = [r["test_accuracies"] for r in records if r["method"] == line["method"].text]
        parts = components(own)
        assert isinstance(parts.search, Estimate)
        assert isinstance(parts.training, Estimate)
        assert line["search"].number == parts.search.value
        assert line["training"].number == parts.training.value
        assert (line["searches"].text, line["trainings"].text) == ("4", "3")
        assert line["images"].number is not None


def test_trainings_of_one_search_are_one_run(store: Store) -> None:
    frame = to_frame(filled(store))
    assert summarise(frame)["trials", "n"].tolist() == [SEEDS, SEEDS]
    ((setting, rows),) = results(store).settings.items()
    compared = against_random(setting, rows, "random")
    assert compared is not None
    assert compared.rows[0]["n"].text == str(SEEDS)
    networks = images_table(setting, rows, "images", store)
    assert networks is not None
    assert networks.rows[0]["networks"].text == f"{SEEDS * TRAININGS} and {SEEDS * TRAININGS}"
    assert setting.budget == f"smoke[train_seeds={TRAININGS}]"


def test_the_terminals_table_says_it_too(store: Store) -> None:
    notes = table(to_frame(filled(store))).notes
    assert len(notes) == 2
    assert notes[0].startswith(
        "random, 4 searches, each trained 3 times: standard deviation of searches "
    )


def test_nothing_is_parted_where_trials_are_missing(store: Store) -> None:
    filled(store)
    put(store, failed(PLANNED[-1], "the loss is nan"))
    found = made(store)
    assert found is not None
    assert "bats has 3 of 4 trials" in found.rows[1]["search"].note
    assert found.rows[0]["search"].number is not None
