"""A row of a table's store: one architecture at one precision, all its seeds; a line of JSON on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

from bnas_bench.core.files import canonical, sha256


class Work(NamedTuple):
    """What is trained at once: all seeds of an architecture, as its text, at a precision."""

    arch: str
    precision: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """What the trainings of one architecture at one precision gave.

    Numbers of images are whole, so that nothing is lost in rounding. S seeds, E epochs.

    Attributes:
        definition: the digest of the table's.
        arch: the space's text of it, the canonical form.
        valid_hits: validation images that are classified rightly after every epoch, shape (S, E).
        test_hits: test images that are classified rightly after the last epoch, shape (S,).
        losses: mean training loss of every epoch, to five decimals, shape (S, E); None where it is no
            finite number.
        ops: OPs for one image by the convention `nas-bnn`, at this precision.
        parameters: that this precision uses.
        bytes: of the packed file, header included; None where the network cannot be packed.
        seconds: that the CPU spent on the trainings and evaluations, all seeds together.
        code: the commit, with `+` where the code differed from it.
        harness_source, space_source: digests of the code, as in a trial's record.
        torch, cpu: what it ran on, on one thread.
    """

    definition: str
    arch: str
    precision: str
    valid_hits: Sequence[Sequence[int]]
    test_hits: Sequence[int]
    losses: Sequence[Sequence[float | None]]
    ops: float
    parameters: int
    bytes: int | None
    seconds: float
    code: str
    harness_source: str
    space_source: str
    torch: str
    cpu: str

    @property
    def work(self) -> Work:
        return Work(self.arch, self.precision)


NAMES = {field.name for field in fields(Row)}
DIGEST = "sha256"


class NoRow(ValueError):
    """Why a line is no row, as the end of a sentence that begins with where it stands."""


def encode(row: Row) -> bytes:
    """A line with its own digest, so that one that was cut or altered is told."""
    values = asdict(row)
    return (json.dumps(values | {DIGEST: _digest(values)}, separators=(",", ":")) + "\n").encode()


def decode(line: bytes) -> Row:
    """Read a line.

    Raises:
        NoRow: if it is truncated, altered or of another version.
    """
    try:
        values = json.loads(line)
    except ValueError:
        raise NoRow("is no JSON") from None
    if not isinstance(values, dict) or values.pop(DIGEST, None) != _digest(values):
        raise NoRow("is truncated or altered")
    if values.keys() != NAMES:
        raise NoRow("is of another version")
    return Row(**values)


def _digest(values: Mapping[str, Any]) -> str:
    return sha256(canonical(values).encode())[:16]
