"""What a search step costs: the four Hessian forms, the bundled supernet, a single path.

Each test prints medians and ratios of one run; nothing here passes or fails by a time.
"""

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from statistics import median
from time import perf_counter

import numpy as np
import torch
from bnas_bench.methods.dcpnas import (
    DISTANCES,
    HESSIANS,
    agreement,
    exact_hvp,
    exact_matrix,
    pull_of,
    relax,
)
from torch import Tensor
from torch.nn.functional import cross_entropy

from bnas_bench.core.budgets import BUDGETS
from bnas_bench.nn.darts.bundles import NodeMaps
from bnas_bench.nn.darts.supernet import MixedCell
from bnas_bench.nn.darts.topology import EDGES, NODES
from bnas_bench.nn.kernels import plain
from bnas_bench.plugins.registry import find
from bnas_bench.search.learning import constant


def time_ms(work: Callable[[], object], repeats: int = 5) -> float:
    """Median milliseconds of `work`, after one run to warm up unless it runs only once."""
    if repeats > 1:
        work()
    times = []
    for _ in range(repeats):
        began = perf_counter()
        work()
        times.append(1e3 * (perf_counter() - began))
    return median(times)


def quick_supernet():
    """The supernet of a `quick` search on digits, a batch for it, and its mix's sizes."""
    space = find("space", "darts-binary").make({})
    budget, rng = BUDGETS["quick"], np.random.default_rng(0)
    spec = space.spec(budget.search, (1, 8, 8), 10, final=False)
    supernet = space.supernet(spec, rng)
    x = torch.from_numpy(rng.normal(size=(budget.batch_size, 1, 8, 8))).float()
    y = torch.from_numpy(rng.integers(10, size=budget.batch_size))
    return supernet, x, y, [len(d.options) for d in space.decisions]


def test_the_four_hessian_forms() -> None:
    supernet, x, _, sizes = quick_supernet()
    alpha = torch.zeros(sum(sizes), requires_grad=True)
    tangent, parent = torch.randn(sum(sizes)), torch.randn(len(x), 10).log_softmax(1)
    pull = pull_of(DISTANCES["frobenius"], tangent)

    def logits(alpha: Tensor) -> Tensor:
        with constant(supernet):  # as DCP-NAS does
            return supernet(x, relax(alpha, sizes))

    def step(form: Callable) -> None:
        with plain() if form in (exact_hvp, exact_matrix) else nullcontext():
            z = logits(alpha)
        form(logits, z, alpha, parent, pull)

    def first_order() -> None:
        torch.autograd.grad(agreement(logits(alpha), parent), alpha)

    times = {"none (lam=0)": time_ms(first_order)}
    for name, form in HESSIANS.items():
        times[name] = time_ms(partial(step, form), repeats=1 if name == "exact-matrix" else 5)
    print(
        f"\nstep of alpha, {len(x)} images, {sum(sizes)} parameters (DCP-NAS table 4 claims 10x):"
    )
    for name, ms in times.items():
        print(f"  {name:14} {ms:9.1f} ms  {ms / times['fisher']:6.2f} x fisher")


def edge_by_edge(cell: MixedCell, older: Tensor, newer: Tensor, weights: Tensor) -> Tensor:
    """The mixed cell as DARTS writes it: every operation of every edge on its own."""
    stride = cell.bundles[0].stride
    nodes = [cell.preprocess0(older), cell.preprocess1(newer)]
    for j in NODES:
        total: Tensor | None = None
        for i in range(j):
            k, s, f = cell.place(i, j)
            for column, name in enumerate(cell.operations):
                if name == "none":
                    continue
                maps = NodeMaps(nodes[i], stride if i < 2 else 1)  # nothing is shared
                term = weights[EDGES.index((i, j)), column] * cell.bundles[k].path(maps, s, f, name)
                total = term if total is None else total + term
        nodes.append(total)
    return torch.cat(nodes[2:], dim=1)


def test_bundles_against_edge_by_edge() -> None:
    supernet, x, y, sizes = quick_supernet()
    mix = [torch.full((n,), 1 / n) for n in sizes]
    path = [int(k) for k in np.random.default_rng(0).integers(1, 8, size=28)]

    def train(mix: list) -> None:
        supernet.zero_grad()
        cross_entropy(supernet(x, mix), y).backward()

    bundled, single = time_ms(lambda: train(mix)), time_ms(lambda: train(path))
    supernet.precision = "W32A32"  # where a sum in another order flips no sign
    expected = supernet(x, mix).detach()
    forward = MixedCell.forward
    MixedCell.forward = edge_by_edge
    try:
        torch.testing.assert_close(supernet(x, mix), expected, rtol=1e-4, atol=1e-4)
        supernet.precision = "W1A1"
        apart = time_ms(lambda: train(mix), repeats=3)
    finally:
        MixedCell.forward = forward
    print(
        f"\nforward and backward of the quick supernet, {len(x)} images, {torch.get_num_threads()} thread:"
    )
    print(f"  edge by edge  {apart:8.1f} ms")
    print(f"  bundled       {bundled:8.1f} ms  {apart / bundled:.2f} x faster")
    print(f"  one path      {single:8.1f} ms  {apart / single:.2f} x faster")
