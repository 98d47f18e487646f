"""What the harness takes of a `quick` search: counting, logging and checkpoints; and the start-up."""

import subprocess
import sys
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import pytest

from bnas_bench.core.budgets import BUDGETS
from bnas_bench.data.datasets import load, task
from bnas_bench.plugins.registry import find
from bnas_bench.search.checkpoint import Checkpoint
from bnas_bench.search.meter import Meter


@pytest.mark.parametrize("name", ["random", "cpnas", "dcpnas"])
def test_the_harness_takes_under_2_percent_of_a_quick_search(name: str, tmp_path: Path) -> None:
    budget = BUDGETS["quick"]
    space = find("space", "darts-binary").make({})
    dataset = load("digits", image=budget.search.image, device="cpu", folder=Path("data"))
    spec = space.spec(budget.search, dataset.shape, dataset.classes, final=False)
    rng = np.random.default_rng(0)
    with Meter(budget.passes, Checkpoint(tmp_path / "checkpoint")) as meter:
        find("method", name).make({}).search(space, task(dataset, spec, budget, rng), meter, rng)
    share = meter.harness_seconds / meter.seconds
    print(
        f"\n{name}: harness {meter.harness_seconds:.3f} of {meter.seconds:.1f} s = {100 * share:.2f} %"
    )
    assert share < 0.02


def test_help_answers_at_once() -> None:
    program, times = Path(sys.executable).with_name("bnas-bench"), []
    for _ in range(5):
        began = perf_counter()
        subprocess.run([program, "--help"], check=True, capture_output=True)
        times.append(perf_counter() - began)
    print(f"\n--help: median {median(times):.2f} s")
