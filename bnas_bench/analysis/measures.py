"""The numbers of a record that tables show: what they are, in which unit, and which way is better."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any, Literal

from bnas_bench.analysis.table import Column, Kind
from bnas_bench.core.crowd import QUIET


@dataclass(frozen=True)
class Measure:
    """A number of a record.

    Attributes:
        field: its path in a record, and its column in a frame.
        form: a format for it in units of `unit`.
        short: its title in the table of the command line; empty where that leaves it out.
        most: the end of its scale, which begins at 0 and which no interval passes.
    """

    title: str
    field: str
    kind: Kind
    form: str
    unit: float = 1
    better: Literal["higher", "lower", ""] = "lower"
    short: str = ""
    most: float = inf

    def column(self, key: str) -> Column:
        return Column(key=key, title=self.title, better=self.better)


MEASURES: Mapping[str, Measure] = {
    "test_accuracy": Measure(
        *("test accuracy (%)", "test_accuracy", "measured", ".2f"),
        better="higher",
        short="test accuracy %",
        most=100,
    ),
    "parameters": Measure("parameters", "parameters", "counted", ",.0f", short="params"),
    "ops": Measure("OPs nas-bnn (M)", "ops.nas-bnn", "counted", ",.3f", 1e6, short="OPs M"),
    "ops_honest": Measure("OPs honest (M)", "ops.honest", "counted", ",.3f", 1e6),
    "memory_bits": Measure(
        "memory (KiB)", "memory_bits", "counted", ",.1f", 8 * 1024, short="memory KiB"
    ),
    "packed_latency_ms": Measure(
        *("packed latency (ms)", "packed_latency_ms", "measured", ",.2f"),
        short="latency ms",
    ),
    "latency_ms": Measure(
        *("simulated latency (ms)", "latency_ms", "simulated", ",.2f"),
        short="simulated ms",
    ),
    "passes": Measure("search passes", "passes", "measured", ",.0f", short="passes"),
    "search_seconds": Measure("search (s)", "search_seconds", "measured", ",.1f", short="search s"),
    "train_seconds": Measure("training (s)", "train_seconds", "measured", ",.1f", short="train s"),
    "search_step_mib": Measure("search step (MiB)", "search_step_mib", "measured", ",.1f"),
    "valid_accuracy": Measure(
        "valid accuracy (%)", "valid_accuracy", "measured", ".2f", better="higher", most=100
    ),
}
"""By the name that values and columns go by; the table of a comparison shows all but the last."""


TIMES = ("latency_ms", "packed_latency_ms")
"""Measures that other work on the machine spoils."""

CROWDED = (
    "timed beside other work on the machine, so not reliable: bnas-bench retime times it again"
)


def is_crowded(record: Mapping[str, Any]) -> bool:
    """Whether a trial's latencies were measured while other work, as another trial, kept cores busy.

    Records from before `latency_others` say no more than whether the load exceeded the machine's cores, those
    from before `latency_load` of the minute before the trial began.
    """
    if isinstance(others := record.get("latency_others"), int | float):
        return others > QUIET
    load, cores = record.get("latency_load", record.get("load")), record.get("cores")
    return isinstance(load, int | float) and isinstance(cores, int | float) and load > cores


def field(record: Mapping[str, Any], path: str) -> float | None:
    """The number at a dotted path; None where the record has none.

    `macs.W1A32` is 0 in a network without such MACs; `@N` is the value of the N-th smallest key.
    """
    here: Any = record
    for part in path.split("."):
        if not isinstance(here, dict):
            return None
        if part.startswith("@"):
            keys = sorted(here, key=float)
            place = int(part[1:])
            here = here[keys[place - 1]] if place <= len(keys) else None
        else:
            here = here.get(part)
    if here is None and path.startswith("macs.") and "macs" in record:
        return 0.0
    return None if here is None else float(here)
