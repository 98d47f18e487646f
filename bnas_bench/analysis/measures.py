"""The numbers of a record that tables show: what they are, in which unit, and which way is better."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from bnas_bench.analysis.table import Column, Kind
from bnas_bench.runs.store import Record


@dataclass(frozen=True)
class Measure:
    """A number of a record.

    Attributes:
        form: a format for it in units of `unit`.
    """

    title: str
    read: Callable[[Record], Any]
    kind: Kind
    form: str
    unit: float = 1
    better: Literal["higher", "lower", ""] = "lower"

    def column(self, key: str) -> Column:
        return Column(key=key, title=self.title, better=self.better)


MEASURES: Mapping[str, Measure] = {
    "test_accuracy": Measure(
        "test accuracy (%)", lambda r: r["test_accuracy"], "measured", ".2f", better="higher"
    ),
    "parameters": Measure("parameters", lambda r: r["parameters"], "counted", ",.0f"),
    "ops": Measure("OPs nas-bnn (M)", lambda r: r["ops"]["nas-bnn"], "counted", ",.3f", 1e6),
    "ops_honest": Measure("OPs honest (M)", lambda r: r["ops"]["honest"], "counted", ",.3f", 1e6),
    "memory_bits": Measure("memory (KiB)", lambda r: r["memory_bits"], "counted", ",.1f", 8 * 1024),
    "packed_latency_ms": Measure(
        "packed latency (ms)", lambda r: r.get("packed_latency_ms"), "measured", ",.2f"
    ),
    "latency_ms": Measure("simulated latency (ms)", lambda r: r["latency_ms"], "simulated", ",.2f"),
    "passes": Measure("search passes", lambda r: r["passes"], "measured", ",.0f"),
    "search_seconds": Measure("search (s)", lambda r: r["search_seconds"], "measured", ",.1f"),
    "train_seconds": Measure("training (s)", lambda r: r["train_seconds"], "measured", ",.1f"),
    "search_step_mib": Measure(
        "search step (MiB)", lambda r: r.get("search_step_mib"), "measured", ",.1f"
    ),
    "valid_accuracy": Measure(
        "valid accuracy (%)", lambda r: r.get("valid_accuracy"), "measured", ".2f", better="higher"
    ),
}
"""By the name that values and columns go by; the table of a comparison shows all but the last."""
