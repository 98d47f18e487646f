"""What differentiable searches share, and the equations of DARTS' relatives, against NumPy."""

from functools import cache
from math import exp
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bnas_bench.methods.bars import BARS
from bnas_bench.methods.bats import BATS
from bnas_bench.methods.bnas import BNAS, diversity
from bnas_bench.methods.darts import DARTS
from bnas_bench.methods.pcdarts import PCDARTS, edge_normalisation
from bnas_bench.spaces.darts_binary import DartsBinary

from bnas_bench.core.budget import Budget, NetworkSpec
from bnas_bench.core.errors import BadValue, BudgetExceeded, UnknownName
from bnas_bench.data.datasets import Task, load, task
from bnas_bench.nn.darts.supernet import partial_join
from bnas_bench.plugins.registry import find
from bnas_bench.search.decoupled import Decoupling
from bnas_bench.search.learning import BySGD
from bnas_bench.search.meter import Meter
from bnas_bench.search.relaxed import Relaxed, entropy, softmax_relaxation, temperature
from bnas_bench.search.strategy import SearchStrategy

RNG = np.random.default_rng(0)


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max())
    return e / e.sum()


@pytest.fixture(scope="module")
def digits():
    budget = Budget("tiny", 400, 16, 0.05, 0.02)
    dataset = load("digits", image=8, device="cpu", folder=Path())
    return task(dataset, NetworkSpec((1, 8, 8), 10, 2, 4), budget, np.random.default_rng(0))


@pytest.fixture
def space() -> DartsBinary:
    space = DartsBinary()
    space.name = "darts-binary"
    return space


def model(space, digits, **options) -> Relaxed:
    optimiser = BySGD(weight_decay=0.0).optimiser
    rng = np.random.default_rng(0)
    return Relaxed(space, digits, rng, optimiser=optimiser, alpha_lr=0.01, **options)


def test_relaxation_with_a_temperature() -> None:
    alpha = RNG.normal(size=5)
    first, second = softmax_relaxation([2, 3], 0.5)(torch.from_numpy(alpha))
    np.testing.assert_allclose(first.numpy(), softmax(alpha[:2] / 0.5))
    np.testing.assert_allclose(second.numpy(), softmax(alpha[2:] / 0.5))
    assert [temperature(1.0, 0.01, t) for t in (0, 0.5, 1)] == pytest.approx([1.0, 0.1, 0.01])


def test_bats_ranks_edges_by_the_mix_that_its_search_ended_with() -> None:
    from bnas_bench.methods.bats import BATS

    alpha = torch.tensor([0.0, 0.2, -9.0, 0.0, 0.3, 0.29])
    warm, cold = (BATS().mix([3, 3], progress)(alpha) for progress in (0.0, 1.0))
    np.testing.assert_allclose(warm[0].numpy(), softmax(alpha[:3].numpy()), rtol=1e-6)
    np.testing.assert_allclose(cold[0].numpy(), softmax(alpha[:3].numpy() / 0.1), rtol=1e-6)


def test_entropy_and_bnas_diversity() -> None:
    p = [RNG.dirichlet(np.ones(4)), np.array([1.0, 0.0])]
    mean = np.mean([-(p[0] * np.log(p[0])).sum(), 0.0])
    found = diversity([torch.from_numpy(q) for q in p], lam=2.0, tau=7.7, t=3.0)
    assert found.item() == pytest.approx(-2.0 * mean * exp(-3.0 / 7.7))
    assert entropy(torch.from_numpy(p[1])).item() == 0.0


def test_pc_darts_eq_3() -> None:
    alpha, beta = [RNG.normal(size=n) for n in (2, 3, 2)], RNG.normal(size=3)
    found = edge_normalisation(
        [torch.from_numpy(a) for a in alpha], torch.from_numpy(beta), [[0, 2]]
    )
    share = softmax(beta[[0, 2]])
    for k, s in ((0, share[0]), (1, 1.0), (2, share[1])):
        np.testing.assert_allclose(found[k].numpy(), s * softmax(alpha[k]))


def test_partial_channels_against_a_plain_reading(space) -> None:
    """One cell's first node: 1/K of the channels mixed, the rest passing by, then a shuffle."""
    k, width = 2, 4
    net = space.supernet(NetworkSpec((1, 8, 8), 10, 3, width), np.random.default_rng(0), partial=k)
    cell = net.cells[2].double()
    width = cell.width
    bundle = cell.bundles[0]
    x = torch.randn(2, 2 * width, 4, 4, dtype=torch.double, generator=torch.manual_seed(0))
    weights = torch.rand(2, 4, 8, dtype=torch.double, generator=torch.manual_seed(1))
    out = torch.stack(cell.edges(bundle, x, weights), 1)
    assert out.shape == (2, 4, width, 4, 4)
    few = torch.cat([x[:, : width // k], x[:, width : width + width // k]], 1)
    mixed = torch.stack(bundle(few, weights), 1)
    for f in range(4):
        passing = sum(
            weights[s, f].sum() * x[:, s * width + width // k : (s + 1) * width] for s in (0, 1)
        )
        joined = torch.cat([mixed[:, f], passing], 1)
        order = [g * (width // k) + i for i in range(width // k) for g in range(k)]
        torch.testing.assert_close(out[:, f], joined[:, order])
    assert partial_join(mixed, mixed, 2).shape == (2, 4, width, 4, 4)


def test_alpha_descends_by_adams_stretched_step(space, digits) -> None:
    relaxed = model(space, digits, alpha_decay=0.0)
    relaxed.fill(paper_steps=300, steps=100)
    before, slope = relaxed.alpha.detach().clone(), torch.from_numpy(RNG.normal(size=224)).float()
    relaxed.step_alpha(slope)
    torch.testing.assert_close(relaxed.alpha.detach(), before - 3 * 0.01 * slope.sign())


@pytest.mark.slow
def test_an_epoch_without_search_leaves_alpha_and_the_validation_images_alone(
    space, digits
) -> None:
    relaxed = model(space, digits)
    alpha = relaxed.alpha.detach().clone()
    weight = next(relaxed.supernet.parameters()).detach().clone()
    relaxation = softmax_relaxation(relaxed.sizes)
    found = relaxed.epoch(digits, np.random.default_rng(0), relaxation, search=False)
    assert set(found) == {"loss", "undecided"}
    assert torch.equal(relaxed.alpha.detach(), alpha)
    assert not torch.equal(next(relaxed.supernet.parameters()), weight)
    found = relaxed.epoch(digits, np.random.default_rng(0), relaxation)
    assert set(found) == {"loss", "undecided", "valid"}
    assert not torch.equal(relaxed.alpha.detach(), alpha)


def test_decoupling_backtracks_in_place(space, digits) -> None:
    how = Decoupling(decoupled=True, eta=0.01, eta_psi=0.0, epsilon=0.1)
    relaxed = model(space, digits, alpha_decay=0.0, decoupling=how)
    before = relaxed.alpha.detach().clone()
    relaxed.step_alpha(torch.zeros_like(before))
    mask = relaxed.backtracker.mask
    assert mask.sum() == 2 * 13 * 8
    torch.testing.assert_close(relaxed.alpha.detach()[mask], 1.01 * before[mask])
    assert torch.equal(relaxed.alpha.detach()[~mask], before[~mask])


@cache
def log_of(method: type[SearchStrategy], digits: Task, *options: tuple[str, Any]) -> list[Any]:
    """Of a search on darts-binary, without its seconds."""
    with Meter(400) as meter:
        method(**dict(options)).search(
            find("space", "darts-binary").make({}), digits, meter, np.random.default_rng(5)
        )
    return [{k: v for k, v in line.items() if k != "seconds"} for line in meter.log]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "plain", "changed"),
    [
        (DARTS, {}, {"precision": "W32A32"}),
        (BATS, {}, {"last_temperature": 1.0}),
        (BNAS, {}, {"lam": 0.0}),
        (BARS, {"target": 0.01}, {"target": 0.01, "capacity": False}),
        (PCDARTS, {}, {"partial": 2}),
        (DARTS, {}, {"decoupled": True, "eta": 0.01}),
        (BATS, {}, {"real_weights": True}),
        (BARS, {}, {"gumbel": False}),
        (BARS, {}, {"entropy": False}),
        (BARS, {}, {"warmup": 0.0}),
        (PCDARTS, {"warmup": 0.0}, {"warmup": 0.0, "decoupled": True, "eta": 0.01}),
    ],
)
def test_every_switch_changes_the_search(digits, method, plain, changed) -> None:
    logs = [log_of(method, digits, *options.items()) for options in (plain, changed)]
    assert logs[0] != logs[1]


@pytest.mark.parametrize(
    ("method", "options", "error", "place"),
    [
        ("darts", {"precision": "W2A2"}, UnknownName, "W2A2"),
        ("darts", {"epsilon": 0.0}, BadValue, "'epsilon' is '0.0'"),
        ("bats", {"temperature": 0.0}, BadValue, "'temperature' is '0.0'"),
        ("bnas", {"tau": 0.0}, BadValue, "'tau' is '0.0'"),
        ("pcdarts", {"partial": 0}, BadValue, "'partial' is '0'"),
    ],
)
def test_what_makes_no_search_is_refused(method, options, error, place) -> None:
    with pytest.raises(error, match=place):
        find("method", method).make(options)


def test_pc_darts_refuses_decisions_that_are_no_edges(space) -> None:
    assert PCDARTS().refuses(space) is None
    space.nodes = ()
    assert "no edges" in PCDARTS().refuses(space)


def test_too_few_channels_for_partial_ones_are_refused(space) -> None:
    with pytest.raises(BadValue, match=r"6 channels .* partial=4; .* has 8"):
        space.supernet(NetworkSpec((1, 8, 8), 10, 2, 6), np.random.default_rng(0), partial=4)


def test_a_budget_that_holds_no_epoch_behind_the_warm_up_is_refused(space, digits) -> None:
    with Meter(100) as meter, pytest.raises(BudgetExceeded, match=r"an epoch .* budget is 100"):
        PCDARTS().search(space, digits, meter, np.random.default_rng(0))
    assert meter.spent == 0


def test_bars_derives_the_sample_of_least_validation_loss(space, digits) -> None:
    """Section 4.3: K = 8 architectures are drawn; the one that explains the labels best is taken."""
    relaxed, seen = model(space, digits), []

    class Oracle:
        def __call__(self, x, path):
            seen.append(tuple(path))
            logits = torch.zeros(len(x), 10)
            logits[:, 0] = sum(path)  # the more of it, the worse: most labels are not 0
            return logits

    relaxed.supernet = Oracle()
    best, _ = BARS().best_sample(space, relaxed, digits, np.random.default_rng(0))
    assert len(set(seen)) == 8
    assert sum(space.path(best)) == min(map(sum, seen))
