"""How long the table and the report of 10,000 records take, and how much memory: synthetic records, two
shapes.

The seconds depend on what else the machine does, those of the CPU less so. Nothing here passes or fails by
a time.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from time import perf_counter, sleep

import numpy as np
import pytest

from bnas_bench.core.files import sha256
from bnas_bench.plugins.registry import find, names
from bnas_bench.runs import record as records
from bnas_bench.runs.predictions import encode
from bnas_bench.runs.store import PREDICTIONS, Store
from bnas_bench.runs.trial import Trial
from tests.helpers.records import done, trials

ENTRIES = 12
"""Incumbents, and epochs of the final training, in a log: as many as at `quick`."""

IMAGES = 360
"""Test images of the digits."""

VARIANTS = [f"dcpnas[lam={lam}]" for lam in (0, 0.001, 0.01, 0.1, 1, 2, 3, 4, 5, 6)]
DATASETS = [f"imagefolder:data/synthetic-{k}" for k in range(10)]
BUDGETS = ["quick", *(f"quick[passes={20_000 + k}]" for k in range(1, 20))]

SHAPES = {
    "10 methods, 100 seeds, 10 datasets": (names("method")[:10], 100, DATASETS, BUDGETS[:1]),
    "20 methods, 5 seeds, 5 datasets, 20 budgets": (
        [*names("method")[:10], *VARIANTS],
        5,
        DATASETS[:5],
        BUDGETS,
    ),
}


def expanded(shape: str) -> Iterator[Trial]:
    methods, seeds, datasets, budgets = SHAPES[shape]
    for budget in budgets:
        yield from trials(",".join(methods), datasets=datasets, budget=budget, seeds=seeds)


def synthetic(store: Store, found: list[Trial]) -> None:
    """Write records and logs with random numbers, of the size that real ones have."""
    rng = np.random.default_rng(0)
    space = find("space", "darts-binary").make({})
    labels = rng.integers(10, size=IMAGES)
    conventions = ("dcp-nas", "nas-bnn", "bireal", "reactnet", "cp-nas", "bars-64", "honest", "all")
    for trial in found:
        folder = store.folder(trial.id)
        folder.mkdir(parents=True)
        arch, ops = space.sample(rng), float(rng.uniform(3e5, 6e5))
        log = [
            {"phase": "search", "passes": 1600.0 * k, "seconds": 9.1 * k, "incumbent": arch.id}
            | {"valid": float(rng.uniform(0.5, 0.9)), "choices": arch.choices}
            for k in range(ENTRIES)
        ]
        log += [{"phase": "train", "epoch": k, "loss": 1 / (k + 1)} for k in range(ENTRIES)]
        lines = "".join(f"{json.dumps(entry)}\n" for entry in log).encode()
        is_wrong = rng.random(IMAGES) < rng.normal(0.08, 0.02)
        predictions = encode(((labels + is_wrong) % 10)[None], labels, 10)
        record = done(
            trial,
            round(100 * float(1 - is_wrong.mean()), 6),
            test_images=IMAGES,
            predictions_sha256=sha256(predictions),
            architecture=arch.to_json(),
            architecture_id=arch.id,
            ops=dict.fromkeys(conventions, ops),
            memory={name: 10 * int(ops) for name in conventions},
            recipe={f"field_{k}": 0.001 * k for k in range(9)},
            arch_sha256=f"{int(rng.integers(1 << 62)):064x}",
            log_sha256=sha256(lines),
            **{f"measured_{k}": float(rng.normal()) for k in range(30)},
        )
        (folder / "record.json").write_bytes(records.encode(record))
        (folder / "log.jsonl").write_bytes(lines)
        (folder / PREDICTIONS).write_bytes(predictions)


@pytest.mark.parametrize("shape", SHAPES)
def test_ten_thousand_records(shape: str, tmp_path: Path) -> None:
    found = list(expanded(shape))
    assert len(found) == 10_000
    synthetic(Store(tmp_path / "results" / "synthetic"), found)
    print(f"\n10,000 synthetic records, {shape}")
    for command in ("table", "report"):
        print(f"  {command}: {taken(command, tmp_path)}")
    page = (tmp_path / "reports" / "synthetic" / "index.html").stat().st_size
    print(f"  page: {page / 2**20:.1f} MiB")


def taken(command: str, folder: Path) -> str:
    """What a command takes, all its processes together."""
    program = Path(sys.executable).with_name("bnas-bench")
    began, before = perf_counter(), getrusage(RUSAGE_CHILDREN)
    process = subprocess.Popen(
        [program, command, "synthetic"], cwd=folder, stdout=subprocess.DEVNULL
    )
    most = 0
    while process.poll() is None:
        most = max(most, held(process.pid))
        sleep(0.5)
    seconds, after = perf_counter() - began, getrusage(RUSAGE_CHILDREN)
    assert process.returncode == 0
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return f"{seconds:.1f} s, {cpu:.1f} s of CPU, at most {most / 2**10:,.0f} MiB"


def held(pid: int) -> int:
    """KiB that a process and those it started hold; what they share counts once."""
    process, own = Path(f"/proc/{pid}"), 0
    try:
        for line in (process / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                own = int(line.split()[1])
        children = (process / "task" / str(pid) / "children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return own
    return own + sum(held(int(child)) for child in children)
