"""The command that carries found networks to a downstream task."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bnas_bench.cli.completion import BUDGET
from bnas_bench.cli.packed import space_of_a_trial
from bnas_bench.cli.running import FOLDER, RESULTS, Number, results_name
from bnas_bench.cli.streams import sentence
from bnas_bench.core.budgets import BUDGETS
from bnas_bench.core.errors import BadValue, BenchError
from bnas_bench.core.files import kind_of
from bnas_bench.core.options import Grid, Seed
from bnas_bench.data.names import SIZES
from bnas_bench.plugins.spec import parse_spec, resolve_budget
from bnas_bench.runs.grid import found
from bnas_bench.runs.how import How
from bnas_bench.runs.store import RECORD

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rich.progress import Progress, TaskID

    from bnas_bench.core.budget import Budget
    from bnas_bench.runs.backbones import Backbone
    from bnas_bench.runs.store import Store
    from bnas_bench.runs.transferring import Transfer
    from bnas_bench.runs.trial import Trial
    from bnas_bench.transfer.downstream import Downstream

TAKEN = ("epochs", "train_batch", "final.channels", "final.cells")
"""What a budget may say of a transfer beside its name."""


@click.command()
@click.argument("backbones", nargs=-1, required=True)
@click.option(
    "--task",
    default="identities",
    show_default=True,
    help="Or market1501, duke, cuhk03; of detection scenes, voc, coco, also as scenes[heads=all].",
)
@click.option(
    "--budget",
    default="quick",
    show_default=True,
    shell_complete=BUDGET,
    help="Epochs and batch, and the size of an architecture's network: quick[epochs=20].",
)
@click.option(
    "--precision",
    help="W1A1, or several that are trained at one after the other: W32A1,W1A1  [default: the trial's]",
)
@click.option("--scratch", is_flag=True, help="Begin with drawn weights, not with the trial's.")
@click.option("--space", help="Of architectures; of trials, where it is a file of yours.")
@click.option("--seeds", type=Number(Grid), default=1, show_default=True, help="A backbone.")
@click.option("--seed", type=Number(Seed), default=0, show_default=True, help="The first of them.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--data-folder", "data", type=FOLDER, default="data", show_default=True)
@results_name("local", "Name of these results, where a backbone is no trial of others.")
@RESULTS
def transfer(
    backbones: Sequence[str],
    task: str,
    budget: str,
    precision: str | None,
    scratch: bool,
    space: str | None,
    seeds: int,
    seed: int,
    device: str,
    data: Path,
    name: str,
    results: Path,
) -> None:
    """Train found networks for a downstream task, and say what they are worth as backbones.

    BACKBONES are folders of finished trials with weights, or architectures (see `bnas-bench measure`), whose
    weights are drawn. All train by one recipe and are tested once; the records lie in the results'
    folder transfers/, and a killed training goes on. One that fails does not keep the others from theirs.
    """
    from bnas_bench.runs.transferring import Transfer

    asked = _budget(budget)
    wanted = task_of(task, asked, How(device=device, data=data))
    _check_said(asked, parse_spec(budget).options, wanted)
    precisions = precision.split(",") if precision else []
    named = [
        _backbone(text, space, asked, scratch=scratch, other=results / name) for text in backbones
    ]
    carried = [
        Transfer(backbone=backbone, task=wanted, folder=folder, precisions=precisions, seed=each)
        for each in range(seed, seed + seeds)
        for backbone, folder in named
    ]
    once = {each.id: each for each in carried}  # where a backbone is named twice
    tried = [_tried(each.backbone.name, partial(shown, each)) for each in once.values()]
    if records := [record for record in tried if record]:
        show(records)
    if len(records) < len(tried):
        raise SystemExit(1)


def tasks_of(trials: Sequence[Trial], task: str, how: How) -> Mapping[str, Downstream[Any]]:
    """The task under each budget of some trials, by the budget's name.

    Raises:
        BenchError: if there is no such task, its data are not there, or its images have other channels than
            the trials'.
    """
    budgets = {trial.budget.name: trial.budget for trial in trials}
    made = {name: task_of(task, budget, how) for name, budget in budgets.items()}
    for trial in trials:
        channels = SIZES[trial.dataset.partition(":")[0]].shape[0]
        if channels != (taken := made[trial.budget.name].shape[0]):
            raise BadValue(
                f"images of {trial.dataset} have {channels} channel(s), those of {task} {taken}: leave out "
                "--transfer, or run on images of as many"
            )
    return made


def carry(
    trials: Sequence[Trial],
    store: Store,
    tasks: Mapping[str, Downstream[Any]],
    *,
    printed: bool = True,
) -> bool:
    """Transfer what trials have found, each under its budget; whether all could be.

    Args:
        printed: whether their tables are.
    """
    from bnas_bench.runs.backbones import of_trial
    from bnas_bench.runs.transferring import Transfer

    def carried(trial: Trial, task: Downstream[Any]) -> Mapping[str, Any]:
        backbone = of_trial(store.folder(trial.id), trial.space)
        seed = trial.repetition
        return shown(Transfer(backbone=backbone, task=task, folder=store.root, seed=seed))

    whole = True
    for name, task in tasks.items():
        own = [trial for trial in trials if trial.budget.name == name]
        ended = [trial for trial in own if found(trial, store).get("status") == "ok"]
        tried = [_tried(trial.id, partial(carried, trial, task)) for trial in ended]
        records = [record for record in tried if record]
        whole = whole and len(records) == len(tried)
        if records and printed:
            show(records)
    return whole


def _tried(name: str, make: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The record of a transfer; None where there is none, and then why is said."""
    try:
        return make()
    except BenchError as error:
        click.echo(f"{name} is not transferred: {sentence(error)}", err=True)
        return None


def _check_said(budget: Budget, said: Mapping[str, str], task: Downstream[Any]) -> None:
    """Raise if a budget that was written says more epochs, or a larger batch, than the task takes of one."""
    for key, field in (("epochs", "epochs"), ("train_batch", "batch_size")):
        own, taken = getattr(budget, key), getattr(task.recipe, field)
        if key in said and own > taken:
            raise BadValue(
                f"{key}={own} of a budget is more than the {taken} of {task.name}: say --task "
                f"'{task.name}[{field}={own}]'"
            )


def task_of(name: str, budget: Budget, how: How) -> Downstream[Any]:
    """A task, with this process made ready to train for it.

    Raises:
        BenchError: if there is no such task, or its data are not there.
    """
    import torch

    from bnas_bench.core.machine import keep_pages
    from bnas_bench.runs.run import find_device
    from bnas_bench.transfer.tasks import task

    keep_pages()
    torch.set_num_threads(how.threads)
    return task(name, how.data, find_device(how.settled().device), budget)


def shown(asked: Transfer) -> dict[str, Any]:
    """The record of a transfer; how far it is is shown while it is made."""
    from rich.console import Console
    from rich.progress import Progress

    from bnas_bench.runs.transferring import transfer as carried

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        part = bar.add_task(asked.backbone.name, total=1.0)
        tell = partial(_told, bar, part)
        return carried(asked, say=partial(click.echo, err=True), tell=tell)


def known(asked: Transfer) -> dict[str, Any] | None:
    """The record of a transfer, if it was made."""
    from bnas_bench.transfer.record import read

    return read(asked.file)


def _told(bar: Progress, part: TaskID, done: float) -> None:
    bar.update(part, completed=done)


def _budget(text: str) -> Budget:
    """A budget, of which a transfer takes some fields alone."""
    spec = parse_spec(text)
    for key in spec.options:
        if key not in TAKEN:
            raise BadValue(
                f"{key} of budget {spec.name} is nothing that a transfer takes: it takes {', '.join(TAKEN)}"
            )
    return resolve_budget(spec, BUDGETS)


def _backbone(
    text: str, space: str | None, budget: Budget, *, scratch: bool, other: Path
) -> tuple[Backbone, Path]:
    """A backbone, and the results' folder that its records go to."""
    from bnas_bench.runs.backbones import of_architecture, of_trial
    from bnas_bench.runs.exported import is_exported
    from bnas_bench.runs.reading import read_architecture

    if kind_of(text) != "folder":
        found_by = Path(text).resolve().parent.name if _is_of_a_trial(text) else None
        return of_architecture(*read_architecture(text, space), budget.final, found_by), other
    folder = Path(text)
    found = of_trial(folder, space_of_a_trial(space), scratch=scratch)
    return found, other if is_exported(folder) else folder.resolve().parent.parent


def _is_of_a_trial(text: str) -> bool:
    """Whether it is the file of a finished trial's architecture."""
    return kind_of(text) == "file" and Path(text).with_name(RECORD).is_file()


def show(records: Sequence[Mapping[str, Any]]) -> None:
    """Print the table of some transfers to one task."""
    from bnas_bench.cli.output import print_table
    from bnas_bench.report.transfers import transfer_table

    print_table(transfer_table(records))


def show_all(store: Store) -> None:
    """Print a table for each task and recipe of the transfers of results, if there are any."""
    from bnas_bench.transfer.record import read_all

    records = []
    for transfer, read in read_all(store.root):
        if isinstance(read, dict):
            records.append(read)
        else:
            click.echo(f"{transfer} is not in a table: {sentence(read)}")
    if records:
        from bnas_bench.report.transfers import comparisons

        for group in comparisons(records):
            show(group)
