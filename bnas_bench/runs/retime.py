"""Times of finished trials measured again, one network at a time, on a machine that does nothing else."""

from __future__ import annotations

import os
from datetime import UTC, datetime

import numpy as np
import torch

from bnas_bench.core import provenance
from bnas_bench.core.architecture import Architecture
from bnas_bench.core.budget import Scale
from bnas_bench.core.errors import BadValue
from bnas_bench.cost.latency import Shape, latency, simulated
from bnas_bench.nn.binary import Precision
from bnas_bench.nn.network import Network
from bnas_bench.plugins import recorded
from bnas_bench.runs.how import cpus
from bnas_bench.runs.network import WEIGHTS, about, of_trial, rebuilt
from bnas_bench.runs.packing import TIMED, packed_record, timed
from bnas_bench.runs.run import find_device
from bnas_bench.runs.store import Record, Store

BEFORE = tuple(
    f"{kind}_{part}" for kind in ("latency", "packed_latency") for part in (*TIMED, "load")
)
"""Fields of a record that a new measurement replaces; `latency_load` is of both."""


def check_quiet() -> float:
    """The machine's load over the last minute.

    Raises:
        BadValue: if more runs on it than it has cores.
    """
    load, cores = os.getloadavg()[0], cpus()
    if load > cores:
        raise BadValue(
            f"this machine is not quiet: a load of {load:.1f} on {cores} cores; times are worth nothing "
            "until what else runs on it has ended"
        )
    return round(load, 2)


def retime(store: Store, trial_id: str) -> tuple[Record, Record]:
    """Measure a finished trial's latencies again and write them to its record; the record before, and now.

    What was measured before stays in the record, under `retimed`. Where the trained weights are gone
    the network has drawn ones, which take as long.

    Raises:
        BadValue: if the trial has no latency, was measured on another machine, is running, or this
            machine is not quiet.
        Damaged: if its files are.
    """
    record = store.read(trial_id)
    if record is None or record["status"] != "ok" or record.get("latency_ms") is None:
        raise BadValue(f"trial {trial_id} has no latency: it did not end, or a table has judged it")
    here = provenance.hardware(device := find_device(record["device"]))
    for name in ("cpu", "device_name"):
        if here[name] != record[name]:
            raise BadValue(
                f"trial {trial_id} was measured on {record[name]} and this is {here[name]}: times of one "
                "comparison are of one machine"
            )
    if (lock := store.lock(trial_id, 0.0)) is None:
        raise BadValue(f"trial {trial_id} is running: wait until it has ended")
    with lock:
        network, shape, facts = _network(store, record)
        load = check_quiet()
        torch.set_num_threads(record["threads"])
        found = latency(simulated(network.to(device), shape), threads=record["threads"])
        new = timed("latency", found) | {"latency_load": load}
        if record.get("packed_latency_ms") is not None:
            bits = packed_record(network, shape, facts)
            new |= {name: bits[name] for name in bits if name in BEFORE}
        before = {name: record[name] for name in BEFORE if name in record}
        when = datetime.now(UTC).isoformat(timespec="seconds")
        earlier = (record.get("retimed") or {}).get("before", before)
        now = record | new | {"retimed": {"when": when, "before": earlier}}
        store.write(trial_id, {}, now)
    return record, now


def _network(store: Store, record: Record) -> tuple[Network, Shape, dict[str, str]]:
    """The network that the trial has measured, and what its packed file says of it."""
    folder = store.folder(record["id"])
    if (folder / WEIGHTS).exists():
        return rebuilt(folder)
    try:
        space = recorded.space(record["space"], record["space_options"])
        arch = Architecture.from_json(record["architecture"])
        space.check(arch)
        scale = space.fit(Scale(**record["config"]["budget"]["final"]))
        channels, height, width = record["shape"]
        spec = space.spec(scale, (channels, height, width), record["classes"], final=True)
        network = space.network(arch, spec, np.random.default_rng(0))
        network.precision = Precision(record.get("recipe", {}).get("precision", "W1A1"))
    except (KeyError, TypeError, ValueError) as error:
        raise BadValue(
            f"the network of trial {record['id']} cannot be built from its record ({error}): run it again"
        ) from error
    facts = about(record["space"], arch, spec) | of_trial(record)
    return network.eval(), spec.shape, facts
