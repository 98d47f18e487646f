"""What several searches say of how scores rank."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan
from statistics import fmean
from typing import Any

from bnas_bench.analysis.summary import interval

Row = dict[str, Any]

ALIKE = ("method", "of", "precision", "truth")
"""By which the rows of a score at its seeds are told from another's."""

MEANS = ("tau", "passes", "passes_each")


def over_seeds(rows: Sequence[Row]) -> list[Row]:
    """One row for each score of `bnas_bench.runs.rankings.rank`: means over its seeds, `seeds` of them.

    `lower` and `upper` are the 95 % t interval over the seeds' taus. Where there is none (fewer than three
    seeds, or a score that no seed changes) they are the first seed's, over architectures, as `over` says. The
    mean is None where a seed has no tau.
    """
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in ALIKE), []).append(row)
    return [_one(own) for own in groups.values()]


def _one(rows: Sequence[Row]) -> Row:
    first = rows[0]
    lacking = any(row["tau"] is None for row in rows)
    means = {
        key: None if lacking and key == "tau" else fmean(row[key] for row in rows) for key in MEANS
    }
    found = first | means | {"seeds": len(rows), "over": "architectures"}
    if not lacking:
        lower, upper = interval([row["tau"] for row in rows])
        if not isnan(lower):
            found |= {"lower": lower, "upper": upper, "over": "seeds"}
    del found["seed"]
    return found
