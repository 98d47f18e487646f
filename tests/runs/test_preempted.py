"""Told to save and end, a trial does so at its next step, and goes on from there, as where it is lost."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from bnas_bench.runs import how as how_module
from bnas_bench.runs.grid import run_trials
from bnas_bench.runs.store import Store
from tests.helpers.trials import ALONE, BUDGET, lasting, toy_trial, toy_trials

SMALL = replace(BUDGET, passes=600, epochs=1)


def test_a_command_that_is_told_to_leave_saves_and_the_next_goes_on(tmp_path: Path) -> None:
    trial, store, leave = toy_trial(SMALL, pause=0.5), Store(tmp_path), threading.Event()
    kinds = []
    for event in run_trials([trial, toy_trial(fault="refuse")], tmp_path, ALONE, leave):
        if event.phase == "search":
            leave.set()
        kinds.append(event.kind)
    assert kinds[-1] == "preempted"
    assert kinds.count("started") == 1
    assert list(store.work(trial.id).glob("*/search.ckpt"))
    *_, event = run_trials([trial], tmp_path, ALONE)
    assert (event.kind, event.text) == ("finished", "")
    record = store.read(trial.id) or {}
    assert [each["ended"] for each in record["attempts"]] == ["preempted", "ok"]


def test_a_trial_that_is_told_to_leave_before_it_listens_has_lost_nothing(tmp_path: Path) -> None:
    trial, leave = toy_trial(SMALL, pause=0.5), threading.Event()
    kinds = []
    for event in run_trials([trial], tmp_path, ALONE, leave):
        leave.set()
        kinds.append(event.kind)
    assert (kinds[0], kinds[-1]) == ("started", "preempted")
    assert Store(tmp_path).read(trial.id) is None


@pytest.mark.slow
def test_a_trial_whose_process_is_told_to_save_is_tried_again_from_there(tmp_path: Path) -> None:
    told = "Path({0!r}).exists() or (Path({0!r}).touch(), os.kill(os.getpid(), {1}))"
    for number in (10, 15):  # SIGUSR1, SIGTERM
        meddle = told.format(str(tmp_path / f"told-{number}"), number)
        trial = toy_trial(SMALL, meddle=meddle, meddle_at=1)
        store = Store(tmp_path / str(number))
        events = [e for e in run_trials([trial], store.root, ALONE) if e.kind != "progress"]
        assert [event.kind for event in events] == ["started", "note", "finished"]
        assert events[1].text == "its process saved and ended: it is tried again"
        attempts = (store.read(trial.id) or {})["attempts"]
        assert [each["ended"] for each in attempts] == ["preempted", "ok"]
        list(run_trials([trial], tmp_path / "whole", ALONE))
        whole = Store(tmp_path / "whole").read(trial.id) or {}
        assert lasting(store.read(trial.id) or {}) == lasting(whole)


@pytest.mark.slow
def test_an_attempt_that_is_lost_four_times_at_one_place_is_recorded_as_failed(
    tmp_path: Path,
) -> None:
    trial = toy_trial(SMALL, meddle="os._exit(255)", meddle_at=0)
    events = [e for e in run_trials([trial], tmp_path, ALONE) if e.kind != "progress"]
    assert [event.kind for event in events] == ["started", "note", "note", "note", "failed"]
    record = Store(tmp_path).read(trial.id) or {}
    assert [each["ended"] for each in record["attempts"]] == ["lost"] * 3 + ["failed"]


def test_trials_are_spread_over_the_gpus_one_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(how_module, "gpus", lambda _: ["3", "GPU-7"])
    seen = f"Path({str(tmp_path)!r}, os.environ['CUDA_VISIBLE_DEVICES']).touch()"
    trials = toy_trials(
        {"meddle": seen, "pause": 0.1}, {"meddle": seen, "pause": 0.2}, budget=SMALL
    )
    list(run_trials(trials, tmp_path / "results", replace(ALONE, jobs=2)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["3", "GPU-7", "results"]
