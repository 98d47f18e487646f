"""What many trials cost the harness: each that runs, on each backend, and thousands of records to list."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from bnas_bench.analysis import records, summary
from bnas_bench.runs import seen
from bnas_bench.runs.grid import run_trials
from bnas_bench.runs.record import encode
from bnas_bench.runs.store import Store
from tests.helpers.slurm import cluster, lacking, until
from tests.helpers.trials import ALONE, TOY, toy_trials

MANY = 100_000
LONGEST = 60.0
"""Seconds that listing `MANY` records may take."""


FEW = 500
"""Records whose memory is measured, which takes some ten times as long as reading them."""

MOST = 8_000
"""Bytes that listing may take of memory at its most, for each record; a record's file has 7,000."""

COMMITTED = Path(__file__).parents[2] / "results" / "digits-quick"


def filled(folder: Path, count: int) -> Store:
    """A store of so many records of ten methods, as a run left them (7 KB each)."""
    committed, store = Store(COMMITTED), Store(folder)
    first = {record["method"]: record for i in committed.ids() if (record := committed.read(i))}
    for number in range(count):
        record = [*first.values()][number % len(first)]
        seed = number // len(first)
        trial_id = f"{record['id'].rpartition('-s')[0]}-s{seed}-{number:08x}"
        path = store.folder(trial_id)
        path.mkdir(parents=True)
        (path / "record.json").write_bytes(encode(record | {"id": trial_id, "seed": seed}))
    return store


def processor(work: Callable[[], object]) -> float:
    """Seconds of this process' CPU time."""
    began = time.process_time()
    work()
    return time.process_time() - began


def size_of(work: Callable[[], object]) -> int:
    """Bytes that Python's objects take at the most."""
    work()  # imports what it needs
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_listing_grows_with_the_records_and_not_faster(tmp_path: Path) -> None:
    sizes = (2_500, 10_000)
    stores = {size: filled(tmp_path / str(size), size) for size in (FEW, *sizes)}
    works: dict[str, Callable[[Store], object]] = {
        "ids": lambda store: store.ids(),
        "status": seen.look,
        "table": lambda store: summary.table(records.load(store, summary.FIELDS)),
    }
    for name, work in works.items():
        few, many = (processor(partial(work, stores[size])) for size in sizes)
        kept = size_of(partial(work, stores[FEW])) / FEW
        whole = many / sizes[1] * MANY
        print(
            f"\n{name}: {sizes[0]:,} records {few:.2f} s, {sizes[1]:,} {many:.2f} s; "
            f"{MANY:,} at that rate {whole:.0f} s and {kept * MANY / 2**20:,.0f} MiB"
        )
        assert kept < MOST
        assert many < 2 * few / sizes[0] * sizes[1] + 0.1
        assert whole < LONGEST


def test_overhead_of_a_trial_on_this_machine(tmp_path: Path) -> None:
    """Trials that are refused at once: all they take is the harness'."""
    count = int(os.environ.get("BNAS_BENCH_TRIVIAL", "1000"))
    plans = toy_trials({"fault": "refuse"}, seeds=count)
    list(run_trials(plans[:2], tmp_path / "warm", ALONE))
    began = time.perf_counter()
    events = list(run_trials(plans, tmp_path / "results", replace(ALONE, jobs=2)))
    seconds = time.perf_counter() - began
    assert sum(event.kind == "finished" for event in events) == count
    print(
        f"\nlocal: {count} trivial trials on 2 workers in {seconds:.1f} s, {seconds / count:.3f} s each"
    )


def test_overhead_of_a_trial_on_ray(tmp_path: Path) -> None:
    """The same, on two workers of a Ray that is started here."""
    pytest.importorskip("ray")
    from bnas_bench.runs.on_ray import OnRay

    count = int(os.environ.get("BNAS_BENCH_TRIVIAL", "1000"))
    plans = toy_trials({"fault": "refuse"}, seeds=count)
    store, how = Store(tmp_path / "results"), replace(ALONE, jobs=2)
    began = time.perf_counter()
    backend = OnRay(plans, store, how)
    try:
        list(run_trials(plans[:2], tmp_path / "results", how, backend=backend))
        ready = time.perf_counter()
        events = list(run_trials(plans[2:], tmp_path / "results", how, backend=backend))
        seconds = time.perf_counter() - ready
    finally:
        backend.close()
    assert sum(event.kind == "finished" for event in events) == count - 2
    print(
        f"\nray: {count - 2} trivial trials on 2 workers in {seconds:.1f} s, {seconds / (count - 2):.3f} s "
        f"each; the first two with the start of Ray {ready - began:.1f} s"
    )


@pytest.mark.skipif(bool(lacking()), reason=lacking())
def test_overhead_of_a_trial_on_slurm(tmp_path: Path) -> None:
    """Each task starts Python and imports torch anew."""
    count = int(os.environ.get("BNAS_BENCH_TRIVIAL_TASKS", "20"))
    command = [Path(sys.executable).with_name("bnas-bench"), "run", "--space", f"{TOY}:ToySpace"]
    command += ["--method", f"{TOY}:ToyMethod[fault=refuse]", "--budget", "smoke", "--seeds", count]
    command += ["--backend", "slurm", "--results", tmp_path / "results", "--device", "cpu"]
    with cluster(tmp_path / "slurm") as here:
        environment = here.environment | {"PYTHONPATH": str(TOY.parents[2])}
        began = time.perf_counter()
        subprocess.run([*map(str, command)], env=environment, check=True, capture_output=True)
        submitted = time.perf_counter() - began
        until(lambda: not here.call("squeue", "-h"), 3600)
        seconds = time.perf_counter() - began
    store = Store(tmp_path / "results" / "local")
    logs = [
        json.loads(line) for line in (store.root / "slurm" / "jobs.jsonl").read_text().splitlines()
    ]
    assert all((store.read(trial_id) or {})["status"] == "refused" for trial_id in store.ids())
    assert len(store.ids()) == count
    print(
        f"\nslurm: {count} trivial trials in {len(logs)} arrays on 2 nodes in {seconds:.1f} s, "
        f"{seconds / count:.2f} s each; submitted in {submitted:.1f} s"
    )
