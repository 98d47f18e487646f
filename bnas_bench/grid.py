"""Many cells: expand them, skip those that are over, run the others, some side by side.

This file does not import torch, so that a plan is there at once.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import product
from math import prod
from pathlib import Path
from threading import Event as Stop
from typing import Any, Literal

from bnas_bench.core import Budget
from bnas_bench.crashes import count_death, forget_marker
from bnas_bench.errors import BadValue, BenchError, Damaged
from bnas_bench.parallel import side_by_side
from bnas_bench.process import LOST, Message, NotStarted, run_in_child, start_server
from bnas_bench.registry import Plugin
from bnas_bench.source import harness_digest
from bnas_bench.store import Record, Store, canonical, sha256

LOCK_WAIT = 10.0
"""Seconds within which a process whose parent was killed is gone for sure."""

KILLS = ("SIGKILL", "SIGTERM", "SIGHUP", "SIGINT")
"""Signals from outside: a cell that died of one goes on when the same command is given again."""

CONFIG = 1
"""Version of what an id is hashed from."""

MOST_CELLS = 10_000
"""Of one grid; each is a folder of its own."""

Choice = tuple[Plugin, Mapping[str, Any]]
"""A plug-in with all its options."""


@dataclass(frozen=True)
class Cell:
    """One run of one method: what is run, on what, with which seed."""

    method: Plugin
    method_options: Mapping[str, Any]
    space: Plugin
    space_options: Mapping[str, Any]
    dataset: str
    budget: Budget
    repetition: int
    root_seed: int = 0

    def config(self) -> dict[str, Any]:
        """All that the numbers follow from, as plain values: what the id is hashed from."""
        return {
            "schema": CONFIG,
            "method": _identity(self.method, self.method_options),
            "space": _identity(self.space, self.space_options),
            "dataset": self.dataset,
            "budget": asdict(self.budget),
            "repetition": self.repetition,
            "root_seed": self.root_seed,
        }

    @cached_property
    def id(self) -> str:
        """The name of the cell's folder, legible and different for every other configuration."""
        method, space = (Path(plugin.name).name for plugin in (self.method, self.space))
        budget = self.budget.name.partition("[")[0]
        names = map(_slug, (method, space, self.dataset, budget))
        digest = sha256(canonical(self.config()).encode())[:8]
        return "-".join([*names, f"s{self.repetition}", digest])

    def description(self) -> dict[str, Any]:
        """The configuration as columns of a record."""
        return {
            "method": self.method.name,
            "method_options": dict(self.method_options),
            "method_source": self.method.source,
            "space": self.space.name,
            "space_options": dict(self.space_options),
            "space_source": self.space.source,
            "harness_source": harness_digest(),
            "dataset": self.dataset,
            "budget": self.budget.name,
            "seed": self.repetition,
            "root_seed": self.root_seed,
            "config": self.config(),
        }


def _identity(plugin: Plugin, options: Mapping[str, Any]) -> dict[str, Any]:
    """A plug-in of the code base is known by its name; a file outside it only by what it says."""
    identity = {"name": plugin.name, "options": dict(options)}
    return identity if plugin.module else identity | {"source": plugin.source}


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower())[-40:].strip("-")


def expand(
    methods: Sequence[Choice],
    spaces: Sequence[Choice],
    datasets: Sequence[str],
    budgets: Sequence[Budget],
    seeds: int,
    root_seed: int = 0,
) -> list[Cell]:
    """Every combination; the methods vary fastest, so that comparisons are complete early.

    Raises:
        BadValue: if two cells are the same.
    """
    if (count := prod(map(len, (methods, spaces, datasets, budgets))) * seeds) > MOST_CELLS:
        raise BadValue(
            f"a grid of {count:,} cells is more than the {MOST_CELLS:,} that can be kept track of: "
            "ask for fewer seeds, or for a part of it under each --name"
        )
    cells = [
        Cell(*method, *space, dataset, budget, repetition, root_seed)
        for dataset, budget, space, repetition, method in product(
            datasets, budgets, spaces, range(seeds), methods
        )
    ]
    seen: set[str] = set()
    for cell in cells:
        if cell.id in seen:
            raise BadValue(f"cell {cell.id} is asked for twice: name each configuration once")
        seen.add(cell.id)
    return cells


@dataclass(frozen=True)
class Event:
    """Something that happened to a cell.

    Attributes:
        kind: `started`; `progress`; `finished` (its record is `ok` or `refused`); `failed` (without
            a record where the dataset is missing: the same command tries it again); `skipped` (it
            was over before, perhaps failed); `busy` (another process is in it); `note` (a remark).
        text: one line on it.
        phase, done: of a `progress`: what goes on, and which part of it is behind.
    """

    cell_id: str
    kind: Literal["started", "progress", "finished", "failed", "skipped", "busy", "note"]
    text: str = ""
    record: Record | None = None
    phase: str = ""
    done: float = 0.0


def run_cells(
    cells: Iterable[Cell],
    folder: Path,
    *,
    device: str = "cpu",
    threads: int | None = None,
    data: Path = Path("data"),
    jobs: int = 1,
    retry_failed: bool = False,
    rerun: bool = False,
) -> Generator[Event, None, None]:
    """Run the cells that are not over, each in a process of its own, and tell what happens.

    A cell that was killed goes on from its last checkpoint. Closing the iterator, or Ctrl-C, ends
    the running cells and leaves their checkpoints.

    Args:
        folder: `results/NAME`.
        device: `cpu`, `cuda` or `cuda:N`.
        threads: of the CPU; None is torch's default.
        data: the folder where datasets lie.
        jobs: how many cells run at a time.
        retry_failed: run failed cells again, from their last checkpoint.
        rerun: run all cells again, from the start.

    Raises:
        BadValue: if there is no such device.
        BenchError: if `folder` cannot be written to.
    """
    store, stop = Store(folder), Stop()

    def run(cell: Cell) -> Generator[Event, None, None]:
        if (lock := store.lock(cell.id, LOCK_WAIT)) is None:
            yield Event(cell.id, "busy", "another process is running it: left to that one")
            return
        with lock:
            if (yield from _to_do(cell, store, retry_failed, rerun)):
                forget_marker(store.folder(cell.id))
                yield Event(cell.id, "started")
                messages = run_in_child(cell, store, lock, device, threads, data, stop)
                with closing(messages):
                    yield from _run(cell, store, messages, device)

    start_server()
    yield from side_by_side(map(run, cells), jobs, stop)


def _to_do(
    cell: Cell, store: Store, retry_failed: bool, rerun: bool
) -> Generator[Event, None, bool]:
    """Whether the cell is to run; moves aside what a run would replace."""
    try:
        record = store.read(cell.id)
        if record is not None:
            store.verify(record)
    except Damaged as error:
        aside = store.retire(cell.id, "damaged", keep_checkpoints=True)
        yield Event(cell.id, "note", f"{error}: moved to {aside.name}, and the cell runs again")
        return True
    if record is None:
        if rerun:
            store.remove_checkpoints(cell.id)
        return True
    failed = record["status"] == "failed"
    if rerun or (failed and (retry_failed or record.get("signal") in KILLS)):
        store.retire(cell.id, "old", keep_checkpoints=not rerun)
        return True
    if record["status"] == "ok":
        store.remove_checkpoints(cell.id)  # of a process that was killed right after its record
    yield Event(cell.id, "skipped", _why_skipped(cell, record), record)
    return False


def _why_skipped(cell: Cell, record: Record) -> str:
    if record["status"] == "failed":
        return f"failed before ({record['reason']}); --retry-failed runs it again"
    changed: list[str] = [
        plugin.kind
        for plugin in (cell.method, cell.space)
        if record.get(f"{plugin.kind}_source") != plugin.source
    ]
    if record.get("harness_source") != harness_digest():
        changed.append("harness")
    if changed:
        return f"done, but by other code of the {' and the '.join(changed)}; --rerun runs it again"
    return "done" if record["status"] == "ok" else f"refused: {record['reason']}"


def _run(
    cell: Cell, store: Store, messages: Generator[Message, None, int | None], device: str
) -> Iterator[Event]:
    missing = broken = ""
    while True:
        try:
            message = next(messages)
        except StopIteration as end:
            code = end.value
            break
        except NotStarted as error:
            yield Event(cell.id, "failed", str(error))
            return
        match message.kind:
            case "stop":
                raise BenchError(message.text)
            case "missing":
                missing = message.text
            case "broken":
                broken = message.text
            case "note":
                yield Event(cell.id, "note", message.text)
            case "progress":
                yield Event(cell.id, "progress", message.text, None, message.phase, message.done)
    if missing:
        yield Event(cell.id, "failed", missing)
        return
    try:
        record = store.read(cell.id) or _death(cell, store, device, code, broken)
    except (Damaged, ValueError) as error:  # ValueError: of options that no record can hold
        yield Event(cell.id, "failed", str(error))
        return
    kind: Literal["failed", "finished"] = "failed" if record["status"] == "failed" else "finished"
    yield Event(cell.id, kind, record["reason"] or "", record)


def _death(cell: Cell, store: Store, device: str, code: int, broken: str) -> Record:
    """The record of a cell whose process ended without one.

    Args:
        broken: its last words.
    """
    from bnas_bench.run import record_death

    name = None
    if broken:
        reason = broken
    elif code == LOST:
        reason = f"its process ended by itself with exit code {code}, or its end was lost as the "
        reason += "server that it was forked from died; --retry-failed runs it again"
    elif code >= 0:
        reason = f"its process ended by itself with exit code {code}"
    else:
        name = _signal(-code)
        reason = f"its process was ended by {name}"
        if name == "SIGKILL":
            reason += ", as happens where memory runs out"
    count_death(store.folder(cell.id), name)
    return record_death(cell, store, device, reason, name)


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # one of those that have no names
        return f"signal {number}"
