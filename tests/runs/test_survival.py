"""kill -9 at several moments of search and training: the record is the uninterrupted one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bnas_bench.runs import grid as grid_module
from bnas_bench.runs.grid import run_trials
from bnas_bench.runs.process import CONTEXT
from bnas_bench.runs.store import Store
from tests.helpers.trials import (
    ALONE,
    BUDGET,
    TOY,
    Stop,
    left,
    run_and_wait,
    safe_epochs,
    toy_trial,
    waiting,
)

TRIAL = toy_trial(replace(BUDGET, epochs=20))
WAITS_AT = 5
"""The epoch of the search in which the command's trial waits to be killed; those before are safe."""
COMMAND = f"""
import signal
import sys
from dataclasses import replace
from pathlib import Path
from tests.helpers.trials import ALONE, BUDGET, toy_trial
from bnas_bench.runs.grid import run_trials

signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores Ctrl-C
trial = toy_trial(replace(BUDGET, epochs=20))
assert trial.id == {TRIAL.id!r}
for event in run_trials([trial], Path(sys.argv[1]), ALONE):
    print(event.kind, event.text, flush=True)
"""


class Run:
    """One folder of results, in which the same trial is run again and again."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder / "results")
        self.folder = self.store.folder(TRIAL.id)
        self.trace = folder / "trace"
        self.trace.touch()
        self.command: subprocess.Popen[str] | None = None

    def start_command(self) -> subprocess.Popen[str]:
        """The whole chain: the command, the server it forks from, the trial's process, which waits."""
        self.command = subprocess.Popen(
            [sys.executable, "-c", COMMAND, str(self.store.root)],
            env=os.environ
            | {
                "PYTHONPATH": str(TOY.parents[2]),
                "BNAS_BENCH_CHECKPOINT_SHARE": "1e9",
                "TOY_TRACE": str(self.trace),
                "TOY_WAITS_AT": str(WAITS_AT),
            },
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        until(lambda: self.epochs()[-1:] == [WAITS_AT])
        assert self.safe("search") == WAITS_AT
        return self.command

    def kill_at(self, stop: Stop) -> None:
        """Run the trial's process alone, which is quickly started, and kill it there."""
        waiting(self.trace).unlink(missing_ok=True)
        arguments = (TRIAL, self.store.root, self.trace, stop)
        process = CONTEXT.Process(target=run_and_wait, args=arguments, daemon=True)
        process.start()
        until(waiting(self.trace).exists)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL

    def finish(self) -> list[tuple[str, str]]:
        """Give the command again; what it says."""
        events = run_trials([TRIAL], self.store.root, ALONE)
        return [(event.kind, event.text) for event in events if event.kind != "progress"]

    def epochs(self) -> list[int]:
        """Every epoch of the search that some process began."""
        return [int(line.split()[1]) for line in self.trace.read_text().splitlines()]

    def worker(self) -> int:
        """The process that began the last one."""
        return int(self.trace.read_text().split()[-2])

    def checkpoint(self, stage: str) -> Path:
        """Its file, while the trial is not over."""
        return next(self.store.work(TRIAL.id).glob("*"), Path()) / f"{stage}.ckpt"

    def safe(self, stage: str) -> int:
        """Epochs of a stage that its checkpoint holds."""
        try:
            data = self.checkpoint(stage).read_bytes()
        except FileNotFoundError:
            return 0
        metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
        return safe_epochs(stage, json.loads(metadata["content"])["header"])

    def result(self) -> dict[str, Any]:
        """Everything that the trial leaves and that does not depend on the clock."""
        assert self.store.state(TRIAL.id).word == "ok"
        return left(self.store, TRIAL)


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "that never happened"
        time.sleep(0.001)


def alive(pid: int) -> bool:
    try:
        return state(Path(f"/proc/{pid}")) not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def stopped(pid: int) -> bool:
    """Whether all its threads are: the signal is sent at once, and acted on when each is next scheduled."""
    return all(state(thread) == "T" for thread in Path(f"/proc/{pid}/task").iterdir())


def state(process: Path) -> str:
    return (process / "stat").read_text().rpartition(")")[2].split()[0]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a run leaves that nothing interrupted, and that never saved."""
    run = Run(tmp_path_factory.mktemp("whole"))
    assert run.finish() == [("started", ""), ("finished", "")]
    return run.result()


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    run = Run(tmp_path)
    yield run
    if run.command and run.command.poll() is None:
        os.killpg(run.command.pid, signal.SIGKILL)
        run.command.wait(60)


STOPS = (
    Stop("search", 1, saved=False),  # before there is a checkpoint
    Stop("search", 1, saved=True),
    Stop("search", 5, saved=False),
    Stop("search", 5, saved=True),
    Stop("found", 1, saved=False),
    Stop("found", 1, saved=True),
    Stop("train", 1, saved=False),
    Stop("train", 1, saved=True),
    Stop("train", 11, saved=True),
    Stop("train", 20, saved=False),
    Stop("train", 20, saved=True),
    *[Stop("pack", 1, saved=False)] * 3,  # whoever kills is no crash of the engine
)


@pytest.mark.parametrize(
    ("stops", "epochs"),
    [
        ((STOPS[2], STOPS[5], STOPS[8], STOPS[-1]), [*range(5), *range(4, 10)]),
        pytest.param(STOPS, [0, 0, 1, 2, 3, 4, 4, 5, 6, 7, 8, 9], marks=pytest.mark.slow),
    ],
    ids=["one of each stage", "all"],
)
def test_killed_at_every_stage_it_ends_with_the_same_record(
    run: Run, whole: dict[str, Any], stops: tuple[Stop, ...], epochs: list[int]
) -> None:
    for stop in stops:
        run.kill_at(stop)
        if stop.stage != "pack":
            assert run.safe(stop.stage) == stop.epochs - (not stop.saved)
        assert run.store.read(TRIAL.id) is None
    assert run.finish() == [("started", ""), ("finished", "")]
    assert run.result() == whole
    # A kill in the search costs the one epoch that it fell into, and nothing more.
    assert run.epochs() == epochs
    assert run.finish() == [("skipped", "done")]


@pytest.mark.slow
def test_a_damaged_checkpoint_costs_time_alone(run: Run, whole: dict[str, Any]) -> None:
    run.kill_at(Stop("search", 4, saved=True))
    os.truncate(run.checkpoint("search"), 1000)
    _, (kind, text), end = run.finish()
    assert kind == "note"
    assert "search.ckpt is damaged" in text
    assert end == ("finished", "")
    aside = run.folder / "search.ckpt.damaged-1"
    assert aside.stat().st_size == 1000
    aside.unlink()
    assert run.result() == whole


@pytest.mark.slow
def test_the_commands_death_is_the_trials_and_it_can_be_given_again_at_once(
    run: Run, whole: dict[str, Any]
) -> None:
    command = run.start_command()
    worker = run.worker()
    assert alive(worker)
    os.kill(command.pid, signal.SIGKILL)
    assert run.finish() == [("started", ""), ("finished", "")]
    assert not alive(worker)
    assert run.result() == whole
    assert run.epochs() == list(range(WAITS_AT + 1))


@pytest.mark.slow
def test_a_trial_stays_locked_for_as_long_as_its_orphan_lives(
    run: Run, whole: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stopped process does not notice that its parent is gone, as one in a long kernel does not."""
    command = run.start_command()
    worker = run.worker()
    os.kill(worker, signal.SIGSTOP)
    until(lambda: stopped(worker))
    os.kill(command.pid, signal.SIGKILL)
    command.wait(60)
    with monkeypatch.context() as patch:
        patch.setattr(grid_module, "LOCK_WAIT", 0.5)
        assert [kind for kind, _ in run.finish()] == ["busy"]
    assert alive(worker)
    os.kill(worker, signal.SIGKILL)
    assert run.finish() == [("started", ""), ("finished", "")]
    assert run.result() == whole


@pytest.mark.slow
def test_ctrl_c_ends_everything_and_leaves_a_checkpoint(
    run: Run, whole: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = run.start_command()
    with monkeypatch.context() as patch:
        patch.setattr(grid_module, "LOCK_WAIT", 0.0)
        (busy,) = run.finish()
        assert busy[0] == "busy"
    os.killpg(command.pid, signal.SIGINT)
    command.wait(60)
    assert not alive(run.worker())
    assert run.store.read(TRIAL.id) is None
    assert not list(run.store.trials.glob(".*.lock*"))
    assert run.finish() == [("started", ""), ("finished", "")]
    assert run.result() == whole
    assert run.epochs() == list(range(WAITS_AT + 1))


@pytest.mark.slow
def test_a_trial_whose_own_process_is_killed_goes_on_next_time(
    run: Run, whole: dict[str, Any]
) -> None:
    command = run.start_command()
    os.kill(run.worker(), signal.SIGKILL)
    out, _ = command.communicate(timeout=60)
    assert "failed its process was ended by SIGKILL" in out
    record = run.store.read(TRIAL.id)
    assert record is not None
    assert (record["status"], record["signal"]) == ("failed", "SIGKILL")
    assert run.finish() == [("started", ""), ("finished", "")]
    assert run.result() == whole
    assert run.epochs() == list(range(WAITS_AT + 1))
