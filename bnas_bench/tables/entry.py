"""The trainings of a table at one precision as arrays, and what they say of one architecture.

Legend of array names: N architectures, S seeds, E epochs.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from pandas import DataFrame

from bnas_bench.tables.contents import epochs
from bnas_bench.tables.definition import Definition
from bnas_bench.tables.latencies import Latencies


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Entry:
    """What a table knows of an architecture at a precision. Accuracies in %.

    Attributes:
        arch: the text of its canonical form.
        mean, sd: of the test accuracy over the seeds; a single seed has no deviation, it is nan.
        test: test accuracy after the last epoch, shape (S,).
        valid: validation accuracy after every epoch, shape (S, E).
        losses: mean training loss of every epoch, shape (S, E), nan where it is no finite number.
        ops, parameters: for one image by the convention `nas-bnn`; that this precision uses.
        bytes: of the packed file; None where the network cannot be packed.
        seconds: that the CPU spent on all its trainings.
        latency_ms: of one image through the packed engine, the median, on the machine that the table's
            latencies name; None where it was not measured, as at other precisions than W1A1.
    """

    arch: str
    precision: str
    mean: float
    sd: float
    test: np.ndarray = field(repr=False)
    valid: np.ndarray = field(repr=False)
    losses: np.ndarray = field(repr=False)
    ops: float
    parameters: int
    bytes: int | None
    seconds: float
    latency_ms: float | None


class Columns:
    """The trainings at one precision, as arrays.

    Args:
        latencies: of the networks at this precision, if they were measured.

    Attributes:
        texts: of the architectures, in the table's order; `places` is the way back.
        mean_N, sd_N: of the test accuracy over the seeds, in %; the deviation of a single seed is nan.
        sorted_N: the means in their own order.
    """

    def __init__(
        self, trainings: DataFrame, definition: Definition, latencies: Latencies | None = None
    ) -> None:
        seeds, how = definition.seeds, definition
        first = trainings.iloc[::seeds]
        self.texts: list[str] = first["arch"].tolist()
        self.places = {arch: place for place, arch in enumerate(self.texts)}
        shape = (len(first), seeds)
        hits_NS = trainings["test_hits"].to_numpy().reshape(shape)
        self.test_NS = 100.0 * hits_NS / how.test_images
        self.valid_NSE = valid_accuracies(trainings, how).reshape(*shape, -1)
        self.losses_NSE = trainings[epochs("loss", how)].to_numpy().reshape(*shape, -1)
        self.mean_N = 100.0 * hits_NS.sum(1) / (how.test_images * seeds)  # equal where the sums are
        self.sd_N = self.test_NS.std(1, ddof=1) if seeds > 1 else np.full(len(first), np.nan)
        self.sorted_N = np.sort(self.mean_N)
        self.seconds_N = trainings["seconds"].to_numpy().reshape(shape).sum(1)
        self._costs = list(
            zip(first["ops"].tolist(), first["parameters"].tolist(), first["bytes"], strict=True)
        )
        times = [latencies.of(text) if latencies else None for text in self.texts]
        self._latencies = [time.median if time else None for time in times]

    def entry(self, place: int, precision: str) -> Entry:
        """What they say of the architecture at a place."""
        ops, parameters, packed = self._costs[place]
        return Entry(
            arch=self.texts[place],
            precision=precision,
            mean=float(self.mean_N[place]),
            sd=float(self.sd_N[place]),
            test=self.test_NS[place],
            valid=self.valid_NSE[place],
            losses=self.losses_NSE[place],
            ops=ops,
            parameters=parameters,
            bytes=None if packed != packed else int(packed),
            seconds=float(self.seconds_N[place]),
            latency_ms=self._latencies[place],
        )


def valid_accuracies(trainings: DataFrame, definition: Definition) -> np.ndarray:
    """Validation accuracy after every epoch in %, a row per training."""
    return 100.0 * trainings[epochs("valid_hits", definition)].to_numpy() / definition.valid_images
