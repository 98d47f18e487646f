"""Records as a DataFrame: a row per trial, a column per field, each with its type and its unit.

What a record nests is flat here, `ops.nas-bnn`, `recipe.lr`, `method_options.lam`, `budget.passes`; lists
are texts as they are typed, `a+b`, and an architecture is its JSON. Nothing is dropped: a trial that
failed, or whose record is damaged, is a row whose `status` and `reason` say so.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import suppress
from io import BytesIO
from math import nan
from pathlib import Path
from typing import Any

import pandas as pd
from pandas import DataFrame, Series

from bnas_bench.analysis.labels import flat
from bnas_bench.analysis.summary import labelled
from bnas_bench.core.errors import BadValue, Damaged
from bnas_bench.core.files import write_atomically
from bnas_bench.plugins.recorded import defaults
from bnas_bench.plugins.spec import written
from bnas_bench.runs.record import Record
from bnas_bench.runs.store import Store

STATUS = pd.CategoricalDtype(["ok", "failed", "refused", "damaged", "unfinished", "has not run"])

FLOATS: Mapping[str, str] = {
    **dict.fromkeys(("test_accuracy", "test_top5_accuracy", "test_error"), "%"),
    **dict.fromkeys(("valid_accuracy", "inherited_test_accuracy"), "%"),
    **dict.fromkeys(("test_accuracy_sd", "regret", "percentile"), "%"),
    **dict.fromkeys(("search_seconds", "train_seconds", "harness_seconds", "seconds"), "s"),
    **dict.fromkeys(("latency_ms", "latency_lower_ms", "latency_upper_ms"), "ms"),
    **dict.fromkeys(
        ("packed_latency_ms", "packed_latency_lower_ms", "packed_latency_upper_ms"), "ms"
    ),
    "latency_others": "cores",
    **dict.fromkeys(("search_step_mib", "peak_memory_mib", "peak_device_memory_mib"), "MiB"),
    **dict.fromkeys(("passes", "budget.passes"), "images forward and backward"),
}
"""Numbers with a fraction, and their units."""

COUNTS: Mapping[str, str] = {
    **dict.fromkeys(
        ("seed", "root_seed", "threads", "devices", "classes", "front_size", "table_seeds"), ""
    ),
    **dict.fromkeys(("train_images", "test_images", "search_images", "valid_images"), "images"),
    "parameters": "",
    "memory_bits": "bits",
    "packed_bytes": "bytes",
    **dict.fromkeys(("peak_activation_bytes", "peak_packed_activation_bytes"), "bytes"),
}
"""Whole numbers, and their units."""

TEXTS = (
    *(
        "id",
        "reason",
        "architecture",
        "architecture_id",
        "attempts",
        "shape",
        "commit",
        "signal",
        "cpu",
    ),
    *(f"{kind}{part}" for kind in ("method", "space") for part in ("", "_label", "_source")),
    *("dataset", "budget", "harness_source", "dataset_fingerprint", "device", "device_name"),
    *(f"{name}_sha256" for name in ("arch", "front", "log", "weights", "predictions")),
)
"""Texts, though each may look like a number."""

FIRST = (
    *("id", "status", "reason", "method_label", "space_label", "dataset", "budget", "seed"),
    *("method", "method_source", "space", "space_source"),
)
"""Columns of every frame, in this order."""

KINDS: Mapping[str, Any] = {
    "status": STATUS,
    "when": "datetime64[us, UTC]",
    **dict.fromkeys(FLOATS, "Float64"),
    **dict.fromkeys(COUNTS, "Int64"),
    **dict.fromkeys(TEXTS, "string"),
}
"""The types of columns that every record has; those of options follow from what they hold."""

NESTED: Mapping[str, str] = {"ops.": "operations", "macs.": "operations", "memory.": "bits"}
"""Units of what is counted in several ways: for one image, by the conventions' names."""

ENDINGS = (".parquet", ".csv", ".json")
"""Of the files that `write` writes."""

NOT_SHOWN = ("schema", "config")
"""The form of the file; and what an id is hashed from, which other columns say."""


def to_frame(records: Iterable[Record]) -> DataFrame:
    """A row per record; `frame.attrs["units"]` has the units by column.

    Args:
        records: also of trials that have none, with an `id`, a `status` and what else is known.
    """
    columns: dict[str, list[Any]] = {name: [] for name in FIRST}
    same: dict[str, str] = {}
    rows = 0
    for record in records:  # one at a time: as rows, a hundred thousand take a gigabyte
        for name, value in dict(_fields(record)).items():
            column = columns.setdefault(name, [])
            column += [nan] * (rows - len(column))
            column.append(same.setdefault(value, value) if isinstance(value, str) else value)
        rows += 1
    for column in columns.values():
        column += [nan] * (rows - len(column))
    return typed(DataFrame(columns, dtype=object))


def load(store: Store, fields: Container[str] | None = None) -> DataFrame:
    """All records of a store; a trial without one is a row of its id, state and reason.

    Args:
        fields: of the records, those that are wanted: of a hundred thousand trials all take minutes.
    """

    def rows() -> Iterator[Record]:
        for trial_id in store.ids():
            state = store.state(trial_id)
            if (record := state.record) is None:
                record = {"id": trial_id, "status": state.word, "reason": state.reason}
            elif fields is not None:
                record = {name: value for name, value in record.items() if name in fields}
            yield record

    return to_frame(rows())


def typed(frame: DataFrame) -> DataFrame:
    """The same with its columns' types and units; the index counts the rows."""
    columns = {name: _typed(values, KINDS.get(name)) for name, values in frame.items()}
    found = DataFrame(columns)
    found.attrs["units"] = {str(name): unit for name in found if (unit := _unit(str(name)))}
    return found


def write(frame: DataFrame, path: Path | str) -> Path:
    """Write a frame to `.parquet`, which keeps types and units, `.csv` or `.json`; whole or not at all.

    JSON is a list of objects, with null for what is missing; no number loses a digit.

    Raises:
        BadValue: if the ending is another.
        Unwritable: if it cannot be written.
    """
    path, data = Path(path), BytesIO()
    match path.suffix.lower():
        case ".parquet":
            frame.to_parquet(data, index=False)
        case ".csv":
            frame.to_csv(data, index=False)
        case ".json":
            data.write(_json(frame).encode())
        case _:
            raise BadValue(
                f"cannot write a table to '{path}': let it end in .parquet, .csv or .json"
            )
    write_atomically(path, data.getvalue())
    return path


def read(path: Path | str) -> DataFrame:
    """What `write` wrote, with types and units; an empty text of a CSV comes back as missing.

    Raises:
        BadValue: if there is no such file, or its ending is another.
        Damaged: if it holds no such table.
    """
    path = Path(path)
    try:
        if path.suffix.lower() == ".parquet":
            return pd.read_parquet(path)
        if path.suffix.lower() == ".json":
            return typed(DataFrame(json.loads(path.read_text("utf-8")), dtype=object))
        if path.suffix.lower() == ".csv":
            return typed(
                pd.read_csv(
                    path,
                    dtype=dict.fromkeys(("status", *TEXTS), "string"),
                    dtype_backend="numpy_nullable",
                    keep_default_na=False,
                    na_values=[""],
                )
            )
    except FileNotFoundError:
        raise BadValue(f"there is no file '{path}': bnas-bench export writes one") from None
    except (ValueError, OSError) as error:  # pyarrow's and pandas' own are ValueErrors
        raise Damaged(f"{path} holds no table of records ({error}): export it again") from error
    raise BadValue(f"cannot read a table from '{path}': let it end in .parquet, .csv or .json")


def _json(frame: DataFrame) -> str:
    """Pandas' own writes ten digits of a number."""
    plain = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return json.dumps(
        plain, indent=1, ensure_ascii=False, allow_nan=False, default=lambda time: time.isoformat()
    )


def _fields(record: Record) -> Iterator[tuple[str, Any]]:
    yield "id", record["id"]
    yield "status", record.get("status", "has not run")
    for kind in ("method", "space"):
        if kind in record:
            yield f"{kind}_label", labelled(record, kind, defaults)
    for name, value in record.items():
        if name in ("architecture", "attempts"):
            yield name, json.dumps(value)
        elif name == "shape":
            yield name, "x".join(map(str, value))
        elif name not in (*NOT_SHOWN, "id", "status"):
            yield from _typed_lists(flat(value, f"{name}."))
    budget = record.get("config", {}).get("budget", {})
    yield from _typed_lists(flat({k: v for k, v in budget.items() if k != "name"}, "budget."))


def _typed_lists(fields: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in fields.items():
        yield name, written(value) if isinstance(value, list | tuple) else value


def _typed(values: Series, kind: Any) -> Series:
    with suppress(TypeError, ValueError, OverflowError):  # of a record in which it is another
        if kind is not None:
            return values.astype(kind)
    if values.dtype != object and not values.isna().all():  # of a CSV, which says what it holds
        return values
    found = {type(value) for value in values if not pd.isna(value)}
    whole, number = found <= {int}, found <= {int, float}
    for fits, other in (
        (not found, "string"),
        (found == {bool}, "boolean"),
        (whole, "Int64"),
        (number, "Float64"),
    ):
        with suppress(TypeError, ValueError, OverflowError):
            if fits:
                return values.astype(other)
    return values.map(written, na_action="ignore").astype("string")


def _unit(name: str) -> str:
    nested = next((unit for prefix, unit in NESTED.items() if name.startswith(prefix)), "")
    return nested or FLOATS.get(name) or COUNTS.get(name, "")
