"""How far trials are, for those who look from another process.

While a trial runs, the process that started it writes `trials/.ID.progress` beside the trial's lock; it
stays where the trial is killed, and goes when it is over. `planned.json` lists what was asked for.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from bnas_bench.core.errors import BenchError
from bnas_bench.core.files import read_regular, write_atomically, writing
from bnas_bench.core.strict import BadJson, read_json
from bnas_bench.runs.claims import is_held
from bnas_bench.runs.how import How
from bnas_bench.runs.progress import Event
from bnas_bench.runs.store import Record, Store

PLANNED = "planned.json"

EVERY = 2.0
"""Seconds between two writings of a trial's progress."""

LARGEST = 2**24
"""Bytes that none of these files has."""

KILLS = ("SIGKILL", "SIGTERM", "SIGHUP", "SIGINT")
"""Signals from outside: a trial that died of one goes on when the same command is given again."""


def was_killed(record: Record) -> bool:
    """Whether a trial failed because its process was ended from outside."""
    return record["status"] == "failed" and record.get("signal") in KILLS


def runs_again(record: Record, how: How) -> bool:
    """Whether a run does anew a trial that has this record."""
    failed = record["status"] == "failed"
    return how.rerun or was_killed(record) or (failed and how.retry_failed)


Word = Literal["running", "waiting", "killed", "failed", "damaged", "refused", "ok"]

ORDER: Sequence[Word] = ("running", "waiting", "killed", "failed", "damaged", "refused", "ok")
"""The states, those that one looks for first."""


SHOWN = (
    *("test_accuracy", "seconds", "latency_ms"),
    *("latency_others", "latency_load", "load", "cores"),
)
"""What those who list trials want of their records, beside the OPs."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A trial as another process sees it.

    Attributes:
        phase, done, text: as an `Event` says them, of one that runs or was killed.
        age: seconds since it began to run, was killed or planned, or since its record was begun; None
            where nothing tells.
        curve: passes and accuracy (0 to 1) of the incumbents so far.
        record: of one that is over, what `SHOWN` names.
    """

    id: str
    word: Word
    phase: str = ""
    done: float = 0.0
    text: str = ""
    age: float | None = None
    reason: str = ""
    record: Record | None = None
    curve: Sequence[tuple[float, float]] = ()


class Sight:
    """Writes how far a running trial is; what cannot be written is not seen, and costs it nothing."""

    def __init__(self, store: Store, trial_id: str) -> None:
        self.path = _progress(store, trial_id)
        self.began, self.last = time.time(), 0.0
        self.curve: Sequence[tuple[float, float]] = ()

    def tell(self, event: Event) -> None:
        """Write an event of the kind `progress`."""
        self.curve = event.curve or self.curve
        if time.monotonic() - self.last < EVERY:
            return
        self.last = time.monotonic()
        content = {
            "began": self.began,
            "when": time.time(),
            "phase": event.phase,
            "done": event.done,
            "text": event.text,
            "curve": self.curve,
        }
        with suppress(BenchError):
            write_atomically(self.path, json.dumps(content).encode())

    def forget(self) -> None:
        """The trial is over."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)


def plan(store: Store, ids: Sequence[str]) -> None:
    """Add trials to those that were asked for."""
    known = planned(store)
    if new := {trial_id: time.time() for trial_id in ids if trial_id not in known}:
        with suppress(BenchError):
            write_atomically(store.root / PLANNED, json.dumps(known | new, indent=0).encode())


def planned(store: Store) -> dict[str, float]:
    """The trials that were asked for, and when: seconds since 1970."""
    found = _read(store.root / PLANNED)
    return {name: when for name, when in found.items() if isinstance(when, float)}


def is_running(store: Store, trial_id: str) -> bool:
    """Whether a process is at work on the trial, on this host or on another."""
    return is_held(store.trials / f".{trial_id}.lock")


def look(store: Store) -> list[Seen]:
    """Every trial that was asked for or has a folder, in `ORDER`."""
    asked = planned(store)
    here = {*store.ids(), *(trial_id for trial_id in asked if store.only is None)}
    here |= set(_locked(store))
    found = [_seen(store, trial_id, asked.get(trial_id)) for trial_id in sorted(here)]
    return sorted(found, key=lambda one: ORDER.index(one.word))


def remove(store: Store, ids: Sequence[str]) -> None:
    """Delete the folders of trials, and forget that they were asked for.

    Raises:
        Unwritable: if that cannot be done.
    """
    for trial_id in ids:
        folder = store.folder(trial_id)
        with writing(folder):
            if folder.is_symlink() or folder.is_file():
                folder.unlink()
            elif folder.is_dir():
                shutil.rmtree(folder)
            _progress(store, trial_id).unlink(missing_ok=True)
            store.remove_checkpoints(trial_id)
    left = {name: when for name, when in planned(store).items() if name not in ids}
    if (store.root / PLANNED).is_file():
        write_atomically(store.root / PLANNED, json.dumps(left, indent=0).encode())


def remove_all(store: Store) -> None:
    """Delete all trials, those that were kept aside too, and the folder if nothing else is in it.

    Raises:
        Unwritable: if that cannot be done, as where a folder is a link.
    """
    with writing(store.root):
        shutil.rmtree(store.trials)
        (store.root / PLANNED).unlink(missing_ok=True)
        if not any(store.root.iterdir()):
            store.root.rmdir()


def _locked(store: Store) -> Iterator[str]:
    """Trials whose process has not made a folder yet."""
    for file in store.trials.glob(".*.progress"):
        yield file.name[1 : -len(".progress")]


def _seen(store: Store, trial_id: str, asked: float | None) -> Seen:
    now, state = time.time(), store.state(trial_id)
    if (record := state.record) is not None:
        killed = was_killed(record)
        return Seen(
            id=trial_id,
            word="killed" if killed else record["status"],
            age=_since(record, now),
            reason=state.reason or "",
            record=_shown(record),
        )
    if state.word == "damaged":
        return Seen(id=trial_id, word="damaged", reason=state.reason or "")
    running, told = is_running(store, trial_id), _told(_read(_progress(store, trial_id)))
    if not (running or told or state.word == "unfinished"):
        return Seen(id=trial_id, word="waiting", age=None if asked is None else now - asked)
    began, when = told.pop("began", None), told.pop("when", None)
    start = began if running else when
    return Seen(
        id=trial_id,
        word="running" if running else "killed",
        age=None if start is None else max(0.0, now - start),
        **told,
    )


def _shown(record: Record) -> Record:
    """Of a hundred thousand records the rest takes gigabytes."""
    found = {name: record[name] for name in SHOWN if name in record}
    if record["status"] == "ok":
        found["ops"] = {"nas-bnn": record["ops"]["nas-bnn"]}
    return found


def _since(record: Record, now: float) -> float | None:
    try:
        return max(0.0, now - datetime.fromisoformat(str(record.get("when"))).timestamp())
    except (ValueError, OverflowError):
        return None


def _told(content: Mapping[str, Any]) -> dict[str, Any]:
    """What a progress file says, if it says all of it in the right form."""
    match content:
        case {
            "began": float(began),
            "when": float(when),
            "phase": str(phase),
            "done": int() | float() as done,
            "text": str(text),
            "curve": list(curve),
        }:
            points = [(float(x), float(y)) for x, y in filter(_is_point, curve)]
            return {
                "began": began,
                "when": when,
                "phase": phase,
                "done": float(done),
                "text": text,
                "curve": points,
            }
    return {}


def _is_point(pair: Any) -> bool:
    return (
        isinstance(pair, list) and len(pair) == 2 and all(isinstance(x, int | float) for x in pair)
    )


def _progress(store: Store, trial_id: str) -> Path:
    return store.trials / f".{trial_id}.progress"


def _read(path: Path) -> dict[str, Any]:
    """A JSON object of ours; empty if there is none, or another thing."""
    try:
        found = read_json(read_regular(path, LARGEST).decode())
    except (OSError, UnicodeDecodeError, BadJson):
        return {}
    return found if isinstance(found, dict) else {}
