"""`watch`, and the events for TensorBoard."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bnas_bench.cli.live import steps
from bnas_bench.core.errors import BadValue
from bnas_bench.runs.events import Events
from bnas_bench.runs.progress import Event
from bnas_bench.runs.seen import Sight
from bnas_bench.runs.store import Store
from tests.helpers.cli import succeed
from tests.helpers.records import done, put, trials

CURVE = [(100.0, 0.25), (300.0, 0.75)]
LOG = [
    {"phase": "search", "passes": 100.0, "seconds": 1.0, "incumbent": "a", "valid": 0.25},
    {"phase": "search", "passes": 400.0, "seconds": 2.0, "incumbent": "b", "valid": 1.0},
    {"phase": "train", "epoch": 0, "passes": 90, "seconds": 1.0, "loss": 2.0},
]


def test_a_curve_is_what_the_incumbent_was_at_each_moment() -> None:
    # Eight signs over 0 to 400 passes: nothing before 100, 0.25 up to 300, then 0.75, and no further.
    assert steps(CURVE, 400.0, 0.25, 1.0, 8) == " ▁▁▁▁▆"
    assert steps([], 400.0, 0.0, 1.0, 8) == ""
    assert steps([(100.0, 0.5)], 100.0, 0.5, 0.5, 4) == "   ▁"


def test_watch_prints_once_where_no_terminal_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store, (first, second) = Store("results/local"), trials("random", seeds=2)
    put(store, done(first, 95.0), LOG)
    Sight(store, second.id).tell(Event(second.id, "progress", "", None, "search", 0.5, CURVE))
    lock = store.lock(second.id, 0.0)
    assert lock is not None
    with lock:
        counts, running, ended, axes = succeed("watch").splitlines()
    assert counts == "local: 1 running, 1 ok"
    assert running.split()[:2] == ["running", second.id.rpartition("-")[0]]
    assert running.endswith("75.0 %  search 50%")
    assert ended.endswith("100.0 %  95.0 % test")
    assert ended.count("█") > running.count("█") == 0
    assert axes == "incumbents: 25.0 to 100.0 % of the validation images over 0 to 400 passes"
    assert max(map(len, (running, ended))) <= 100


def test_tensorboard_gets_every_number_once(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    store, (trial,) = Store(tmp_path), trials("random")
    put(store, record := done(trial, 95.0), LOG)
    seen: list[Event] = []
    events = Events(store, seen.append)
    for curve in (CURVE[:1], ()):
        events.show(Event(trial.id, "progress", "", None, "search", 0.5, curve))
    events.show(Event(trial.id, "finished", "", record))  # with one that was found since
    assert len(seen) == 3
    found = EventAccumulator(str(tmp_path / "tensorboard" / trial.id)).Reload()
    assert [(e.step, e.value) for e in found.Scalars("search/valid")] == [(100, 25.0), (400, 100.0)]
    assert [(e.step, e.value) for e in found.Scalars("train/loss")] == [(90, 2.0)]
    assert [e.value for e in found.Scalars("result/test_accuracy")] == [95.0]


def test_tensorboard_shows_every_number_once_after_a_kill(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    store, (trial,) = Store(tmp_path), trials("random")
    put(store, record := done(trial, 95.0), LOG)
    killed, resumed = (Events(store, lambda _: None) for _ in range(2))
    for events in (killed, resumed):
        events.show(Event(trial.id, "progress", "", None, "search", 0.5, CURVE[:1]))
        events.writers[trial.id].flush()
    resumed.show(Event(trial.id, "finished", "", record))
    found = EventAccumulator(str(tmp_path / "tensorboard" / trial.id)).Reload()
    assert [(e.step, e.value) for e in found.Scalars("search/valid")] == [(100, 25.0), (400, 100.0)]


@pytest.mark.slow
def test_the_events_of_a_whole_run_are_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.chdir(tmp_path)
    options = ("--method", "random", "--budget", "smoke", "--seeds", 1, "--no-page", "--jobs", 1)
    succeed("run", *options, "--log", "tensorboard")
    store = Store("results/local")
    (trial,) = store.ids()
    record = store.read(trial)
    log = [
        json.loads(line) for line in (store.folder(trial) / "log.jsonl").read_text().splitlines()
    ]
    assert record is not None

    found = EventAccumulator(str(store.root / "tensorboard" / trial)).Reload()

    def points(name: str) -> list[tuple[int, float]]:
        return [(event.step, event.value) for event in found.Scalars(name)]

    searched = [entry for entry in log if "incumbent" in entry]
    trained = [entry for entry in log if entry["phase"] == "train"]
    assert searched
    assert trained
    wanted = [(round(entry["passes"]), pytest.approx(100 * entry["valid"])) for entry in searched]
    assert points("search/valid") == wanted
    for name in ("loss", "seconds"):
        wanted = [(round(entry["passes"]), pytest.approx(entry[name])) for entry in trained]
        assert points(f"train/{name}") == wanted
    for name in ("test_accuracy", "valid_accuracy", "packed_latency_ms"):
        assert points(f"result/{name}") == [(0, pytest.approx(record[name]))]


def test_without_tensorboard_nothing_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    with pytest.raises(BadValue, match=r"pip install 'bnas-bench\[tensorboard\]'"):
        Events(Store(tmp_path), lambda _: None)
