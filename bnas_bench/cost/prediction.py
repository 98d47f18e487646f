"""How good the predictions of a latency table are: beside the latencies of networks new to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import spearmanr

from bnas_bench.cost.latency import latency, packed
from bnas_bench.packed.engine.engine import Engine

if TYPE_CHECKING:
    from bnas_bench.cost.kernel_times import LatencyTable
    from bnas_bench.packed.format.program import Program


@dataclass(frozen=True)
class Prediction:
    """One network's predicted and measured latency, in milliseconds.

    Attributes:
        known: the part of the prediction, from 0 to 1, that was timed in other networks; the rest
            are kernels that no network before it had, timed in this one before it was measured.
    """

    predicted_ms: float
    measured_ms: float
    known: float

    @property
    def error(self) -> float:
        """Relative to the measured latency."""
        return self.predicted_ms / self.measured_ms - 1


def predictions(table: LatencyTable, programs: Iterable[Program]) -> Iterator[Prediction]:
    """Predict and then measure each program; the table learns the kernels that it does not know."""
    for program in programs:
        with closing(Engine(program, threads=table.threads)) as engine:
            known = [key for kernel in engine.kernels if (key := kernel.key) in table.seconds]
            table.add(engine, program.shape)
            predicted = table.predict(engine)
            subject = packed(engine, program.shape)
            measured = latency(subject, threads=table.threads).median_ms
        part = 1000 * sum(table.seconds[key] for key in known) / predicted
        yield Prediction(predicted, measured, part)


def summary(found: Sequence[Prediction]) -> dict[str, Any]:
    """Spearman's rank correlation (None where it is undefined), and the relative error's size."""
    predicted, measured = [p.predicted_ms for p in found], [p.measured_ms for p in found]
    distinct = min(len(set(predicted)), len(set(measured))) > 1
    errors = np.abs([p.error for p in found])
    return {
        "networks": len(found),
        "rank_correlation": float(spearmanr(predicted, measured)[0]) if distinct else None,
        "median_error": float(np.median(errors)),
        "largest_error": float(errors.max()),
        "median_known": float(np.median([p.known for p in found])),
        "latency_ms": [min(measured), max(measured)],
    }
