"""What a transfer leaves on disk: one JSON file with a digest of its own.

`results/NAME/transfers/TASK-BACKBONE-DIGEST.json`: another file for another recipe, precision or seed. The
trial that a backbone comes from is named; what its own record says is not said again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bnas_bench.core.errors import Damaged
from bnas_bench.core.files import canonical, read_regular, sha256, write_atomically
from bnas_bench.core.sealed import LARGEST, NoRecord, check_form, parse, seal, unseal

FOLDER = "transfers"
SCHEMA = "transfer-2"
"""Of what is written; the digest of a `transfer-1` is one of its values, not of its lines."""
DIGEST = "sha256"
OPS = "nas-bnn"
"""The convention by which tables count operations."""


def values(found: Mapping[str, float]) -> dict[str, float | None]:
    """The values of a test, as JSON has them: None for one that does not exist."""
    return {key: None if math.isnan(value) else value for key, value in found.items()}


def write(path: Path, record: dict[str, Any]) -> None:
    """Write a record, whole or not at all.

    Raises:
        Unwritable: if it cannot be written.
    """
    write_atomically(path, seal(record, DIGEST))


def read(path: Path) -> dict[str, Any] | None:
    """What `write` wrote; None if there is nothing.

    Raises:
        Damaged: if it is truncated, altered, or the record of something else.
    """
    try:
        record = _decode(read_regular(path, LARGEST))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Damaged(
            f"{path} cannot be read ({error}): move it away, and transfer again"
        ) from error
    except NoRecord as error:
        raise Damaged(f"{path} {error}: move it away, and transfer again") from error
    if record["id"] != path.stem:
        raise Damaged(
            f"{path} is the record of another transfer, '{record['id']}': move it away, and transfer again"
        )
    return record


def _decode(data: bytes) -> dict[str, Any]:
    record: Any = parse(data)
    match record:
        case {"schema": "transfer-1"}:
            if record.pop(DIGEST, None) != sha256(canonical(record).encode()):
                raise NoRecord("is truncated or altered")
            check_form(data, record)
        case {"schema": "transfer-2"}:
            unseal(data, record, DIGEST)
        case _:
            raise NoRecord("is no record of a transfer")
    if not _is_whole(record):
        raise NoRecord("lacks what a transfer has")
    return dict(record)


def read_all(results: Path) -> Iterator[tuple[str, dict[str, Any] | Damaged]]:
    """The transfers of results, `results/NAME`, by their ids: each its record, or why it has none."""
    for file in sorted((results / FOLDER).glob("[!.]*.json")):
        try:
            record = read(file)
        except Damaged as error:
            yield file.stem, error
        else:
            if record is not None:
                yield file.stem, record


def _is_whole(record: dict[str, Any]) -> bool:
    texts, counts = ("id", "backbone", "task", "fingerprint", "weights"), ("test", "ops", "recipe")
    trial, precisions, shape = (record.get(name) for name in ("trial", "precisions", "shape"))
    return (
        all(isinstance(record.get(name), str) for name in texts)
        and all(isinstance(record.get(name), dict) for name in counts)
        and (trial is None or isinstance(trial, str))
        and _are(precisions, lambda value: isinstance(value, str))
        and _are(shape, _is_number)
        and all(value is None or _is_number(value) for value in record["test"].values())
        and _are(
            [record["ops"].get(OPS), record.get("seed"), record.get("train_seconds")], _is_number
        )
    )


def _are(values: Any, fit: Callable[[Any], bool]) -> bool:
    return isinstance(values, list) and bool(values) and all(map(fit, values))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
