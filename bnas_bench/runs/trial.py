"""A trial: one method on one space, dataset, budget and seed; and a grid of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnas_bench.core.budget import Budget
from bnas_bench.core.errors import BadValue
from bnas_bench.core.files import canonical, sha256
from bnas_bench.plugins.making import Choice
from bnas_bench.plugins.registry import Plugin
from bnas_bench.plugins.source import harness_digest

if TYPE_CHECKING:
    from bnas_bench.tables.judge import Named

CONFIG = 1
"""Version of what an id is hashed from."""


MOST_TRIALS = 10_000
"""Of one grid; each is a folder of its own."""


@dataclass(frozen=True)
class Trial:
    """One run of one method: what is run, on what, with which seed.

    Attributes:
        table: judges what the search finds; None is a training from scratch.
    """

    method: Plugin
    method_options: Mapping[str, Any]
    space: Plugin
    space_options: Mapping[str, Any]
    dataset: str
    budget: Budget
    repetition: int
    root_seed: int = 0
    table: Named | None = None

    def config(self) -> dict[str, Any]:
        """All that the numbers follow from, as plain values: what the id is hashed from."""
        return {
            "schema": CONFIG,
            "method": _identity(self.method, self.method_options),
            "space": _identity(self.space, self.space_options),
            "dataset": self.dataset,
            "budget": self.budget.config(),
            "repetition": self.repetition,
            "root_seed": self.root_seed,
            **({"table": self.table.definition} if self.table else {}),
        }

    @cached_property
    def id(self) -> str:
        """The name of the trial's folder, legible and different for every other configuration."""
        method, space = (Path(plugin.name).name for plugin in (self.method, self.space))
        budget = self.budget.name.partition("[")[0]
        names = map(_slug, (method, space, self.dataset, budget))
        digest = sha256(canonical(self.config()).encode())[:8]
        return "-".join([*names, f"s{self.repetition}", digest])

    def description(self) -> dict[str, Any]:
        """The configuration as columns of a record."""
        return {
            "method": self.method.name,
            "method_options": dict(self.method_options),
            "method_source": self.method.source,
            "space": self.space.name,
            "space_options": dict(self.space_options),
            "space_source": self.space.source,
            "harness_source": harness_digest(),
            "dataset": self.dataset,
            "budget": self.budget.name,
            "seed": self.repetition,
            "root_seed": self.root_seed,
            "config": self.config(),
        }


def _identity(plugin: Plugin, options: Mapping[str, Any]) -> dict[str, Any]:
    """A plug-in of the code base is known by its name; a file outside it only by what it says."""
    identity = {"name": plugin.name, "options": dict(options)}
    return identity if plugin.module else identity | {"source": plugin.source}


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower())[-40:].strip("-")


def expand(
    methods: Sequence[Choice],
    spaces: Sequence[Choice],
    datasets: Sequence[str],
    budgets: Sequence[Budget],
    seeds: int,
    root_seed: int = 0,
) -> list[Trial]:
    """Every combination; the methods vary fastest, so that comparisons are complete early.

    Raises:
        BadValue: if two trials are the same.
    """
    if (count := prod(map(len, (methods, spaces, datasets, budgets))) * seeds) > MOST_TRIALS:
        raise BadValue(
            f"a grid of {count:,} trials is more than the {MOST_TRIALS:,} that can be kept track of: "
            "ask for fewer seeds, or for a part of it under each --name"
        )
    trials = [
        Trial(*method, *space, dataset, budget, repetition, root_seed)
        for dataset, budget, space, repetition, method in product(
            datasets, budgets, spaces, range(seeds), methods
        )
    ]
    seen: set[str] = set()
    for trial in trials:
        if trial.id in seen:
            raise BadValue(f"trial {trial.id} is asked for twice: name each configuration once")
        seen.add(trial.id)
    return trials


def judged_by_tables(trials: Sequence[Trial]) -> list[Trial]:
    """The trials, those on a space and a dataset that have a committed table judged by it.

    Raises:
        Damaged: if such a table is none.
    """
    from bnas_bench.tables.judge import table_of

    tables = {
        pair: table_of(*pair)
        for pair in {(trial.space.name, trial.dataset) for trial in trials if _is_plain(trial)}
    }
    return [
        replace(trial, table=tables[trial.space.name, trial.dataset]) if _is_plain(trial) else trial
        for trial in trials
    ]


def _is_plain(trial: Trial) -> bool:
    """Whether a table may judge it: its space is the code base's own, with its defaults, and it asks for no
    trainings of its own."""
    is_own = bool(trial.space.module) and trial.space_options == trial.space.defaults
    return is_own and trial.budget.train_seeds == 1
