"""Many trials: expand them, skip those that are over, run the others, some side by side.

This file does not import torch, so that a plan is there at once.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing, nullcontext
from itertools import cycle, islice
from pathlib import Path
from queue import Queue
from threading import Event as Stop
from typing import Literal

from bnas_bench.core.errors import BenchError, Damaged
from bnas_bench.core.files import Unwritable
from bnas_bench.plugins.source import harness_digest
from bnas_bench.runs.attempt import Attempt
from bnas_bench.runs.claims import GONE, Lock
from bnas_bench.runs.crashes import count_death, forget_marker
from bnas_bench.runs.how import How
from bnas_bench.runs.launched import Lead, follow, launched
from bnas_bench.runs.parallel import side_by_side
from bnas_bench.runs.process import LOST, PREEMPTED, NotStarted, run_in_child, start_server
from bnas_bench.runs.progress import Event
from bnas_bench.runs.seen import Sight, plan, runs_again
from bnas_bench.runs.store import Record, Store
from bnas_bench.runs.trial import Trial

AGAIN = 3
"""Times that an attempt that was lost or preempted is followed by another, with no checkpoint in between."""

LOCK_WAIT = 10.0
"""Seconds within which a process whose parent was killed is gone for sure."""


def run_all(
    trials: Sequence[Trial],
    store: Store,
    how: How,
    show: Callable[[Event], None],
    leave: Stop | None = None,
) -> list[Record]:
    """Run the trials that are not over, and show what happens to them.

    Args:
        leave: as of `run_trials`.

    Returns:
        for every trial its record or, where it has none, its configuration, `id` and a `reason`.

    Raises:
        BenchError: as `run_trials`.
    """
    told = {}
    plan(store, [trial.id for trial in trials])
    with closing(run_trials(trials, store.root, how, leave)) as events:
        for event in events:
            show(event)
            told[event.trial_id] = event.text
            if event.kind == "failed" and how.fail_fast:
                break
    return [found(trial, store, told.get(trial.id)) for trial in trials]


def found(trial: Trial, store: Store, reason: str | None = None) -> Record:
    """A trial's record or, where it has none, its configuration, `id` and a `reason`."""
    state = store.state(trial.id)
    known = {"status": "damaged"} if state.word == "damaged" else {}
    missing = {"id": trial.id, "reason": state.reason or reason, **known}
    return state.record or trial.description() | missing


def run_trials(
    trials: Iterable[Trial], folder: Path, how: How | None = None, leave: Stop | None = None
) -> Generator[Event, None, None]:
    """Run the trials that are not over, each in a process of its own, and tell what happens.

    A trial that was killed goes on from its last checkpoint. Closing the iterator, or Ctrl-C, ends
    the running trials and leaves their checkpoints.

    Args:
        folder: `results/NAME`.
        leave: once it is set, no trial begins, and those that run save at their next step and end.

    Raises:
        BadValue: if there is no such device.
        BenchError: if `folder` cannot be written to.
    """
    store, stop, here = Store(folder), Stop(), (how or How()).settled()
    leave = leave or Stop()
    launch = launched(here)
    if launch and launch.rank:
        follow([*trials], here, launch)
        return
    jobs = 1 if launch else here.jobs or 1
    lead = Lead(launch, here) if launch else None
    slots: Queue[str | None] = Queue()
    for name in islice(cycle([None] if launch else here.places()), jobs):
        slots.put(name)

    def run(trial: Trial) -> Generator[Event, None, None]:
        if leave.is_set():
            return
        place = slots.get()
        try:
            yield from claimed(trial, place)
        except (Damaged, Unwritable) as error:
            if isinstance(error, Unwritable) and error.everywhere:
                raise
            yield Event(trial.id, "failed", str(error))
        finally:
            slots.put(place)

    def claimed(trial: Trial, gpu: str | None) -> Generator[Event, None, None]:
        if (lock := store.lock(trial.id, _patience())) is None:
            yield Event(trial.id, "busy", "another process is running it: left to that one")
            return
        with lock:
            if (yield from _to_do(trial, store, here)):
                yield Event(trial.id, "started")
                with closing(Attempt(store, trial.id, lock.token)) as attempt:
                    yield from tried(trial, attempt, lock, gpu)

    def tried(
        trial: Trial, attempt: Attempt, lock: Lock, gpu: str | None
    ) -> Generator[Event, None, None]:
        again = AGAIN
        while True:
            attempt.begin(here.device)
            forget_marker(attempt.folder)
            before = attempt.progress()
            with (
                lead.seat(trial) if lead else nullcontext() as seat,
                closing(run_in_child(trial, attempt, lock, here, stop, leave, gpu, seat)) as events,
            ):
                why = yield from _run(trial, attempt, events, here.device, again=again)
            again = AGAIN if attempt.progress() != before else again - 1
            if not why:
                return
            if leave.is_set():
                yield Event(trial.id, "preempted", "saved; the same command goes on with it")
                return
            yield Event(trial.id, "note", f"{why}: it is tried again")

    start_server()
    with closing(lead) if lead else nullcontext():
        yield from side_by_side(map(run, trials), jobs, stop)


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
    events: Generator[Event, None, int | None],
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
            code = end.value
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
        if found is None and again and not broken and (lost or code in (PREEMPTED, LOST)):
            return lost or (
                "its process saved and ended" if code == PREEMPTED else "its process was lost"
            )
        record = found or _death(trial, attempt, device, code, broken or lost)
    except (Damaged, ValueError) as error:  # ValueError: of options that no record can hold
        yield Event(trial.id, "failed", str(error))
        return ""
    kind: Literal["failed", "finished"] = "failed" if record["status"] == "failed" else "finished"
    yield Event(trial.id, kind, record["reason"] or "", record)
    return ""


def _death(trial: Trial, attempt: Attempt, device: str, code: int, broken: str) -> Record:
    """The record of a trial whose process ended without one.

    Args:
        broken: its last words.
    """
    from bnas_bench.runs.run import record_death

    name = None
    if broken:
        reason = broken
    elif code == LOST:
        reason = f"its process ended by itself with exit code {code}, or its end was lost as the "
        reason += "server that it was forked from died; --retry-failed runs it again"
    elif code == PREEMPTED:
        reason = f"it was told to save and end {AGAIN + 1} times without getting on"
    elif code >= 0:
        reason = f"its process ended by itself with exit code {code}"
    else:
        name = _signal(-code)
        reason = f"its process was ended by {name}"
        if name == "SIGKILL":
            reason += ", as happens where memory runs out"
    count_death(attempt.folder, name)
    return record_death(trial, attempt, device, reason, name)


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # one of those that have no names
        return f"signal {number}"
