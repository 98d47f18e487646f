"""The trials that regenerate an artefact under a budget: what `reproduce` runs.

Nothing here imports torch, so that a plan is there at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from bnas_bench.core.budget import Budget, NetworkSpec, Scale
from bnas_bench.core.budgets import BUDGETS
from bnas_bench.core.errors import BadValue
from bnas_bench.data.names import check_dataset
from bnas_bench.papers.artefact import Artefact, Row, Run
from bnas_bench.plugins.making import Choice, choose
from bnas_bench.plugins.spec import Spec, parse_spec, resolve_budget
from bnas_bench.runs.feasible import check_trials
from bnas_bench.runs.trial import Trial, expand

SMALL = ("smoke", "quick")
"""Budgets below `standard`: a run's `small` holds what differs under them."""

PAPER = "paper"
"""The budget under which all is the paper's, the final training too."""

STAND_INS: Mapping[str, str] = {"smoke": "digits", "quick": "digits", "standard": "cifar10"}
"""What stands in for the paper's dataset under a budget that is not the paper's."""

OWN: Mapping[str, str] = {
    "CIFAR-10": "cifar10",
    "ImageNet": "imagenet",
    "ImageNet-1K": "imagenet",
}
"""The names here of the datasets in the papers."""

EMBEDDED: Mapping[str, str] = {
    "market1501": "identities",
    "duke": "identities",
    "cuhk03": "identities",
    "voc": "scenes",
    "coco": "scenes",
}
"""What stands in for a downstream task under the budgets of `SMALL`."""

SUBSETS: Mapping[str, str] = {"ImageNet-100": "imagenet"}
"""Further ones: which tree holds them only the user knows, who must give it."""

RECIPES: Mapping[tuple[str, str], Mapping[str, str]] = {
    ("cp-nas", "CIFAR-10"): {
        "recipe.optimiser": "sgd",
        "recipe.lr": "0.025",
        "recipe.weight_decay": "3e-4",
        "recipe.teacher": "parent",
    },
    ("cp-nas", "ImageNet"): {
        "epochs": "250",
        "train_batch": "256",
        "recipe.optimiser": "sgd",
        "recipe.lr": "0.05",
    },
}
"""Of a paper and its images how networks are trained under `paper`, where it says so and it is not how
every network is here, which is DCP-NAS' way. CP-NAS: section 3.1; by the abstract its kernel-level loss."""

CIFAR, IMAGENET = (3, 32, 32), (3, 224, 224)

Trials = Mapping[str, list[Trial]]
"""By the name of a row's run its trials, one a seed."""


@dataclass(frozen=True)
class Plan:
    """An artefact, and the trials behind its rows.

    Attributes:
        budget, dataset: as they were asked for; a row's own budget may differ in width or recipe. The
            dataset is empty where each row has its paper's.
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

    @cached_property
    def twins(self) -> Mapping[int, str]:
        """By a row's place the earlier row that asks for another width and gets the same network."""
        first: dict[str, int] = {}
        found: dict[int, str] = {}
        rows = self.artefact.rows
        for place, (row, runs) in enumerate(zip(rows, self.rows, strict=True)):
            for name, trials in runs.items():
                other = first.setdefault(trials[0].id, place)
                if row.runs[name] not in rows[other].runs.values():
                    found[place] = rows[other].name
        return found

    @property
    def tasks(self) -> Mapping[str, str]:
        """By a downstream task of the paper the one that networks are carried to here."""
        is_small = parse_spec(self.budget).name in SMALL
        return {task: EMBEDDED[task] if is_small else task for task in self.artefact.tasks}

    @property
    def datasets(self) -> str:
        """What the rows run on: "cifar10 and imagenet"."""
        return " and ".join(dict.fromkeys(trial.dataset for trial in self.trials))

    @cached_property
    def departures(self) -> tuple[str, ...]:
        """How the runs differ from the paper's in images, scale and length; none where they do not."""
        return tuple(dict.fromkeys(self._departures()))

    def _departures(self) -> Iterator[str]:
        own, asked = BUDGETS[PAPER], resolve_budget(parse_spec(self.budget), BUDGETS)
        for row, runs in zip(self.artefact.rows, self.rows, strict=True):
            printed = self.artefact.trained_on(row)
            for trial in (trials[0] for trials in runs.values()):
                if not is_own(printed, trial.dataset):
                    yield f"{trial.dataset} for {printed or 'images that are not named'}"
                if _frames(trial, asked) != _frames(trial, own):
                    yield "networks of another size"
                if _search(trial, asked) != _search(trial, own):
                    yield "searches of another length, batch or split"
        others: dict[str, list[str]] = {}
        for column in self.artefact.columns:
            if column.task and (here := self.tasks[column.task]) != column.task:
                others.setdefault(here, []).append(self.artefact.measured(column)[0])
        for here, tasks in others.items():
            yield f"{here} for {' and '.join(dict.fromkeys(tasks))}"
        if (asked.epochs, asked.train_batch, asked.recipe) != (None, None, {}):
            yield "another final training"


def _search(trial: Trial, budget: Budget) -> tuple[object, ...]:
    """How a trial's method searches under a budget."""
    budget = budget.under(trial.method.load().protocol)  # type: ignore[attr-defined]
    return budget.passes, budget.protocol


def _frames(trial: Trial, budget: Budget) -> tuple[object, ...]:
    """The size of a trial's supernet and network under a budget, and of the images that they see."""
    space, shape = (trial.space, trial.space_options), shape_of(trial.dataset)
    frames = (_frame(space, budget.search, shape, final=False), budget.search.image)
    return *frames, _frame(space, budget.final, shape, final=True), budget.final.image


def shape_of(dataset: str) -> tuple[int, int, int]:
    """Of an image, so far as the papers' networks differ by it."""
    return IMAGENET if dataset.startswith("imagenet") else CIFAR


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
        dataset: None is the budget's stand-in, or where it has none each row's own.

    Raises:
        BadValue: if the paper's dataset has no name here, or the budget or dataset does not parse.
        UnknownName: if the budget or the dataset is unknown.
    """
    if artefact.state != "regenerated":
        return Plan(artefact, budget, "", seeds, ({},) * len(artefact.rows))
    asked = parse_spec(budget)
    resolve_budget(asked, BUDGETS)
    images = dataset or STAND_INS.get(asked.name, "")
    if images:
        check_dataset(images)
    rows = tuple(
        {
            name: _trials(
                artefact,
                row,
                run,
                asked,
                _dataset(artefact, row, asked.name, images),
                seeds,
                root_seed,
            )
            for name, run in row.runs.items()
        }
        for row in artefact.rows
    )
    return Plan(artefact, budget, images, seeds, rows)


def is_own(printed: str, dataset: str) -> bool:
    """Whether a dataset here is the one that a paper names; of a tree of files its owner says so."""
    name = dataset.partition(":")[0]
    return name == {**OWN, **SUBSETS}.get(printed)


def _dataset(artefact: Artefact, row: Row, budget: str, asked: str) -> str:
    """What a row runs on: what was asked for, but not another row's images where no stand-ins run."""
    printed = artefact.trained_on(row)
    others = {artefact.trained_on(other) for other in artefact.rows} - {printed}
    if asked and (budget in STAND_INS or not any(is_own(other, asked) for other in others)):
        return asked
    if printed in OWN:
        return OWN[printed]
    raise BadValue(
        f"{artefact.id} was measured on {printed or 'no dataset'}, which has no name here; "
        "give --dataset imagenet:PATH with such a tree"
    )


def _trials(
    artefact: Artefact,
    row: Row,
    run: Run,
    asked: Spec,
    dataset: str,
    seeds: int,
    root_seed: int,
) -> list[Trial]:
    if asked.name in SMALL:
        run = replace(run, **run.small)
    method = choose("method", run.method)
    space = choose("space", run.space or artefact.space)
    if asked.name == PAPER:
        own = RECIPES.get((artefact.paper, artefact.trained_on(row)), {})
        asked = replace(asked, options={**own, **asked.options})
    budget = _budget(run, space, asked, shape_of(dataset))
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
            channels = _frame(space, scale, shape, final=stage == "final").channels
            fitting = space[0].make(space[1]).fit(Scale(channels=round(factor * channels)))
            edits[f"{stage}.channels"] = str(fitting.channels)
    return resolve_budget(replace(asked, options={**asked.options, **edits}), BUDGETS)


def _frame(space: Choice, scale: Scale, shape: tuple[int, int, int], *, final: bool) -> NetworkSpec:
    """Of a trial at a scale; what the scale leaves open is the space's."""
    plugin, options = space
    instance = plugin.make(options)
    return instance.spec(instance.fit(scale), shape, 10, final=final)
