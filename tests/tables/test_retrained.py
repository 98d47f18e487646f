"""Entries of a small table, trained, that are trained again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bnas_bench.core.errors import BadValue
from bnas_bench.data.datasets import Dataset, load
from bnas_bench.runs.tabulate import Request, fill
from bnas_bench.tables.definition import defined
from bnas_bench.tables.retrained import retrained
from bnas_bench.tables.store import TableStore
from bnas_bench.tables.truth import GroundTruth
from bnas_bench.tables.truth import load as table
from tests.helpers import tables
from tests.helpers.cli import invoke, succeed

TINY = ("epochs=1", "train_images=40", "valid_images=40", "channels=2")


def digits() -> Dataset:
    return load("digits", image=None, device="cpu", folder=Path("data"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TableStore:
    """Two architectures at two precisions, of which the second has one seed's images altered."""
    how = defined("bnas-201", "digits", 2, TINY, Path("data"))
    trained = TableStore.begin(tmp_path_factory.mktemp("trained") / "t", how)
    for _ in fill(trained, Request(precisions=("W1A1", "W32A32"), first=2)):
        pass
    *rows, last = trained.refresh().values()
    altered = replace(last, test_hits=[last.test_hits[0] + 300, last.test_hits[1]])
    return tables.filled(tmp_path_factory.mktemp("altered") / "t", [*rows, altered], how)


def test_what_was_trained_is_equal_and_what_was_altered_is_not(store: TableStore) -> None:
    truth: GroundTruth = table(store.folder)
    pairs = list(retrained(truth, digits(), 9, seed=0))
    assert len(pairs) == 4
    (altered,) = [pair for pair in pairs if not pair.equal]
    assert altered.entry.precision == "W32A32"
    assert altered.moved == pytest.approx(-100 * 150 / truth.definition.test_images)
    assert altered.within == (abs(altered.moved) <= altered.entry.sd)


def test_the_command_counts_them(store: TableStore) -> None:
    lines = succeed("truth", store.folder, "--retrain", 4).splitlines()
    assert lines[-1].startswith(
        "trained again: 4 entries; 3 with the table's number of test images"
    )
    assert [line[:7] for line in lines if "points" in line] == ["W32A32 "]


def test_other_images_are_refused(tmp_path: Path) -> None:
    other = tables.filled(tmp_path / "other", [tables.row(tables.order()[0])])
    with pytest.raises(BadValue, match="the images of digits are others"):
        next(retrained(table(other.folder), digits(), 1, seed=0))
    result = invoke("truth", other.folder, "--retrain", 1)
    assert result.exit_code == 2
    assert result.stderr.startswith("bnas-bench: the images of digits are others")
