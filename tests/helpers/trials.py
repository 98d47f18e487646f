"""Trials of the toy plug-ins."""

from __future__ import annotations

import json
import math
import os
import signal
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from bnas_bench.core.budget import Budget
from bnas_bench.core.files import canonical
from bnas_bench.plugins.registry import find
from bnas_bench.runs.how import How
from bnas_bench.runs.store import Record, Store
from bnas_bench.runs.trial import Choice, Trial, expand


class Stop(NamedTuple):
    """A moment of a trial: when a stage has made so many epochs, before or after they are saved."""

    stage: str
    epochs: int
    saved: bool


TOY = Path(__file__).with_name("toy.py")

BUDGET = Budget("toy", 3000, 64, search_fraction=0.5, valid_fraction=0.2, epochs=4, train_batch=128)


ALONE = How(device="cpu", jobs=1)
"""One trial at a time."""


def toy_method(**options: Any) -> Choice:
    plugin = find("method", f"{TOY}:ToyMethod")
    return plugin, plugin.defaults | options


def toy_space(**options: Any) -> Choice:
    plugin = find("space", f"{TOY}:ToySpace")
    return plugin, plugin.defaults | options


def toy_trials(*options: dict[str, Any], seeds: int = 1, budget: Budget = BUDGET) -> list[Trial]:
    """A trial for every set of the method's options."""
    methods = [toy_method(**each) for each in options or [{}]]
    return expand(methods, [toy_space()], ["digits"], [budget], seeds)


def toy_trial(
    budget: Budget = BUDGET, space: dict[str, Any] | None = None, **options: Any
) -> Trial:
    return Trial(*toy_method(**options), *toy_space(**(space or {})), "digits", budget, 0)


def lasting(record: Record) -> str:
    """What of a record no clock decides."""
    from bnas_bench.runs.run import TIMING_FIELDS

    return canonical({name: v for name, v in record.items() if name not in TIMING_FIELDS})


def read_log(store: Store, trial: Trial) -> list[dict[str, Any]]:
    lines = (store.folder(trial.id) / "log.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def left(store: Store, trial: Trial) -> dict[str, Any]:
    """All that a trial leaves and that no clock decides."""
    files = {file.name: file.read_bytes() for file in store.folder(trial.id).iterdir()}
    untimed = [{k: v for k, v in e.items() if k != "seconds"} for e in read_log(store, trial)]
    record = store.read(trial.id) or {}
    return files | {"record.json": lasting(record), "log.jsonl": canonical(untimed)}


def run_and_wait(trial: Trial, root: Path, trace: Path, stop: Stop) -> None:
    """Run a trial in this process, saving after every epoch, and wait for a signal at one save, or in
    the engine, where the stage is `pack`.

    Args:
        trace: the file that takes a line at every epoch of the search.
    """
    from bnas_bench.runs import steps, testing
    from bnas_bench.runs.run import run_trial
    from bnas_bench.search.checkpoint import Checkpoint

    class Waiting(Checkpoint):
        def save(
            self, state: Mapping[str, Any], header: Mapping[str, Any], *, force: bool = False
        ) -> None:
            there = self.path.stem == stop.stage and safe_epochs(stop.stage, header) == stop.epochs
            if there and not stop.saved:
                wait(trace)
            super().save(state, header, force=force)
            if there:
                wait(trace)

    def packed_record(*arguments: Any) -> Any:
        if stop.stage == "pack":
            wait(trace)
        return measure(*arguments)

    measure = testing.packed_record
    os.environ["TOY_TRACE"] = str(trace)
    testing.packed_record = packed_record
    steps.Checkpoint = partial(Waiting, share=math.inf)  # type: ignore[misc, assignment]
    run_trial(trial, Store(root))


def wait(trace: Path) -> None:
    """Say that this process waits, and wait for a signal."""
    waiting(trace).touch()
    signal.pause()


def waiting(trace: Path) -> Path:
    """The file that says so."""
    return trace.with_name("waiting")


def safe_epochs(stage: str, header: Mapping[str, Any]) -> int:
    """The epochs that the checkpoint of a stage holds, by its header; 1 where it has none."""
    return {"search": header.get("epoch", 0), "train": len(header.get("log", []))}.get(stage, 1)
