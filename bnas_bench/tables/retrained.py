"""Entries of a table, drawn at random and trained again: does this code on this machine give its numbers?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bnas_bench.core.seeds import generator
from bnas_bench.data.datasets import Dataset
from bnas_bench.tables.entry import Entry
from bnas_bench.tables.training import Trainer
from bnas_bench.tables.truth import GroundTruth


@dataclass(frozen=True, kw_only=True, eq=False)
class Retrained:
    """An entry, and the test accuracies of the same seeds trained anew, in %, shape (S,)."""

    entry: Entry
    again: np.ndarray

    @property
    def equal(self) -> bool:
        """Whether every seed classifies as many test images rightly as the table says."""
        return bool(np.array_equal(self.again, self.entry.test))

    @property
    def moved(self) -> float:
        """The new mean less the table's, in points."""
        return float(self.again.mean()) - self.entry.mean

    @property
    def within(self) -> bool:
        """Whether the mean moved by no more than the seeds' standard deviation."""
        return self.equal or abs(self.moved) <= self.entry.sd


def retrained(truth: GroundTruth, dataset: Dataset, count: int, seed: int) -> Iterator[Retrained]:
    """Train some of the entries again, of any precision.

    Args:
        dataset: the one that the table is of, at its size, on the CPU.
        seed: draws them.

    Raises:
        BadValue: if the dataset's images are others than the table's.
    """
    truth.check_images(dataset)
    how = truth.definition
    trainer = Trainer(how, truth.space, dataset)
    held = truth.contents.trainings.iloc[:: how.seeds]
    places = generator(seed, "table", "retrained").permutation(len(held))[:count]
    for arch, precision in held.iloc[places][["arch", "precision"]].itertuples(index=False):
        row = trainer.row(truth.space.parse(arch), arch, precision)
        again = 100.0 * np.array(row.test_hits) / how.test_images
        yield Retrained(entry=truth.query(arch, precision), again=again)
