"""Tables whose numbers are drawn, not trained."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from bnas_bench.core.architecture import Architecture
from bnas_bench.plugins import making
from bnas_bench.tables import judge as judging
from bnas_bench.tables import parquet
from bnas_bench.tables.contents import Contents
from bnas_bench.tables.definition import Definition, architectures, text
from bnas_bench.tables.row import Row
from bnas_bench.tables.store import TableStore

DEFINITION = Definition(
    space="bnas-201",
    dataset="digits",
    fingerprint="f" * 16,
    test_images=360,
    seeds=3,
    cells=5,
    train_images=200,
    valid_images=400,
    mixed=False,
    epochs=4,
    batch_size=32,
    lr=5e-3,
)


@cache
def order() -> Sequence[Architecture]:
    """The architectures of all tables of bnas-201."""
    return architectures(making.space("bnas-201"))


def row(arch: Architecture, precision: str = "W1A1", how: Definition = DEFINITION) -> Row:
    """The same numbers for the same architecture and precision, of which one loss is no finite number."""
    rng = np.random.default_rng([int(arch.id, 16), len(precision)])
    per_epoch = (how.seeds, how.epochs)
    losses: list[list[float | None]] = rng.uniform(0, 3, per_epoch).round(5).tolist()
    losses[0][0] = None
    return Row(
        definition=how.digest,
        arch=text(making.space(how.space), arch),
        precision=precision,
        valid_hits=rng.integers(how.valid_images + 1, size=per_epoch).tolist(),
        test_hits=rng.integers(300, 311, size=how.seeds).tolist(),
        losses=losses,
        ops=float(rng.integers(10**6)),
        parameters=int(rng.integers(10**5)),
        bytes=None if precision == "W32A32" else int(rng.integers(10**5)),
        seconds=round(rng.uniform(1, 9), 3),
        code="0123456789",
        harness_source="0" * 12,
        space_source="1" * 12,
        torch="2",
        cpu="none",
    )


def filled(folder: Path, rows: Iterable[Row], how: Definition = DEFINITION) -> TableStore:
    """A store of these rows, its folder new."""
    store = TableStore.begin(folder, how)
    for one in rows:
        store.append(replace(one, definition=how.digest))
    return store


def table_that_judges(
    folder: Path,
    rows: Sequence[Row],
    monkeypatch: pytest.MonkeyPatch,
    how: Definition = DEFINITION,
) -> Path:
    """The folder `tables/` of a checkout that holds the table of these rows alone, which judges."""
    tables = folder / "tables"
    tables.mkdir(parents=True)
    contents = Contents.of(filled(folder / "rows", rows, how))
    parquet.write(contents, tables / f"{how.space}-{how.dataset}.parquet")
    monkeypatch.setattr(judging, "COMMITTED", tables)
    monkeypatch.setattr(judging, "LEAST", 0)
    return tables
