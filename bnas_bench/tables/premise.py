"""The premise of a search with a real-valued Parent: that cells rank alike at both precisions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from math import isnan
from typing import Any, NamedTuple

import numpy as np

from bnas_bench.core.errors import BadValue
from bnas_bench.tables.agreement import (
    Correlation,
    Loss,
    Overlap,
    Worth,
    correlation,
    loss,
    means,
    overlaps,
    ranks,
    worths,
)
from bnas_bench.tables.truth import GroundTruth

MOVED = 5
"""Architectures that are named of those that rank most differently."""


class Moved(NamedTuple):
    """An architecture, its mean test accuracies in % and its percentiles at the two precisions."""

    arch: str
    first: float
    second: float
    first_percentile: float
    second_percentile: float


@dataclass(frozen=True, kw_only=True)
class Premise:
    """How two precisions agree, over the architectures that a table has at both.

    Attributes:
        precision, other: the first's accuracies are those that matter, as searches are judged at W1A1.
        architectures: that it has at both; `complete` whether that is all of them.
        loss: at `precision`, from taking the best architecture of `other`.
        loss_other: at `other`, from taking the best of `precision`.
        reference: what the operations' worths are compared with.
        higher, lower: what ranks most above and most below at `precision`.
        means: test accuracies in % over the seeds, shape (architectures, 2), in the table's order.
    """

    table: str
    definition: str
    precision: str
    other: str
    architectures: int
    complete: bool
    seeds: int
    correlation: Correlation
    best: Sequence[Overlap]
    loss: Loss
    loss_other: Loss
    reference: str
    operations: Sequence[Worth]
    higher: Sequence[Moved]
    lower: Sequence[Moved]
    means: np.ndarray = field(repr=False, compare=False)

    def to_json(self) -> dict[str, Any]:
        """All but the means; what is unknown is None, an interval [value, lower, upper]."""
        found = _plain(asdict(self))
        assert isinstance(found, dict)
        del found["means"]
        return found


def premise(table: GroundTruth, precision: str = "W1A1", other: str = "W32A32") -> Premise:
    """Compare a table's accuracies at two precisions.

    Raises:
        UnknownName: if the table has nothing at one of them.
        BadValue: if it has fewer than three architectures at both, or they are the same precision.
    """
    if precision == other:
        raise BadValue(
            f"{precision} is compared with itself: give --other another precision of the table"
        )
    archs, first_NS, second_NS = table.at_both(precision, other)
    if len(archs) < 3:
        raise BadValue(
            f"the table {table.name} has {len(archs)} architecture(s) at both {precision} and {other}: "
            f"bnas-bench tabulate --precision {precision},{other} trains more"
        )
    reference, operations, counts_NO = _counts(table, archs)
    first_N, second_N = means(first_NS), means(second_NS)
    moved = [
        Moved(arch, *map(float, rest))
        for arch, *rest in zip(
            archs, first_N, second_N, ranks(first_N), ranks(second_N), strict=True
        )
    ]
    moved.sort(key=lambda one: one.second_percentile - one.first_percentile)
    return Premise(
        table=table.name,
        definition=table.definition.digest,
        precision=precision,
        other=other,
        architectures=len(archs),
        complete=len(archs) == table.contents.architectures,
        seeds=table.definition.seeds,
        correlation=correlation(first_NS, second_NS),
        best=overlaps(first_NS, second_NS),
        loss=loss(first_NS, second_NS),
        loss_other=loss(second_NS, first_NS),
        reference=reference,
        operations=worths(counts_NO, operations, first_NS, second_NS),
        higher=moved[:MOVED],
        lower=moved[::-1][:MOVED],
        means=np.stack([first_N, second_N], axis=1),
    )


def _counts(table: GroundTruth, archs: Sequence[str]) -> tuple[str, list[str], np.ndarray]:
    """The reference (`none`, or a space's first option), all other options, and how often each occurs."""
    space = table.space
    options = list(dict.fromkeys(str(o) for decision in space.decisions for o in decision.options))
    reference = "none" if "none" in options else options[0]
    operations = [option for option in options if option != reference]
    held = [Counter(map(str, space.parse(arch).choices.values())) for arch in archs]
    return reference, operations, np.array([[have[o] for o in operations] for have in held], float)


def _plain(value: Any) -> Any:
    """As JSON has it."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and isnan(value) else value
