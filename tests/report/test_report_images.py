"""Networks on the same test images: a number of its own, and only where all that it needs is there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import ttest_rel

from bnas_bench.analysis.stats import Contrast, NotEnough, by_image
from bnas_bench.analysis.table import Table
from bnas_bench.core.errors import BadValue
from bnas_bench.core.files import sha256
from bnas_bench.report.images import images_table
from bnas_bench.runs.predictions import encode
from bnas_bench.runs.store import PREDICTIONS, Store
from tests.helpers.records import done, failed, put, put_predicted, results, trials

IMAGES, SEEDS = 200, 3
PLANNED = trials("random,bats", seeds=SEEDS)


def drawn(share: float, seed: int) -> NDArray[np.bool_]:
    return np.random.default_rng(seed).random((1, IMAGES)) < share


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results" / "some")


def filled(store: Store) -> dict[str, NDArray[np.bool_]]:
    right: dict[str, list[NDArray[np.bool_]]] = {"random": [], "bats": []}
    for trial in PLANNED:
        share = {"random": 0.7, "bats": 0.9}[trial.method.name]
        right[trial.method.name].append(drawn(share, trial.repetition + 10 * (share > 0.8)))
        put_predicted(store, trial, right[trial.method.name][-1])
    return {name: np.concatenate(rows) for name, rows in right.items()}


def table(store: Store) -> Table | None:
    ((setting, rows),) = results(store).settings.items()
    return images_table(setting, rows, "images", store)


def test_the_difference_over_images_as_scipy_has_it(store: Store) -> None:
    right = filled(store)
    made = table(store)
    assert made is not None
    (line,) = made.rows
    test = ttest_rel(*(100 * right[name].mean(axis=0) for name in ("bats", "random")))
    interval = test.confidence_interval(0.95)
    assert line["difference"].number == pytest.approx(
        100 * (right["bats"].mean() - right["random"].mean())
    )
    assert line["difference"].lower == pytest.approx(interval.low)
    assert line["difference"].upper == pytest.approx(interval.high)
    assert line["p"].number == line["holm"].number == pytest.approx(test.pvalue)
    assert line["networks"].text == "3 and 3"
    assert "it tells these apart, not the methods" in made.caption
    assert "200 test images" in made.caption


def test_what_is_missing_is_said(store: Store) -> None:
    filled(store)
    put(store, done(PLANNED[-1], 90.0, test_images=IMAGES))
    made = table(store)
    assert made is not None
    assert made.rows[0]["difference"].note == "bats has no predictions of 1 of 3 runs"
    put(store, failed(PLANNED[-1], "the loss is nan"))
    made = table(store)
    assert made is not None
    assert "bats has 2 of 3 trials" in made.rows[0]["p"].note


def test_predictions_that_are_not_their_records_are_not_used(store: Store) -> None:
    filled(store)
    put_predicted(store, PLANNED[-1], drawn(0.9, 1), test_accuracy=99.0)
    made = table(store)
    assert made is not None
    assert "where the record has another" in made.rows[0]["difference"].note
    put_predicted(store, PLANNED[-1], drawn(0.9, 1), test_images=IMAGES + 1)
    made = table(store)
    assert made is not None
    assert "200 images where the record has 201" in made.rows[0]["difference"].note


def test_networks_that_saw_other_images_are_not_paired(store: Store) -> None:
    filled(store)
    ones = np.ones((1, IMAGES), np.uint8)
    data = encode(ones, ones[0], 10)
    record = done(PLANNED[-1], 100.0, test_images=IMAGES, predictions_sha256=sha256(data))
    store.write(PLANNED[-1].id, {PREDICTIONS: data}, record)
    made = table(store)
    assert made is not None
    assert made.rows[0]["difference"].note == "the runs of bats saw other test images"


def test_results_without_predictions_have_no_such_table(store: Store) -> None:
    for trial in PLANNED:
        put(store, done(trial, 90.0 + trial.repetition))
    assert table(store) is None


def test_of_one_network_each_the_statistic_is_mcnemars() -> None:
    """Of n images b and c that only one has right; the squared t is (b - c)^2 / (b + c), nearly."""
    only_x, only_y, both, n = 60, 40, 850, 1000
    x = np.repeat([1, 0, 1, 0], [only_x, only_y, both, n - only_x - only_y - both])
    y = np.repeat([0, 1, 1, 0], [only_x, only_y, both, n - only_x - only_y - both])
    found = by_image(x, y)
    assert isinstance(found, Contrast)
    assert found.difference == pytest.approx(100 * (only_x - only_y) / n)
    squared = (found.difference / found.error) ** 2
    assert squared == pytest.approx((only_x - only_y) ** 2 / (only_x + only_y), rel=0.01)


def test_networks_that_hardly_differ_have_no_interval() -> None:
    x = np.zeros(100)
    y = np.where(np.arange(100) < 9, 1.0, 0.0)
    assert by_image(x, y) == NotEnough("the networks differ on 9 images, 10 needed")
    with pytest.raises(BadValue, match="100 and 99 images"):
        by_image(x, y[1:])
