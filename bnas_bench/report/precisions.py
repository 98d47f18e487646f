"""What a table says of its architectures at two precisions, and of those that the runs of a setting found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

import numpy as np

from bnas_bench.analysis.frame import Row
from bnas_bench.analysis.stats import NotEnough
from bnas_bench.core.architecture import Architecture
from bnas_bench.core.errors import BenchError
from bnas_bench.report.figures import Point
from bnas_bench.runs.store import Store
from bnas_bench.tables import parquet
from bnas_bench.tables.agreement import Estimate, bootstrapped, kendall_tau, means
from bnas_bench.tables.judge import PRECISION, table_of
from bnas_bench.tables.truth import GroundTruth

REAL = "W32A32"

LEFT_OUT = 0.05
"""Of the table's architectures, and of what runs found, the least accurate at either precision, which would
take most of the axes."""


@dataclass(frozen=True, kw_only=True)
class BothPrecisions:
    """Mean test accuracies in %, real-valued and of 1 bit.

    Attributes:
        table: its name.
        architectures: that the table has when it is complete.
        real, bits: of all N that it has at both precisions, shape (N,).
        tau: Kendall's, between the two.
        found: by run of what it found, real-valued and of 1 bit, where the table has it at both.
        seeds: of the table.
    """

    table: str
    architectures: int
    real: np.ndarray
    bits: np.ndarray
    tau: Estimate
    found: Mapping[str, tuple[float, float]]
    seeds: int

    @cached_property
    def least(self) -> tuple[float, float]:
        """From where on the axes go."""
        real, bits = (float(np.quantile(v_N, LEFT_OUT)) for v_N in (self.real, self.bits))
        if not self.found:
            return real, bits
        found = np.quantile([*self.found.values()], LEFT_OUT, axis=0, method="lower")
        return min(real, float(found[0])), min(bits, float(found[1]))

    def shows(self, run: str) -> bool:
        """Whether the table has what a run found, and it lies on the axes."""
        return run in self.found and all(
            value >= end for value, end in zip(self.found[run], self.least, strict=True)
        )

    @cached_property
    def cloud(self) -> tuple[np.ndarray, np.ndarray]:
        """`real` and `bits` of those that are on the axes."""
        real, bits = self.least
        on_N = (self.real >= real) & (self.bits >= bits)
        return self.real[on_N], self.bits[on_N]

    def points(self, rows: Sequence[Row]) -> dict[str, list[Point]]:
        """By method what its runs found, real-valued along x."""
        return {
            row.method: [
                Point(x=self.found[run][0], y=self.found[run][1])
                for run in row.ids
                if self.shows(run)
            ]
            for row in rows
        }

    def caption(self, rows: Sequence[Row]) -> str:
        """What the figure shows, and what it cannot."""
        size = len(self.real)
        share = (
            "all" if size == self.architectures else f"of {self.architectures:,}, a random sample"
        )
        runs = [run for row in rows for run in row.ids]
        lacking = sum(run not in self.found for run in runs)
        words = (
            f"Each grey dot is an architecture of the table {self.table} ({size:,}, {share}), with its mean "
            f"test accuracies over {self.seeds} seeds, real-valued ({REAL}) and of 1 bit ({PRECISION}): "
            f"Kendall's tau {self.tau.value:.2f} [{self.tau.lower:.2f}, {self.tau.upper:.2f}]. Marks are "
            "what the runs found."
        )
        if beyond := size - len(self.cloud[0]):
            real, bits = self.least
            words += (
                f" {beyond} of less than {real:.1f} % real-valued or {bits:.1f} % at 1 bit lie "
            )
            words += "beyond the axes."
        if hidden := sum(run in self.found and not self.shows(run) for run in runs):
            words += f" What {hidden} of {len(runs)} runs found lies beyond them, too."
        if lacking:
            words += f" Of {lacking} of {len(runs)} runs the table has no real-valued accuracy."
        return words

    def seen(self, rows: Sequence[Row]) -> str:
        """What is to be seen, in words: how the two go together, and where each method's finds lie."""
        known = {row.method: [self.found[i] for i in row.ids if i in self.found] for row in rows}
        words = [
            f"{method} {fmean(real for real, _ in pairs):.1f} and {fmean(bits for _, bits in pairs):.1f}"
            for method, pairs in known.items()
            if pairs
        ]
        return (
            f"{len(self.real):,} architectures from {self.real.min():.1f} to {self.real.max():.1f} % "
            f"real-valued and from {self.bits.min():.1f} to {self.bits.max():.1f} % at 1 bit, Kendall's "
            f"tau {self.tau.value:.2f}. Means of what was found, real-valued and at 1 bit: "
            f"{', '.join(words) or 'not in the table'}."
        )


def both_precisions(rows: Sequence[Row], store: Store) -> BothPrecisions | NotEnough | None:
    """Ask the table that judged these runs; None where none did, else why it cannot say."""
    judges = {run.table for row in rows for run in row.runs} - {""}
    if not judges:
        return None
    example = rows[0].example
    try:
        named = table_of(example["space"], example["dataset"])
        if named is None or judges != {named.definition}:
            return NotEnough("the table that judged these runs is not here")
        truth = GroundTruth(parquet.read(named.path), named.name)
        archs, bits_NS, real_NS = truth.at_both(PRECISION, REAL)
        if len(archs) < 3:
            return NotEnough(
                f"the table {truth.name} has {len(archs)} architectures at both precisions"
            )
        known = dict(_found(rows, store, truth))
    except BenchError as error:
        return NotEnough(str(error))
    real_N, bits_N = means(real_NS), means(bits_NS)
    return BothPrecisions(
        table=truth.name,
        architectures=truth.contents.architectures,
        real=real_N,
        bits=bits_N,
        tau=bootstrapped(kendall_tau, bits_N, real_N),
        found=known,
        seeds=truth.definition.seeds,
    )


def _found(
    rows: Sequence[Row], store: Store, truth: GroundTruth
) -> Iterator[tuple[str, tuple[float, float]]]:
    """By run what the table says of its architecture, where it has that at both precisions."""
    for run in (run for row in rows for run in row.runs):
        try:
            arch = Architecture.from_json((store.read(run.id) or {}).get("architecture"))
            if truth.holds(arch, PRECISION) and truth.holds(arch, REAL):
                yield (
                    run.id,
                    (
                        round(truth.query(arch, REAL).mean, 9),  # as `means` are
                        round(truth.query(arch, PRECISION).mean, 9),
                    ),
                )
        except BenchError:  # of a space that was another then
            continue
