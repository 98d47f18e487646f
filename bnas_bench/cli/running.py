"""Options that say how trials run, and the loop that runs them: shared by `run` and `reproduce`."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from functools import wraps
from pathlib import Path
from threading import Event, current_thread, main_thread
from typing import Any

import click

from bnas_bench.cli.durations import about
from bnas_bench.core.options import Few, Threads, form_of
from bnas_bench.plugins.spec import read_number
from bnas_bench.runs import slurm
from bnas_bench.runs.backend import Backend
from bnas_bench.runs.estimate import Estimates, names
from bnas_bench.runs.folders import check_name
from bnas_bench.runs.grid import run_all
from bnas_bench.runs.how import BATCH_NORMS, How
from bnas_bench.runs.store import Record, Store
from bnas_bench.runs.trial import Trial

Decorator = Callable[[Callable[..., None]], Callable[..., None]]

FOLDER = click.Path(path_type=Path, file_okay=False)
RESULTS = click.option(
    "--results",
    type=FOLDER,
    default="results",
    show_default=True,
    help="Folder of all results.",
)


class Number(click.ParamType):
    """A number of one of the kinds in `bnas_bench.core.options`: `Number(Count)`."""

    def __init__(self, kind: Any) -> None:
        self.kind = kind
        form = form_of(kind)
        self.name = "integer" if form and form.type is int else "number"

    def convert(self, value: Any, param: click.Parameter | None, _: click.Context | None) -> Any:
        """The number.

        Raises:
            BadValue: if the text is none, or it is out of range.
        """
        what = param.opts[0] if param else "the number"
        return read_number(value, self.kind, what) if isinstance(value, str) else value


def watched(
    how: How,
    trials: Sequence[Trial],
    store: Store,
    log: str | None = None,
    backend: Backend | None = None,
) -> list[Record]:
    """Run trials and show how far they are; see `run_all`.

    Args:
        log: `tensorboard` writes events of it, too.
        backend: as of `run_all`.
    """
    from bnas_bench.cli.watch import Watch

    jobs = backend.jobs if backend else how.settled().jobs or 1
    with Watch(trials, jobs, store.root.parent) as watch:
        show = watch.show
        if log:
            from bnas_bench.runs.events import Events

            show = Events(store, watch.show).show
        with _heeding() as (leave, heard):
            records = run_all(trials, store, how, show, leave, backend)
        if signal.SIGUSR1 in heard and any("status" not in record for record in records):
            slurm.requeue()
        return records


@contextmanager
def _heeding() -> Iterator[tuple[Event, list[int]]]:
    """At SIGTERM or SIGUSR1 the trials save and end, and with them the command: that, and what was heard."""
    leave, heard = Event(), list[int]()

    def heed(number: int, _: object) -> None:
        heard.append(number)
        leave.set()

    numbers = (signal.SIGTERM, signal.SIGUSR1)
    if current_thread() is not main_thread():
        yield leave, heard
        return
    before = [signal.signal(number, heed) for number in numbers]
    try:
        yield leave, heard
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


LOG = click.option(
    "--log",
    type=click.Choice(["tensorboard"]),
    help="Write the searches' curves as events to NAME/tensorboard, too.",
)


def plan(trials: Sequence[Trial], store: Store, how: How) -> None:
    """List trials: the id, what tells it from the others, its state, and the time that it may take."""
    called, estimates = names(trials), Estimates(store.root.parent)
    takings, unknown = list[float](), 0
    for trial in trials:
        word = store.state(trial.id).word
        takes = ""
        if word in ("to run", "unfinished"):
            known = estimates.of(trial)
            takings += [known.seconds] if known else []
            unknown += known is None
            takes = f", {about(known.seconds)}" if known else ""
        click.echo(f"{trial.id}  {called[trial.id]}: {word}{takes}")
    jobs = how.jobs or how.settled().jobs or 1
    if takings:
        side_by_side = f", {jobs} at a time" if jobs > 1 else ""
        others = f" and {unknown} of which no such trial is known" if unknown else ""
        whole = about(max(*takings, sum(takings) / jobs))
        click.echo(f"{whole}{side_by_side}{others}, as long as such trials took")
    elif unknown:
        click.echo(f"how long is not known: no such trial lies in {store.root.parent.name}/")


def results_name(default: str, about: str) -> Decorator:
    """The option `--name`, which is one folder's and leads nowhere else."""

    def check(_ctx: click.Context, _param: click.Parameter, name: str) -> str:
        return check_name(name)

    return click.option("--name", default=default, show_default=True, callback=check, help=about)


def as_one(name: str, kind: type, *options: Decorator) -> Decorator:
    """Gives a command options as one argument: `name`, a dataclass whose fields the options are."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def whole(**given: Any) -> None:
            values = {field.name: given.pop(field.name) for field in fields(kind)}
            command(**{name: kind(**values)}, **given)

        for option in options:
            option(whole)
        return whole

    return decorate


runs_trials = as_one(
    "how",
    How,
    click.option(
        "--rerun", is_flag=True, help="Run all trials again; the old ones are kept aside."
    ),
    click.option("--retry-failed", is_flag=True, help="Run failed trials again."),
    click.option("--data-folder", "data", type=FOLDER, default="data", show_default=True),
    click.option(
        "--jobs",
        type=Number(Threads),
        help="Trials at a time [default: one per CPU core and --threads; 1 per GPU].",
    ),
    click.option(
        "--threads",
        type=Number(Threads),
        default=1,  # the same on every machine, as the record depends on it; and fastest on small ones
        show_default=True,
        help="CPU threads of a trial; the record depends on it.",
    ),
    click.option(
        "--batch-norm",
        type=click.Choice(BATCH_NORMS),
        default=BATCH_NORMS[0],
        show_default=True,
        help="Of several devices: by the whole batch's statistics, as on one, or each by its share's own.",
    ),
    click.option(
        "--devices",
        type=Number(Few),
        default=1,
        show_default=True,
        help="GPUs, or processes on CPUs, that compute each trial together.",
    ),
    click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda."),
)
"""Gives a command the options of `How`."""
