"""What trials are called among each other, and how long they will take: as long as such trials took."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

from bnas_bench.core.errors import Damaged
from bnas_bench.core.files import canonical
from bnas_bench.plugins.spec import changed, label
from bnas_bench.runs.store import Record, read_record
from bnas_bench.runs.trial import Trial

SEARCH = 0.6
"""The share of a trial's time that its search takes, where no such trial is known: the median of the
committed results."""

MOST = 60
"""Records that an estimate is made of."""


def names(trials: Sequence[Trial]) -> dict[str, str]:
    """By id, what tells a trial from the others: `dcpnas[lam=0.0] on nas-bnn, seed 1`."""
    parts: Sequence[Callable[[Trial], str]] = (
        lambda trial: label(trial.space.name, changed(trial.space_options, trial.space.defaults)),
        lambda trial: trial.dataset,
        lambda trial: trial.budget.name,
    )
    differing = [part for part in parts if len(set(map(part, trials))) > 1]
    return {trial.id: _name(trial, [part(trial) for part in differing]) for trial in trials}


def _name(trial: Trial, places: Sequence[str]) -> str:
    method = label(trial.method.name, changed(trial.method_options, trial.method.defaults))
    return ", ".join([" on ".join([method, *places[:1]]), *places[1:], f"seed {trial.repetition}"])


@dataclass(frozen=True)
class Took:
    """What such a trial took: all its seconds, and the share of its search."""

    seconds: float
    search: float = SEARCH


class Estimates:
    """Reads in all results of a folder how long trials took.

    Args:
        results: the folder of all results.
    """

    def __init__(self, results: Path) -> None:
        self.results = results
        self._known: dict[str, list[Record]] = {}
        self._found: dict[str, Took | None] = {}

    def of(self, trial: Trial) -> Took | None:
        """What it will take: as trials of the same configuration took, or else of the same method
        with other options, or else of any method there; None if there are none."""
        wanted = _without_seed(trial.config())
        if (key := canonical(wanted)) not in self._found:
            self._found[key] = self._of(trial, wanted)
        return self._found[key]

    def _of(self, trial: Trial, wanted: dict[str, Any]) -> Took | None:
        name = trial.id.rpartition("-s")[0]
        alike = self._records(name, trial)
        if same := [r for r in alike if _without_seed(r["config"]) == wanted]:
            return _middle(same)
        if alike:
            return _middle(alike)
        others = "*" + name.removeprefix(Path(trial.method.name).name.lower())
        return _middle(found) if (found := self._records(others, trial)) else None

    def _records(self, name: str, trial: Trial) -> list[Record]:
        """Those of finished trials whose ids begin so, judged by a table or not as this one is, and of as
        many trainings."""
        if name not in self._known:
            self._known[name] = list(islice(self._read(name), MOST))
        judged, trainings = bool(trial.table), trial.budget.train_seeds
        return [
            r
            for r in self._known[name]
            if ("table" in r["config"]) == judged
            and r["config"]["budget"].get("train_seeds", 1) == trainings
        ]

    def _read(self, name: str) -> Iterator[Record]:
        for folder in sorted(self.results.glob(f"*/trials/{name}-s*")):
            with suppress(Damaged):
                record = read_record(folder) if "." not in folder.name else None
                if record and record["status"] == "ok" and "seconds" in record:
                    yield record


def _without_seed(config: dict[str, Any]) -> dict[str, Any]:
    return {k: _plain(v) for k, v in config.items() if k not in ("repetition", "root_seed")}


def _plain(value: Any) -> Any:
    """As JSON gives it back, which has no tuples."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def _middle(records: Sequence[Record]) -> Took:
    seconds = [record["seconds"] for record in records]
    shares = [r["search_seconds"] / r["seconds"] for r in records if r["seconds"]]
    return Took(median(seconds), min(1.0, median(shares)) if shares else SEARCH)
