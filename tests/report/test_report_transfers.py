"""Transfers in a report: what compares, where each number comes from, and how it is made again."""

from __future__ import annotations

import csv
import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

import bnas_bench as bb
from bnas_bench.core.errors import BadValue
from bnas_bench.report.build import build
from bnas_bench.report.commands import Origin
from bnas_bench.report.transferred import Transfers
from bnas_bench.runs.store import Store
from bnas_bench.transfer import record as records
from tests.helpers.records import defaults, done, put, trials

(TRIAL,) = trials("random")
(OTHER,) = trials("dcpnas")
RANKS = {"rank_1": 20.0, "rank_5": 40.0, "rank_10": 60.0}
CHANCE = {"queries": 360, "unmatched": 0, "chance": 0.4512, "chance_bound": 0.6394}
RECIPE = {"epochs": 12, "batch_size": 64, "lr": 0.05, "margin": 0.3}


def carried(store: Store, seed: int, mean_ap: float | None, /, **fields: Any) -> dict[str, Any]:
    """A record as a transfer leaves it, of the trial's own network unless the fields say otherwise."""
    found = {
        "schema": records.SCHEMA,
        "backbone": TRIAL.id,
        "trial": TRIAL.id,
        "space": "darts-binary",
        "space_options": {},
        "architecture": "0123456789",
        "weights": "trained",
        "weights_digest": "abcdef0123456789",
        "task": "identities",
        "fingerprint": "f" * 16,
        "recipe": RECIPE,
        "precisions": ["W1A1"],
        "seed": seed,
        "choices": {"normal.edge(0,2)": "max_pool_3x3"},
        "test": {"mean_ap": mean_ap, **RANKS, **CHANCE},
        "shape": [1, 16, 16],
        "ops": {records.OPS: 123_456.0},
        "train_seconds": 10.0 + seed,
        "log": [{"epoch": 0, "precision": "W1A1", "loss": 3.0, "seconds": 1.0}],
        "commit": "0123456789abcdef",
        "dirty": False,
        "cpu": "Some CPU",
        **fields,
    }
    name = f"{found['task']}-{found['backbone']}-{len(list(folder(store).glob('*.json'))):08d}"
    records.write(folder(store) / f"{name}.json", found | {"id": name})
    return found | {"id": name}


def folder(store: Store) -> Path:
    (path := store.root / records.FOLDER).mkdir(parents=True, exist_ok=True)
    return path


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A trial's network at three seeds, its real-valued twin, one of results beside, a hand-made one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("bnas_bench.report.build.DRAWN", 0)
    store, beside = Store(Path("results/some")), Store(Path("results/beside"))
    put(store, done(TRIAL, 90.0))
    put(beside, done(OTHER, 80.0))
    for seed, mean_ap in enumerate((10.0, 12.0, 17.0)):
        carried(store, seed, mean_ap)
    carried(store, 0, 70.0, precisions=["W32A32"])
    drawn = {"weights": "drawn", "weights_digest": None, "scale": {"cells": 4, "channels": None}}
    carried(store, 0, 30.0, backbone=OTHER.id, trial=OTHER.id, **drawn)
    made = {"space": "handcrafted", "choices": {"model": "birealnet18"}, "trial": None}
    carried(store, 2, 5.0, backbone="handcrafted-5a", **made, **drawn)
    return store


def made(store: Store) -> Transfers:
    return Transfers(store, Origin(store.root.name, "results", defaults), Path("reports/some"))


def test_rows_are_means_by_precision_the_best_first(store: Store) -> None:
    (table,) = made(store).tables(store.ids())
    names = [(row["backbone"].text, row["precision"].text, row["n"].text) for row in table.rows]
    assert names == [
        (OTHER.id, "W1A1", "1"),
        (TRIAL.id, "W1A1", "3"),
        ("handcrafted-5a (birealnet18)", "W1A1", "1"),
        (TRIAL.id, "W32A32", "1"),
    ]
    value = table.rows[1]["mean_ap"]
    low, high = stats.t.interval(0.95, 2, 13.0, stats.sem([10.0, 12.0, 17.0]))
    assert (value.text, value.n, value.kind) == ("13.0", 3, "measured")
    assert (value.lower, value.upper) == pytest.approx((low, high))
    assert value.lower is not None
    assert table.rows[0]["mean_ap"].lower is None
    assert (table.rows[1]["ops"].text, table.rows[1]["train"].text) == ("0.123", "11.0")
    for words in (
        "360 queries composed from",
        "0.45 %",
        "at most 0.64",
        "code 0123456789, Some CPU",
    ):
        assert words in table.caption


def test_numbers_come_from_records_and_backbones_from_trials(store: Store) -> None:
    found = made(store)
    (table,) = found.tables(store.ids())
    views = {view.id: view for view in found.views(store.ids())}
    assert [*table.rows[1]["backbone"].runs] == [TRIAL.id]
    assert [*table.rows[0]["backbone"].runs] == [OTHER.id]
    assert [*table.rows[2]["backbone"].runs] == []
    assert {*views} == {OTHER.id, *(record["id"] for record in found.records)}
    assert "--name beside" in views[OTHER.id].command
    for row in table.rows:
        for run in row["mean_ap"].runs:
            assert (views[run].config["backbone"]) == row["backbone"].text.split(" ")[0]
            assert views[run].log[0]["loss"] == 3.0
    three = [views[run] for run in table.rows[1]["mean_ap"].runs]
    assert [float(view.record["test.mean_ap"]) for view in three] == [10.0, 12.0, 17.0]
    link = three[0].files["the trial's record.json"]
    assert link == f"../../results/some/trials/{TRIAL.id}/record.json"


def test_what_does_not_compare_is_apart(store: Store) -> None:
    carried(store, 0, 99.0, recipe=RECIPE | {"epochs": 20})
    carried(store, 0, None, task="scenes", test={"map_area": 20.0, "ap": None, "pictures": 200})
    first, second, third = made(store).tables(store.ids())
    assert [table.name for table in (first, second, third)] == [
        "transfer-identities",
        "transfer-identities-2",
        "transfer-scenes",
    ]
    assert len(first.rows) == 4
    assert "20 epochs" in second.caption
    assert "AP needs pycocotools" in third.caption
    assert third.rows[0]["ap"].kind == "missing"
    assert third.rows[0]["map_area"].text == "20.0"


def test_commands_say_all_that_an_id_is_hashed_from(store: Store) -> None:
    (table,) = made(store).tables(store.ids())
    lines = [shlex.split(command) for command in table.commands]
    assert len(lines) == 4
    tail = ["--task", "identities[lr=0.05,margin=0.3]", "--budget"]
    quick = "quick[epochs=12,train_batch=64"
    end = ["--name", "some"]
    assert lines[0][2:] == [
        f"results/beside/trials/{OTHER.id}/arch.json",
        *(
            *tail,
            f"{quick},final.cells=4]",
            "--precision",
            "W1A1",
            "--seeds",
            "1",
            "--seed",
            "0",
            *end,
        ),
    ]
    assert lines[1][2:] == [
        f"results/some/trials/{TRIAL.id}",
        *(*tail, f"{quick}]", "--precision", "W1A1", "--seeds", "3", "--seed", "0", *end),
    ]
    assert json.loads(lines[2][2]) == {
        "space": "handcrafted",
        "choices": {"model": "birealnet18"},
    }
    assert lines[2][-4:] == ["--seed", "2", *end]


def test_a_backbone_that_nothing_tells_has_no_command(store: Store) -> None:
    carried(store, 0, 1.0, backbone="gone", trial="gone")
    (table,) = made(store).tables(store.ids())
    assert len(table.commands) == 4
    assert "No command carries gone again" in table.notes[0]


def test_the_report_has_them_in_every_form(store: Store) -> None:
    build(store, Origin("some", "results", defaults), "reports/some")
    folder = Path("reports/some")
    text = (folder / "report.md").read_text()
    assert "Transfers to downstream tasks: 6, of 3 backbones." in text
    assert f"| {TRIAL.id} | trained | W1A1 | 3 | 13.0 [" in text
    assert r"\input{tables/transfer-identities}" in (folder / "report.tex").read_text()
    assert "Backbones at identities" in (folder / "tables/transfer-identities.tex").read_text()
    page = (folder / "index.html").read_text()
    assert 'id="table-transfer-identities"' in page
    assert f'href="#run={TRIAL.id}"' in page
    with (folder / "tables/transfer-identities.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["mean_ap"] for row in rows] == ["30", "13", "5", "70"]
    assert rows[1]["backbone_runs"] == TRIAL.id
    assert len(rows[1]["mean_ap_runs"].split()) == 3


@pytest.mark.usefixtures("store")
def test_results_of_transfers_alone_have_a_report() -> None:
    alone = Store(Path("results/alone"))
    carried(alone, 0, 5.0, backbone="handcrafted-5a", trial=None)
    bb.report("alone", "reports/alone")
    text = Path("reports/alone/report.md").read_text()
    assert "Trials" not in text
    assert "| handcrafted-5a" in text
    (folder(alone) / "identities-handcrafted-5a-00000000.json").write_text("{}")
    with pytest.raises(BadValue, match="1 transfer that cannot be read"):
        bb.report("alone", "reports/alone")


def test_what_cannot_be_read_is_said(store: Store) -> None:
    files = sorted(folder(store).glob(f"*{TRIAL.id}*"))
    files[0].write_text(files[0].read_text().replace("W1A1", "W2A2"))
    files[1].rename(folder(store) / "identities-another.json")
    bb.report("some", "reports/some")
    text = Path("reports/some/report.md").read_text().replace("\\", "")
    assert (
        f"The transfer {files[0].stem} is missing: transfers/{files[0].name} is truncated" in text
    )
    assert "The transfer identities-another is missing" in text
    assert f"| {TRIAL.id} | trained | W1A1 | 1 | 17.0 |" in text
    frame = bb.load_results("some", transfers=True)
    assert sorted(frame["status"]) == ["damaged"] * 2 + ["ok"] * 4
    assert frame["reason"].notna().sum() == 2


@pytest.mark.usefixtures("store")
def test_a_frame_has_all_of_them() -> None:
    frame = bb.load_results("some", transfers=True)
    assert len(frame) == 6
    mine = frame[(frame["trial"] == TRIAL.id) & (frame["precisions"] == "W1A1")]
    assert sorted(mine["test.mean_ap"]) == [10.0, 12.0, 17.0]
    assert set(mine["recipe.epochs"]) == {12}
    units = frame.attrs["units"]
    assert (units["test.mean_ap"], units["ops.nas-bnn"], units["train_seconds"]) == (
        "%",
        "operations",
        "s",
    )
    assert json.loads(mine["choices"].iloc[0]) == {"normal.edge(0,2)": "max_pool_3x3"}
    with pytest.raises(BadValue, match="one after the other"):
        bb.load_results("some", logs=True, transfers=True)


@pytest.mark.usefixtures("store")
def test_a_frame_s_own_trials_bring_theirs() -> None:
    frame = bb.load_results("some")
    bb.report(frame[frame["id"] == TRIAL.id], "reports/some")
    text = Path("reports/some/report.md").read_text()
    assert f"| {TRIAL.id} | trained | W1A1 | 3 |" in text
    assert "birealnet18" not in text


@pytest.mark.parametrize(
    "fields",
    [
        {"precisions": []},
        {"precisions": [1]},
        {"seed": "0"},
        {"ops": {}},
        {"shape": "1x16x16"},
        {"trial": 7},
        {"test": {"mean_ap": "12"}},
    ],
)
def test_a_record_that_lacks_what_a_transfer_has_is_damaged(
    store: Store, fields: dict[str, Any]
) -> None:
    carried(store, 0, 1.0, **fields)
    assert len(made(store).lost) == 1
