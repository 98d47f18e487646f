"""Where trials run besides this machine: SLURM's queue, a cluster of Ray."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import click
from click.core import ParameterSource

from bnas_bench.cli.completion import NAME
from bnas_bench.cli.running import RESULTS, as_one
from bnas_bench.core.errors import BadValue, UnknownName
from bnas_bench.runs import folders, slurm
from bnas_bench.runs.backend import Backend
from bnas_bench.runs.how import How
from bnas_bench.runs.seen import plan
from bnas_bench.runs.store import Store
from bnas_bench.runs.trial import Trial


@dataclass(frozen=True, kw_only=True)
class Where:
    """The machinery that runs trials.

    Attributes:
        backend: `local`, `ray` or `slurm`.
        ray_address: of the cluster of Ray that is joined; None starts one here.
        sbatch: options of `sbatch`, as one types them.
        only: the id of the one trial that is to run.
    """

    backend: str
    ray_address: str | None
    sbatch: Sequence[str]
    only: str | None

    def of(self, trials: Sequence[Trial]) -> Sequence[Trial]:
        """The trials that this command is to run.

        Raises:
            BadValue: if options do not fit each other, or the code is not the submission's.
            UnknownName: if the only trial is none of them.
        """
        if self.sbatch and self.backend != "slurm" and self.only is None:
            raise BadValue("--sbatch gives options to SLURM alone: add --backend slurm")
        source = click.get_current_context().get_parameter_source("ray_address")
        if source is ParameterSource.COMMANDLINE and self.backend != "ray" and self.only is None:
            raise BadValue("--ray-address names a cluster of Ray: add --backend ray")
        slurm.check_code(trials)
        if self.only is None:
            return trials
        known = {trial.id: trial for trial in trials}
        if self.only not in known:
            raise UnknownName("trial of this grid", self.only, known)
        return [known[self.only]]

    def how(self, how: How) -> How:
        """Where SLURM starts a task again, it goes on, and does not begin anew as `--rerun` says."""
        again = self.only is not None and os.environ.get("SLURM_RESTART_COUNT", "0") != "0"
        return replace(how, rerun=False) if again else how

    @contextmanager
    def backend_of(
        self, trials: Sequence[Trial], store: Store, how: How
    ) -> Iterator[Backend | None]:
        """What makes the attempts; None is this machine."""
        if self.backend != "ray":
            yield None
            return
        from bnas_bench.runs.on_ray import OnRay

        backend = OnRay(trials, store, how, self.ray_address or os.environ.get("RAY_ADDRESS"))
        try:
            yield backend
        finally:
            backend.close()

    def submit(self, trials: Sequence[Trial], store: Store, how: How) -> None:
        """Put the trials that are not over into SLURM's queue, and say so."""
        plan(store, [trial.id for trial in trials])
        command = [sys.executable, str(Path(sys.argv[0]).resolve()), *sys.argv[1:]]
        command += ["--backend", "local", "--jobs", "1", "--no-page"]
        options = [option for text in self.sbatch for option in shlex.split(text)]
        jobs = slurm.submit(trials, store, how, command, options)
        name = store.root.name
        if not jobs:
            click.echo(f"all {len(trials)} trials are over: bnas-bench table {name} prints them")
            return
        click.echo(
            f"submitted as {', '.join(jobs)}: bnas-bench status {name} says how far they are, and "
            f"bnas-bench cancel {name} ends them; logs: {store.root / 'slurm' / 'logs'}"
        )


somewhere = as_one(
    "where",
    Where,
    click.option(
        "--only", metavar="ID", help="Run this one trial of the grid, as a task of SLURM does."
    ),
    click.option(
        "--sbatch",
        multiple=True,
        metavar="OPTIONS",
        help='Options of sbatch, as "--partition=gpu --gres=gpu:1 --time=4:00:00".',
    ),
    click.option(
        "--ray-address",
        metavar="HOST:PORT",
        help="The cluster of Ray to join, or auto [default: RAY_ADDRESS, or one that is started here].",
    ),
    click.option(
        "--backend",
        type=click.Choice(["local", "ray", "slurm"]),
        default="local",
        show_default=True,
        help="local: on this machine; ray: on a cluster of Ray; slurm: as tasks of SLURM, which need not be "
        "waited for.",
    ),
)
"""Gives a command the options of `Where`."""


@click.command()
@click.argument("name", default="local", shell_complete=NAME)
@RESULTS
def cancel(name: str, results: Path) -> None:
    """Take NAME's trials out of SLURM's queue, and end those that run.

    The same command of `run` goes on from their checkpoints.
    """
    jobs = slurm.cancel(folders.named(name, results))
    click.echo(f"cancelled {', '.join(jobs)}")
