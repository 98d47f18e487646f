"""A paper's rows whose networks are carried to a downstream task, and what stands in for that."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bnas_bench.core.errors import BadValue
from bnas_bench.papers import carried
from bnas_bench.papers.artefact import load
from bnas_bench.papers.plan import Plan, plan
from bnas_bench.papers.tables import table
from bnas_bench.runs import backbones, transferring
from bnas_bench.runs.store import Record, Store
from bnas_bench.transfer.telling import RANKINGS
from tests.helpers.cli import fail, invoke

NAME = "dcp-nas/table-12"
DETECTORS = ("dcp-nas/table-13", "dcp-nas/table-14", "nas-bnn/table-3")
COSTS: Mapping[str, Any] = {"ops": {"nas-bnn": 5e6, "dcp-nas": 5e6}, "memory": {"true": 8e6}}


@pytest.fixture
def planned() -> Plan:
    return plan(load(NAME), "quick", seeds=1)


def record(plan: Plan, **fields: Any) -> list[Record]:
    known = {"status": "ok", "seed": 0, "reason": None, "cpu": "a CPU", "threads": 1}
    return [{**known, "id": trial.id, "dataset": "digits", **fields} for trial in plan.trials]


def test_what_networks_are_carried_to_depends_on_the_budget(planned: Plan) -> None:
    assert {*planned.tasks.values()} == {"identities"}
    assert [*planned.tasks] == ["market1501", "duke", "cuhk03"]
    paper = plan(load(NAME), "paper", seeds=1)
    assert all(task == here for task, here in paper.tasks.items())
    assert {trial.dataset for trial in paper.trials} == {"imagenet"}
    assert plan(load("dcp-nas/table-4"), "quick").tasks == {}


def test_columns_are_values_of_their_tasks() -> None:
    for column in load(NAME).columns:
        if column.task:
            assert column.record.rpartition(".")[2] in RANKINGS


def test_each_task_is_made_once_and_each_network_carried_once(
    planned: Plan, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made, asked = [], []
    monkeypatch.setattr(backbones, "of_trial", lambda folder, space: (folder, space))
    monkeypatch.setattr(transferring, "Transfer", dict)

    def carry(transfer: Mapping[str, Any]) -> Mapping[str, Any]:
        asked.append(transfer)
        if len(asked) == 2:
            raise BadValue("it is too large")
        return {"test": {"mean_ap": 12.0, "rank_1": 34.0}, **COSTS}

    tasks = carried.tasks([planned], lambda name, budget: made.append((name, budget.name)))  # type: ignore[arg-type, return-value, func-returns-value]
    # The networks of DCP-NAS-M and -L are wider, which their budgets' names say.
    assert [name for name, _ in made] == ["identities"] * 3
    assert len({budget for _, budget in made}) == 3
    records = record(planned)
    found = [
        *carried.with_transfers([planned], planned.trials, records, Store(tmp_path), tasks, carry)  # type: ignore[arg-type]
    ]
    assert len(asked) == len(planned.trials)
    values = {"task": "identities", "mean_ap": 12.0, "rank_1": 34.0, **COSTS}
    assert found[0]["transfer"] == dict.fromkeys(planned.tasks, values)
    assert found[1]["transfer"]["duke"] == {"task": "identities", "reason": "it is too large"}


def test_one_task_that_stands_in_for_three_is_shown_once(planned: Plan) -> None:
    values = {
        "task": "identities",
        "mean_ap": 12.0,
        "rank_1": 34.0,
        "queries": 1440,
        "chance": 0.45,
        "chance_bound": 0.64,
    }
    records = {r["id"]: r for r in record(planned, transfer=dict.fromkeys(planned.tasks, values))}
    lost = planned.trials[1].id
    reason = {"task": "identities", "reason": "why"}
    records[lost]["transfer"] = dict.fromkeys(planned.tasks, reason)
    rows = [
        {name: [records[trial.id] for trial in trials] for name, trials in row.items()}
        for row in planned.rows
    ]
    made = table(planned, rows, ["a command"])
    first, second = made.rows[0], made.rows[1]
    assert (first["market_map_here"].text, first["market_r1_here"].text) == ("12.00", "34.00")
    assert first["market_map_here"].note == "on identities, not Market-1501"
    assert first["duke_map_here"].number is None
    assert first["duke_map_here"].note.startswith("as Market-1501, mAP")
    assert second["market_map_here"].note == "seed 0 why"
    assert "carried to identities, budget quick" in made.caption
    assert "identities for Market-1501 and DukeMTMC-reID and CUHK03" in made.caption
    best = [note for note in made.notes if " in mAP on identities" in note]
    assert len(best) == 1
    (chance,) = (note for note in made.notes if note.startswith("identities: 1,440 queries"))
    assert "reach an mAP of 0.45 %, 99 % of them at most 0.64." in chance


def test_without_its_data_a_table_of_what_is_there_says_so(tmp_path: Path) -> None:
    """Which `reproduce` without --no-run refuses, before anything is run."""
    asked = ("reproduce", "dcp-nas/table-12", "dcp-nas/table-4", "--budget", "standard")
    folders = ("--results", tmp_path, "--reports", tmp_path / "r", "--data-folder", tmp_path)
    assert "market1501 is not in" in fail(*asked, *folders)
    result = invoke(*asked, *folders, "--no-run")
    assert result.exit_code == 1
    for name in ("table-12", "table-4"):
        (page,) = (tmp_path / "r" / "dcp-nas" / name).glob("*/report.md")
        assert "nothing measured yet" in page.read_text()


@pytest.mark.parametrize("name", DETECTORS)
def test_a_detector_s_row_shows_what_it_was_carried_to(name: str) -> None:
    """Accuracies and costs of scenes, each said to be so; no OPs of the classifier that it was."""
    planned = plan(load(name), "quick", seeds=1)
    assert {*planned.tasks.values()} == {"scenes"}
    test = {column.path: 12.0 for column in planned.artefact.columns if column.task}
    values = {"task": "scenes", **test, **COSTS}
    records = {
        r["id"]: r
        for r in record(
            planned, transfer=dict.fromkeys(planned.tasks, values), ops={"nas-bnn": 1e6}
        )
    }
    rows = [
        {name: [records[trial.id] for trial in trials] for name, trials in row.items()}
        for row in planned.rows
    ]
    made = table(planned, rows, ["a command"])
    assert "carried to scenes, budget quick" in made.caption
    assert f"scenes for {planned.artefact.dataset}" in made.caption
    shown = 0
    for row, line in zip(planned.artefact.rows, made.rows[:1], strict=False):
        assert row.runs
        for column in planned.artefact.columns:
            if not column.task:
                continue
            cell = line[f"{column.key}_here"]
            shown += 1
            if column.path in test and column.path.partition(".")[0] not in COSTS:
                assert (cell.kind, cell.text) == ("measured", "12.00")
                assert cell.note == f"on scenes, not {planned.artefact.dataset}"
            else:
                assert cell.kind == "counted"
                assert cell.note.endswith("at the budget's scale")
                assert cell.number == {"ops": 5e6, "memory": 8e6}[column.path.split(".")[0]] / (
                    column.scale
                )
    assert shown


def test_published_detectors_are_counted_at_the_paper_s_size() -> None:
    planned = plan(load("dcp-nas/table-13"), "quick", seeds=1)
    rows = [{name: record(planned)[:1] for name in row} for row in planned.rows]
    lines = table(planned, rows, ["a command"]).rows
    (whole,) = (
        line
        for line in lines
        if line["row"].text == "Real-valued (published, counted)"
        and line["group"].text == "ResNet-18"
    )
    assert whole["ops_here"].number == pytest.approx(105.525, abs=1e-3)
    assert whole["ops_here"].kind == "counted"
    assert "3x600x1000, 20 classes" in whole["ops_here"].note
    assert "map_here" not in whole
