"""Latencies of two machines, engines or loads are not set beside each other, in any table."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bnas_bench.analysis.measures import CROWDED
from bnas_bench.analysis.records import load
from bnas_bench.analysis.summary import FIELDS, as_json, table
from bnas_bench.analysis.timings import Timed, apart, timed
from bnas_bench.report.answer import answer
from bnas_bench.report.tables import comparison
from bnas_bench.runs.store import Store
from tests.helpers.cli import succeed
from tests.helpers.records import done, put, results, trials

LEFT_OUT = "atencies are left out, as they were measured by "
ANOTHER = {"cpu": "Another CPU"}
SLOWER = {"packed_isa": "avx2"}
NEWER = {"packed_engine": "aaaaaaaaaaaa"}


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({}, Timed("C (CPU threads: 2)", "unknown kernels")),
        ({"packed_isa": "avx2"}, Timed("C (CPU threads: 2)", "avx2 kernels")),
        (
            {"packed_isa": "avx2", "packed_engine": "0f"},
            Timed("C (CPU threads: 2)", "avx2 kernels of engine 0f"),
        ),
        ({"latency_machine": "D (CPU threads: 2)"}, Timed("D (CPU threads: 2)", "unknown kernels")),
        ({"device_name": "G"}, Timed("G (CPU threads: 2)", "unknown kernels")),
        ({"packed_latency_ms": None}, Timed("C (CPU threads: 2)", "")),
        ({"packed_latency_ms": None, "latency_ms": None}, Timed()),
    ],
)
def test_where_a_latency_was_measured(fields: dict[str, Any], found: Timed) -> None:
    record = {"cpu": "C", "threads": 2, "latency_ms": 1.0, "packed_latency_ms": 0.1}
    assert timed(record | fields) == found


def test_one_place_is_not_apart_and_what_has_no_latency_is_nowhere() -> None:
    a, b, c = Timed("a", "x"), Timed("b", "x"), Timed("a", "y")
    assert apart([]) == apart([a, a]) == apart([a, Timed(), Timed("a", "")]) == ""
    assert "measured by a and by b: bnas-bench retime NAME --all" in apart([b, a])
    assert "measured by x and by y: " in apart([a, c])
    assert apart([a, c], engines=False) == ""


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.chdir(tmp_path)
    return Store("results/local")


Others = Callable[[int], dict[str, Any]]


def fill(store: Store, methods: str, others: Others, **fields: Any) -> None:
    """Three seeds each, those of the last method with other fields, by seed."""
    last = methods.split(",")[-1]
    for trial in trials(methods, seeds=3, **fields):
        own = others(trial.repetition) if trial.method.name == last else {}
        put(store, done(trial, 90.0 + trial.repetition, **own))


@pytest.mark.parametrize("other", [ANOTHER, {"threads": 2}, SLOWER, NEWER], ids=str)
@pytest.mark.parametrize("within", [False, True], ids=["another method", "one of its seeds"])
def test_latencies_measured_in_two_places_stand_in_no_table(
    store: Store, other: dict[str, Any], within: bool
) -> None:
    fill(store, "random,cpnas", lambda seed: other if seed == 2 or not within else {})
    printed = succeed("table", "--wide").replace("\n", " ")
    assert LEFT_OUT in " ".join(printed.split())
    assert "0.25" not in printed
    assert "2.50" not in printed
    for row in json.loads(succeed("table", "--json")):
        assert not {"packed_latency_ms", "latency_ms"} & row["values"].keys()
        assert "ops" in row["values"]
        assert any(LEFT_OUT in note for note in row["notes"])

    ((setting, rows),) = results(store).settings.items()
    made = comparison(setting, rows, "main", [])
    assert not {"packed_latency_ms", "latency_ms"} & {column.key for column in made.columns}
    assert sum(LEFT_OUT in note for note in made.notes) == 1
    said = " ".join(answer(rows).shown)
    assert "M OPs" in said
    assert " ms" not in said


def test_where_all_were_measured_in_one_place_they_stand_there(store: Store) -> None:
    fill(
        store, "random,cpnas", lambda _: ANOTHER | {"latency_machine": "Some CPU (CPU threads: 1)"}
    )
    assert "0.25" in succeed("table", "--wide")
    assert "latencies are left out" not in succeed("table", "--wide").replace("\n", " ")
    ((setting, rows),) = results(store).settings.items()
    columns = {column.key: column for column in comparison(setting, rows, "main", []).columns}
    assert columns["packed_latency_ms"].better == columns["latency_ms"].better == "lower"


def test_the_fields_that_a_table_is_made_of_are_all_that_it_reads(store: Store) -> None:
    odd = [
        {"latency_others": 1.0},
        {"latency_load": 9.0, "cores": 2},
        {
            "harness_source": "0" * 12,
            "test_accuracies": [90.0, 91.0],
            "latency_machine": "Some CPU",
        },
    ]
    fill(store, "random,cpnas", lambda seed: odd[seed])
    for where in (store, Store(Path(__file__).parents[2] / "results" / "digits-quick")):
        whole, part = load(where), load(where, FIELDS)
        assert len(part.columns) < len(whole.columns)
        assert table(part) == table(whole)
        assert as_json(part) == as_json(whole)
    Path(store.folder(store.ids()[0]), "record.json").write_text("{}")
    assert load(store, FIELDS)["status"].tolist().count("damaged") == 1


def test_settings_do_not_spoil_each_other(store: Store) -> None:
    fill(store, "random", lambda _: {})
    fill(store, "random", lambda _: ANOTHER, datasets="cifar10")
    assert "latencies are left out" not in succeed("table", "--wide").replace("\n", " ")
    assert succeed("table", "--wide").count("0.25") == 2


def test_what_was_timed_beside_other_work_is_marked_and_ranks_nothing(store: Store) -> None:
    fill(store, "random,cpnas", lambda seed: {"latency_others": 1.0 if seed == 2 else 0.0})
    ((setting, rows),) = results(store).settings.items()
    made = comparison(setting, rows, "main", [])
    columns = {column.key: column.better for column in made.columns}
    assert columns["packed_latency_ms"] == columns["latency_ms"] == ""
    assert columns["ops"] == "lower"
    notes = {row["method"].text: row["packed_latency_ms"].note for row in made.rows}
    assert notes == {"random": "", "cpnas": CROWDED}


@pytest.mark.parametrize(
    ("other", "stands"), [(ANOTHER, False), ({}, True), (NEWER, True)], ids=str
)
def test_compare_sets_latencies_of_one_machine_beside_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: dict[str, Any], stands: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    fill(Store("results/one"), "random", lambda _: {})
    fill(Store("results/two"), "random", lambda _: other)
    printed = succeed("compare", "one", "two", "--wide")
    assert ("packed latency" in printed) == stands
    assert ("latencies are left out" in printed) != stands
