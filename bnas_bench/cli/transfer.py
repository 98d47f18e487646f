"""The command that carries found networks to a downstream task."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bnas_bench.cli.packed import space_of_a_trial
from bnas_bench.cli.running import FOLDER, Number
from bnas_bench.core.budget import PRECISIONS
from bnas_bench.core.options import Count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.progress import Progress, TaskID

TASKS = ("identities", "market1501", "duke", "cuhk03")


@click.command()
@click.argument("trials", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--task", type=click.Choice(TASKS), default="identities", show_default=True)
@click.option(
    "--epochs", type=Number(Count), help="[default: 120, DCP-NAS' own; of the embedded task 20]"
)
@click.option("--precision", type=click.Choice(PRECISIONS), help="[default: the trial's]")
@click.option("--scratch", is_flag=True, help="Begin with drawn weights, not with the trial's.")
@click.option("--space", help="Of the trials, where it is a file of yours.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda.")
@click.option("--data-folder", "data", type=FOLDER, default="data", show_default=True)
def transfer(
    trials: Sequence[Path],
    task: str,
    epochs: int | None,
    precision: str | None,
    scratch: bool,
    space: str | None,
    seed: int,
    device: str,
    data: Path,
) -> None:
    """Train found networks to tell identities apart, and say how well they find those never seen.

    TRIALS are folders of finished trials with weights. All train by one recipe (DCP-NAS, section 4.1.4) and
    are tested once; the record lies in the results' folder transfers/, and a killed training goes on.
    """
    import torch
    from rich.console import Console
    from rich.progress import Progress

    from bnas_bench.runs.run import find_device
    from bnas_bench.runs.transferring import Transfer
    from bnas_bench.runs.transferring import transfer as carried
    from bnas_bench.transfer.reidentification import Recipe
    from bnas_bench.transfer.tasks import people

    torch.set_num_threads(1)
    plugin = space_of_a_trial(space)
    found = people(task, data, find_device(device))
    recipe = Recipe(epochs=epochs or (20 if task == "identities" else Recipe.epochs))
    records = []
    for trial in trials:
        asked = Transfer(
            trial=trial,
            people=found,
            recipe=recipe,
            precision=precision,
            scratch=scratch,
            seed=seed,
        )
        with Progress(console=Console(stderr=True), transient=True) as bar:
            part = bar.add_task(trial.name, total=1.0)
            tell = partial(_told, bar, part)
            records.append(carried(asked, plugin, say=partial(click.echo, err=True), tell=tell))
    _print(records)


def _told(bar: Progress, part: TaskID, done: float) -> None:
    bar.update(part, completed=done)


def _print(records: Sequence[dict[str, Any]]) -> None:
    from bnas_bench.analysis.table import Column, Table, Value
    from bnas_bench.cli.output import print_table

    first = records[0]
    numbers = {
        "mean_ap": ("mAP (%)", lambda r: f"{r['mean_ap']:.1f}"),
        "rank_1": ("rank 1 (%)", lambda r: f"{r['ranks']['1']:.1f}"),
        "rank_5": ("rank 5 (%)", lambda r: f"{r['ranks']['5']:.1f}"),
        "rank_10": ("rank 10 (%)", lambda r: f"{r['ranks']['10']:.1f}"),
        "ops": ("OPs M (nas-bnn)", lambda r: f"{r['ops']['nas-bnn'] / 1e6:.3f}"),
        "train": ("train s", lambda r: f"{r['train_seconds']:.1f}"),
    }
    print_table(
        Table(
            name="transfer",
            title="",
            caption=f"{first['task']}, images of {'x'.join(map(str, first['shape']))}: measured on "
            f"{first['queries']:,} queries; random rankings reach an mAP of {first['chance']:.1f} %, 99 % of "
            f"them at most {first['chance_bound']:.1f}",
            columns=[
                Column(key="trial", title="trial", numeric=False),
                Column(key="precision", title="at", numeric=False),
                *(Column(key=key, title=title) for key, (title, _) in numbers.items()),
            ],
            rows=[
                {"trial": Value(text=record["trial"]), "precision": Value(text=record["precision"])}
                | {key: Value(text=form(record)) for key, (_, form) in numbers.items()}
                for record in records
            ],
        )
    )
