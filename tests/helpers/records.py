"""Records as `run` writes them, without running anything."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnas_bench.analysis.frame import Results, read, states
from bnas_bench.core.files import sha256
from bnas_bench.plugins.recorded import defaults
from bnas_bench.runs.predictions import encode
from bnas_bench.runs.record import SCHEMA
from bnas_bench.runs.request import Texts, requested
from bnas_bench.runs.store import DIGESTS, PREDICTIONS, Record, Store
from bnas_bench.runs.trial import Trial

CHOICES = {"normal.edge(0,2)": "max_pool_3x3"}


def trials(
    methods: str,
    *,
    space: str = "darts-binary",
    datasets: Texts = "digits",
    budget: str = "smoke",
    seeds: int = 1,
    root_seed: int = 0,
) -> list[Trial]:
    """The trials that `run` would make of these options."""
    return requested(methods, space, datasets, budget, seeds, root_seed)


def planned(trial: Trial, **fields: Any) -> Record:
    """The fields that every record has."""
    return {
        "schema": SCHEMA,
        "id": trial.id,
        "status": "ok",
        "reason": None,
        **trial.description(),
        "commit": "0123456789abcdef",
        "dirty": False,
        "cpu": "Some CPU",
        "threads": 1,
        "device": "cpu",
        "device_name": None,
        **fields,
    }


def failed(trial: Trial, reason: str, status: str = "failed") -> Record:
    return planned(trial, status=status, reason=reason)


def done(trial: Trial, accuracy: float, **fields: Any) -> Record:
    measured = {
        "dataset_fingerprint": f"images of {trial.dataset}",
        "classes": 10,
        "architecture": {"space": trial.space.name, "choices": CHOICES},
        "architecture_id": trial.id,
        "valid_accuracy": max(0.0, accuracy - 1),
        "front_size": 0,
        "test_accuracy": accuracy,
        "parameters": 5000,
        "ops": {"nas-bnn": 50_000.0, "honest": 60_000.0},
        "memory_bits": 8 * 1024 * 10,
        "packed_latency_ms": 0.25,
        "packed_reason": None,
        "latency_ms": 2.5,
        "passes": 2000.0,
        "search_seconds": 3.0,
        "train_seconds": 4.0,
        "search_step_mib": 5.0,
    }
    return planned(trial, **measured | fields)


def put_predicted(store: Store, trial: Trial, right_RN: NDArray[np.bool_], **fields: Any) -> Record:
    """Write a record with predictions of images of ten classes, of which class 1 stands for 0 if wrong."""
    wrong_RN = (~right_RN).astype(np.uint8)
    labels_N = np.zeros(right_RN.shape[1], dtype=np.uint8)
    data = encode(wrong_RN, labels_N, 10)
    known = {"test_images": len(labels_N), DIGESTS[PREDICTIONS]: sha256(data)}
    record = done(trial, round(100 * float(right_RN.mean()), 6), **known | fields)
    store.write(trial.id, {PREDICTIONS: data}, record)
    return record


def put(store: Store, record: Record, log: Iterable[Mapping[str, Any]] = ()) -> None:
    text = "".join(f"{json.dumps(entry)}\n" for entry in log)
    store.write(record["id"], {"log.jsonl": text.encode()} if text else {}, record)


def results(store: Store) -> Results:
    """A store's records as the rows of a report."""
    return read(states(store), defaults)


def unchecked(record: Record) -> bytes:
    """A record as `encode` writes it, with a digest that is right, whatever it holds."""
    body = json.dumps(record, indent=2).removesuffix("\n}").encode()
    return body + f',\n  "record_sha256": "{sha256(body)}"\n}}\n'.encode()
