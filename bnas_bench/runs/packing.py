"""What a run's record says of its network as bits: how large it is, and how long the engine takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bnas_bench.core.errors import one_line
from bnas_bench.cost.latency import Latency, Shape, latency, packed
from bnas_bench.packed.engine.engine import Engine
from bnas_bench.packed.format.file import save
from bnas_bench.packed.lowering.lower import lower
from bnas_bench.plugins.source import engine_digest

if TYPE_CHECKING:
    from bnas_bench.nn.network import Network

THREADS = 1
"""The same in every record, whatever its trial was run with: the papers' latencies are of one."""


def packed_record(network: Network, shape: Shape, about: Mapping[str, str]) -> dict[str, Any]:
    """The fields `packed_...` of a trained network; None, and the reason, if it cannot be run.

    Args:
        about: what the packed file says of itself; its size depends on it.
    """
    fields = refused("")
    try:
        program = lower(network, shape, about)
        fields["packed_bytes"] = len(save(program))
        engine = Engine(program, threads=THREADS)
        found = latency(packed(engine, shape), threads=THREADS)
    except Exception as error:  # not even a broken compiler may cost a training of hours
        return fields | {"packed_reason": one_line(error)}
    return fields | {
        "packed_reason": None,
        **timed("packed_latency", found),
        "packed_threads": THREADS,
        "packed_isa": engine.isa,
        "packed_engine": engine_digest(),
    }


def refused(reason: str) -> dict[str, Any]:
    """The fields of a network that was not measured."""
    return dict.fromkeys(FIELDS) | {"packed_reason": reason}


def timed(name: str, found: Latency) -> dict[str, Any]:
    """The fields of a record that hold a latency, in milliseconds, under names that begin so."""
    return {f"{name}_{part}": getattr(found, TIMED[part]) for part in TIMED}


TIMED = {"ms": "median_ms", "lower_ms": "lower_ms", "upper_ms": "upper_ms", "repeats": "repeats"}
"""How the fields of a latency end, and where a measured one has them."""

FIELDS = (
    *(f"packed_latency_{part}" for part in TIMED),
    *("packed_threads", "packed_isa", "packed_engine", "packed_bytes", "packed_reason"),
)
