"""`watch`, and the events for TensorBoard."""

from __future__ import annotations

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
    for curve in (CURVE[:1], (), CURVE):
        events.show(Event(trial.id, "progress", "", None, "search", 0.5, curve))
    events.show(Event(trial.id, "finished", "", record))
    assert len(seen) == 4
    found = EventAccumulator(str(tmp_path / "tensorboard" / trial.id)).Reload()
    assert [(e.step, e.value) for e in found.Scalars("search/valid")] == [(100, 25.0), (300, 75.0)]
    assert [(e.step, e.value) for e in found.Scalars("train/loss")] == [(90, 2.0)]
    assert [e.value for e in found.Scalars("result/test_accuracy")] == [95.0]


def test_without_tensorboard_nothing_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    with pytest.raises(BadValue, match=r"pip install 'bnas-bench\[tensorboard\]'"):
        Events(Store(tmp_path), lambda _: None)
