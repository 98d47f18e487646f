"""What a transfer leaves on disk: one JSON file with a digest of its own.

`results/NAME/transfers/TASK-BACKBONE-DIGEST.json`: another file for another recipe, precision or seed. The
trial that a backbone comes from is named; what its own record says is not said again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bnas_bench.core.errors import Damaged
from bnas_bench.core.files import canonical, read_regular, sha256, write_atomically
from bnas_bench.core.strict import read_json

SCHEMA = "transfer-1"
DIGEST = "sha256"
LARGEST = 2**24
"""Bytes that no such file takes."""


def values(found: Mapping[str, float]) -> dict[str, float | None]:
    """The values of a test, as JSON has them: None for one that does not exist."""
    return {key: None if math.isnan(value) else value for key, value in found.items()}


def write(path: Path, record: dict[str, Any]) -> None:
    """Write a record, whole or not at all.

    Raises:
        Unwritable: if it cannot be written.
    """
    sealed = record | {DIGEST: sha256(canonical(record).encode())}
    write_atomically(path, (json.dumps(sealed, indent=2, allow_nan=False) + "\n").encode())


def read(path: Path) -> dict[str, Any] | None:
    """What `write` wrote; None if there is nothing.

    Raises:
        Damaged: if it is truncated, altered, or the record of something else.
    """
    try:
        record = read_json(read_regular(path, LARGEST).decode())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise Damaged(
            f"{path} cannot be read ({error}): move it away, and transfer again"
        ) from error
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        raise Damaged(f"{path} is no record of a transfer: move it away, and transfer again")
    digest = record.pop(DIGEST, None)
    if digest != sha256(canonical(record).encode()):
        raise Damaged(f"{path} is truncated or altered: move it away, and transfer again")
    if not _is_whole(record):
        raise Damaged(f"{path} lacks what a transfer has: move it away, and transfer again")
    return record


def _is_whole(record: dict[str, Any]) -> bool:
    found = record.get("test")
    return (
        all(isinstance(record.get(name), str) for name in ("id", "backbone", "task", "weights"))
        and isinstance(found, dict)
        and all(value is None or _is_number(value) for value in found.values())
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
