"""SLURM, really run: arrays, a node killed, a task preempted, a time limit; and what is refused."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from bnas_bench.core.errors import BadValue
from bnas_bench.runs import code, slurm
from bnas_bench.runs.how import How
from bnas_bench.runs.store import Record, Store
from tests.helpers.slurm import CREDENTIAL, Cluster, cluster, lacking, until
from tests.helpers.trials import TOY, lasting, toy_trial, toy_trials

ROOT = Path(__file__).parents[2]
COMMAND = Path(sys.executable).with_name("bnas-bench")
WHY = lacking()
needs_slurm = pytest.mark.skipif(bool(WHY), reason=WHY)


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Cluster]:
    with cluster(tmp_path / "slurm") as found:
        yield found


def bench(here: Cluster, *arguments: object) -> str:
    environment = here.environment | {
        "PYTHONPATH": str(ROOT),
        "BNAS_BENCH_CHECKPOINT_SHARE": "1e9",  # after every epoch
    }
    done = subprocess.run(
        [COMMAND, *map(str, arguments)],
        env=environment,
        cwd=here.root.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def grid(pause: float, seeds: int, passes: int = 600) -> list[object]:
    return [
        *("run", "--method", f"{TOY}:ToyMethod[pause={pause}]", "--space", f"{TOY}:ToySpace"),
        *("--budget", f"smoke[passes={passes},epochs=2]", "--seeds", seeds, "--name", "mine"),
        *("--device", "cpu"),
    ]


def records(store: Store) -> dict[str, Record]:
    found = {trial_id: store.read(trial_id) for trial_id in store.ids()}
    return {trial_id: record for trial_id, record in found.items() if record}


def ends(record: Record) -> list[str]:
    return [each["ended"] for each in record["attempts"]]


def tasks(store: Store) -> dict[str, str]:
    """The tasks of the trials."""
    found = {}
    for line in (store.root / "slurm" / "jobs.jsonl").read_text().splitlines():
        entry = json.loads(line)
        ids = (store.root / "slurm" / entry["tasks"]).read_text().splitlines()
        found |= {json.loads(text)["id"]: f"{entry['job']}_{n}" for n, text in enumerate(ids)}
    return found


def start_waiting(here: Cluster, only: set[str] | None = None) -> None:
    """Tasks that were put into the queue again need not wait their two minutes, but some seconds.

    SLURM revokes a task's credential as it requeues it: one that was started at once ended with exit code 1,
    its new credential taken for the revoked one.
    """
    for line in here.call("squeue", "-h", "-r", "-t", "PD", "-o", "%i|%S|%r").splitlines():
        task, begin, why = line.split("|")
        since = here.waiting.setdefault(f"{task} until {begin}", time.monotonic())
        waited = time.monotonic() - since > CREDENTIAL + 3
        if why == "BeginTime" and waited and (only is None or task in only):
            here.call("scontrol", "update", f"jobid={task}", "StartTime=now")


def node_of(here: Cluster, task: str) -> str:
    return here.call("squeue", "-h", "-j", task, "-o", "%N").strip()


def processes(node: str) -> list[int]:
    """What runs on a node besides its daemon: the supervisors of its tasks, and then the tasks."""
    tasks, parents = [], set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"SLURMD_NODENAME={node}\0".encode() in (folder / "environ").read_bytes():
                tasks.append(int(folder.name))
                parents.add(int((folder / "stat").read_text().rpartition(")")[2].split()[1]))
        except OSError:
            continue
    supervisors = [
        pid for pid in parents - {*tasks} if Path(f"/proc/{pid}/comm").read_text() == "slurmstepd\n"
    ]
    assert supervisors
    return [*supervisors, *tasks]


@needs_slurm
@pytest.mark.slow
def test_eight_trials_are_recorded_once_whatever_happens_to_nodes_and_tasks(here: Cluster) -> None:
    store = Store(here.root.parent / "results" / "mine")
    said = bench(here, *grid(0.6, 8), "--backend", "slurm", "--sbatch", "--mem=100")
    assert re.match(r"submitted as \d+, \d+: ", said)
    task = tasks(store)
    assert len(task) == 8
    assert "(PENDING" in bench(here, "status", "mine")
    last = [*task][5]  # of the first array of six
    begun: list[str] = []

    def searching(trial_id: str) -> bool:
        return bool(list(store.work(trial_id).glob("*/search.ckpt")))

    def one_searches() -> bool:
        begun[:] = [one for one in task if searching(one) and one != last]
        return bool(begun)

    until(one_searches, 600)
    killed = begun[0]
    node = node_of(here, task[killed])
    here.kill(node, processes(node))
    until(lambda: searching(last), 900)
    here.call("scancel", "--batch", "--signal=USR1", task[last])
    until(lambda: "BeginTime" in bench(here, "status", "mine"), 60)
    here.node(node)

    def all_over() -> bool:
        start_waiting(here)
        return len(records(store)) == 8

    until(all_over, 900)
    found = records(store)
    assert {record["status"] for record in found.values()} == {"ok"}
    assert ends(found[last]) == ["preempted", "ok"]
    assert ends(found[killed])[-1:] == ["ok"]
    assert set(ends(found[killed])[:-1]) == {"lost"}
    others = [ends(record) for trial_id, record in found.items() if trial_id not in (last, killed)]
    assert others.count(["ok"]) >= 5  # the other node's task went with it, if there was one
    until(
        lambda: not list(store.trials.glob(".*")), 60
    )  # what saw it go clears up after its record
    assert all((store.root / "slurm" / "logs" / f"{one}.log").stat().st_size for one in task)
    bench(here, *grid(0.6, 8), "--results", here.root / "local", "--no-page")
    local = records(Store(here.root / "local" / "mine"))
    assert {k: lasting(v) for k, v in found.items()} == {k: lasting(v) for k, v in local.items()}
    assert "all 8 trials are over" in bench(here, *grid(0.6, 8), "--backend", "slurm")


@needs_slurm
@pytest.mark.slow
def test_a_time_limit_shorter_than_the_trial_costs_nothing_and_cancel_ends_all(
    here: Cluster,
) -> None:
    store = Store(here.root.parent / "results" / "mine")
    options = "--time=2 --signal=B:USR1@20"  # which SLURM may send a minute earlier
    minutes = grid(12.0, 2, passes=6_000)  # eight of them
    bench(here, *minutes, "--backend", "slurm", "--sbatch", options)
    first, second = tasks(store)

    def tried(trials: Collection[str], times: int) -> bool:
        """Which end at their limit so often. A task is told once it is back in the queue, and waits there two
        minutes: after one try, and also when it was told before Python listened."""
        short = {tasks(store)[one] for one in trials if _tries(store, one) < times}
        if short:
            start_waiting(here, short)
        return not short

    until(lambda: tried((first, second), 1), 600)
    until(lambda: tried((first,), 2), 600)
    assert not records(store)
    assert "cancelled" in bench(here, "cancel", "mine")
    until(lambda: not here.call("squeue", "-h").strip(), 120)
    assert bench(here, "status", "mine").splitlines()[-1] == "2 killed"


def _tries(store: Store, trial_id: str) -> int:
    """How often it was preempted, as it keeps it beside its checkpoint."""
    for file in store.work(trial_id).glob("*/attempts.ckpt"):
        return [each["ended"] for each in json.loads(file.read_text())].count("preempted")
    return 0


@pytest.mark.slow
@needs_slurm
def test_one_trial_over_two_nodes_and_over_two_processes_of_a_task(here: Cluster) -> None:
    """The tasks of one srun are its ranks; what a batch script runs starts them by itself."""
    run = [COMMAND, *map(str, grid(0, 1)), "--devices", "2", "--results", "results", "--no-page"]
    environment = here.environment | {"PYTHONPATH": str(ROOT), "MASTER_ADDR": "127.0.0.1"}
    done = subprocess.run(
        ["srun", "--nodes=2", "--ntasks=2", *run],
        env=environment,
        cwd=here.root.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    store = Store(here.root.parent / "results" / "mine")
    (first,) = records(store).values()
    assert (first["status"], first["devices"], len(first["attempts"])) == ("ok", 2, 1)

    options = ("--results", "again", "--devices", 2, "--backend", "slurm")
    bench(here, *grid(0, 1), *options, "--sbatch", "--cpus-per-task=1")
    until(lambda: not here.call("squeue", "-h"))
    (second,) = records(Store(here.root.parent / "again" / "mine")).values()
    assert lasting(second) == lasting(first)


@needs_slurm
@pytest.mark.slow
def test_what_slurm_refuses_is_one_sentence(here: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_CONF", "PATH"):
        monkeypatch.setenv(name, here.environment[name])
    store = Store(here.root / "results" / "mine")
    trials = [toy_trial()]
    with pytest.raises(BadValue, match=r"SLURM refuses it .*invalid partition specified: nowhere"):
        slurm.submit(trials, store, How(), ["true"], ["--partition=nowhere"])
    monkeypatch.setenv("SLURM_CONF", "/nowhere")
    with pytest.raises(BadValue, match="SLURM refuses it"):
        slurm.submit(trials, store, How(), ["true"], [])
    assert not (store.root / "slurm" / "jobs.jsonl").exists()


def test_without_slurm_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BadValue, match=r"no SLURM here \(scontrol is not on the PATH\)"):
        slurm.submit([toy_trial()], Store(tmp_path / "mine"), How(), ["true"], [])
    assert slurm.queued(Store(tmp_path / "mine")) == {}
    with pytest.raises(BadValue, match="nothing of 'mine' was submitted"):
        slurm.cancel(Store(tmp_path / "mine"))


def test_other_code_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    trials = toy_trials({"tries": 1}, {"tries": 2})
    monkeypatch.setenv(slurm.CODE, slurm.code_of(trials))
    slurm.check_code(trials)
    monkeypatch.setattr(code, "harness_digest", lambda: "other")
    with pytest.raises(BadValue, match=r"has other code, plug-ins or versions \([0-9a-f]{12}\)"):
        slurm.check_code(trials)


def test_a_task_runs_the_trial_of_its_line_and_says_where_it_sees_no_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tasks = tmp_path / "a b.jsonl"
    tasks.write_text('{"id": "one-s0"}\n{"id": "two-s1"}\n')
    (tmp_path / "logs").mkdir()
    script = slurm._script(["echo", "a b"], tasks, "c0de")
    environment = os.environ | {"SLURM_ARRAY_TASK_ID": "1"}
    subprocess.run(["sh"], input=script, env=environment, text=True, check=True)
    assert (tmp_path / "logs" / "two-s1.log").read_text() == "a b --only two-s1\n"
    dying = slurm._script(["sh", "-c", "kill -USR1 $$"], tasks, "c0de")
    environment |= {"SLURM_ARRAY_JOB_ID": "7", "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    (tmp_path / "scontrol").write_text('#!/bin/sh\necho "$*" >requeued\n')
    (tmp_path / "scontrol").chmod(0o755)
    done = subprocess.run(["sh"], input=dying, env=environment, text=True, capture_output=True)
    assert done.returncode == 128 + signal.SIGUSR1
    assert (tmp_path / "requeued").read_text() == "requeue 7_1\n"
    (tmp_path / "requeued").unlink()
    slurm._mark(tasks).touch()
    subprocess.run(["sh"], input=dying, env=environment, text=True, capture_output=True)
    assert not (tmp_path / "requeued").exists(), "it was cancelled"
    tasks.unlink()
    done = subprocess.run(["sh"], input=script, env=environment, text=True, capture_output=True)
    assert done.returncode == 1
    assert done.stderr.startswith(f"this node does not see {tasks}: give --results a folder")


def test_a_task_that_saves_while_it_is_cancelled_does_not_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "mine" / "slurm"
    folder.mkdir(parents=True)
    (folder / "jobs.jsonl").write_text('{"job": "12", "tasks": "ab.jsonl"}\n')
    mark = slurm._mark(folder / "ab.jsonl")
    script = slurm._script(["true"], folder / "ab.jsonl", "c0de")
    assert f"{slurm.CANCELLED}={mark}\n" in script
    for name, value in (("ARRAY_JOB_ID", "12"), ("ARRAY_TASK_ID", "0")):
        monkeypatch.setenv(f"SLURM_{name}", value)
    monkeypatch.setenv(slurm.CANCELLED, str(mark))
    calls: list[list[str]] = []

    def called(command: list[str]) -> str:
        calls.append(command)
        if command[0] == "scancel":  # it ends the task, which saves
            slurm.requeue()
        return ""

    monkeypatch.setattr(slurm, "_call", called)
    slurm.requeue()
    assert slurm.cancel(Store(tmp_path / "mine")) == ["12"]
    assert [command[0] for command in calls] == ["scontrol", "scancel"]


def test_lists_of_a_stranger_name_no_other_jobs(tmp_path: Path) -> None:
    store = Store(tmp_path / "mine")
    (store.root / "slurm").mkdir(parents=True)
    lines = [{"job": "1; rm", "tasks": "a.jsonl"}, {"job": "1", "tasks": "../a.jsonl"}, [], {}]
    text = "".join(f"{json.dumps(line)}\n" for line in lines)
    (store.root / "slurm" / "jobs.jsonl").write_text(text)
    assert list(slurm._arrays(store)) == []


def test_the_queue_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "mine")
    (store.root / "slurm").mkdir(parents=True)
    (store.root / "slurm" / "jobs.jsonl").write_text('{"job": "12", "tasks": "ab.jsonl"}\n')
    (store.root / "slurm" / "ab.jsonl").write_text('{"id": "one"}\n{"id": "two"}\n')
    lines = "12_0|RUNNING|None\n12_1|PENDING|Resources\n12_2|PENDING|x\n13_0|RUNNING|None\n"
    monkeypatch.setattr(slurm, "_call", lambda _: lines)
    assert slurm.queued(store) == {
        "one": "task 12_0 of SLURM (RUNNING)",
        "two": "task 12_1 of SLURM (PENDING, Resources)",
    }
