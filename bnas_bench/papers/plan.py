"""The trials that regenerate an artefact under a budget: what `reproduce` runs.

Nothing here imports torch, so that a plan is there at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from bnas_bench.core.budget import Budget, Scale
from bnas_bench.core.budgets import BUDGETS
from bnas_bench.core.errors import BadValue
from bnas_bench.data.names import check_dataset
from bnas_bench.papers.artefact import Artefact, Run
from bnas_bench.plugins.making import Choice, choose
from bnas_bench.plugins.spec import Spec, parse_spec, resolve_budget
from bnas_bench.runs.feasible import check_trials
from bnas_bench.runs.trial import Trial, expand

SMALL = ("smoke", "quick")
"""Budgets below `standard`: a run's `small` holds what differs under them."""

STAND_INS: Mapping[str, str] = {"smoke": "digits", "quick": "digits", "standard": "cifar10"}
"""What stands in for the paper's dataset under a budget that is not the paper's."""

OWN: Mapping[str, str] = {
    "CIFAR-10": "cifar10",
    "CIFAR-10 and ImageNet": "cifar10",
    "ImageNet": "imagenet",
    "ImageNet-1K": "imagenet",
}
"""The names here of the datasets in the papers; of two the one that needs no folder."""

CIFAR, IMAGENET = (3, 32, 32), (3, 224, 224)

Trials = Mapping[str, list[Trial]]
"""By the name of a row's run its trials, one a seed."""


@dataclass(frozen=True)
class Plan:
    """An artefact, and the trials behind its rows.

    Attributes:
        budget, dataset: as they were asked for; a row's own budget may differ in width or recipe.
        rows: for each row of the artefact its runs' trials; none where the artefact is quoted.
    """

    artefact: Artefact
    budget: str
    dataset: str
    seeds: int
    rows: tuple[Trials, ...]

    @cached_property
    def trials(self) -> list[Trial]:
        """Every trial once, seed by seed, so that an interrupted table is complete early."""
        every = (trial for row in self.rows for trials in row.values() for trial in trials)
        return sorted(_once(every), key=lambda trial: trial.repetition)


def plans(
    artefacts: Iterable[Artefact], budget: str, dataset: str | None, seeds: int, root_seed: int
) -> tuple[list[Plan], list[Trial]]:
    """The plans of artefacts, and every trial of theirs once.

    Raises:
        BenchError: as `plan`, or if no trial of this size can run here.
    """
    found = [plan(artefact, budget, dataset, seeds, root_seed) for artefact in artefacts]
    trials = _once(trial for each in found for trial in each.trials)
    check_trials(trials)
    return found, trials


def _once(trials: Iterable[Trial]) -> list[Trial]:
    return list({trial.id: trial for trial in trials}.values())


def plan(
    artefact: Artefact,
    budget: str,
    dataset: str | None = None,
    seeds: int = 3,
    root_seed: int = 0,
) -> Plan:
    """The trials of an artefact.

    Args:
        budget: as on the command line, `quick` or `quick[passes=5000]`.
        dataset: None is the budget's stand-in, or under `paper` the paper's own.

    Raises:
        BadValue: if the paper's dataset has no name here, or the budget or dataset does not parse.
        UnknownName: if the budget or the dataset is unknown.
    """
    if artefact.state != "regenerated":
        return Plan(artefact, budget, "", seeds, ({},) * len(artefact.rows))
    asked = parse_spec(budget)
    resolve_budget(asked, BUDGETS)
    images = dataset or _dataset(artefact, asked.name)
    check_dataset(images)
    rows = tuple(
        {
            name: _trials(artefact, run, asked, images, seeds, root_seed)
            for name, run in row.runs.items()
        }
        for row in artefact.rows
    )
    return Plan(artefact, budget, images, seeds, rows)


def _dataset(artefact: Artefact, budget: str) -> str:
    if budget in STAND_INS:
        return STAND_INS[budget]
    if artefact.dataset in OWN:
        return OWN[artefact.dataset]
    raise BadValue(
        f"{artefact.id} was measured on {artefact.dataset or 'no dataset'}, which has no name here; "
        "give --dataset imagenet:PATH with such a tree"
    )


def _trials(
    artefact: Artefact, run: Run, asked: Spec, dataset: str, seeds: int, root_seed: int
) -> list[Trial]:
    if asked.name in SMALL:
        run = replace(run, **run.small)
    method = choose("method", run.method)
    space = choose("space", run.space or artefact.space)
    budget = _budget(run, space, asked, IMAGENET if dataset.startswith("imagenet") else CIFAR)
    return expand([method], [space], [dataset], [budget], seeds, root_seed)


def _budget(run: Run, space: Choice, asked: Spec, shape: tuple[int, int, int]) -> Budget:
    """The budget that was asked for, with the row's widths and recipe; the shape is of an image."""
    edits = {f"recipe.{field}": str(value) for field, value in run.recipe.items()}
    if run.precision != "W1A1":
        edits["recipe.precision"] = run.precision
    plain = resolve_budget(asked, BUDGETS)
    for stage, scale, factor in (
        ("search", plain.search, run.search_width),
        ("final", plain.final, run.width),
    ):
        if factor != 1:
            channels = _channels(space, scale, shape, final=stage == "final")
            edits[f"{stage}.channels"] = str(round(factor * channels))
    return resolve_budget(replace(asked, options={**asked.options, **edits}), BUDGETS)


def _channels(space: Choice, scale: Scale, shape: tuple[int, int, int], *, final: bool) -> int:
    """Of the first trial at a scale; what the scale leaves open is the space's."""
    plugin, options = space
    instance = plugin.make(options)
    return instance.spec(instance.fit(scale), shape, 10, final=final).channels
