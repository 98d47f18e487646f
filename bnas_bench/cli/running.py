"""Options that say how trials run, and the loop that runs them: shared by `run` and `reproduce`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import click

from bnas_bench.cli.numbers import Number
from bnas_bench.core.errors import BadValue
from bnas_bench.core.options import Threads
from bnas_bench.runs.grid import run_trials
from bnas_bench.runs.store import Record, Store
from bnas_bench.runs.trial import Trial

LONGEST_NAME = 200
"""Bytes of a name: file systems take 255, and other endings are put to it."""

FOLDER = click.Path(path_type=Path, file_okay=False)
RESULTS = click.option(
    *("--results", "--out", "results"),
    type=FOLDER,
    default="results",
    show_default=True,
    help="Folder of all results.",
)


@dataclass(frozen=True)
class How:
    """Where and how trials run."""

    device: str
    threads: int
    jobs: int | None
    data: Path
    retry_failed: bool
    rerun: bool
    fail_fast: bool

    def run(self, trials: Sequence[Trial], store: Store) -> list[Record]:
        """Run the trials that are not over, showing how far they are.

        Returns:
            for every trial its record or, where it has none, its configuration, `id` and a `reason`.
        """
        from bnas_bench.cli.output import Watch

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
        with closing(events), Watch(len(trials)) as watch:
            for event in events:
                watch.show(event)
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


def results_name(default: str, about: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The option `--name`, which is one folder's and leads nowhere else."""

    def check(_ctx: click.Context, _param: click.Parameter, name: str) -> str:
        if name.startswith((".", "-")) or not name.isprintable() or set(name) & set("/\\"):
            raise BadValue(
                f"'{name}' names no results: it becomes one folder in --results, so write a word "
                "that has no '/' and begins with no '.' or '-'"
            )
        if len(name.encode()) > LONGEST_NAME or not name:
            raise BadValue(
                f"a name of results has 1 to {LONGEST_NAME} bytes, not {len(name.encode())}"
            )
        return name

    return click.option("--name", default=default, show_default=True, callback=check, help=about)


def runs_trials(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of `How`, as one argument: `how`."""

    @wraps(command)
    def whole(
        *,
        device: str,
        threads: int,
        jobs: int | None,
        data_folder: Path,
        retry_failed: bool,
        rerun: bool,
        fail_fast: bool,
        **others: Any,
    ) -> None:
        how = How(device, threads, jobs, data_folder, retry_failed, rerun, fail_fast)
        command(how=how, **others)

    for decorate in (
        click.option("--fail-fast", is_flag=True, help="Stop at the first trial that fails."),
        click.option(
            "--rerun", is_flag=True, help="Run all trials again; the old ones are kept aside."
        ),
        click.option("--retry-failed", is_flag=True, help="Run failed trials again."),
        click.option("--data-folder", type=FOLDER, default="data", show_default=True),
        click.option(
            "--jobs",
            type=Number(Threads),
            help="Trials at a time [default: one per CPU core and --threads; 1 on a GPU].",
        ),
        click.option(
            "--threads",
            type=Number(Threads),
            default=1,  # the same on every machine, as the record depends on it; and fastest on small ones
            show_default=True,
            help="CPU threads of a trial; the record depends on it.",
        ),
        click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda."),
    ):
        decorate(whole)
    return whole


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
