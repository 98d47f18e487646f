"""What a table holds, as a DataFrame with a row per training, and what it is a table of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from pandas import DataFrame

from bnas_bench.core.budget import PRECISIONS
from bnas_bench.core.errors import BadValue, Damaged
from bnas_bench.plugins import recorded
from bnas_bench.tables.definition import Definition, architectures, text
from bnas_bench.tables.row import Row
from bnas_bench.tables.store import TableStore

MADE = ("code", "harness_source", "space_source", "torch", "cpu")
"""By what a training was made, as `Row` says it."""

ORDER = "random, the same for all tables of the space: the first architectures are a random sample"


@dataclass(frozen=True, kw_only=True)
class Contents:
    """All trainings of a table, and what it is a table of.

    Attributes:
        architectures: that the table has when it is complete.
        date: on which the trainings were put together, in UTC.
        trainings: in the table's order, by architecture, precision and seed. Columns: `arch` (its text),
            `precision`, `seed`; `test_hits`, the test images that are classified rightly, and
            `valid_hits_1`, `valid_hits_2`, ..., the validation images after every epoch; `loss_1`, ..., the
            epochs' mean training losses, missing where one is no finite number; `ops`, `parameters` and
            `bytes` of the network, as `Row` counts them; `seconds` that the CPU spent; and `MADE`.
    """

    definition: Definition
    architectures: int
    date: str
    trainings: DataFrame

    @classmethod
    def of(cls, store: TableStore) -> Contents:
        """What a store holds now.

        Raises:
            Damaged: if a row is altered, or of an architecture that stands for no class.
            BenchError: if the definition's space is none that is known.
        """
        rows = store.refresh().values()
        space = recorded.written(store.definition.space)
        place = {text(space, arch): k for k, arch in enumerate(architectures(space))}
        for row in rows:
            if row.arch not in place:
                raise Damaged(
                    f"{store.file} has a row of {row.arch}, which no table of {space.name} holds: give "
                    "the code that wrote it, or begin another table with --name"
                )
        ordered = sorted(rows, key=lambda row: (place[row.arch], PRECISIONS.index(row.precision)))
        return cls(
            definition=store.definition,
            architectures=len(place),
            date=datetime.now(UTC).date().isoformat(),
            trainings=trainings_of(ordered, store.definition),
        )

    def add_to(self, store: TableStore) -> int:
        """Add to a store what it lacks of these trainings, and count the networks.

        Raises:
            BadValue: if the store is of another definition.
            Unwritable: if it cannot be written.
        """
        self.check_definition(store.definition, store.folder)
        held = store.refresh().keys()
        store.append(*(lacking := [row for row in self.rows() if row.work not in held]))
        return len(lacking)

    def check_definition(self, wanted: Definition, folder: Path) -> None:
        """Raise BadValue unless these trainings are of the definition that a folder's table has, or will."""
        if differences := self.definition.differences(wanted):
            raise BadValue(
                f"those trainings are of another table than {folder} ({differences}): give the "
                "options by which they were trained, or leave --from away"
            )

    def rows(self) -> list[Row]:
        """What `trainings_of` made the trainings from; losses to five decimals, seconds to four."""
        return [self._row(trainings) for _, trainings in self.trainings.groupby(_networks(self))]

    def _row(self, trainings: DataFrame) -> Row:
        first, how = trainings.iloc[0].to_dict(), self.definition
        losses = trainings[epochs("loss", how)].to_numpy().tolist()
        return Row(
            definition=how.digest,
            arch=first["arch"],
            precision=first["precision"],
            valid_hits=trainings[epochs("valid_hits", how)].to_numpy().tolist(),
            test_hits=trainings["test_hits"].tolist(),
            losses=[[round(x, 5) if x == x else None for x in seed] for seed in losses],
            ops=first["ops"],
            parameters=first["parameters"],
            bytes=None if first["bytes"] != first["bytes"] else int(first["bytes"]),
            seconds=round(first["seconds"] * how.seeds, 4),
            **{name: first[name] for name in MADE},
        )

    @property
    def datasheet(self) -> dict[str, Any]:
        """What the table is, for a reader: its definition, how far it is, by what it was made and when."""
        made = Counter(zip(*(self.trainings[name] for name in MADE), strict=True))
        return {
            "definition": asdict(self.definition),
            "digest": self.definition.digest,
            "architectures": self.architectures,
            "trainings": dict(Counter(self.trainings["precision"])),
            "order": ORDER,
            "core_hours": round(float(self.trainings["seconds"].sum()) / 3600, 4),
            "made": [
                dict(zip(MADE, by, strict=True)) | {"trainings": n}
                for by, n in sorted(made.items())
            ],
            "date": self.date,
        }


def _networks(contents: Contents) -> np.ndarray:
    """Of every training the number of its network: seeds stand one after another."""
    return np.arange(len(contents.trainings)) // contents.definition.seeds


def epochs(name: str, definition: Definition) -> list[str]:
    """The columns of what is there for every epoch: `loss_1`, `loss_2`, ..."""
    return [f"{name}_{epoch}" for epoch in range(1, definition.epochs + 1)]


def trainings_of(rows: Sequence[Row], definition: Definition) -> DataFrame:
    """The rows' trainings, each with its share of the seconds."""
    seeds, shape = definition.seeds, (-1, definition.epochs)
    valid_hits = np.array([row.valid_hits for row in rows], np.int32).reshape(shape)
    losses = np.array([row.losses for row in rows], np.float32).reshape(shape)
    packed = [np.nan if row.bytes is None else row.bytes for row in rows]

    def each(values: Sequence[Any]) -> np.ndarray:
        return np.repeat(np.array(values), seeds)

    return DataFrame(
        {
            "arch": each([row.arch for row in rows]),
            "precision": each([row.precision for row in rows]),
            "seed": np.tile(np.arange(seeds, dtype=np.int32), len(rows)),
            "test_hits": np.array([row.test_hits for row in rows], np.int32).flatten(),
            **dict(zip(epochs("valid_hits", definition), valid_hits.T, strict=True)),
            **dict(zip(epochs("loss", definition), losses.T, strict=True)),
            "ops": each([row.ops for row in rows]).astype(float),
            "parameters": each([row.parameters for row in rows]).astype(np.int64),
            "bytes": each(packed).astype(float),
            "seconds": each([row.seconds for row in rows]).astype(float) / seeds,
            **{name: each([getattr(row, name) for row in rows]) for name in MADE},
        }
    )
