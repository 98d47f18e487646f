"""Many trials: expand them, skip those that are over, run the others, some side by side.

This file does not import torch, so that a plan is there at once.
"""

from __future__ import annotations

import os
import secrets
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from threading import Event as Stop
from typing import Literal

from bnas_bench.core.errors import BenchError, Damaged
from bnas_bench.core.files import Unwritable
from bnas_bench.plugins.source import harness_digest
from bnas_bench.runs.attempt import Attempt
from bnas_bench.runs.backend import Backend, End, Exited, Lost
from bnas_bench.runs.claims import GONE, Lock
from bnas_bench.runs.crashes import forget_marker
from bnas_bench.runs.deaths import AGAIN, death
from bnas_bench.runs.how import How
from bnas_bench.runs.launched import follow
from bnas_bench.runs.local import Local
from bnas_bench.runs.parallel import side_by_side
from bnas_bench.runs.process import NotStarted
from bnas_bench.runs.progress import Event
from bnas_bench.runs.seen import Sight, plan, runs_again
from bnas_bench.runs.store import Record, Store
from bnas_bench.runs.trial import Trial

LOCK_WAIT = 10.0
"""Seconds within which a process whose parent was killed is gone for sure."""


def run_all(
    trials: Sequence[Trial],
    store: Store,
    how: How,
    show: Callable[[Event], None],
    leave: Stop | None = None,
    backend: Backend | None = None,
) -> list[Record]:
    """Run the trials that are not over, and show what happens to them.

    Args:
        leave, backend: as of `run_trials`.

    Returns:
        for every trial its record or, where it has none, its configuration, `id` and a `reason`.

    Raises:
        BenchError: as `run_trials`.
    """
    told = {}
    plan(store, [trial.id for trial in trials])
    with closing(run_trials(trials, store.root, how, leave, backend)) as events:
        for event in events:
            show(event)
            told[event.trial_id] = event.text
    return [found(trial, store, told.get(trial.id)) for trial in trials]


def found(trial: Trial, store: Store, reason: str | None = None) -> Record:
    """A trial's record or, where it has none, its configuration, `id` and a `reason`."""
    state = store.state(trial.id)
    known = {"status": "damaged"} if state.word == "damaged" else {}
    missing = {"id": trial.id, "reason": state.reason or reason, **known}
    return state.record or trial.description() | missing


def run_trials(
    trials: Iterable[Trial],
    folder: Path,
    how: How | None = None,
    leave: Stop | None = None,
    backend: Backend | None = None,
) -> Generator[Event, None, None]:
    """Run the trials that are not over, each in a process of its own, and tell what happens.

    A trial that was killed goes on from its last checkpoint. Closing the iterator, or Ctrl-C, ends
    the running trials and leaves their checkpoints.

    Args:
        folder: `results/NAME`.
        leave: once it is set, no trial begins, and those that run save at their next step and end.
        backend: makes the attempts; None is this machine, as `how` says.

    Raises:
        BadValue: if there is no such device.
        BenchError: if `folder` cannot be written to.
    """
    store, stop, how = Store(folder), Stop(), how or How()
    leave = leave or Stop()
    if backend is None:
        with closing(here := Local(how)):
            if here.launch and here.launch.rank:
                follow([*trials], here.how, here.launch)
            else:
                yield from run_trials(trials, folder, how, leave, here)
        return

    def run(trial: Trial, wait: float | None = None) -> Generator[Event, None, None]:
        if leave.is_set():
            return
        try:
            yield from claimed(trial, wait)
        except (Damaged, Unwritable) as error:
            if isinstance(error, Unwritable) and error.everywhere:
                raise
            yield Event(trial.id, "failed", str(error))

    def claimed(trial: Trial, wait: float | None) -> Generator[Event, None, None]:
        if (lock := store.lock(trial.id, wait or 0.0)) is None:
            if wait is None:  # there may be others that nobody runs: they come first
                streams.append(run(trial, _patience()))
            else:
                yield Event(trial.id, "busy", "another process is running it: left to that one")
            return
        with lock:
            if (yield from _to_do(trial, store, how)):
                yield Event(trial.id, "started")
                yield from tried(trial, lock)

    def tried(trial: Trial, lock: Lock) -> Generator[Event, None, None]:
        again = AGAIN
        while True:
            # A token of its own: whoever was at work before, and may be still, finds no place to write in.
            attempt = Attempt(store, trial.id, secrets.token_hex(8))
            try:
                attempt.prepare()
                forget_marker(attempt.folder)
                before = attempt.progress()
                with closing(backend.attempt(trial, attempt, lock, stop, leave)) as events:
                    why = yield from _run(trial, attempt, events, backend.device, again=again)
            except BaseException:
                attempt.close()
                raise
            again = AGAIN if attempt.progress() != before else again - 1
            if why and not leave.is_set():
                yield Event(trial.id, "note", f"{why}: it is tried again")
                continue
            attempt.close()
            if why:
                yield Event(trial.id, "preempted", "saved; the same command goes on with it")
            return

    streams = deque(map(run, trials))
    yield from side_by_side(streams, backend.jobs, stop)


def _patience() -> float:
    """Seconds to wait for a trial: in a task of SLURM, which nobody starts again, until its owner is gone."""
    return LOCK_WAIT + (GONE if "SLURM_JOB_ID" in os.environ else 0.0)


def _to_do(trial: Trial, store: Store, how: How) -> Generator[Event, None, bool]:
    """Whether the trial is to run; moves aside what a run would replace."""
    try:
        record = store.read(trial.id)
        if record is not None:
            store.verify(record)
    except Damaged as error:
        aside = store.retire(trial.id, "damaged", keep_checkpoints=True)
        yield Event(trial.id, "note", f"{error}: moved to {aside.name}, and the trial runs again")
        return True
    if record is None:
        if how.rerun:
            store.remove_checkpoints(trial.id)
        return True
    if runs_again(record, how):
        store.retire(trial.id, "old", keep_checkpoints=not how.rerun)
        return True
    if record["status"] == "ok":
        store.remove_checkpoints(trial.id)  # of a process that was killed right after its record
    yield Event(trial.id, "skipped", _why_skipped(trial, record), record)
    return False


def _why_skipped(trial: Trial, record: Record) -> str:
    if record["status"] == "failed":
        return f"failed before ({record['reason']}); --retry-failed runs it again"
    changed: list[str] = [
        plugin.kind
        for plugin in (trial.method, trial.space)
        if record.get(f"{plugin.kind}_source") != plugin.source
    ]
    if record.get("harness_source") != harness_digest():
        changed.append("harness")
    if changed:
        return f"done, but by other code of the {' and the '.join(changed)}; --rerun runs it again"
    return "done" if record["status"] == "ok" else f"refused: {record['reason']}"


def _run(
    trial: Trial,
    attempt: Attempt,
    events: Generator[Event, None, End],
    device: str,
    *,
    again: int,
) -> Generator[Event, None, str]:
    """What an attempt says; returns why it is to be tried again, if it is.

    Args:
        again: how often it may be.
    """
    missing = broken = taken = lost = ""
    sight = Sight(attempt.store, trial.id)
    while True:
        try:
            event = next(events)
        except StopIteration as end:
            how: End = end.value
            break
        except NotStarted as error:
            yield Event(trial.id, "failed", str(error))
            return ""
        match event.kind:
            case "stop":
                sight.forget()
                raise BenchError(event.text)
            case "missing":
                missing = event.text
            case "broken":
                broken = event.text
            case "busy":
                taken = event.text
            case "lost":
                lost = event.text
            case _:
                if event.kind == "progress":
                    sight.tell(event)
                yield event
    sight.forget()
    if missing:
        yield Event(trial.id, "failed", missing)
        return ""
    if taken:
        yield Event(trial.id, "busy", taken)
        return ""
    try:
        found = attempt.store.read(trial.id)
        if found is None and again and not broken and (lost or not isinstance(how, Exited)):
            return lost or (how.why if isinstance(how, Lost) else "its process saved and ended")
        record = found or death(trial, attempt, device, how, broken or lost)
    except (Damaged, ValueError) as error:  # ValueError: of options that no record can hold
        yield Event(trial.id, "failed", str(error))
        return ""
    kind: Literal["failed", "finished"] = "failed" if record["status"] == "failed" else "finished"
    yield Event(trial.id, kind, record["reason"] or "", record)
    return ""
