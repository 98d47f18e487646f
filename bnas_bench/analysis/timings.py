"""Which latencies may stand beside each other: those of one machine, one engine and as many threads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from bnas_bench.runs.record import machine


class Timed(NamedTuple):
    """Where a trial's latencies were measured; empty where it has none.

    Attributes:
        machine: with the threads of the simulated one.
        engine: that ran the packed network: its kernels, and a digest of its code.
    """

    machine: str = ""
    engine: str = ""


NOWHERE = Timed()


def timed(record: Mapping[str, Any]) -> Timed:
    """Where the latencies of a record come from, that of `retime` if that has measured them."""
    packed, any_of = (
        any(record.get(name) is not None for name in names)
        for names in (("packed_latency_ms",), ("packed_latency_ms", "latency_ms"))
    )
    kernels, code = record.get("packed_isa") or "unknown", record.get("packed_engine")
    return Timed(
        str(record.get("latency_machine") or machine(record)) if any_of else "",
        f"{kernels} kernels{f' of engine {code}' if code else ''}" if packed else "",
    )


def apart(found: Iterable[Timed], *, engines: bool = True) -> str:
    """Why latencies do not stand beside each other, in words; empty where they do.

    Args:
        engines: whether those of different engines do not.
    """
    for names in [*zip(*{*found}, strict=True)][: 1 + engines]:
        if len(places := {name for name in names if name}) > 1:
            return (
                f"latencies are left out, as they were measured by {' and by '.join(sorted(places))}: "
                "bnas-bench retime NAME --all measures all of them here"
            )
    return ""
