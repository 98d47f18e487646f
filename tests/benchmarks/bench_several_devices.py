"""What several processes gain on a supernet's step, and what batch norm of the whole batch costs them.

Each test prints medians of one run; nothing here passes or fails by a time.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median
from time import perf_counter

import pytest
import torch
from torch.nn.functional import cross_entropy

from bnas_bench.core import ranks
from bnas_bench.core.budgets import BUDGETS
from bnas_bench.core.machine import keep_pages
from bnas_bench.core.seeds import generator
from bnas_bench.plugins.registry import find
from tests.helpers.ranks import by_all
from tests.helpers.several import alone


def steps(name: str, side: int, repeats: int) -> tuple[float, float]:
    """Median ms of a step of a `quick` search's relaxed supernet: alone, and together."""
    keep_pages()
    space = find("space", name).make({})
    spec = space.spec(space.fit(BUDGETS["quick"].search), (3, side, side), 10, final=False)
    supernet = space.supernet(spec, generator(0, "supernet"))
    sizes = [len(decision.options) for decision in space.decisions]
    mix = [torch.full((size,), 1 / size) for size in sizes]
    images = torch.from_numpy(generator(0, "images").standard_normal((64, *spec.shape))).float()
    labels = torch.arange(64) % 10

    def timed() -> float:
        times = []
        for _ in range(repeats + 1):
            supernet.zero_grad()
            began = perf_counter()
            cross_entropy(supernet(images, mix), labels).backward()
            times.append(1e3 * (perf_counter() - began))
        return median(times[1:])

    apart = 0.0
    if ranks.is_first():
        with alone():
            apart = timed()
    ranks.add((torch.zeros(1),))
    return apart, timed()


@pytest.mark.parametrize(("name", "side"), [("darts-binary", 16), ("nas-bnn", 16), ("nas-bnn", 64)])
def test_a_step_of_two_processes(name: str, side: int, tmp_path: Path) -> None:
    for synchronised in (True, False):
        folder = tmp_path / str(synchronised)
        folder.mkdir()
        (apart, together), _ = by_all(steps, folder, name, side, 5, synchronised=synchronised)
        norms = "synchronised" if synchronised else "own"
        print(
            f"\n{name}, 64 images of {side}x{side}, batch norm {norms}: "
            f"one process {apart:.0f} ms, two {together:.0f} ms"
        )
