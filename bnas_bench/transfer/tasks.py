"""The downstream tasks by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch

from bnas_bench.core.budget import Budget
from bnas_bench.core.errors import UnknownName
from bnas_bench.core.options import forms_of
from bnas_bench.plugins.spec import parse_spec, resolve
from bnas_bench.transfer import reidentification
from bnas_bench.transfer.detection import by_coco, folders
from bnas_bench.transfer.detection import task as detection
from bnas_bench.transfer.detection.objects import DetectionData
from bnas_bench.transfer.detection.scenes import scenes
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
    """A recipe with the epochs and the batch of a budget, so far as they are no more than its own.

    A budget's are a classifier's: `standard` has 100 epochs, where a detector's paper has 12.
    """
    return replace(
        recipe,
        epochs=min(budget.epochs or recipe.epochs, recipe.epochs),
        batch_size=min(budget.train_batch or recipe.batch_size, recipe.batch_size),
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


def _detection(
    data: Callable[[Path], DetectionData],
    recipe: detection.Recipe,
    folder: Path,
    device: torch.device,
    budget: Budget,
) -> Downstream[Any]:
    return detection.Detection(data(folder), under(recipe, budget), device)


def _scenes(_: Path) -> DetectionData:
    return scenes()


def _coco(folder: Path) -> DetectionData:
    by_coco.needed("coco")
    return folders.coco(folder)


TASKS: Mapping[str, Make] = {
    "identities": partial(_reidentification, _identities),
    **{task: partial(_reidentification, partial(_people, task)) for task in FOLDERS},
    "scenes": partial(_detection, _scenes, detection.SMALL),
    "voc": partial(_detection, folders.voc, detection.Recipe()),
    "coco": partial(_detection, _coco, detection.Recipe()),
}


def task(text: str, folder: Path, device: torch.device, budget: Budget) -> Downstream[Any]:
    """The task that a text names: `identities`, or `scenes[heads=all]`, with options of its recipe.

    Args:
        folder: of all datasets.
        budget: its `epochs` and `train_batch` are the training's, unless the task's own are fewer.

    Raises:
        UnknownName: if there is no such task, or option.
        MissingData, BadValue, Damaged: if its folder is not there, or is not the dataset's.
    """
    spec = parse_spec(text)
    if spec.name not in TASKS:
        raise UnknownName("task", spec.name, TASKS)
    found = TASKS[spec.name](folder, device, budget)
    known, forms = asdict(found.recipe), forms_of(type(found.recipe))
    options = resolve(spec.options, known, f"option of {spec.name}", forms)
    found.recipe = replace(found.recipe, **options)
    return found
