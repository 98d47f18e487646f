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
from helpers.cells import BUDGET, TOY, run_saving_always, toy_cell

from bnas_bench import grid as grid_module
from bnas_bench.grid import run_cells
from bnas_bench.process import CONTEXT
from bnas_bench.run import TIMING_FIELDS
from bnas_bench.store import Record, Store, canonical

CELL = toy_cell(replace(BUDGET, epochs=20), pause=0.05)
SEARCH_EPOCHS = 10
COMMAND = f"""
import signal
import sys
from dataclasses import replace
from pathlib import Path
from helpers.cells import BUDGET, toy_cell
from bnas_bench.grid import run_cells

signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores Ctrl-C
cell = toy_cell(replace(BUDGET, epochs=20), pause=0.05)
assert cell.id == {CELL.id!r}
for event in run_cells([cell], Path(sys.argv[1]), threads=1):
    print(event.kind, event.text, flush=True)
"""


class Run:
    """One folder of results, in which the same cell is run again and again."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder / "results")
        self.folder = self.store.folder(CELL.id)
        self.trace = folder / "trace"
        self.trace.touch()
        self.command: subprocess.Popen[str] | None = None

    def start_command(self) -> None:
        """The whole chain: the command, the server it forks from, the cell's own process."""
        self.command = subprocess.Popen(
            [sys.executable, "-c", COMMAND, str(self.store.root)],
            env=os.environ
            | {
                "PYTHONPATH": str(TOY.parent.parent),
                "BNAS_BENCH_CHECKPOINT_SHARE": "1e9",
                "TOY_TRACE": str(self.trace),
            },
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def start_worker(self) -> Any:
        """The cell's process alone, which is quickly started."""
        arguments = (CELL, self.store.root, self.trace)
        process = CONTEXT.Process(target=run_saving_always, args=arguments, daemon=True)
        process.start()
        return process

    def finish(self) -> list[tuple[str, str]]:
        """Give the command again; what it says."""
        events = run_cells([CELL], self.store.root, threads=1)
        return [(event.kind, event.text) for event in events if event.kind != "progress"]

    def epochs(self) -> list[int]:
        """Every epoch of the search that some process began."""
        return [int(line.split()[1]) for line in self.trace.read_text().splitlines()]

    def worker(self) -> int:
        """The process that began the last one."""
        return int(self.trace.read_text().split()[-2])

    def saved(self, name: str) -> dict[str, Any]:
        """The header of a checkpoint; empty where there is none."""
        try:
            data = (self.folder / f"{name}.ckpt").read_bytes()
        except FileNotFoundError:
            return {}
        metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
        return json.loads(metadata["content"])["header"]

    def searched(self) -> int:
        """Epochs of the search that are safe."""
        return self.saved("search").get("epoch", 0)

    def trained(self) -> int:
        """Epochs of the training that are safe."""
        return len(self.saved("train").get("log", []))

    def result(self) -> dict[str, Any]:
        """Everything that the cell leaves and that does not depend on the clock."""
        record: Record = self.store.read(CELL.id) or {}
        assert record["status"] == "ok"
        files = {file.name: file.read_bytes() for file in self.folder.iterdir()}
        assert files.pop("record.json")
        log = [json.loads(line) for line in files.pop("log.jsonl").splitlines()]
        lasting = {name: value for name, value in record.items() if name not in TIMING_FIELDS}
        untimed = [{k: v for k, v in entry.items() if k != "seconds"} for entry in log]
        return files | {"record": canonical(lasting), "log": canonical(untimed)}


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "that never happened"
        time.sleep(0.001)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


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
        run.command.wait(10)


def test_killed_at_every_stage_it_ends_with_the_same_record(
    run: Run, whole: dict[str, Any]
) -> None:
    moments: list[Callable[[], bool]] = [
        lambda: len(run.epochs()) == 1,  # before there is a checkpoint
        lambda: run.searched() >= 1,
        lambda: run.searched() >= 5,
        lambda: run.saved("found") != {},
        lambda: run.trained() >= 1,
        lambda: run.trained() >= 6,
        lambda: run.trained() >= 11,
    ]
    for moment in moments:
        searched, trained = run.searched(), run.trained()
        process = run.start_worker()
        if searched:
            until(lambda before=searched: run.searched() != before)  # type: ignore[misc]
            assert run.searched() > searched, "the search started over"
        if trained:
            until(lambda before=trained: run.trained() != before)  # type: ignore[misc]
            assert run.trained() > trained, "the training started over"
        until(moment)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert run.store.read(CELL.id) is None
    assert run.finish() == [("started", ""), ("finished", "")]
    assert run.result() == whole
    # A kill in the search can cost the one epoch that it fell into, and nothing more.
    epochs = run.epochs()
    assert sorted(set(epochs)) == list(range(SEARCH_EPOCHS))
    assert len(epochs) <= SEARCH_EPOCHS + 3
    assert run.finish() == [("skipped", "done")]


def test_a_damaged_checkpoint_costs_time_alone(run: Run, whole: dict[str, Any]) -> None:
    process = run.start_worker()
    until(lambda: run.searched() >= 4)
    process.kill()
    process.join()
    os.truncate(run.folder / "search.ckpt", 1000)
    _, (kind, text), end = run.finish()
    assert kind == "note"
    assert "search.ckpt is damaged" in text
    assert end == ("finished", "")
    aside = run.folder / "search.ckpt.damaged-1"
    assert aside.stat().st_size == 1000
    aside.unlink()
    assert run.result() == whole


def test_the_commands_death_is_the_cells_and_it_can_be_given_again_at_once(
    run: Run, whole: dict[str, Any]
) -> None:
    run.start_command()
    assert run.command is not None
    until(lambda: run.searched() >= 2)
    worker = run.worker()
    assert alive(worker)
    os.kill(run.command.pid, signal.SIGKILL)
    assert run.finish() == [("started", ""), ("finished", "")]
    assert not alive(worker)
    assert run.result() == whole
    assert run.epochs().count(0) == 1


def test_ctrl_c_ends_everything_and_leaves_a_checkpoint(
    run: Run, whole: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run.start_command()
    assert run.command is not None
    until(lambda: run.searched() >= 2)
    with monkeypatch.context() as patch:
        patch.setattr(grid_module, "LOCK_WAIT", 0.0)
        (busy,) = run.finish()
        assert busy[0] == "busy"
    os.killpg(run.command.pid, signal.SIGINT)
    run.command.wait(10)
    assert not alive(run.worker())
    assert run.store.read(CELL.id) is None
    assert not list(run.store.cells.glob(".*"))
    assert run.finish() == [("started", ""), ("finished", "")]
    assert run.result() == whole
    assert run.epochs().count(0) == 1


def test_a_cell_whose_own_process_is_killed_goes_on_next_time(
    run: Run, whole: dict[str, Any]
) -> None:
    run.start_command()
    assert run.command is not None
    until(lambda: run.searched() >= 2)
    os.kill(run.worker(), signal.SIGKILL)
    out, _ = run.command.communicate(timeout=30)
    assert "failed its process was ended by SIGKILL" in out
    record = run.store.read(CELL.id)
    assert record is not None
    assert (record["status"], record["signal"]) == ("failed", "SIGKILL")
    assert run.finish() == [("started", ""), ("finished", "")]
    assert run.result() == whole
    assert run.epochs().count(0) == 1
