"""Latencies that were measured beside other work are marked, and measured again where it is quiet."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bnas_bench.analysis.frame import read, states
from bnas_bench.analysis.measures import CROWDED, MEASURES, is_crowded
from bnas_bench.core import provenance
from bnas_bench.core.crowd import Others
from bnas_bench.core.errors import BadValue
from bnas_bench.cost.latency import Latency
from bnas_bench.plugins.recorded import defaults
from bnas_bench.report.answer import answer
from bnas_bench.report.plots import _title
from bnas_bench.report.values import mean
from bnas_bench.runs import retime as module
from bnas_bench.runs.record import decode, encode
from bnas_bench.runs.retime import retime
from bnas_bench.runs.run import TIMING_FIELDS
from bnas_bench.runs.store import Store
from tests.helpers.cli import fail, succeed
from tests.helpers.records import done, put, trials

COMMITTED = Path(__file__).parents[2] / "results" / "digits-quick" / "trials"
ID = "dcpnas-darts-binary-digits-quick-s0-dd23a975"


@pytest.mark.parametrize(
    ("fields", "crowded"),
    [
        ({"load": 2.5, "cores": 2}, True),
        ({"load": 2.0, "cores": 2}, False),
        ({"load": 9.0, "latency_load": 0.5, "cores": 2}, False),
        ({"load": 0.5, "latency_load": 9.0, "cores": 2}, True),
        ({"load": 9.0, "latency_load": 9.0, "latency_others": 0.2, "cores": 2}, False),
        ({"load": 0.5, "latency_load": 0.5, "latency_others": 1.0, "cores": 64}, True),
        ({"load": 9.0, "latency_others": None, "cores": 2}, True),
        ({"load": 9.0}, False),
        ({}, False),
    ],
)
def test_other_work_or_in_old_records_a_load_above_the_cores_is_crowded(
    fields: dict[str, float], crowded: bool
) -> None:
    assert is_crowded(fields) == crowded


def test_what_was_timed_in_a_crowd_says_so_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = Store("results/local")
    for trial in trials("random,cpnas", seeds=2):
        load = 9.0 if trial.method.name == "cpnas" and trial.repetition else 0.5
        put(store, done(trial, 90.0 + trial.repetition, latency_load=load, cores=2))
    rows = {row.method: row for row in read(states(store), defaults).rows}
    for name in ("latency_ms", "packed_latency_ms"):
        assert mean(rows["cpnas"], name, MEASURES[name]).note == CROWDED
        assert mean(rows["random"], name, MEASURES[name]).note == ""
    assert mean(rows["cpnas"], "ops", MEASURES["ops"]).note == ""
    assert _title("packed_latency_ms", [rows["cpnas"]]) == "packed latency (ms), not reliable"
    assert _title("packed_latency_ms", [rows["random"]]) == "packed latency (ms)"
    said = " ".join(answer([*rows.values()]).shown)
    assert said.count("0.25 ms (not reliable") == said.count("cpnas (")
    lines = succeed("table").splitlines()
    marked = {line.split()[0]: line.count("(1)") for line in lines if line.split()}
    assert (marked["cpnas"], marked["random"]) == (2, 0)
    assert f"(1) {CROWDED}" in lines


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A committed trial, timed in a crowd on a machine that is said to be this one, without weights."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(COMMITTED / ID, folder := Path("results/local/trials", ID))
    record = decode((folder / "record.json").read_bytes()) | {"latency_others": 1.0}
    record.pop("retimed", None)
    (folder / "record.json").write_bytes(encode(record))
    monkeypatch.setattr(provenance, "cpu", lambda: record["cpu"])
    alone(monkeypatch, 0.05)
    return Store("results/local")


def alone(monkeypatch: pytest.MonkeyPatch, others: float) -> None:
    """Have so many cores be busy with other work, whatever this machine does."""

    class Same(Others):
        def __exit__(self, *_: object) -> None:
            self.cores = others

    monkeypatch.setattr(module, "Others", Same)
    monkeypatch.setattr(module, "LOOK", 0.0)


def test_a_latency_is_measured_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Latency("simulated", 1.0, 0.9, 1.1, 50, 1)
    bits = {"packed_latency_ms": 0.1, "packed_latency_repeats": 50, "packed_bytes": 1}
    monkeypatch.setattr(module, "latency", lambda *_, **__: found)
    monkeypatch.setattr(module, "packed_record", lambda *_: bits)
    before = store.read(ID)
    assert before is not None
    assert is_crowded(before)
    assert f"{before['latency_ms']:,.2f} -> 1.00 ms" in succeed("retime")
    now = store.read(ID)
    assert now is not None
    assert (now["latency_ms"], now["packed_latency_ms"], now["latency_others"]) == (1.0, 0.1, 0.05)
    assert now["latency_machine"] == f"{now['cpu']} (CPU threads: 1)"
    assert now["retimed"]["before"]["latency_ms"] == before["latency_ms"]
    changed = {name for name in now if now[name] != before.get(name)}
    assert changed <= TIMING_FIELDS
    store.verify(now)
    assert "nothing to time" in succeed("retime")
    retime(store, ID)
    again = store.read(ID)
    assert again is not None
    assert again["retimed"]["before"] == now["retimed"]["before"]


def test_where_it_cannot_be_measured_nothing_changes(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (store.folder(ID) / "record.json").read_bytes()
    with pytest.raises(BadValue, match="has no latency"):
        retime(store, "no-such-trial")
    lock = store.lock(ID, 0.0)
    assert lock is not None
    with lock, pytest.raises(BadValue, match="is running"):
        retime(store, ID)
    alone(monkeypatch, 1.0)
    assert "this machine is not quiet: other work keeps 1.0 of its" in fail("retime")
    monkeypatch.setattr(
        module,
        "check_quiet",
        lambda others=None, check=module.check_quiet: others and check(others),
    )
    with pytest.raises(BadValue, match="is not quiet"):  # as it turns out when the times are there
        retime(store, ID)
    assert (store.folder(ID) / "record.json").read_bytes() == before


@pytest.mark.slow
def test_a_real_network_is_timed(store: Store) -> None:
    _, now = retime(store, ID)
    assert 0 < now["packed_latency_ms"] < now["latency_ms"]
    assert now["packed_latency_repeats"] >= 10
