"""What training takes with the layers as they are, as they were at commit 8f9e66b, and edge by edge.

Each line is of one run on one thread, the variants in turns; ratios are those of the turns, of processor
time, as median and quartiles, and the last lines show all that were asked for in one table. All of them
keep the pages of their maps (`keep_pages`), so that the ratios are of the layers alone. The *floor* is the
time of the step's products alone: three times the forward's (its own, by the maps, by the weights), at the
rate of a large float32 product of matrices on the same thread. Gradients may differ by what a value that
crosses PReLU's kink, or at W1A1 zero, changes. Nothing here passes or fails by a time.

    make bench ONLY=bench_layers
"""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from time import process_time
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
import pytest
import torch
from bnas_bench.methods.dcpnas import agreement, fisher, frobenius, pull_of, relax
from torch import Tensor, nn
from torch.autograd import grad
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

from bnas_bench.core.budget import NetworkSpec, Scale
from bnas_bench.core.budgets import BUDGETS
from bnas_bench.core.machine import keep_pages
from bnas_bench.core.provenance import cpu
from bnas_bench.nn.darts.supernet import MixedCell
from bnas_bench.nn.network import Network, Supernet
from bnas_bench.plugins.making import choose
from bnas_bench.plugins.registry import find
from bnas_bench.runs.run import run_trial
from bnas_bench.runs.store import Store
from bnas_bench.runs.trial import expand
from bnas_bench.search.learning import constant
from tests.benchmarks import layers_before as before_module
from tests.benchmarks.bench_search_step import edge_by_edge
from tests.benchmarks.layers_before import layers_before


class Work(NamedTuple):
    spec: NetworkSpec
    batch: int
    repeats: int
    asked: float
    """How much faster than before it was to become."""


PAPERS = "6 cells, C 16, 32x32"
SUPERNETS = {
    "quick": Work(NetworkSpec((1, 8, 8), 10, 3, 4), 128, 7, 2.2),
    "16x16": Work(NetworkSpec((3, 16, 16), 10, 3, 8), 64, 3, 2.6),
    PAPERS: Work(NetworkSpec((3, 32, 32), 10, 6, 16), 64, 3, 3.0),
    "quick, batch 32": Work(NetworkSpec((1, 8, 8), 10, 3, 4), 32, 7, 1.0),
}
NETWORKS = {
    "quick": Work(NetworkSpec((1, 8, 8), 10, 6, 8), 128, 7, 1.5),
    "10 cells, C 36, 32x32": Work(NetworkSpec((3, 32, 32), 10, 10, 36), 32, 3, 1.6),
    "quick, batch 32": Work(NetworkSpec((1, 8, 8), 10, 4, 12), 32, 7, 1.0),
}
"""`quick` has batches of 32 and networks of 4 cells since 2026-11-28; what was asked is of the one before."""

OTHERS = ("darts-binary, one path", "nas-bnn, sandwich", "bars, relaxed", "bars, one path")

keep_pages()


def in_turns(
    works: dict[str, Callable[[], object]], repeats: int, warm: int = 1
) -> dict[str, np.ndarray]:
    """Milliseconds of processor time of each turn of each, after `warm` turns that do not count."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(warm + repeats):
        for name, work in works.items():
            began = process_time()
            work()
            if turn >= warm:
                times[name].append(1e3 * (process_time() - began))
    return {name: np.array(found) for name, found in times.items()}


TABLE: list[str] = []
"""What was asked for and what came out, a line each; printed after the last test."""


@pytest.fixture(scope="module", autouse=True)
def table() -> Iterator[None]:
    yield
    head = "| work, one thread | asked | median (quartiles) | reached |\n|---|---|---|---|"
    print("\n" + "\n".join([f"\n{cpu()}, torch {torch.__version__}\n\n{head}", *TABLE]))


def note(work: str, against: str, asked: float, times: dict[str, np.ndarray]) -> None:
    """A line of the table: by how much `against` takes longer than the layers as they are."""
    low, middle, high = np.quantile(times[against] / times["now"], (0.25, 0.5, 0.75))
    reached = "yes" if middle >= asked else "no"
    TABLE.append(
        f"| {work}, against {against} | {asked:g}x | {middle:.2f}x ({low:.2f} to {high:.2f}) | {reached} |"
    )


def before(work: Callable[[], object]) -> Callable[[], object]:
    def run() -> object:
        with layers_before():
            return work()

    return run


def batch(spec: NetworkSpec, size: int) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.standard_normal((size, *spec.shape))).float()
    return x, torch.from_numpy(rng.integers(10, size=size))


def print_ratios(title: str, times: dict[str, np.ndarray], floor: float | None = None) -> None:
    now = np.median(times["now"])
    ratios = {name: np.median(ms / times["now"]) for name, ms in times.items() if name != "now"}
    others = ", ".join(f"{name} {ratio:.2f}x" for name, ratio in ratios.items())
    least = f"; {now / floor:.1f} times the floor of {floor:,.1f} ms" if floor else ""
    print(f"\n{title}: {now:,.0f} ms; {others}{least}")


@cache
def flops_per_ms(size: int = 1024) -> float:
    a, b = torch.randn(2, size, size)
    return 2 * size**3 / np.median(in_turns({"product": lambda: a @ b}, 15)["product"])


@torch.no_grad()
def floor_ms(net: nn.Module, forward: Callable[[], object]) -> float:
    """Milliseconds of the products of a step that trains by this forward."""
    with constant(net), layers_before(), FlopCounterMode(display=False) as counter:
        forward()
    return 3 * counter.get_total_flops() / flops_per_ms()


def supernet_of(name: str, spec: NetworkSpec) -> tuple[Supernet, list[Tensor]]:
    space, rng = find("space", name).make({}), np.random.default_rng(0)
    mix = [torch.full((len(d.options),), 1 / len(d.options)) for d in space.decisions]
    return space.supernet(spec, rng), mix


@pytest.mark.parametrize("scale", SUPERNETS)
def test_a_weight_step_of_the_relaxed_supernet(scale: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, size, repeats, _ = SUPERNETS[scale]
    (net, mix), (x, y) = supernet_of("darts-binary", spec), batch(spec, size)

    def step() -> None:
        net.zero_grad()
        cross_entropy(net(x, mix), y).backward()

    def edges() -> None:
        with monkeypatch.context() as patched:
            patched.setattr(MixedCell, "forward", edge_by_edge)
            step()

    works = {
        "before": before(step),
        "now": step,
        "edge by edge": edges,
        "edge by edge before": before(edges),
    }
    times = in_turns(works, repeats)
    print_ratios(f"weight step, {scale}", times, floor_ms(net, lambda: net(x, mix)))
    work = f"weight step of the relaxed darts-binary supernet, {scale}"
    note(work, "before", SUPERNETS[scale].asked, times)
    if scale == PAPERS:
        note(work, "edge by edge before", 2, times)
        note(work, "edge by edge", 2, times)


@pytest.mark.parametrize("scale", list(SUPERNETS)[:2])
def test_a_step_of_alpha(scale: str) -> None:
    """DCP-NAS' own, `fisher`, and what remains of it without the tangent."""
    spec, size, repeats, _ = SUPERNETS[scale]
    (net, mix), (x, _) = supernet_of("darts-binary", spec), batch(spec, size)
    sizes = [len(part) for part in mix]
    alpha = torch.zeros(sum(sizes), requires_grad=True)
    pull = pull_of(frobenius, torch.randn(sum(sizes)))
    parent = torch.randn(size, 10).log_softmax(1)

    def logits(alpha: Tensor) -> Tensor:
        with constant(net):
            return net(x, relax(alpha, sizes))

    def with_tangent() -> None:
        fisher(logits, logits(alpha), alpha, parent, pull)

    def first_order() -> None:
        grad(agreement(logits(alpha), parent), alpha)

    for title, step in (("fisher", with_tangent), ("first order", first_order)):
        times = in_turns({"before": before(step), "now": step}, repeats)
        print_ratios(f"step of alpha, {scale}, {title}", times)
        if (title, scale) == ("fisher", "quick"):
            note("step of alpha of DCP-NAS, fisher, quick", "before", 2, times)


@pytest.mark.parametrize("scale", NETWORKS)
def test_final_training(scale: str) -> None:
    spec, size, repeats, asked = NETWORKS[scale]
    space, rng = find("space", "darts-binary").make({}), np.random.default_rng(0)
    net, (x, y) = space.network(space.sample(rng), spec, rng), batch(spec, size)
    step = trains(net, x, y)
    times = in_turns({"before": before(step), "now": step}, repeats)
    print_ratios(f"training, {scale}", times, floor_ms(net, lambda: net(x)))
    note(f"final training, {scale}", "before", asked, times)


@pytest.mark.parametrize("method", ["random", "dcpnas"])
def test_a_trial_of_the_demo(method: str, tmp_path: Path) -> None:
    """Search, final training, test and measurements, as `make demo` has it three times, in one process."""
    space = choose("space", "darts-binary")
    (trial,) = expand([choose("method", method)], [space], ["digits"], [BUDGETS["quick"]], 1)

    def run() -> None:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        assert run_trial(trial, Store(folder))["status"] == "ok"

    times = in_turns({"before": before(run), "now": run}, repeats=1, warm=0)
    print_ratios(f"a trial of the demo, {method}", times)


def trains(net: Network, x: Tensor, y: Tensor) -> Callable[[], None]:
    def step() -> None:
        net.zero_grad()
        cross_entropy(net.train()(x), y).backward()

    return step


@pytest.mark.parametrize("work", OTHERS)
def test_other_supernets(work: str) -> None:
    name, how = work.split(", ")
    space, rng = find("space", name).make({}), np.random.default_rng(0)
    spec = space.spec(space.fit(Scale(cells=3, channels=8)), (1, 8, 8), 10, final=False)
    (net, mix), (x, y) = supernet_of(name, spec), batch(spec, 64)
    drawn = [space.sample(rng) for _ in range(2)]
    mixes = {
        "relaxed": [mix],
        "one path": [space.path(drawn[0])],
        # NAS-BNN's largest, smallest and two random subnets; the teacher's precision apart
        "sandwich": [space.path(arch) for arch in (space.largest(), space.smallest(), *drawn)],
    }[how]

    def step() -> None:
        net.zero_grad()
        for chosen in mixes:
            cross_entropy(net(x, chosen), y).backward()

    times = in_turns({"before": before(step), "now": step}, 7)
    print_ratios(work, times, floor_ms(net, lambda: [net(x, chosen) for chosen in mixes]))
    note(work, "before", 1, times)


def test_gradients_agree() -> None:
    """In W32A32 both forms are as far from float64; in W1A1 signs of values near zero turn."""
    spec, size, *_ = SUPERNETS["quick"]
    (net, mix), (x, y) = supernet_of("darts-binary", spec), batch(spec, size)

    def gradient() -> Tensor:
        net.zero_grad()
        cross_entropy(net(x, mix), y).backward()
        return flat(net)

    def far(a: Tensor, b: Tensor) -> float:
        return float((a - b).norm() / b.norm())

    with patch.object(before_module, "ste_sign", Signs()) as signs:
        now = gradient()
        with layers_before():
            changed = far(now, gradient())
    net.precision = "W32A32"
    now = gradient()
    with layers_before():
        old = gradient()
    net, x, mix = net.double(), x.double(), [part.double() for part in mix]
    exact = gradient()
    print(
        f"\ngradients of the quick supernet, W32A32: {far(now, old):.1e} of their norm between the forms, "
        f"{far(now, exact):.1e} now and {far(old, exact):.1e} before from float64's; W1A1: "
        f"{changed:.1e}, and {signs.near_zero:,} of {signs.all:,} signs are within {NEAR:g} of zero"
    )
    assert far(now, exact) < 2 * far(old, exact) < 1e-3
    assert changed < 0.5


NEAR = 1e-6


class Signs:
    """The plain `ste_sign`, which counts."""

    all = near_zero = 0

    def __call__(self, x: Tensor, estimator: str = "clip") -> Tensor:
        self.all += x.numel()
        self.near_zero += int((x.detach().abs() < NEAR).sum())
        return before_module.StraightThrough.apply(x, estimator)


def flat(net: nn.Module) -> Tensor:
    return torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])
