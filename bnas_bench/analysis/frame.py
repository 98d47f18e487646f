"""Records read from `results/NAME`, as the rows that a report shows; nothing that is missing is lost.

A row is one configuration: a method on a space, a dataset and a budget, each with all its options; its
runs differ in their seeds alone. Rows of one space, dataset and budget make a setting. Budgets, and
versions of a plug-in outside the code base, that share a name but not their content are told apart.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as field_of
from functools import cached_property
from math import inf
from operator import attrgetter
from sys import intern
from typing import Any, NamedTuple

from bnas_bench.analysis.labels import PARTS, Key, Labels
from bnas_bench.analysis.measures import MEASURES, field, is_crowded
from bnas_bench.analysis.summary import SAME, Defaults
from bnas_bench.analysis.timings import NOWHERE, Timed, timed
from bnas_bench.core.options import Form, Range
from bnas_bench.runs.record import machine
from bnas_bench.runs.store import DIGESTS, PREDICTIONS, SHOWN, Record, State, Store

JUDGED = ("regret", "percentile")
"""What a record says where a table has judged its search: points that its best has more, and the per cent
of what it holds that are worse."""

DRAWS = "random[form=draw]"
"""Architectures drawn at random, of which the relative improvement takes the average."""

Seed = tuple[int, int]
"""The root seed and the repetition: two runs with the same one are a pair."""


@dataclass(frozen=True, slots=True)
class Run:
    """A trial that finished.

    Attributes:
        values: by the names of `MEASURES`, `spent` and `JUDGED`; None where the record has none.
        facts: the fields of `SAME`, `machine` and `code`.
        classes: of the dataset.
        test_images: of the dataset; 0 where the record does not say it.
        trainings: the test accuracy of each training of what the search found, if there are several.
        predicted: whether its record vouches for predictions of the test images.
        architecture: the id of what the search found; empty where the record does not say it.
        front_size: members of its `front.json`; 0 if it has none.
        packed_reason: why its network could not be packed.
        crowded: whether its latencies were measured beside other work (`is_crowded`).
        timed: where they were measured.
        table: the digest of the definition of the table that judged it; empty if none did.
        learned: of `search.learned`, where the record says it.
    """

    id: str
    seed: Seed
    values: Mapping[str, float | None]
    facts: Mapping[str, str]
    classes: int
    test_images: int = 0
    trainings: tuple[float, ...] = ()
    predicted: bool = False
    architecture: str = ""
    front_size: int = 0
    packed_reason: str = ""
    crowded: bool = False
    timed: Timed = NOWHERE
    table: str = ""
    learned: Mapping[str, Any] = field_of(default_factory=dict)


class Missing(NamedTuple):
    """A trial that should be there; `id` is empty where there is no folder."""

    seed: Seed
    state: str
    reason: str = ""
    id: str = ""


class Setting(NamedTuple):
    """What the rows of a table have in common, as it is shown."""

    space: str
    dataset: str
    budget: str

    def __str__(self) -> str:
        return f"{self.space}, {self.dataset}, budget {self.budget}"


@dataclass(frozen=True)
class Row:
    """A method in a setting: the runs that finished, by their seeds, and the trials that did not.

    Attributes:
        example: the fields of one of its records that a command is made of.
    """

    method: str
    setting: Setting
    runs: Sequence[Run]
    missing: Sequence[Missing]
    example: Record

    @property
    def planned(self) -> int:
        return len(self.runs) + len(self.missing)

    @property
    def ids(self) -> list[str]:
        return [run.id for run in self.runs]

    @property
    def complete(self) -> bool:
        """Whether every planned trial finished: what is left of others are their survivors."""
        return bool(self.runs) and not self.missing

    @property
    def refused(self) -> bool:
        """Whether the method cannot run here at all, as its trials said before they began."""
        return not self.runs and all(trial.state == "refused" for trial in self.missing)

    def accuracies(self) -> list[float]:
        """Of the runs that finished, in per cent of the test images, by seed."""
        return list(self.by_seed("test_accuracy").values())

    def with_chance(self, chance: float) -> list[float] | None:
        """The accuracies, where each trial that failed has that of chance; None if others are missing."""
        if {trial.state for trial in self.missing} - {"failed"}:
            return None
        return [*self.accuracies(), *[chance] * len(self.missing)]

    @property
    def seeds(self) -> list[Seed]:
        """Of all trials, finished or not."""
        return [*(run.seed for run in self.runs), *(trial.seed for trial in self.missing)]

    def by_seed(self, name: str) -> dict[Seed, float]:
        """The runs' values of a measure, without those that have none."""
        return {run.seed: v for run in self.runs if (v := run.values[name]) is not None}


@dataclass(frozen=True)
class Results:
    """All that lies in a folder.

    Attributes:
        settings: their rows; settings with most runs first, `random` before other methods.
        stray: folders that belong to no row for sure.
    """

    settings: Mapping[Setting, Sequence[Row]]
    stray: Sequence[Missing]

    @cached_property
    def rows(self) -> list[Row]:
        return [row for rows in self.settings.values() for row in rows]

    @cached_property
    def methods(self) -> list[str]:
        return list(dict.fromkeys(row.method for row in self.rows))


def states(store: Store) -> Iterator[tuple[str, State]]:
    """Every trial of a store, by id, where the files that reports show count as well."""
    for trial_id in store.ids():
        state = store.state(trial_id, SHOWN)
        # The trial is named beside it, and its folder differs from machine to machine.
        reason = (state.reason or "").replace(f"{store.folder(trial_id)}/", "")
        yield trial_id, state._replace(reason=reason)


def read(states: Iterable[tuple[str, State]], defaults: Defaults) -> Results:
    """The rows of trials, keeping of a record what tables and figures need.

    Args:
        defaults: of the plug-ins' options, which a label need not say.
    """
    labels = Labels(defaults)
    trials: dict[Key, list[Run | Missing]] = defaultdict(list)
    examples: dict[Key, Record] = {}
    lost = []
    for trial_id, state in states:
        if (record := state.record) is None:
            reason = state.reason or "it has no record"
            lost.append(Missing(NO_SEED, state.word, reason, trial_id))
            continue
        key = labels.key(record)
        examples.setdefault(key, {name: record[name] for name in EXAMPLE})
        trials[key].append(_trial(record))
    stray = _place(lost, trials)
    names = labels.names()
    settings: dict[Setting, dict[str, Key]] = defaultdict(dict)
    for key in trials:
        method, *others = (names[part][text] for part, text in zip(PARTS, key, strict=True))
        settings[Setting(*others)][method] = key
    rows = {setting: _rows(setting, keys, trials, examples) for setting, keys in settings.items()}
    finished = {setting: sum(len(row.runs) for row in group) for setting, group in rows.items()}
    order = sorted(rows, key=lambda setting: (-finished[setting], setting))
    return Results({setting: rows[setting] for setting in order}, stray)


NO_SEED = (0, -1)
EXAMPLE = (
    *("method", "method_options", "space", "space_options", "dataset", "budget"),
    *("threads", "device", "root_seed"),
)


def _trial(record: Record) -> Run | Missing:
    seed = int(record["root_seed"]), int(record["seed"])
    if record["status"] != "ok":
        reason = " ".join(str(record["reason"] or "").split())
        return Missing(seed, record["status"], reason, record["id"])
    values = {name: field(record, measure.field) for name, measure in MEASURES.items()}
    values["spent"] = _spent(record)
    values |= {name: field(record, name) for name in JUDGED}
    facts = {name: record.get(name) for name in SAME} | {
        "machine": machine(record),
        "code": _code(record),
    }
    return Run(
        id=record["id"],
        seed=seed,
        values=values,
        facts={name: intern(str(value)) for name, value in facts.items()},
        classes=int(record["classes"]),
        test_images=int(record.get("test_images") or 0),
        trainings=tuple(map(float, record.get("test_accuracies") or ())),
        predicted=DIGESTS[PREDICTIONS] in record,
        architecture=str(record.get("architecture_id") or ""),
        front_size=int(record.get("front_size") or 0),
        packed_reason=str(record.get("packed_reason") or ""),
        crowded=is_crowded(record),
        timed=timed(record),
        table=intern(str((record.get("table") or {}).get("definition") or "")),
        learned=record.get("learned") or {},
    )


def _spent(record: Record) -> float | None:
    """The passes of the search in per cent of its budget; None where it had none."""
    budget = record["config"]["budget"].get("passes")
    return (
        100 * float(record["passes"]) / budget if Form(int, Range(1, inf)).takes(budget) else None
    )


def _code(record: Record) -> str:
    if not record.get("commit"):
        return "no commit"
    return f"commit {record['commit'][:10]}{' with changes' if record.get('dirty') else ''}"


def _place(lost: Iterable[Missing], trials: Mapping[Key, list[Run | Missing]]) -> list[Missing]:
    """Add a trial to a row if its name shows it to be a seed of that one alone; returns the rest."""
    owners: dict[str, set[Key]] = defaultdict(set)
    for key, group in trials.items():
        for trial in group:
            owners[_split(trial.id)[0]].add(key)
    stray = []
    for trial in lost:
        prefix, seed = _split(trial.id)
        keys = owners.get(prefix, set())
        if len(keys) == 1 and seed is not None:
            group = trials[next(iter(keys))]
            roots = {known.seed[0] for known in group}
            place = (min(roots), seed)
            if len(roots) == 1 and place not in {known.seed for known in group}:
                group.append(trial._replace(seed=place))
                continue
        stray.append(trial)
    return stray


def _split(trial_id: str) -> tuple[str, int | None]:
    """What the ids of all seeds of a configuration begin with, and the seed that this one names."""
    match = re.fullmatch(r"(.*)-s(\d+)-[0-9a-f]{8}", trial_id)
    return (match[1], int(match[2])) if match else (trial_id, None)


def _rows(
    setting: Setting,
    keys: Mapping[str, Key],
    trials: Mapping[Key, Sequence[Run | Missing]],
    examples: Mapping[Key, Record],
) -> list[Row]:
    """The rows of a setting, with the trials that a complete grid would have.

    The draws that others are measured by (`DRAWS`) may have more seeds than these.
    """
    seeds = {trial.seed for name, key in keys.items() if name != DRAWS for trial in trials[key]}
    rows = []
    for method in sorted(keys, key=lambda name: (name.partition("[")[0] != "random", name)):
        known = trials[keys[method]]
        runs = sorted(
            (trial for trial in known if isinstance(trial, Run)), key=attrgetter("seed", "id")
        )
        absent = [Missing(seed, "has not run") for seed in seeds - {trial.seed for trial in known}]
        absent += [trial for trial in known if isinstance(trial, Missing)]
        rows.append(Row(method, setting, runs, sorted(absent), examples[keys[method]]))
    return rows


def differing(runs: Iterable[Run], fields: Iterable[str] = SAME) -> Iterator[str]:
    """The fields of `SAME` in which runs differ that should agree."""
    runs = list(runs)
    return (name for name in fields if len({run.facts[name] for run in runs}) > 1)
