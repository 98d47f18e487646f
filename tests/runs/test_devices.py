"""One trial over several devices: as of one, lost and gone on, launched by others."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from bnas_bench.core.errors import BadValue, UnknownName
from bnas_bench.runs.grid import run_trials
from bnas_bench.runs.how import How
from bnas_bench.runs.launched import launched
from bnas_bench.runs.store import Store
from tests.helpers.cli import fail
from tests.helpers.trials import ALONE, BUDGET, lasting, toy_trial

SMALL = replace(BUDGET, passes=600, epochs=1)
TWO = replace(ALONE, devices=2)
ON_RANK_1 = "not __import__('bnas_bench.core.ranks', fromlist=['']).is_first() and ({0})"


def test_two_devices_find_what_one_does(tmp_path: Path) -> None:
    trial = toy_trial(SMALL)
    records = []
    for how in (ALONE, TWO):
        store = Store(tmp_path / str(how.devices))
        *_, event = run_trials([trial], store.root, how)
        assert (event.kind, event.text) == ("finished", "")
        records.append(store.read(trial.id) or {})
        assert not store.work(trial.id).exists()
    one, two = records
    assert (one["devices"], two["devices"]) == (1, 2)
    assert "batch_norm" not in two
    for field in ("passes", "architecture"):
        assert two[field] == one[field]
    # Rounding may turn the sign of a value near zero.
    for field in ("valid_accuracy", "test_accuracy"):
        assert two[field] == pytest.approx(one[field], abs=2)
    assert two["train_loss"] == pytest.approx(one["train_loss"], rel=1e-4)
    assert [each["ended"] for each in two["attempts"]] == ["ok"]


@pytest.mark.slow
def test_batch_norm_of_each_devices_own_share_is_told(tmp_path: Path) -> None:
    trial, store = toy_trial(SMALL), Store(tmp_path)
    *_, event = run_trials([trial], tmp_path, replace(TWO, batch_norm="own"))
    assert event.kind == "finished"
    assert (store.read(trial.id) or {})["batch_norm"] == "own"


@pytest.mark.slow
def test_a_lost_rank_ends_the_attempt_which_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    """Killed, or ended by an error that it alone has; what is found is what it would have been."""
    kill = "Path({0!r}).exists() or (Path({0!r}).touch(), os.kill(os.getpid(), 9))"
    fail_ = "Path({0!r}).exists() or (Path({0!r}).touch(), 1 / 0)"
    for name, do, why in (
        ("killed", kill, "another rank was ended by SIGKILL"),
        ("failed", fail_, "rank 1 of 2 ended: ZeroDivisionError: division by zero"),
    ):
        meddle = ON_RANK_1.format(do.format(str(tmp_path / name)))
        trial = toy_trial(SMALL, meddle=meddle, meddle_at=1)
        store = Store(tmp_path / f"{name}-results")
        events = [e for e in run_trials([trial], store.root, TWO) if e.kind != "progress"]
        assert [event.kind for event in events] == ["started", "note", "finished"]
        assert events[1].text == f"{why}: it is tried again"
        record = store.read(trial.id) or {}
        assert [each["ended"] for each in record["attempts"]] == ["lost", "ok"]
        list(run_trials([trial], tmp_path / f"{name}-whole", TWO))
        whole = Store(tmp_path / f"{name}-whole").read(trial.id) or {}
        assert lasting(record) == lasting(whole)


@pytest.mark.slow
def test_told_to_leave_the_first_saves_and_two_go_on(tmp_path: Path) -> None:
    trial, store, leave = toy_trial(SMALL, pause=0.5), Store(tmp_path), threading.Event()
    for event in run_trials([trial], tmp_path, TWO, leave):
        if event.phase == "search":
            leave.set()
    assert event.kind == "preempted"
    assert list(store.work(trial.id).glob("*/search.ckpt"))
    *_, event = run_trials([trial], tmp_path, TWO)
    assert (event.kind, event.text) == ("finished", "")
    record = store.read(trial.id) or {}
    assert [each["ended"] for each in record["attempts"]] == ["preempted", "ok"]


@pytest.mark.slow
def test_a_rank_that_is_lost_again_and_again_fails_the_trial(tmp_path: Path) -> None:
    trial = toy_trial(SMALL, meddle=ON_RANK_1.format("os.kill(os.getpid(), 9)"), meddle_at=0)
    *_, event = run_trials([trial], tmp_path, TWO)
    assert (event.kind, event.text) == ("failed", "another rank was ended by SIGKILL")


@pytest.mark.slow
def test_no_rank_outlives_the_first(tmp_path: Path) -> None:
    """Which an eager user, or the kernel where memory ends, kills."""
    here, first = tmp_path / "pids", tmp_path / "first"
    here.mkdir()
    note = f"Path({str(here)!r}, str(os.getpid())).touch()"
    die = f"({ON_RANK_1.format('True')}) or (time.sleep(1), os.kill(os.getpid(), 9))"
    trial = toy_trial(SMALL, meddle=f"({note}, {die})", meddle_at=1)
    *_, event = run_trials([trial], first, TWO)
    assert (event.kind, event.text.partition(",")[0]) == (
        "failed",
        "its process was ended by SIGKILL",
    )
    pids = [path.name for path in here.iterdir()]
    assert len(pids) == 2
    deadline = time.monotonic() + 60
    while any(is_alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(is_alive(pid) for pid in pids)


def is_alive(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_an_error_that_all_ranks_have_is_recorded_as_one(tmp_path: Path) -> None:
    *_, event = run_trials([toy_trial(SMALL, fault="raise")], tmp_path, TWO)
    *_, alone = run_trials([toy_trial(SMALL, fault="raise")], tmp_path / "alone", ALONE)
    assert (event.kind, event.text) == (alone.kind, alone.text)
    assert alone.kind == "failed"


def test_gpus_are_dealt_out_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5,7,8,9")
    assert How(device="cuda", devices=2).places() == ["3,5", "7,8"]
    assert How(device="cuda").places() == ["3", "5", "7", "8", "9"]
    assert How(device="cpu", devices=2).places() == [None]
    with pytest.raises(BadValue, match="6 devices of 5 that are here"):
        How(device="cuda", devices=6).places()


def test_what_makes_no_sense_is_one_sentence(tmp_path: Path) -> None:
    run = ("run", "--method", "random", "--budget", "smoke", "--results", tmp_path)
    said = fail(*run, "--devices", 2, "--device", "cuda:1")
    assert "2 devices and 'cuda:1', which is one: write --device cuda" in said
    with pytest.raises(UnknownName, match="unknown batch norm"):
        How(batch_norm="synchronized")


@pytest.mark.parametrize(
    ("environment", "rank", "host", "port"),
    [
        ({"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "a", "MASTER_PORT": "5"}, 1, "a", 5),
        ({"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "2", "MASTER_PORT": "5"}, 0, "127.0.0.1", 5),
        ({"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2", "SLURM_JOB_ID": "7"}, 1, None, 20_707),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "2"}, None, None, None),  # a batch script
        ({"RANK": "0", "WORLD_SIZE": "1"}, None, None, None),
        ({}, None, None, None),
    ],
)
def test_who_launched_a_rank(
    environment: dict[str, str], rank: int | None, host: str | None, port: int | None
) -> None:
    found = launched(TWO, environment)
    assert (found and found.rank) == rank
    if found:
        assert (found.host, found.port) == (host or "127.0.0.1", port)
    assert launched(ALONE, environment) is None


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"RANK": "1", "WORLD_SIZE": "3"}, "3 ranks were started and --devices is 2"),
        (
            {"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NUM_NODES": "2"},
            "nothing says where rank 0 is: set MASTER_ADDR",
        ),
    ],
)
def test_a_launch_that_does_not_fit_is_one_sentence(environment: dict[str, str], said: str) -> None:
    with pytest.raises(BadValue, match=said):
        launched(TWO, environment)


ALONE_ON_ITS_CORE = {"OMP_NUM_THREADS": "1"}


def tasks_of_a_step() -> list[dict[str, str]]:
    """The environments that srun gives two tasks on one node, and a port that is free."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    step = {"SLURM_STEP_NUM_TASKS": "2", "MASTER_PORT": port}
    return [
        os.environ | ALONE_ON_ITS_CORE | step | {"SLURM_PROCID": str(rank)} for rank in range(2)
    ]


PROGRAM = """
import sys
from pathlib import Path
from bnas_bench.runs.grid import run_trials
from tests.runs.test_devices import ON_RANK_1, SMALL, TWO
from tests.helpers.trials import toy_trial
trials = [toy_trial(SMALL, meddle=ON_RANK_1.format(sys.argv[2]), meddle_at=1), toy_trial(SMALL)]
for event in run_trials(trials, Path(sys.argv[1]), TWO):
    if event.kind != "progress":
        print(event.kind, event.text)
"""


@pytest.mark.slow
def test_a_rank_that_others_started_is_lost_and_takes_part_in_the_next_attempt(
    tmp_path: Path,
) -> None:
    kill = "Path({0!r}).exists() or (Path({0!r}).touch(), os.kill(os.getpid(), 9))"
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "results")]
    command.append(kill.format(str(tmp_path / "killed")))
    processes = [
        subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        for environment in tasks_of_a_step()
    ]
    first, second = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert second == ""
    kinds = [line.partition(" ")[0] for line in first.splitlines()]
    assert kinds == ["started", "note", "finished", "started", "finished"]


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["torchrun", "srun"])
def test_ranks_that_others_started(tmp_path: Path, launcher: str) -> None:
    """torchrun itself; of srun the environment that it gives its tasks. Rank 0 alone says and writes."""
    program = str(Path(sys.executable).with_name("bnas-bench"))
    run = f"{program} run --method random --space bnas-201 --train --seeds 1 --budget smoke[passes=1500]"
    run += f" --device cpu --devices 2 --no-page --results {tmp_path} --json"
    if launcher == "torchrun":
        torchrun = [str(Path(sys.executable).with_name("torchrun")), "--standalone"]
        commands = [[*torchrun, "--nproc-per-node=2", "--no-python", *run.split()]]
        environments = [os.environ | ALONE_ON_ITS_CORE]
    else:
        commands = [run.split()] * 2
        environments = tasks_of_a_step()
    processes = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        for command, environment in zip(commands, environments, strict=True)
    ]
    said = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes)
    assert said[0].count('"test_accuracy"') == 1
    assert said[1:] in ([], [""])
    store = Store(tmp_path / "local")
    (trial_id,) = store.ids()
    record = store.read(trial_id) or {}
    assert (record["status"], record["devices"]) == ("ok", 2)
    assert len(record["attempts"]) == 1
