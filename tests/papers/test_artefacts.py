"""Every table and figure of the papers: its runs can be made, and its rows and columns fit together.

Which there are, the state of each and how many rows are run stand in docs/papers.md, which
`test_reproduce.py` compares.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from bnas_bench.core.budget import PRECISIONS, Recipe
from bnas_bench.papers.artefact import Artefact, Run, ids, load
from bnas_bench.plugins.making import method, space
from bnas_bench.runs.run import run_trial
from bnas_bench.runs.store import Store
from tests.helpers.trials import toy_trial


def runs_of(artefact: Artefact) -> Iterator[Run]:
    """Every run of every row, as it is and as it is under small budgets."""
    for row in artefact.rows:
        for run in row.runs.values():
            yield from (run, replace(run, small={}, **run.small))


@pytest.mark.parametrize("name", ids())
def test_runs_can_be_made(name: str) -> None:
    artefact = load(name)
    for run in runs_of(artefact):
        assert method(run.method).refuses(space(run.space or artefact.space)) is None
        assert run.precision in PRECISIONS
        assert {*run.recipe} <= {field.name for field in fields(Recipe)}
        assert 1 <= run.width <= 2.1
        assert 1 <= run.search_width <= 2.1


@pytest.mark.parametrize("name", ids())
def test_rows_can_be_told_apart_and_columns_show_their_runs(name: str) -> None:
    artefact = load(name)
    assert all(artefact.row(row.name, row.group) is row for row in artefact.rows)
    named = {run for row in artefact.rows for run in row.runs} | {"run"}
    assert {column.run or "run" for column in artefact.columns if column.is_number} <= named
    assert {column.run for column in artefact.columns if column.run} == named - {"run"}


def test_what_is_counted_is_of_the_rows_images() -> None:
    sizes = {
        "CIFAR-10": ((3, 32, 32), 10),
        "ImageNet": ((3, 224, 224), 1000),
        "ImageNet-1K": ((3, 224, 224), 1000),
        "ImageNet-100": ((3, 224, 224), 100),
        "PASCAL VOC 2007": ((3, 600, 1000), 20),
        "": ((3, 224, 224), 1000),  # the space of NAS-BNN
    }
    for name in ids():
        artefact = load(name)
        for row in artefact.rows:
            if row.count:
                size = row.count.input, row.count.classes
                assert size == sizes[artefact.dataset_of(row)], (name, row.name)


def test_darts_in_our_frame_says_so() -> None:
    """DARTS and PC-DARTS have networks of 20 and of 14 cells in their papers, and of 10 here."""
    rows = [
        (name, row)
        for name in ids()
        for row in load(name).rows
        if any(run.method.startswith(("darts", "pcdarts")) for run in row.runs.values())
    ]
    assert {name for name, _ in rows} == {
        *("cp-nas/table-1", "cp-nas/table-2", "cp-nas/figure-6-right"),
        *("dcp-nas/table-4", "dcp-nas/table-6", "dcp-nas/table-10", "dcp-nas/table-11"),
    }
    assert all("of 10 cells" in row.note for _, row in rows)


def test_bats_searches_with_the_channels_of_the_others() -> None:
    """12 groups would make 12 channels of the 4 that a small budget gives every search."""
    for name in ids():
        for row in load(name).rows:
            for run in row.runs.values():
                if run.method == "bats":
                    assert run.small == {"space": "bats[groups=4]"}, (name, row.name)


def at(record: Any, path: str) -> Any:
    """What stands at a dotted path."""
    for key in path.split("."):
        record = record[key]
    return record


def test_columns_are_fields_of_a_record(tmp_path: Path) -> None:
    """All in the record of a real run, but for transfers and what NAS-BNN alone logs or inherits."""
    record = run_trial(toy_trial(), Store(tmp_path))
    for name in ids():
        for column in load(name).columns:
            if column.record and not column.record.startswith(
                ("inherited", "finetuned", "log_mean", "transfer")
            ):
                assert isinstance(at(record, column.record), int | float), (name, column.key)
