"""The grid: which trials there are, which of them run, and that one's end is not another's."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest

from bnas_bench.core.budget import Scale
from bnas_bench.core.errors import BadValue, BenchError, Damaged
from bnas_bench.core.files import Unwritable, write_atomically
from bnas_bench.plugins.registry import Plugin, find
from bnas_bench.runs import grid as grid_module
from bnas_bench.runs.attempt import Attempt
from bnas_bench.runs.grid import run_trials
from bnas_bench.runs.process import start_server
from bnas_bench.runs.progress import Event
from bnas_bench.runs.request import requested
from bnas_bench.runs.store import Record, Store
from bnas_bench.runs.trial import Choice, Trial, expand
from tests.helpers.trials import ALONE, BUDGET, TOY, toy_method, toy_space, toy_trial, toy_trials

SMALL = replace(BUDGET, passes=600, epochs=1)


def plugin(kind: str, name: str, source: str = "aaa") -> Plugin:
    file = Path(f"{name}.py")
    return Plugin(kind, name, file, "X", {}, source, module=f"{kind}s.{name}")  # type: ignore[arg-type]


def known(**options: object) -> Trial:
    method, space = plugin("method", "dcpnas"), plugin("space", "darts-binary")
    return Trial(method, {"lam": 1e-4, **options}, space, {}, "digits", BUDGET, 0)


def one_of(first: str, *others: str) -> list[Any]:
    """Signals that come to the same: the first in `make test`, the others in the slow set."""
    return [first, *(pytest.param(name, marks=pytest.mark.slow) for name in others)]


def kinds(events: list[Event]) -> list[str]:
    return [event.kind for event in events if event.kind != "progress"]


def test_a_grid_is_every_combination_with_the_methods_side_by_side() -> None:
    methods: list[Choice] = [(plugin("method", name), {}) for name in ("random", "cpnas")]
    spaces = [(plugin("space", "darts-binary"), {"preprocessing": "real"})]
    trials = expand(methods, spaces, ["digits", "cifar10"], [BUDGET], seeds=2, root_seed=7)
    assert [(c.dataset, c.repetition, c.method.name) for c in trials] == [
        (dataset, repetition, method)
        for dataset in ("digits", "cifar10")
        for repetition in (0, 1)
        for method in ("random", "cpnas")
    ]
    assert {c.root_seed for c in trials} == {7}
    assert len({c.id for c in trials}) == 8


def test_a_grid_without_a_trial_is_refused() -> None:
    lists = {"method": "random", "space": "bars", "dataset": "digits", "budget": "smoke"}
    for what in lists:
        with pytest.raises(BadValue, match=f"^the grid names no {what}, and so no trial"):
            requested(*(lists | {what: []}).values(), 1)


def test_the_same_trial_twice_is_refused() -> None:
    with pytest.raises(BadValue, match="is asked for twice"):
        expand([toy_method(), toy_method()], [toy_space()], ["digits"], [BUDGET], seeds=1)


def test_an_id_is_legible_and_the_same_for_ever() -> None:
    assert known().id == "dcpnas-darts-binary-digits-toy-s0-b76f9cdf"
    odd = replace(
        known(),
        dataset="imagefolder:/data/My Images",
        budget=replace(BUDGET, name="quick[passes=100]"),
        repetition=12,
    )
    name = odd.id.rpartition("-")[0]
    assert name == "dcpnas-darts-binary-imagefolder-data-my-images-quick-s12"


@pytest.mark.parametrize(
    "other",
    [
        known(lam=0.0),
        known(mu=1),
        replace(known(), space_options={"leave_out": "none"}),
        replace(known(), dataset="cifar10"),
        replace(known(), budget=replace(BUDGET, passes=3001)),
        replace(known(), budget=replace(BUDGET, search=Scale(cells=3))),
        replace(known(), repetition=1),
        replace(known(), root_seed=1),
        replace(known(), method=plugin("method", "cpnas")),
        replace(known(), method=replace(known().method, module=None)),
    ],
)
def test_a_changed_configuration_is_another_trial(other: Trial) -> None:
    assert other.id != known().id


def test_code_counts_for_files_outside_alone() -> None:
    trial = known()
    edited = replace(trial, method=replace(trial.method, source="bbb"))
    assert edited.id == trial.id
    outside, changed = (replace(c, method=replace(c.method, module=None)) for c in (trial, edited))
    assert outside.id != changed.id


def test_the_configuration_is_plain_and_complete() -> None:
    config = json.loads(json.dumps(known().config()))
    assert config == {
        "schema": 1,
        "method": {"name": "dcpnas", "options": {"lam": 1e-4}},
        "space": {"name": "darts-binary", "options": {}},
        "dataset": "digits",
        "budget": {
            "name": "toy",
            "passes": 3000,
            "batch_size": 64,
            "search_fraction": 0.5,
            "valid_fraction": 0.2,
            "search": {"cells": None, "channels": None, "image": None},
            "final": {"cells": None, "channels": None, "image": None},
            "epochs": 4,
            "train_batch": 128,
            "recipe": {},
        },
        "repetition": 0,
        "root_seed": 0,
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Trial], list[Event]]:
    """A grid in which every second trial goes wrong, in its own way."""
    folder = tmp_path_factory.mktemp("grid")
    faults = ("", "raise", "SIGSEGV", "exit", "SIGKILL", "refuse")
    trials = toy_trials(*({"fault": fault} for fault in faults), budget=SMALL)
    trials.insert(1, replace(toy_trial(SMALL), dataset="imagefolder:/nowhere"))
    trials.append(toy_trial(SMALL, tries=3))
    return folder, trials, list(run_trials(trials, folder, ALONE))


@pytest.mark.slow
def test_a_trial_that_dies_leaves_its_reason_and_the_others_go_on(
    finished: tuple[Path, list[Trial], list[Event]],
) -> None:
    folder, trials, events = finished
    ends = [event for event in events if event.kind in ("failed", "finished")]
    assert [event.trial_id for event in ends] == [trial.id for trial in trials]
    missing = ends.pop(1)
    assert (missing.kind, missing.record) == ("failed", None)
    assert "/nowhere" in missing.text
    assert [(event.kind, event.text) for event in ends] == [
        ("finished", ""),
        ("failed", "RuntimeError: no luck"),
        ("failed", "its process was ended by SIGSEGV"),
        ("failed", "its process ended by itself with exit code 3"),
        ("failed", "its process was ended by SIGKILL, as happens where memory runs out"),
        ("finished", "it only plays"),
        ("finished", ""),
    ]
    store = Store(folder)
    for event in ends:
        assert event.record is not None
        assert event.record == store.read(event.trial_id)
        assert event.record["reason"] == (event.text or None)
        assert event.record["torch_version"]
    statuses = [event.record["status"] for event in ends if event.record]
    assert statuses == ["ok", *["failed"] * 4, "refused", "ok"]
    assert events[0] == Event(trials[0].id, "started")
    assert not list(store.trials.glob(".*"))


@pytest.mark.slow
def test_what_is_over_is_skipped(finished: tuple[Path, list[Trial], list[Event]]) -> None:
    folder, trials, _ = finished
    done, _, failed, crashed, *_, refused, _ = trials
    write_atomically(Store(folder).folder(done.id) / "train.ckpt", b"")
    before = (Store(folder).folder(done.id) / "record.json").stat()
    events = list(run_trials([done, failed, crashed, refused], folder, ALONE))
    assert [(event.kind, event.text) for event in events] == [
        ("skipped", "done"),
        ("skipped", "failed before (RuntimeError: no luck); --retry-failed runs it again"),
        (
            "skipped",
            "failed before (its process was ended by SIGSEGV); --retry-failed runs it again",
        ),
        ("skipped", "refused: it only plays"),
    ]
    assert events[0].record == Store(folder).read(done.id)
    assert not list(Store(folder).folder(done.id).glob("*.ckpt"))
    assert (Store(folder).folder(done.id) / "record.json").stat() == before


@pytest.mark.slow
def test_other_code_is_said(finished: tuple[Path, list[Trial], list[Event]]) -> None:
    folder, (trial, *_), _ = finished
    edited = replace(trial, space=replace(trial.space, source="new"))
    edited.__dict__["id"] = trial.id  # as a plug-in of the code base, whose code is not in the id
    (event,) = run_trials([edited], folder, ALONE)
    assert event.text == "done, but by other code of the space; --rerun runs it again"


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trial, Path]:
    """A trial that is over, quickly, and its results."""
    trial, folder = toy_trial(SMALL, fault="refuse"), tmp_path_factory.mktemp("refused")
    assert kinds(list(run_trials([trial], folder, ALONE))) == ["started", "finished"]
    return trial, folder


@pytest.fixture
def ran(refused: tuple[Trial, Path], tmp_path: Path) -> Iterator[tuple[Trial, Store]]:
    """The same, to be altered."""
    trial, store = refused[0], Store(tmp_path / "name")
    shutil.copytree(refused[1], store.root)
    yield trial, store
    assert not list(store.trials.glob(".*"))


@pytest.mark.slow
def test_retrying_and_rerunning_move_aside_what_they_replace(ran: tuple[Trial, Store]) -> None:
    trial, store = ran
    assert kinds(list(run_trials([trial], store.root, replace(ALONE, retry_failed=True)))) == [
        "skipped"
    ]
    record = store.read(trial.id) or {}
    store.write(trial.id, {"train.ckpt": b"x"}, record | {"status": "failed"})
    assert kinds(list(run_trials([trial], store.root, replace(ALONE, retry_failed=True)))) == [
        "started",
        "finished",
    ]
    old = store.trials / f"{trial.id}.old-1"
    assert json.loads((old / "record.json").read_text())["status"] == "failed"
    assert (store.folder(trial.id) / "train.ckpt").read_bytes() == b"x"
    assert kinds(list(run_trials([trial], store.root, replace(ALONE, rerun=True)))) == [
        "started",
        "finished",
    ]
    assert (store.trials / f"{trial.id}.old-2" / "train.ckpt").exists()
    assert not (store.folder(trial.id) / "train.ckpt").exists()


@pytest.mark.parametrize("name", one_of("SIGKILL", "SIGTERM", "SIGHUP", "SIGINT"))
def test_a_trial_that_was_killed_from_outside_is_taken_up_again(
    ran: tuple[Trial, Store], name: str
) -> None:
    trial, store = ran
    record = store.read(trial.id) or {}
    store.write(trial.id, {}, record | {"status": "failed", "reason": "", "signal": name})
    assert kinds(list(run_trials([trial], store.root, ALONE))) == ["started", "finished"]


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", None])
def test_a_trial_that_ended_by_its_own_fault_is_left_alone(
    ran: tuple[Trial, Store], name: str | None
) -> None:
    trial, store = ran
    record = store.read(trial.id) or {}
    store.write(trial.id, {}, record | {"status": "failed", "reason": "", "signal": name})
    assert kinds(list(run_trials([trial], store.root, ALONE))) == ["skipped"]


@pytest.mark.parametrize("damage", ["record", "weights"])
def test_a_damaged_trial_is_said_set_aside_and_run_again(
    ran: tuple[Trial, Store], damage: str
) -> None:
    trial, store = ran
    if damage == "record":
        os.truncate(store.folder(trial.id) / "record.json", 100)
    else:
        record = store.read(trial.id) or {}
        store.write(trial.id, {"weights.safetensors": b"x"}, record | {"weights_sha256": "y"})
    other = store.root / "trials" / "other" / "record.json"
    other.parent.mkdir()
    other.write_text("{")
    note, *events = run_trials([trial], store.root, ALONE)
    assert note.kind == "note"
    assert str(store.folder(trial.id)) in note.text
    assert note.text.endswith(f"moved to {trial.id}.damaged-1, and the trial runs again")
    assert kinds(events) == ["started", "finished"]
    assert (store.trials / f"{trial.id}.damaged-1" / "record.json").exists()
    assert other.read_text() == "{"


def test_a_trial_that_another_process_runs_is_left_to_it(
    ran: tuple[Trial, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    trial, store = ran
    monkeypatch.setattr(grid_module, "LOCK_WAIT", 0.1)
    lock = store.lock(trial.id, 0)
    assert lock is not None
    with lock:
        (event,) = run_trials([trial], store.root, replace(ALONE, rerun=True))
    assert (event.kind, event.record) == ("busy", None)
    assert kinds(list(run_trials([trial], store.root, ALONE))) == ["skipped"]


def test_what_nobody_runs_comes_before_what_another_process_runs(
    ran: tuple[Trial, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    trial, store = ran
    monkeypatch.setattr(grid_module, "LOCK_WAIT", 0.1)
    taken = replace(trial, repetition=1)
    lock = store.lock(taken.id, 0)
    assert lock is not None
    with lock:
        events = list(run_trials([taken, trial], store.root, ALONE))
    assert [(e.trial_id, e.kind) for e in events] == [(trial.id, "skipped"), (taken.id, "busy")]


def test_a_folder_that_takes_no_files_stops_everything() -> None:
    with pytest.raises(BenchError, match="cannot write /proc/nowhere/trials/"):
        list(run_trials([toy_trial()], Path("/proc/nowhere"), ALONE))


def test_a_full_disk_stops_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise Unwritable(tmp_path, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))

    monkeypatch.setattr(Attempt, "prepare", full)
    with pytest.raises(
        BenchError, match=r"cannot write .*No space left on device; make room there"
    ):
        list(run_trials([toy_trial()], tmp_path, ALONE))
    assert list(Store(tmp_path).trials.iterdir()) == []


@pytest.mark.parametrize(
    ("meddle", "reason"),
    [
        (
            "__import__('resource').setrlimit(1, (0, 0))",
            "File too large",
        ),  # RLIMIT_FSIZE
        ("[lock.with_name(lock.name[1:-5]).write_text('') for lock in {locks}]", "is no folder"),
        pytest.param(
            "[lock.with_name(lock.name[1:-5]).symlink_to('/') for lock in {locks}]",
            "is a link",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "[(lock.unlink(), lock.mkdir()) for lock in {locks}]", "", marks=pytest.mark.slow
        ),
    ],
    ids=["limit", "file", "link", "lock"],
)
def test_what_a_search_does_to_files_ends_its_own_trial_alone(
    tmp_path: Path, meddle: str, reason: str
) -> None:
    locks = f"Path({str(tmp_path / 'trials')!r}).glob('.*.lock')"
    trial = toy_trial(SMALL, meddle=meddle.format(locks=locks))
    events = list(run_trials([trial, toy_trial(fault="refuse")], tmp_path, ALONE))
    _, first, _, second = (event for event in events if event.kind != "progress")
    assert (second.kind, second.text) == ("finished", "it only plays")
    assert first.kind == ("failed" if reason else "finished")
    assert re.search(reason, first.text)


@pytest.mark.parametrize("what", [".lock", ".work"])
def test_what_is_in_the_way_of_a_trial_ends_that_one_alone(tmp_path: Path, what: str) -> None:
    trials = toy_trials({"fault": "refuse"}, {"fault": "refuse", "tries": 1})
    path = tmp_path / "trials" / f".{trials[0].id}{what}"
    path.parent.mkdir()
    path.symlink_to("/nowhere")
    events = list(run_trials(trials, tmp_path, ALONE))
    failed = next(event for event in events if event.kind == "failed")
    assert failed.text.startswith(f"{path} is in the way of the trial's ")
    assert events[-1].kind == "finished"
    assert path.is_symlink()


def test_an_unknown_device_stops_everything(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="'warp' is no device that trials run on"):
        replace(ALONE, device="warp")
    with pytest.raises(BenchError, match="there is no device 'cuda:99' here, where torch finds"):
        list(run_trials([toy_trial()], tmp_path, replace(ALONE, device="cuda:99")))
    assert Store(tmp_path).ids() == []


def test_closing_the_iterator_ends_the_trial_and_frees_it(tmp_path: Path) -> None:
    trial = toy_trial(SMALL, pause=60.0)
    events = run_trials([trial], tmp_path, ALONE)
    for event in events:
        if event.phase == "search":
            break
    began = time.perf_counter()
    events.close()  # type: ignore[attr-defined]
    assert time.perf_counter() - began < 30
    lock = Store(tmp_path).lock(trial.id, 0)
    assert lock is not None
    lock.release()
    assert Store(tmp_path).ids() == []


def test_a_trial_runs_where_the_command_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server that processes are forked from may have been started elsewhere."""
    shutil.copy(TOY, tmp_path / "mine.py")
    monkeypatch.chdir(tmp_path)
    mine = find("method", "mine.py:ToyMethod")
    trials = expand([(mine, {"fault": "refuse"})], [toy_space()], ["digits"], [SMALL], seeds=1)
    *_, event = run_trials(trials, Path("results"), ALONE)
    assert (event.kind, event.text) == ("finished", "it only plays")
    assert Store(tmp_path / "results").ids() == [trials[0].id]


@pytest.mark.slow
def test_a_plain_script_can_start_trials(tmp_path: Path) -> None:
    """Without the `if __name__ == "__main__"` that Python's processes ask for."""
    script = tmp_path / "script.py"
    script.write_text(
        "from pathlib import Path\n"
        "from tests.helpers.trials import ALONE, toy_trial\n"
        "from bnas_bench.runs.grid import run_trials\n"
        "*_, event = run_trials([toy_trial(fault='refuse')], Path('results'), ALONE)\n"
        "print(event.kind, event.text)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(TOY.parents[2])}
    out = subprocess.run(
        [sys.executable, script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (out.stdout, out.stderr) == ("finished it only plays\n", "")


@pytest.fixture
def dying(tmp_path: Path) -> Iterator[tuple[Trial, Store, Path]]:
    """A trial that dies in the pack step for as long as there is a file with a signal's name."""
    store = Store(tmp_path / "results")
    store.root.mkdir()
    yield toy_trial(SMALL, space={"dies": str(store.root)}), store, store.root / "die"
    assert not list(store.trials.rglob("pack*.ckpt"))


@pytest.mark.slow
@pytest.mark.parametrize("name", one_of("SIGKILL", "SIGTERM", "SIGHUP"))
def test_whoever_kills_a_trial_in_the_pack_step_costs_it_nothing(
    dying: tuple[Trial, Store, Path], name: str
) -> None:
    trial, store, die = dying
    die.write_text(name)
    for _ in range(3):
        *_, event = run_trials([trial], store.root, ALONE)
        assert (event.kind, (event.record or {}).get("signal")) == ("failed", name)
    die.unlink()
    *_, event = run_trials([trial], store.root, ALONE)
    assert (event.kind, event.text) == ("finished", "")
    assert event.record is not None
    assert event.record["packed_reason"] is None
    assert event.record["packed_bytes"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", one_of("SIGSEGV", "SIGILL", "SIGBUS", "SIGABRT"))
def test_two_crashes_in_the_pack_step_leave_a_record_without(
    dying: tuple[Trial, Store, Path], name: str
) -> None:
    trial, store, die = dying
    victim = store.root / "victim"
    victim.write_text("untouched")
    die.write_text(name)
    for _ in range(2):
        *_, event = run_trials([trial], store.root, replace(ALONE, retry_failed=True))
        assert (event.kind, event.text) == ("failed", f"its process was ended by {name}")
        marker = store.folder(trial.id) / "packing.ckpt"
        marker.unlink()
        marker.symlink_to(victim)
    *_, event = run_trials([trial], store.root, replace(ALONE, retry_failed=True))
    assert event.record is not None
    assert (event.kind, event.record["status"]) == ("finished", "ok")
    assert event.record["packed_reason"] == "the engine ended the process 2 times"
    assert event.record["packed_bytes"] is None
    assert event.record["test_accuracy"] > 0
    assert victim.read_text() == "untouched"


def test_a_crash_elsewhere_is_none_of_the_engine(dying: tuple[Trial, Store, Path]) -> None:
    """A marker that a kill has left says nothing of the process after it."""
    trial, store, die = dying
    die.write_text("SIGKILL")
    list(run_trials([trial], store.root, ALONE))
    assert (store.folder(trial.id) / "packing.ckpt").exists()
    crashed = replace(trial, method_options={**trial.method_options, "fault": "SIGSEGV"})
    crashed.__dict__["id"] = trial.id
    (store.folder(trial.id) / "found.ckpt").unlink()
    *_, event = run_trials([crashed], store.root, ALONE)
    assert (event.kind, event.text) == ("failed", "its process was ended by SIGSEGV")
    assert not list(store.folder(trial.id).glob("pack*.ckpt"))


def servers() -> list[int]:
    """The process that forks trials, where there is one."""
    found = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    return [found] if found else []


@pytest.mark.slow
def test_a_server_that_died_is_started_anew(tmp_path: Path) -> None:
    start_server()
    (server,) = servers()
    os.kill(server, signal.SIGKILL)
    *_, event = run_trials([toy_trial(fault="refuse")], tmp_path, ALONE)
    assert (event.kind, event.text) == ("finished", "it only plays")


@pytest.fixture
def another_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[forkserver.ForkServer]:
    """One of this test's own, not started yet."""
    server = forkserver.ForkServer()
    for name in ("ensure_running", "connect_to_new_process"):
        monkeypatch.setattr(forkserver, name, getattr(server, name))
    monkeypatch.setattr(forkserver, "_forkserver", server)
    yield server
    server._stop()  # type: ignore[attr-defined]


@pytest.mark.slow
@pytest.mark.parametrize("end", ["os._exit(1)", "os.kill(os.getpid(), 9)", "raise OSError('full')"])
def test_a_server_that_dies_as_it_starts_is_one_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    another_server: forkserver.ForkServer,
    end: str,
) -> None:
    (tmp_path / "dying.py").write_text(f"import os\n{end}\n")
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *filter(None, paths)]))
    another_server.set_forkserver_preload(["dying"])
    trials = toy_trials({"fault": "refuse"}, {"tries": 1})
    events = list(run_trials(trials, tmp_path / "results", ALONE))
    assert kinds(events) == ["started", "failed"] * 2
    for event in events[1::2]:
        assert event.record is None
        assert event.text.startswith("its process could not be started (")
        assert event.text.endswith("and give the command again")
    assert Store(tmp_path / "results").ids() == []
    another_server.set_forkserver_preload([])
    *_, event = run_trials(trials[:1], tmp_path / "results", ALONE)
    assert (event.kind, event.text) == ("finished", "it only plays")


@pytest.mark.slow
def test_a_server_that_is_killed_takes_no_trial_along(
    tmp_path: Path, another_server: forkserver.ForkServer
) -> None:
    trial, killed = toy_trial(SMALL, pause=0.3), False
    for event in run_trials([trial, toy_trial(fault="refuse")], tmp_path, ALONE):
        if event.phase == "search" and not killed:
            killed = True
            os.kill(another_server._forkserver_pid, signal.SIGKILL)  # type: ignore[attr-defined]
        if event.kind in ("finished", "failed"):
            assert (event.kind, event.trial_id != trial.id) == ("finished", event.text != "")
    assert killed


def test_a_record_that_is_damaged_as_the_trial_ends_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = toy_trials({"fault": "refuse"}, {"fault": "refuse", "tries": 1})
    read = Store.read

    def damaged(store: Store, trial_id: str) -> Record | None:
        record = read(store, trial_id)
        if record is not None and trial_id == first.id:
            raise Damaged("record.json is truncated or altered")
        return record

    monkeypatch.setattr(Store, "read", damaged)
    events = list(run_trials([first, second], tmp_path, ALONE))
    assert kinds(events) == ["started", "failed", "started", "finished"]
    (failed,) = (event for event in events if event.kind == "failed")
    assert failed.text == "record.json is truncated or altered"
