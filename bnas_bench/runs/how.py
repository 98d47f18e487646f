"""Where and how trials run: device, threads, how many at a time; shared by Python and the command line."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from bnas_bench.runs.grid import Event, run_trials
from bnas_bench.runs.store import Record, Store
from bnas_bench.runs.trial import Trial


@dataclass(frozen=True, kw_only=True)
class How:
    """Where and how trials run.

    Attributes:
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        threads: CPU threads of a trial; the record depends on it.
        jobs: trials at a time; None is one per CPU core and `threads`, and one on a GPU.
        data: the folder where datasets lie.
        retry_failed: run failed trials again, from their last checkpoint.
        rerun: run all trials again, from the start; old ones are kept aside.
        fail_fast: stop at the first trial that fails.
    """

    device: str = "auto"
    threads: int = 1  # the same on every machine, and fastest on small ones
    jobs: int | None = None
    data: Path = Path("data")
    retry_failed: bool = False
    rerun: bool = False
    fail_fast: bool = False

    def run(
        self, trials: Sequence[Trial], store: Store, show: Callable[[Event], None]
    ) -> list[Record]:
        """Run the trials that are not over, and show what happens to them.

        Returns:
            for every trial its record or, where it has none, its configuration, `id` and a `reason`.
        """
        place = _device(self.device)
        events = run_trials(
            trials,
            store.root,
            device=place,
            threads=self.threads,
            data=self.data,
            jobs=self.jobs or (max(1, cpus() // self.threads) if place == "cpu" else 1),
            retry_failed=self.retry_failed,
            rerun=self.rerun,
        )
        told = {}
        with closing(events):
            for event in events:
                show(event)
                told[event.trial_id] = event.text
                if event.kind == "failed" and self.fail_fast:
                    break
        return [found(trial, store, told.get(trial.id)) for trial in trials]


def found(trial: Trial, store: Store, reason: str | None = None) -> Record:
    """A trial's record or, where it has none, its configuration, `id` and a `reason`."""
    state = store.state(trial.id)
    known = {"status": "damaged"} if state.word == "damaged" else {}
    missing = {"id": trial.id, "reason": state.reason or reason, **known}
    return state.record or trial.description() | missing


def _device(name: str) -> str:
    """`auto` is a GPU where torch finds one; torch is not asked where none is plugged in."""
    if name != "auto":
        return name
    if not [*Path("/dev").glob("nvidia[0-9]*"), *Path("/dev").glob("dxg")]:
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def cpus() -> int:
    """The CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
