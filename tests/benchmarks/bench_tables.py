"""A table of all of bnas-201, 30 epochs, three seeds at two precisions: asked, and judging trials."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from multiprocessing import forkserver
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import pytest

import bnas_bench as bb
from bnas_bench.core.seeds import generator
from bnas_bench.data.datasets import load
from bnas_bench.plugins import making
from bnas_bench.runs.grid import run_trials
from bnas_bench.runs.how import How
from bnas_bench.runs.request import requested
from bnas_bench.runs.store import Store
from bnas_bench.tables import parquet
from bnas_bench.tables.contents import Contents, epochs, trainings_of
from bnas_bench.tables.judge import Named
from tests.helpers.tables import DEFINITION, order, row

DIGITS = load("digits", image=None, device="cpu", folder=Path("data"))
HOW = replace(DEFINITION, epochs=30, fingerprint=DIGITS.fingerprint)
QUERIES = 20_000
SEEDS = 100

LOAD = """
import sys
from time import perf_counter
began = perf_counter()
import bnas_bench as bb
import bnas_bench.tables.truth
imported = perf_counter()
table = bb.table(sys.argv[1])
loaded = perf_counter()
table.query(table.best().arch)
asked = perf_counter()
table.query("|none~0|+|none~0|nor_conv_3x3~1|+|nor_conv_1x1~0|none~1|nor_conv_3x3~2|")
print(imported - began, loaded - imported, asked - loaded, perf_counter() - asked)
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its counts and losses vary as those of trainings do: what they hold decides how small they get."""
    rows = [row(arch, precision, HOW) for arch in order() for precision in ("W32A32", "W1A1")]
    frame = trainings_of(rows, HOW)
    rng, epoch = generator(0, "benchmark", "table"), np.arange(HOW.epochs)
    level = rng.normal(0.85, 0.05, len(frame))[:, None] * (1 - 0.7 * np.exp(-epoch / 5))
    hits = rng.binomial(HOW.valid_images, level.clip(0, 1))
    losses = (2.3 * (1 - level) + rng.exponential(0.03, level.shape)).round(5)
    frame[epochs("valid_hits", HOW)] = hits.astype(np.int32)
    frame[epochs("loss", HOW)] = losses.astype(np.float32)
    path = tmp_path_factory.mktemp("table") / "all.parquet"
    whole = Contents(definition=HOW, architectures=len(order()), date="2026-01-01", trainings=frame)
    parquet.write(whole, path)
    return path


def test_a_file_is_small_and_loads_at_once(file: Path) -> None:
    """In processes of their own: the imports, loading, a query, and one of a member that is not canonical."""
    times = [
        [float(word) for word in run.stdout.split()]
        for run in (
            subprocess.run(
                [sys.executable, "-c", LOAD, file], check=True, capture_output=True, text=True
            )
            for _ in range(5)
        )
    ]
    names = ("imports", "loading", "first query", "first of another member")
    seconds = ", ".join(
        f"{name} {median(each):.2f} s"
        for name, each in zip(names, zip(*times, strict=True), strict=True)
    )
    print(
        f"\n{file.stat().st_size / 1e6:.2f} MB, {len(bb.table(file).frame()):,} trainings: {seconds}"
    )


def test_queries(file: Path) -> None:
    """Of members drawn at random, as a search draws them: each seen the first time, and again."""
    table, space = bb.table(file), making.space("bnas-201")
    rng = generator(0, "benchmark", "queries")
    archs = [space.sample(rng) for _ in range(QUERIES)]
    table.query(archs[0])
    for ask in (table.query, table.rank, table.percentile):
        rates = []
        for _ in range(3):
            began = perf_counter()
            for arch in archs:
                ask(arch)
            rates.append(QUERIES / (perf_counter() - began))
        print(f"{ask.__name__}: {', '.join(f'{rate:,.0f}' for rate in rates)} a second")


@pytest.mark.parametrize("method", ["evolution[score=training]", "random"])
def test_a_hundred_seeds_on_one_core(file: Path, tmp_path: Path, method: str) -> None:
    """Of the budget `quick`, each in a process of its own, one after the other."""
    table = Named("bnas-201-digits", file, HOW.digest)
    trials = [
        replace(trial, table=table)
        for trial in requested(method, "bnas-201", "digits", "quick", SEEDS)
    ]
    began, before = perf_counter(), _core_seconds()
    for _ in run_trials(trials, tmp_path / "grid", How(device="cpu", jobs=1)):
        pass
    wall, spent = perf_counter() - began, _core_seconds() - before
    store = Store(tmp_path / "grid")
    assert {(store.read(trial.id) or {})["evaluated"] for trial in trials} == {"table"}
    print(f"\n{SEEDS} seeds of {method}: {wall:.1f} s, {spent:.1f} core-seconds")


def _core_seconds() -> float:
    """Of this process, of the server that forks trials, and of all trials that are over."""
    spent, server = sum(os.times()[:4]), forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    if server is None:
        return spent
    fields = Path(f"/proc/{server}/stat").read_text().rpartition(")")[2].split()
    return spent + sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
