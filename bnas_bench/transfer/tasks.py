"""The downstream tasks by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch

from bnas_bench.core.budget import Budget
from bnas_bench.core.errors import UnknownName
from bnas_bench.transfer import reidentification
from bnas_bench.transfer.downstream import Downstream, Recipe
from bnas_bench.transfer.identities import identities
from bnas_bench.transfer.people import People, from_folder

Make = Callable[[Path, torch.device, Budget], Downstream[Any]]
"""A task out of the folder of all datasets, on a device, under a budget."""

FOLDERS: Mapping[str, str] = {
    "market1501": "Market-1501-v15.09.15",
    "duke": "DukeMTMC-reID",
    "cuhk03": "CUHK03-NP/detected",
}
"""Where below the folder of all datasets each is looked for."""

R = TypeVar("R", bound=Recipe)


def under(recipe: R, budget: Budget) -> R:
    """A recipe with the epochs and the batch of a budget, which may leave either to the recipe."""
    return replace(
        recipe,
        epochs=budget.epochs or recipe.epochs,
        batch_size=budget.train_batch or recipe.batch_size,
    )


def _reidentification(
    people: Callable[[Path, torch.device], People],
    folder: Path,
    device: torch.device,
    budget: Budget,
) -> Downstream[Any]:
    recipe = under(reidentification.Recipe(), budget)
    return reidentification.Reidentification(people(folder, device), recipe)


def _people(task: str, folder: Path, device: torch.device) -> People:
    return from_folder(task, folder / FOLDERS[task], device)


def _identities(_: Path, device: torch.device) -> People:
    return identities(device)


TASKS: Mapping[str, Make] = {
    "identities": partial(_reidentification, _identities),
    **{task: partial(_reidentification, partial(_people, task)) for task in FOLDERS},
}


def task(name: str, folder: Path, device: torch.device, budget: Budget) -> Downstream[Any]:
    """The task of a name.

    Args:
        folder: of all datasets.
        budget: its `epochs` and `train_batch`, where it says them, are the training's.

    Raises:
        UnknownName: if there is none.
        MissingData, BadValue: if its folder is not there, or is not the dataset's.
    """
    if name not in TASKS:
        raise UnknownName("task", name, TASKS)
    return TASKS[name](folder, device, budget)
