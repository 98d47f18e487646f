"""Inputs of every kind, drawn from fixed seeds: no traceback, no hang, no nonsense accepted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bnas_bench.runs.store import Store
from tests.helpers import fuzz
from tests.helpers.fuzz import ANY, GOOD, Input, Rng, fault

FEW = 12
"""Inputs of a kind that `make test` tries; the slow set tries the others."""

TEXTS = (fuzz.specs, fuzz.genotypes, fuzz.architectures, fuzz.options)

PLANTED = """
from pathlib import Path
Path(__file__).with_name("it-ran").touch()
"""


def faults(inputs: list[Input]) -> list[str]:
    found = [(given, fault(given)) for given in inputs]
    return [f"{str(given.arguments)[:300]} {wrong}" for given, wrong in found if wrong]


def drawn(kind: Callable[[Rng], Input], seeds: range) -> list[Input]:
    return [kind(np.random.default_rng(seed)) for seed in seeds]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("kind", TEXTS)
def test_some_texts(kind: Callable[[Rng], Input]) -> None:
    assert not faults(drawn(kind, range(FEW)))


@pytest.mark.slow
@pytest.mark.parametrize("kind", TEXTS)
def test_texts(kind: Callable[[Rng], Input]) -> None:
    assert not faults(drawn(kind, range(FEW, 300)))


def readers(store: Store, trial_id: str, seed: int) -> list[Input]:
    """The commands that meet a trial: those on all trials show the others, and so end well."""
    name, results = store.root.name, f"--results={store.root.parent}"
    trial = str(store.folder(trial_id))
    grid = [("table", name), ("status", name), ("table", name, "--json"), ("report", name)]
    one = [
        ("show", trial),
        ("measure", trial, *fuzz.SMALL),
        ("latency", trial),
        ("pack", trial, "-o", "n.bnn"),
    ]
    dry = ("run", "--method=random", "--budget=smoke", "--dry-run", f"--name={name}", results)
    return [
        *(Input((*words, results), GOOD) for words in grid[: 4 if seed % 50 == 0 else 3]),
        Input(one[seed % 4], ANY),
        Input(dry, GOOD),
    ]


def spoilt(seeds: range, folder: Path) -> list[str]:
    """The faults of the commands on results of which one record is spoilt."""
    planted = folder / "evil.py"
    planted.write_text(PLANTED)
    store, trial_id = fuzz.lay_out(folder / "results" / "some")
    file = store.folder(trial_id) / "record.json"
    data, record = file.read_bytes(), store.read(trial_id) or {}
    found = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        is_lie = seed % 3 == 0
        bad = pick_bad(rng, seed, data) if not is_lie else fuzz.lying(rng, record, planted)
        file.write_bytes(bad)
        wrong = faults(readers(store, trial_id, seed))
        if not is_lie and store.state(trial_id).word != "damaged":
            wrong.append("not damaged")
        found += [f"seed {seed}: {text}" for text in wrong]
    if (folder / "it-ran").exists():
        found.append("code that a record names was run")
    return found


def pick_bad(rng: Rng, seed: int, data: bytes) -> bytes:
    return fuzz.flipped(rng, data) if seed % 3 == 1 else fuzz.foreign(rng)


def test_some_records(tmp_path: Path) -> None:
    assert not spoilt(range(1, FEW), tmp_path)


@pytest.mark.slow
def test_records(tmp_path: Path) -> None:
    assert not spoilt(range(FEW, 150), tmp_path)
