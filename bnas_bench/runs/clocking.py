"""Measures how long the 1-bit networks of a table take through the packed engine, on a quiet machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime

import torch
from pandas import DataFrame

from bnas_bench.core import provenance
from bnas_bench.core.budget import NetworkSpec
from bnas_bench.core.crowd import Others
from bnas_bench.core.errors import BadValue
from bnas_bench.core.seeds import generator
from bnas_bench.cost.latency import machine
from bnas_bench.data.datasets import Dataset
from bnas_bench.nn.binary import Precision
from bnas_bench.plugins.source import harness_digest
from bnas_bench.runs.packing import THREADS, packed_record
from bnas_bench.runs.retime import check_quiet
from bnas_bench.tables.latencies import COLUMNS, Latencies
from bnas_bench.tables.truth import TIMED, GroundTruth

LOOKED = 100
"""Networks after which it is looked whether anything else ran meanwhile."""


def clock(truth: GroundTruth, dataset: Dataset) -> Iterator[tuple[str, tuple[float, ...]]]:
    """Of every architecture that a table has at one bit its text, and median and quartiles in milliseconds.

    The networks' weights are drawn: they take as long as trained ones.

    Args:
        dataset: the one that the table is of, at its size.

    Raises:
        BadValue: if anything else keeps the machine busy, before or meanwhile, or a network cannot be packed.
    """
    spec = truth.definition.spec(truth.space, dataset)
    torch.set_num_threads(THREADS)
    check_quiet()
    texts = truth.texts(TIMED)
    for start in range(0, len(texts), LOOKED):
        with Others() as others:
            for arch in texts[start : start + LOOKED]:
                yield arch, _time(truth, arch, spec)
        check_quiet(others)


def _time(truth: GroundTruth, arch: str, spec: NetworkSpec) -> tuple[float, ...]:
    rng = generator(0, "table", "latency")
    network = truth.space.network(truth.space.parse(arch), spec, rng).eval()
    network.precision = Precision(TIMED)
    found = packed_record(network, spec.shape, {})
    if found["packed_reason"]:
        raise BadValue(f"the network of {arch} cannot be timed: {found['packed_reason']}")
    return tuple(found[f"packed_latency_{part}"] for part in ("ms", "lower_ms", "upper_ms"))


def clocked(truth: GroundTruth, times: dict[str, tuple[float, ...]]) -> Latencies:
    """What `clock` gave, with what it was measured on."""
    return Latencies(
        definition=truth.definition.digest,
        machine=machine(THREADS),
        made={
            "code": provenance.code(),
            "harness_source": harness_digest(),
            "date": datetime.now(UTC).date().isoformat(),
            "load": round(os.getloadavg()[0], 2),
        },
        times=DataFrame([(arch, *each) for arch, each in times.items()], columns=list(COLUMNS)),
    )
