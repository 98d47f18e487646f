"""A table as the judge of searches: it scores what they ask for, and what they have found in the end.

What a table does not hold yet is trained here as the table's definition says: its numbers are those that
`tabulate` will write.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnas_bench.core.architecture import Architecture
from bnas_bench.core.errors import BadValue
from bnas_bench.core.seeds import generator
from bnas_bench.tables import parquet
from bnas_bench.tables.contents import trainings_of
from bnas_bench.tables.definition import default_name, text
from bnas_bench.tables.entry import Columns, Entry
from bnas_bench.tables.truth import COMMITTED, GroundTruth

if TYPE_CHECKING:
    from bnas_bench.data.datasets import Dataset, Images
    from bnas_bench.search.meter import Meter
    from bnas_bench.tables.training import Trainer

PRECISION = "W1A1"
"""At which searches are judged."""

LEAST = 0.5
"""Of the architectures that a table has before it judges: what it lacks is trained, in seconds each."""


@dataclass(frozen=True)
class Named:
    """A table that judges trials.

    Attributes:
        path: of its file.
        definition: the digest of what it is a table of.
    """

    name: str
    path: Path
    definition: str


def table_of(space: str, dataset: str) -> Named | None:
    """The committed table of a space and a dataset, `tables/NAME.parquet` by its `default_name`.

    None if there is none, or it has less than `LEAST` of the architectures.

    Raises:
        Damaged: if that file is no table.
    """
    name = default_name(space, dataset)
    path = COMMITTED / f"{name}{parquet.ENDING}"
    if not path.is_file():
        return None
    how, shares = parquet.described(path)
    judges = how.dataset == dataset and shares.get(PRECISION, 0) >= LEAST
    return Named(name, path, how.digest) if judges else None


class Judge:
    """Answers of a table, completed where it has none.

    Args:
        dataset: the one that the table is of, at its size, on the CPU.

    Raises:
        BadValue: if the dataset's images are others than the table's.
    """

    def __init__(self, truth: GroundTruth, dataset: Dataset) -> None:
        truth.check_images(dataset, otherwise="give --train, or ")
        self.truth, self.dataset = truth, dataset
        self.told = 0
        """Images that have gone through networks to answer, with no meter listening."""
        self._trained: dict[str, Entry] = {}

    @cached_property
    def _trainer(self) -> Trainer:
        from bnas_bench.tables.training import Trainer

        return Trainer(self.truth.definition, self.truth.space, self.dataset)

    def entry(self, arch: Architecture) -> Entry:
        """What an architecture reaches: as the table says, or as a training by its definition gives."""
        if self.truth.holds(arch, PRECISION):
            return self.truth.query(arch, PRECISION)
        from bnas_bench.packed.engine.threads import torch_threads

        space, how = self.truth.space, self.truth.definition
        canonical = space.canonical(arch)
        name = text(space, canonical)
        if name not in self._trained:
            # A search is charged for the score alone. One thread, as `tabulate` has: more change the last
            # digits, and signs with them.
            with self._unheard(), torch_threads(1):
                row = self._trainer.row(canonical, name, PRECISION)
            self._trained[name] = Columns(trainings_of([row], how), how).entry(0, PRECISION)
        return self._trained[name]

    @contextmanager
    def _unheard(self) -> Iterator[None]:
        """No meter is told of passes within; `told` counts them, and whoever lends a meter compares."""
        from bnas_bench.nn.passes import Passes

        listeners, before = Passes.listeners[:], Passes.told()
        Passes.listeners.clear()
        try:
            yield
        finally:
            Passes.listeners[:] = listeners
            self.told += Passes.told() - before

    def regret(self, arch: Architecture) -> float | None:
        """What the table's best has more than an architecture, in points; None where the table has none.

        Nothing is trained for it.
        """
        if not self.truth.holds(arch, PRECISION):
            return None
        return round(self.truth.best(PRECISION).mean - self.entry(arch).mean, 6)

    def verdict(self, arch: Architecture) -> dict[str, Any]:
        """What a record says of what a search found.

        `regret` is what the table's best has more, in points; `percentile` how many of what the table
        holds, beside the architecture itself, are worse, in %.
        """
        entry, truth = self.entry(arch), self.truth
        held = truth.holds(arch, PRECISION)
        mean = round(entry.mean, 6)
        return {
            "evaluated": "table" if held else "by the table's definition",
            "test_accuracy": mean,
            "test_error": round(100 - mean, 6),
            "test_accuracy_sd": round(entry.sd, 6) if truth.definition.seeds > 1 else None,
            "table_seeds": truth.definition.seeds,
            "regret": round(truth.best(PRECISION).mean - entry.mean, 6),
            "percentile": round(truth.percentile_of(entry.mean, PRECISION, held=held), 4),
            "table": {
                "name": truth.name,
                "definition": truth.definition.digest,
                "held": truth.count(PRECISION),
                "architectures": truth.contents.architectures,
            },
        }

    def parts(self, dataset: Dataset) -> tuple[Images, Images, Images]:
        """The images that train, validate and test, of the dataset at another size or on another device."""
        return self.truth.definition.split(dataset)


class ByTable:
    """Answers `Task.score` from a table, and charges what the training would have cost.

    An architecture's score is that of one of the table's seeds, the same whenever it is asked for. What the
    table knows beside is none of its attributes: a search has this in its hands.

    Args:
        root, purpose: what the seed is drawn from, beside the architecture.
    """

    def __init__(
        self, judge: Judge, meter: Meter, root: int, purpose: tuple[str | int, ...]
    ) -> None:
        name, how = judge.truth.name, judge.truth.definition
        self.longest = how.epochs

        def passes(epochs: int) -> float:
            steps = max(1, how.train_images // how.batch_size)
            return epochs * steps * min(how.batch_size, how.train_images) + how.valid_images / 3

        def answer(arch: Architecture, epochs: int) -> float:
            if not 1 <= epochs <= how.epochs:
                raise BadValue(
                    f"the table {name} knows no score after {epochs} epochs: ask for 1 to {how.epochs}"
                )
            meter.spend(passes(epochs))
            entry = judge.entry(arch)
            seed = generator(root, *purpose, "seed", entry.arch).integers(len(entry.test))
            return float(entry.valid[seed, epochs - 1]) / 100

        self._passes, self._answer = passes, answer

    def passes(self, epochs: int) -> float:
        return self._passes(epochs)

    def __call__(self, arch: Architecture, epochs: int) -> float:
        return self._answer(arch, epochs)
