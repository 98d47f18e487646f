"""Trials as tasks of SLURM: plain arrays of `sbatch`, of which each task gives the command with `--only ID`.

Nothing but ids is handed over: every task makes the grid anew from the command, and refuses to work with
other code than the submission's. What was submitted stands in `results/NAME/slurm`: a list of ids for each
array, the arrays' numbers, and a log for each trial. Whoever submits need not stay.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from bnas_bench.core.errors import BadValue
from bnas_bench.core.files import (
    Unwritable,
    make_folder,
    read_regular,
    write_atomically,
)
from bnas_bench.runs.code import code_of, other_code
from bnas_bench.runs.how import How
from bnas_bench.runs.seen import runs_again
from bnas_bench.runs.store import Store
from bnas_bench.runs.trial import Trial

WARNING = 120
"""Seconds before a time limit at which a task is told to save and is put into the queue again."""

CODE = "BNAS_BENCH_CODE"
"""The environment's variable that tells a task by which code it was submitted."""

CANCELLED = "BNAS_BENCH_CANCELLED"
"""The environment's variable that names a file: once it is there, a task is put into no queue again."""

ARRAY = 1001
"""Tasks of an array by SLURM's default, `MaxArraySize`; their numbers begin at 0."""

LARGEST = 2**24
"""Bytes of a list that none of ours has."""


def submit(
    trials: Sequence[Trial], store: Store, how: How, command: Sequence[str], options: Sequence[str]
) -> list[str]:
    """Submit the trials that are not over; the arrays' numbers.

    Args:
        command: that of a task, which takes `--only ID`.
        options: of `sbatch`, which overrule ours.

    Raises:
        BadValue: if there is no SLURM, or it refuses the arrays.
        Unwritable: if the folder of results takes no files.
    """
    todo = [trial.id for trial in trials if not is_over(trial, store, how)]
    code, folder = code_of(trials), store.root / "slurm"
    try:
        make_folder(folder / "logs")
    except OSError as error:
        raise Unwritable(folder, error) from error
    jobs = []
    most = _largest_array() if todo else 1
    for ids in (todo[first : first + most] for first in range(0, len(todo), most)):
        tasks = folder / f"{secrets.token_hex(8)}.jsonl"
        write_atomically(tasks, "".join(f"{json.dumps({'id': each})}\n" for each in ids).encode())
        throttle = f"%{how.jobs}" if how.jobs else ""
        arguments = [
            f"--job-name={_job_name(store)}",
            f"--array=0-{len(ids) - 1}{throttle}",
            f"--cpus-per-task={how.threads * how.devices}",
            f"--signal=B:USR1@{WARNING}",
            f"--output={folder / 'logs' / '%A_%a.out'}",
            *("--requeue", "--open-mode=append", "--parsable"),
        ]
        script = _script(command, tasks, code)
        job = _call(["sbatch", *arguments, *options], script).partition(";")[0].strip()
        _note(folder / "jobs.jsonl", {"job": job, "tasks": tasks.name})
        jobs.append(job)
    return jobs


def is_over(trial: Trial, store: Store, how: How) -> bool:
    """Whether a run would skip the trial."""
    record = store.state(trial.id).record
    return record is not None and not runs_again(record, how)


def _script(command: Sequence[str], tasks: Path, code: str) -> str:
    """What a task runs: the command with the id in its line of the list.

    The shell hands signals on. A command that USR1 ended, as it came before Python listened, has nothing
    to save, and goes into the queue again.
    """
    folder, seen = shlex.quote(str(Path.cwd())), shlex.quote(str(tasks))
    cancelled = shlex.quote(str(_mark(tasks)))
    logs = shlex.quote(str(tasks.parent / "logs"))
    unseen = f"this node does not see {tasks}: give --results a folder that all nodes share"
    return f"""#!/bin/sh
cd {folder} && test -r {seen} || {{ echo {shlex.quote(unseen)} >&2; exit 1; }}
id=$(sed -n "$((SLURM_ARRAY_TASK_ID + 1))s/.*\\"id\\": \\"\\(.*\\)\\".*/\\1/p" {seen})
export {CODE}={code} {CANCELLED}={cancelled}
trap 'kill -USR1 "$task"' USR1
trap 'kill -TERM "$task"' TERM
{shlex.join(command)} --only "$id" >>{logs}/"$id.log" 2>&1 &
task=$!
while wait "$task"; code=$?; kill -0 "$task" 2>/dev/null; do :; done
test "$code" -ne {128 + signal.SIGUSR1} || test -e {cancelled} ||
    scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID"
exit "$code"
"""


def check_code(trials: Sequence[Trial]) -> None:
    """Refuse to work with other code than that of the submission.

    Raises:
        BadValue: if it is another.
    """
    expected = os.environ.get(CODE)
    if expected and (wrong := other_code(code_of(trials), expected)):
        raise BadValue(wrong)


def requeue() -> None:
    """Put the task that this process is back into the queue, and no other of its array.

    Not where it was cancelled: SLURM would take back what it has just ended.
    """
    mark = os.environ.get(CANCELLED)
    if (job := os.environ.get("SLURM_ARRAY_JOB_ID")) and not (mark and Path(mark).exists()):
        job = f"{job}_{os.environ['SLURM_ARRAY_TASK_ID']}"
        _call(["scontrol", "requeue", job])


def queued(store: Store) -> dict[str, str]:
    """Trials that are in SLURM's queue: their tasks and states; none where there is no SLURM."""
    if not (arrays := {job: ids for job, _, ids in _arrays(store)}):
        return {}
    try:
        lines = _call(["squeue", "--noheader", "--array", "--format=%i|%T|%r"]).splitlines()
    except BadValue:
        return {}
    found = {}
    for line in lines:
        task, state, why = (*line.split("|"), "", "")[:3]
        job, _, number = task.partition("_")
        if job in arrays and number.isdigit() and int(number) < len(arrays[job]):
            known = "" if why == "None" else f", {why}"
            found[arrays[job][int(number)]] = f"task {task} of SLURM ({state}{known})"
    return found


def cancel(store: Store) -> list[str]:
    """End all that was submitted; the numbers of the arrays.

    Raises:
        BadValue: if nothing was submitted, or SLURM refuses.
    """
    jobs = [job for job, _, _ in _arrays(store)]
    if not jobs:
        raise BadValue(f"nothing of '{store.root.name}' was submitted to SLURM")
    for _, tasks, _ in _arrays(
        store
    ):  # before SLURM ends them: one that saves just now would come back
        write_atomically(_mark(tasks), b"")
    # By its name as well: results may be a stranger's, and their list name other jobs.
    _call(["scancel", "--me", f"--name={_job_name(store)}", *jobs])
    return jobs


def _mark(tasks: Path) -> Path:
    """Of an array's list the file that says that the array was cancelled."""
    return tasks.with_suffix(".cancelled")


def _arrays(store: Store) -> Iterator[tuple[str, Path, list[str]]]:
    """The numbers of the arrays that were submitted, with their lists, and the ids in these."""
    folder = store.root / "slurm"
    for line in _lines(folder / "jobs.jsonl"):
        match line:
            case {"job": str(job), "tasks": str(tasks)} if re.fullmatch(
                r"\d+", job
            ) and re.fullmatch(r"[0-9a-f]+\.jsonl", tasks):
                yield job, folder / tasks, [str(each.get("id")) for each in _lines(folder / tasks)]


def _lines(path: Path) -> Iterator[dict[str, object]]:
    with suppress(OSError, ValueError):
        for line in read_regular(path, LARGEST).decode().splitlines():
            if isinstance(found := json.loads(line), dict):
                yield found


def _note(path: Path, entry: dict[str, str]) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    try:
        with os.fdopen(os.open(path, flags, 0o644), "a") as file:
            file.write(f"{json.dumps(entry)}\n")
    except OSError as error:
        raise Unwritable(path, error) from error


def _job_name(store: Store) -> str:
    return f"bnas-{store.root.name}"


def _largest_array() -> int:
    """Tasks of an array that this SLURM takes."""
    found = re.search(r"MaxArraySize\s*=\s*(\d+)", _call(["scontrol", "show", "config"]))
    return int(found[1]) if found else ARRAY


def _call(command: Sequence[str], text: str | None = None) -> str:
    """What a command of SLURM prints.

    Raises:
        BadValue: if there is none, or it ends in an error.
    """
    name = command[0]
    if shutil.which(name) is None:
        raise BadValue(f"there is no SLURM here ({name} is not on the PATH): use --backend local")
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        why = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise BadValue(f"SLURM refuses it ({why}): see the options after --sbatch, and sinfo")
    return done.stdout
