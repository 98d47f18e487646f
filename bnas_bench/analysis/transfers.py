"""Transfers to downstream tasks as a DataFrame: a row each, a column per field of its record."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pandas import DataFrame

from bnas_bench.analysis.labels import flat
from bnas_bench.analysis.records import typed
from bnas_bench.plugins.spec import written
from bnas_bench.runs.store import Store
from bnas_bench.transfer.record import read_all
from bnas_bench.transfer.telling import TITLES

FIRST = (*("id", "status", "reason", "task", "backbone", "trial", "weights", "precisions", "seed"),)
"""Columns of every frame, in this order."""

NOT_SHOWN = ("schema", "log")

PERCENT = frozenset(f"test.{key}" for titles in TITLES.values() for key in titles) | {
    "test.chance",
    "test.chance_bound",
}


def load(store: Store) -> DataFrame:
    """All transfers of a store; one that cannot be read is a row whose `status` and `reason` say so.

    `frame.attrs["units"]` has the columns' units.
    """
    rows = [dict(_fields(each, found)) for each, found in read_all(store.root)]
    frame = DataFrame(rows, dtype=object)
    found = typed(frame.reindex(columns=list(dict.fromkeys([*FIRST, *frame]))))
    found.attrs["units"] |= {name: "%" for name in found if name in PERCENT}
    return found


def _fields(transfer: str, found: dict[str, Any] | Exception) -> Iterator[tuple[str, Any]]:
    yield "id", transfer
    yield "status", "damaged" if isinstance(found, Exception) else "ok"
    if isinstance(found, Exception):
        yield "reason", str(found)
        return
    for name, value in found.items():
        if name == "shape":
            yield name, "x".join(map(str, value))
        elif name == "choices":
            yield name, json.dumps(value)
        elif name == "precisions":
            yield name, ",".join(value)
        elif name not in (*NOT_SHOWN, "id"):
            for key, one in flat(value, f"{name}.").items():
                yield key, written(one) if isinstance(one, list | tuple) else one
