"""Times of finished trials measured again, one network at a time, on a machine that does nothing else."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime

import numpy as np
import torch

from bnas_bench.core import provenance
from bnas_bench.core.architecture import Architecture
from bnas_bench.core.budget import Scale
from bnas_bench.core.crowd import QUIET, Others
from bnas_bench.core.errors import BadValue
from bnas_bench.cost.latency import Shape, latency, simulated
from bnas_bench.nn.binary import Precision
from bnas_bench.nn.network import Network
from bnas_bench.plugins import recorded
from bnas_bench.runs.how import cpus
from bnas_bench.runs.network import WEIGHTS, about, of_trial, rebuilt
from bnas_bench.runs.packing import TIMED, packed_record, timed
from bnas_bench.runs.record import machine
from bnas_bench.runs.run import find_device
from bnas_bench.runs.store import Record, Store

BEFORE = (
    *(f"{kind}_{part}" for kind in ("latency", "packed_latency") for part in TIMED),
    *("latency_load", "latency_others", "latency_machine", "packed_isa", "packed_engine"),
)
"""Fields of a record that a new measurement replaces."""


LOOK = 0.5
"""Seconds of a look at what else runs."""


def check_quiet(others: Others | None = None) -> None:
    """Look at what else runs on this machine, or at what ran while something was measured.

    Raises:
        BadValue: if that kept more than `QUIET` of its cores busy.
    """
    if others is None:
        with Others() as others:
            time.sleep(LOOK)
    if others.cores is not None and others.cores > QUIET:
        raise BadValue(
            f"this machine is not quiet: other work keeps {others.cores:.1f} of its {cpus()} cores busy; "
            "times are worth nothing until that has ended"
        )


def retime(store: Store, trial_id: str) -> tuple[Record, Record]:
    """Measure a finished trial's latencies again and write them to its record; the record before, and now.

    What was measured before stays in the record, under `retimed`. Where the trained weights are gone
    the network has drawn ones, which take as long. The machine need not be the one that ran the trial.

    Raises:
        BadValue: if the trial has no latency, is running, or this machine lacks its device or is not
            quiet; then nothing is written.
        Damaged: if its files are.
    """
    record = store.read(trial_id)
    if record is None or record["status"] != "ok" or record.get("latency_ms") is None:
        raise BadValue(f"trial {trial_id} has no latency: it did not end, or a table has judged it")
    here = provenance.hardware(device := find_device(record["device"]))
    if (lock := store.lock(trial_id, 0.0)) is None:
        raise BadValue(f"trial {trial_id} is running: wait until it has ended")
    with lock:
        network, shape, facts = _network(store, record)
        check_quiet()
        torch.set_num_threads(record["threads"])
        with Others() as others:
            found = latency(simulated(network.to(device), shape), threads=record["threads"])
            new = timed("latency", found)
            if record.get("packed_latency_ms") is not None:
                bits = packed_record(network, shape, facts)
                new |= {name: bits[name] for name in bits if name in BEFORE}
        check_quiet(others)
        new |= {
            "latency_load": round(os.getloadavg()[0], 2),
            "latency_others": others.cores,
            "latency_machine": machine(here | {"threads": record["threads"]}),
        }
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
