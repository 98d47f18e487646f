"""How long a table's 1-bit networks take through the packed engine on one machine: a file beside the table.

`tables/latency/NAME.parquet` belongs to `tables/NAME.parquet`: a row per architecture, and in the footer the
machine. It is sealed as a table is (`bnas_bench.tables.parquet`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from pandas import DataFrame

from bnas_bench.core.errors import Damaged
from bnas_bench.tables import parquet

FOLDER = "latency"


class Time(NamedTuple):
    """Median and quartiles of the time of one image (batch 1), in milliseconds."""

    median: float
    lower: float
    upper: float


@dataclass(frozen=True, kw_only=True)
class Latencies:
    """What was measured.

    Attributes:
        definition: the digest of the table's.
        machine: `cpu`, `governor`, `cores`, `threads` and `isa`, as `cost.latency.machine` says them.
        made: `code`, `harness_source` and `date`; `load`, the machine's at the end, over a minute.
        times: columns `arch`, `latency_ms`, `latency_lower_ms`, `latency_upper_ms`.
    """

    definition: str
    machine: Mapping[str, Any]
    made: Mapping[str, Any]
    times: DataFrame

    @property
    def datasheet(self) -> dict[str, Any]:
        """For a reader: what was measured where, and by which code."""
        return {"networks": len(self.times), **self.machine, **self.made}

    @cached_property
    def _by_arch(self) -> dict[str, Time]:
        return {arch: Time(*times) for arch, *times in self.times.itertuples(index=False)}

    def of(self, arch: str) -> Time | None:
        """Of an architecture by the text of its canonical form; None if it was not measured."""
        return self._by_arch.get(arch)


COLUMNS = ("arch", "latency_ms", "latency_lower_ms", "latency_upper_ms")


def beside(table: Path) -> Path:
    """Where the latencies of a table's file lie."""
    return table.parent / FOLDER / table.name


def write(latencies: Latencies, path: Path) -> None:
    """Write them, whole or not at all.

    Raises:
        BadValue: if the file does not end in `.parquet`.
        Unwritable: if it cannot be written.
    """
    footer = {
        "version": parquet.VERSION,
        "definition": latencies.definition,
        "machine": dict(latencies.machine),
        "made": dict(latencies.made),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.seal(latencies.times, footer, path, COLUMNS[1:])


def read(path: Path) -> Latencies:
    """What `write` wrote.

    Raises:
        BadValue: if there is no such file.
        Damaged: if it is another's, or truncated, altered or of another version.
    """
    frame, footer = parquet.unsealed(path)
    try:
        if tuple(frame.columns) != COLUMNS:
            raise ValueError(f"it has not the columns {', '.join(COLUMNS)}")
        return Latencies(
            definition=footer["definition"],
            machine=dict(footer["machine"]),
            made=dict(footer["made"]),
            times=frame,
        )
    except (ValueError, KeyError, TypeError) as error:
        raise parquet.of_another_version(path, error) from error


def of_table(table: Path, definition: str) -> Latencies | None:
    """Those that lie beside a table's file; None if there are none.

    Raises:
        Damaged: if that file is damaged, or another table's.
    """
    if not (path := beside(table)).is_file():
        return None
    found = read(path)
    if found.definition != definition:
        raise Damaged(
            f"{path} has the latencies of another table than {table}: measure them anew with "
            f"bnas-bench truth --time, or delete that file"
        )
    return found
