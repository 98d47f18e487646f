"""What a transfer leaves on disk: one JSON file beside the trial that it came from, with a digest of its own.

`results/NAME/transfers/TASK-TRIAL-DIGEST.json`: another file for another recipe, precision or seed. What a
trial's record says is not said again; the trial is named.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bnas_bench.core.errors import Damaged
from bnas_bench.core.files import canonical, read_regular, sha256, write_atomically
from bnas_bench.core.options import Form, Range
from bnas_bench.core.strict import read_json
from bnas_bench.transfer.retrieval import RANKS, Retrieval

SCHEMA = "transfer-1"
DIGEST = "sha256"
LARGEST = 2**24
"""Bytes that no such file takes."""

_share = Form(float, Range(0, 100)).takes
_text = Form(str).takes


def values(found: Retrieval) -> dict[str, Any]:
    """The fields of a record that say what rankings are worth, in %."""
    told = asdict(found)
    return told | {"ranks": {str(k): share for k, share in found.ranks.items()}}


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
    ranks = record.get("ranks")
    return (
        all(_text(record.get(name)) for name in ("id", "trial", "task", "precision"))
        and all(_share(record.get(name)) for name in ("mean_ap", "chance", "chance_bound"))
        and isinstance(ranks, dict)
        and {*ranks} == {*map(str, RANKS)}
        and all(map(_share, ranks.values()))
    )
