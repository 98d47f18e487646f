"""The table, against numbers worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest

from bnas_bench.analysis import records as reading
from bnas_bench.analysis.records import to_frame
from bnas_bench.analysis.summary import as_json, interval, summarise, table
from bnas_bench.analysis.table import Table
from bnas_bench.runs.store import Record

DEFAULTS = {
    ("method", "dcpnas"): {"lam": 1e-4, "drop": ("a", "b")},
    ("method", "random"): {},
    ("space", "darts-binary"): {"binarise": ()},
}


@pytest.fixture(autouse=True)
def defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "defaults", lambda kind, name: DEFAULTS[kind, name])


def planned(method: str = "random", seed: int = 0, **fields: Any) -> Record:
    return {
        "id": f"{method}-s{seed}",
        "method": method,
        "method_options": dict(DEFAULTS["method", method]),
        "method_source": "abc",
        "space": "darts-binary",
        "space_source": "abc",
        "space_options": {"binarise": []},
        "dataset": "digits",
        "budget": "quick",
        "seed": seed,
        **fields,
    }


def done(accuracy: float, method: str = "random", seed: int = 0, **fields: Any) -> Record:
    measured = {
        "status": "ok",
        "reason": None,
        "test_accuracy": accuracy,
        "parameters": 25_000 + 1000 * seed,
        "ops": {"nas-bnn": 1.5e6, "dcp-nas": 9e9},
        "memory_bits": 8192 * 12,
        "latency_ms": 2.5,
        "packed_latency_ms": 0.25,
        "passes": 20_000.0,
        "search_seconds": 30.04,
        "train_seconds": 61.26,
        "cpu": "Some CPU",
        "device_name": None,
        "threads": 2,
        "dataset_fingerprint": "f",
    }
    return planned(method, seed) | measured | fields


def failed(method: str = "random", seed: int = 0) -> Record:
    return planned(method, seed, status="failed", reason="Diverged: the loss is nan")


def test_means_and_sample_deviations() -> None:
    # 90, 92, 97: mean 93; squared deviations 9 + 1 + 16 = 26, over n - 1 = 2, is 13.
    (row,) = as_json(to_frame([done(90.0), done(92.0, seed=1), done(97.0, seed=2)]))
    assert (row["n"], row["planned"], row["notes"]) == (3, 3, [])
    assert row["values"]["test_accuracy"]["mean"] == 93
    assert row["values"]["test_accuracy"]["sd"] == pytest.approx(13**0.5, rel=1e-12)
    assert row["values"]["parameters"] == {"mean": 26_000, "sd": 1000}
    assert row["values"]["ops"]["mean"] == 1.5e6


def test_a_single_seed_has_no_deviation() -> None:
    (row,) = as_json(to_frame([done(90.0)]))
    assert row["values"]["test_accuracy"] == {"mean": 90.0, "sd": None}


def test_a_rows_name_says_what_is_not_default() -> None:
    records = [
        done(90.0, "dcpnas"),
        done(90.0, "dcpnas", method_options={"lam": 1e-4, "drop": ["a", "b"]}, seed=1),
        done(90.0, "dcpnas", method_options={"lam": 0.0, "drop": ["a"]}),
        done(90.0, "dcpnas", space_options={"binarise": ["depthwise"]}),
    ]
    found = as_json(to_frame(records))
    assert [(row["method"], row["space"], row["n"]) for row in found] == [
        ("dcpnas", "darts-binary", 2),
        ("dcpnas[lam=0.0,drop=a]", "darts-binary", 1),
        ("dcpnas", "darts-binary[binarise=depthwise]", 1),
    ]


def test_cells_that_did_not_finish_are_counted_and_named() -> None:
    records = [
        done(90.0),
        failed(seed=1),
        planned(seed=2),
        planned(seed=3, reason="no images in data/"),
        planned("dcpnas", status="refused", reason="not on this space"),
    ]
    found = as_json(to_frame(records))
    assert [(row["n"], row["planned"]) for row in found] == [(1, 4), (0, 1)]
    assert found[0]["notes"] == [
        "seed 1 failed: Diverged: the loss is nan",
        "seed 2 has not run",
        "seed 3 has not run: no images in data/",
    ]
    assert found[0]["values"]["test_accuracy"] == {"mean": 90.0, "sd": None}
    assert found[1]["notes"] == ["seed 0 refused: not on this space"]
    assert found[1]["values"] == {}


def test_seeds_of_another_harness_or_data_are_pointed_out() -> None:
    (row,) = as_json(to_frame([done(1.0), done(2.0, seed=1, dataset_fingerprint="other")]))
    assert row["notes"] == [
        "its seeds differ in dataset_fingerprint: they are not runs of one thing"
    ]


@pytest.mark.parametrize("kind", ["method", "space"])
def test_runs_of_changed_code_are_not_pooled(kind: str) -> None:
    records = [done(1.0), done(2.0, seed=1), done(4.0, seed=2, **{f"{kind}_source": "new"})]
    old, new = as_json(to_frame(records))
    assert [old["values"]["test_accuracy"]["mean"], new["values"]["test_accuracy"]["mean"]] == [
        1.5,
        4.0,
    ]
    assert old[kind].endswith(" (code abc)")
    assert new[kind].endswith(" (code new)")


def titles(found: Table) -> list[str]:
    return [column.title for column in found.columns]


def texts(found: Table) -> list[list[str]]:
    return [[row[column.key].text for column in found.columns] for row in found.rows]


def test_the_laid_out_table() -> None:
    records = [done(90.0), done(92.0, seed=1), done(95.5, "dcpnas"), failed("dcpnas", 1)]
    laid_out = table(to_frame(records))
    assert titles(laid_out) == [
        *("method", "n", "test accuracy %", "OPs M", "latency ms", "search s", "train s"),
        *("simulated ms", "params", "memory KiB", "passes"),
    ]
    assert texts(laid_out) == [
        [
            *("random", "2", "91.00 ± 1.41", "1.500", "0.25", "30.0", "61.3"),
            *("2.50", "25,500", "12.0", "20,000"),
        ],
        [
            *("dcpnas", "1/2", "95.50 ± -", "1.500", "0.25", "30.0", "61.3"),
            *("2.50", "25,000", "12.0", "20,000"),
        ],
    ]
    assert laid_out.notes == ["dcpnas, seed 1 failed: Diverged: the loss is nan"]
    assert laid_out.caption == (
        "OPs as nas-bnn counts them; latency of the network as bits, 1 thread; "
        "space darts-binary; dataset digits; budget quick; measured on Some CPU (CPU threads: 2); "
        "a budget other than paper reproduces no paper's numbers"
    )


def test_a_row_has_no_mean_of_what_one_of_its_seeds_lacks() -> None:
    """A record of an older version, or a network that the engine cannot run."""
    older = done(90.0)
    del older["packed_latency_ms"]
    for lacking in (older, done(90.0, packed_latency_ms=None)):
        (row,) = as_json(to_frame([lacking, done(92.0, seed=1)]))
        assert "packed_latency_ms" not in row["values"]
        assert row["values"]["latency_ms"]["mean"] == 2.5
        (line,) = texts(table(to_frame([lacking, done(92.0, seed=1)])))
        assert (line[4], line[7]) == ("-", "2.50")


def test_what_differs_between_rows_is_a_column() -> None:
    laid_out = table(to_frame([done(90.0), done(91.0, dataset="cifar10"), planned(budget="paper")]))
    assert titles(laid_out)[:4] == ["method", "dataset", "budget", "n"]
    assert [line[:4] for line in texts(laid_out)] == [
        ["random", "digits", "quick", "1"],
        ["random", "cifar10", "quick", "1"],
        ["random", "digits", "paper", "0/1"],
    ]
    assert texts(laid_out)[2][4:] == ["-"] * 9
    assert laid_out.caption.startswith(
        "OPs as nas-bnn counts them; latency of the network as bits, 1 thread; space darts-binary; "
        "measured on Some CPU (CPU threads: 2); a budget"
    )


def test_what_no_trial_has_is_no_column_and_a_table_that_judges_is_said() -> None:
    looked_up = {"packed_latency_ms": None, "latency_ms": None, "train_seconds": 0.0}
    rows = [
        done(90.0 + seed, seed=seed, evaluated=evaluated, **looked_up)
        for seed, evaluated in enumerate(("table", "by the table's definition"))
    ]
    laid_out = table(to_frame(rows))
    assert titles(laid_out) == [
        *("method", "n", "test accuracy %", "OPs M", "search s", "params", "memory KiB", "passes"),
    ]
    assert laid_out.caption.startswith("OPs as nas-bnn counts them; space darts-binary; ")
    said = "judged by a table of ground truth, not by a training of their own"
    assert f"; accuracies {said}" in laid_out.caption
    trained = done(95.0, "dcpnas", evaluated="training")
    mixed = table(to_frame([*rows, trained]))
    assert "train s" in titles(mixed)
    assert f"; accuracies of 2 of 3 trials {said}" in mixed.caption
    assert titles(table(to_frame([failed()]))) == ["method", "n", "test accuracy %", "OPs M"]


def test_several_machines_are_all_named_and_paper_needs_no_warning() -> None:
    own = {"budget": "paper", "dataset": "cifar10"}
    gpu = done(91.0, seed=1, device_name="Some GPU", **own)
    caption = table(to_frame([done(90.0, **own), gpu])).caption
    assert caption.endswith("measured on Some CPU (CPU threads: 2) and Some GPU (CPU threads: 2)")


def test_the_interval_is_students() -> None:
    # 40, 42, 47: mean 43, sd sqrt(13), and of t with two degrees of freedom 97.5 % lie below 4.302653.
    half = 4.302653 * (13 / 3) ** 0.5
    frame = to_frame([done(40.0), done(42.0, seed=1), done(47.0, seed=2), done(80.0, "dcpnas")])
    found = summarise(frame)["test_accuracy"]
    assert [*found.iloc[0]] == pytest.approx([43, 13**0.5, 43 - half, 43 + half], rel=1e-6)
    assert [*found.iloc[1].isna()] == [False, True, True, True]
    assert interval([40.0, 42.0, 47.0]) == pytest.approx((43 - half, 43 + half), rel=1e-6)
    assert all(map(math.isnan, interval([90.0])))


def test_intervals_stay_on_their_scale_and_need_three_seeds() -> None:
    # 90, 92, 97: 93 + 8.96 is no accuracy; and of 1 and 9 bits the interval would begin below none.
    three = [done(x, seed=seed, memory_bits=bits) for seed, (x, bits) in enumerate(THREE)]
    found = summarise(to_frame(three)).iloc[0]
    assert found["test_accuracy", "upper"] == 100
    assert found["memory_bits", "lower"] == 0
    assert math.isnan(found["passes", "lower"])  # equal values have no interval
    two = summarise(to_frame(three[:2])).iloc[0]
    assert two["test_accuracy", "sd"] == pytest.approx(2**0.5)
    assert two[[("test_accuracy", "lower"), ("test_accuracy", "upper")]].isna().all()
    assert all(map(math.isnan, interval([90.0, 92.0])))


THREE = [(90.0, 1), (92.0, 1), (97.0, 9)]


def test_what_nobody_knows_is_in_no_row() -> None:
    frame = to_frame([done(90.0), {"id": "x", "status": "damaged", "reason": "cut off"}])
    assert [*summarise(frame)["trials", "planned"]] == [1]
    assert summarise(frame.iloc[1:]).empty
    assert texts(table(frame.iloc[1:])) == []
