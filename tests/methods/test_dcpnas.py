"""DCP-NAS against NumPy oracles, finite differences and each other form of its equations."""

import numpy as np
import pytest
import torch
from bnas_bench.methods.dcpnas import DISTANCES, HESSIANS, agreement, log_likelihood, pull_of, relax
from bnas_bench.spaces.darts_binary import DartsBinary
from torch import Tensor

from bnas_bench.core.architecture import Decision
from bnas_bench.core.budget import NetworkSpec
from bnas_bench.nn.binary import Precision
from bnas_bench.plugins.registry import discover
from bnas_bench.search.decoupled import (
    backtrack,
    is_backtracked,
    kind_of,
    next_psi,
    positions_by_kind,
)

RNG = np.random.default_rng(0)
PASSES = 400
"""Enough for two rounds on the few digits of these searches."""


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_eq_2() -> None:
    alpha = RNG.normal(size=5)
    first, second = relax(torch.from_numpy(alpha), [2, 3])
    np.testing.assert_allclose(first.numpy(), softmax(alpha[:2]))
    np.testing.assert_allclose(second.numpy(), softmax(alpha[2:]))


def test_eq_5() -> None:
    z, y = RNG.normal(size=(4, 3)), np.array([0, 2, 1, 1])
    expected = np.mean(np.log(softmax(z))[np.arange(4), y])
    assert log_likelihood(torch.from_numpy(z), torch.from_numpy(y)).item() == pytest.approx(
        expected
    )


def test_eq_12_is_minus_the_kl_divergence() -> None:
    from scipy.stats import entropy

    child, parent = softmax(RNG.normal(size=(2, 4, 3)))
    got = agreement(torch.from_numpy(np.log(child)), torch.from_numpy(np.log(parent)))
    assert got.item() == pytest.approx(-np.mean(entropy(parent, child, axis=1)))
    assert got.item() < 0


def test_eq_11_as_printed_is_zero() -> None:
    """The p_n sum to one, so the sum of their derivatives vanishes: no direction at all."""
    alpha = torch.randn(3, dtype=torch.float64, requires_grad=True)
    jacobian = torch.randn(4, 3, dtype=torch.float64)
    (printed,) = torch.autograd.grad((jacobian @ alpha).softmax(0).sum(), alpha)
    np.testing.assert_allclose(printed.numpy(), 0, atol=1e-15)


@pytest.mark.parametrize("name", DISTANCES)
def test_distances_and_their_derivatives(name) -> None:
    u, t = RNG.normal(size=(2, 6))
    expected = {
        "frobenius": ((t - u) ** 2).sum(),
        "l1": np.abs(t - u).sum(),
        "cosine": 1 - u @ t / np.linalg.norm(u) / np.linalg.norm(t),
    }[name]
    u, t = torch.from_numpy(u), torch.from_numpy(t)
    assert DISTANCES[name](u, t).item() == pytest.approx(expected)
    slope = pull_of(DISTANCES[name], t)(u)
    for k in range(6):
        step = torch.zeros(6, dtype=torch.float64)
        step[k] = 1e-6
        numeric = (DISTANCES[name](u + step, t) - DISTANCES[name](u - step, t)) / 2e-6
        assert slope[k].item() == pytest.approx(numeric.item(), rel=1e-5, abs=1e-8)
    if name == "frobenius":
        torch.testing.assert_close(slope, 2 * (u - t))  # Eq. (15)


@pytest.fixture(scope="module")
def child():
    """A small supernet in float64, its logits as a function of alpha, and a Parent's answer."""
    space = DartsBinary(without=("sep_conv_5x5", "dil_conv_5x5", "sep_conv_3x3"))
    rng = np.random.default_rng(1)
    supernet = space.supernet(NetworkSpec((1, 6, 6), 3, 2, 2), rng).double()
    sizes = [len(d.options) for d in space.decisions]
    x = torch.from_numpy(rng.normal(size=(8, 1, 6, 6)))
    alpha = torch.from_numpy(0.3 * rng.normal(size=sum(sizes))).requires_grad_()
    tangent = torch.from_numpy(rng.normal(size=sum(sizes)))
    parent = torch.from_numpy(rng.normal(size=(8, 3))).log_softmax(1)

    def logits(alpha: Tensor) -> Tensor:
        return supernet(x, relax(alpha, sizes))

    return supernet, logits, alpha, tangent, parent


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["W32A32", "W1A1"])
@pytest.mark.parametrize("distance", DISTANCES)
def test_both_exact_forms_agree(child, distance, precision) -> None:
    supernet, logits, alpha, tangent, parent = child
    supernet.precision = precision
    pull = pull_of(DISTANCES[distance], tangent)
    found = {
        name: HESSIANS[name](logits, logits(alpha), alpha, parent, pull)
        for name in ("exact-matrix", "exact-hvp")
    }
    (u, matrix), (u_hvp, hvp) = found.values()
    torch.testing.assert_close(u, u_hvp, rtol=1e-12, atol=0)
    assert (matrix - hvp).norm() <= 1e-5 * hvp.norm()
    assert hvp.norm() > 0


def test_the_exact_form_is_the_derivative_of_eq_13(child) -> None:
    supernet, logits, alpha, tangent, parent = child
    supernet.precision = "W32A32"
    distance = DISTANCES["frobenius"]

    def d_of(alpha: Tensor) -> Tensor:
        alpha = alpha.detach().requires_grad_()
        (u,) = torch.autograd.grad(agreement(logits(alpha), parent), alpha)
        return distance(u, tangent)

    _, product = HESSIANS["exact-hvp"](
        logits, logits(alpha), alpha, parent, pull_of(distance, tangent)
    )
    for k in (3, 40, 77, 120):
        step = torch.zeros_like(tangent)
        step[k] = 1e-5
        numeric = (d_of(alpha + step) - d_of(alpha - step)) / 2e-5
        assert product[k].item() == pytest.approx(numeric.item(), rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("name", DISTANCES)
def test_sums_over_images_are_the_derivative_of_eq_13_of_sums(child, name) -> None:
    """The whole objective of sums, Eq. (14), by autograd; what a step takes is that by the images."""
    supernet, logits, alpha, tangent, parent = child
    supernet.precision = "W32A32"
    total = 8 * agreement(logits(alpha), parent)
    (u,) = torch.autograd.grad(total, alpha, create_graph=True)
    objective = -total + 0.1 * DISTANCES[name](u, 8 * tangent)
    (expected,) = torch.autograd.grad(objective, alpha)
    pull = pull_of(DISTANCES[name], tangent, 8)
    mean, product = HESSIANS["exact-hvp"](logits, logits(alpha), alpha, parent, pull)
    torch.testing.assert_close(-mean + 0.1 * product, expected / 8, rtol=1e-9, atol=1e-12)


def test_fisher_and_ggn_against_explicit_jacobians(child) -> None:
    """Eqs. (18) to (23) written out: one outer product per image and class."""
    supernet, logits, alpha, tangent, parent = child
    supernet.precision = "W1A1"
    z = logits(alpha)
    batch, classes = z.shape
    rows = [
        torch.autograd.grad(z[b, n], alpha, retain_graph=True)[0]
        for b in range(batch)
        for n in range(classes)
    ]
    jacobian = torch.stack(rows).view(batch, classes, -1).numpy()
    p_child, p_parent = softmax(z.detach().numpy()), np.exp(parent.numpy())
    fisher = np.zeros((len(alpha), len(alpha)))
    ggn = np.zeros_like(fisher)
    for b in range(batch):
        scores = jacobian[b] - p_child[b] @ jacobian[b]  # d log p^_n / dalpha, a row per class
        for n in range(classes):
            fisher -= p_parent[b, n] * np.outer(scores[n], scores[n]) / batch
        curvature = np.diag(p_child[b]) - np.outer(p_child[b], p_child[b])
        ggn -= jacobian[b].T @ curvature @ jacobian[b] / batch
    pull = pull_of(DISTANCES["frobenius"], tangent)
    for name, matrix in (("fisher", fisher), ("ggn", ggn)):
        u, product = HESSIANS[name](logits, logits(alpha), alpha, parent, pull)
        np.testing.assert_allclose(product.numpy(), matrix @ pull(u).numpy(), rtol=1e-7, atol=1e-10)


def test_fisher_is_ggn_where_child_and_parent_agree(child) -> None:
    supernet, logits, alpha, tangent, _ = child
    supernet.precision = "W32A32"
    parent = logits(alpha).detach().log_softmax(1)
    pull = pull_of(DISTANCES["frobenius"], tangent)
    fisher, ggn = (
        HESSIANS[n](logits, logits(alpha), alpha, parent, pull)[1] for n in ("fisher", "ggn")
    )
    torch.testing.assert_close(fisher, ggn, rtol=1e-9, atol=1e-12)


def test_both_approximations_tend_to_the_hessian_in_expectation() -> None:
    """Labels drawn from the model's own distribution: E[H] = Fisher = GGN (Eq. 19).

    logits = A tanh(M alpha) is curved in alpha, so a single batch's Hessian is not its GGN.
    """
    rng = np.random.default_rng(2)
    n = 200_000
    alpha = torch.from_numpy(rng.normal(size=3)).requires_grad_()
    mixing = torch.from_numpy(rng.normal(size=(4, 3)))
    readout = torch.from_numpy(rng.normal(size=(3, 4)))
    x = torch.from_numpy(rng.normal(size=(n, 4)))

    def logits(alpha: Tensor) -> Tensor:
        return (torch.tanh(mixing @ alpha) * x) @ readout.T

    probabilities = softmax(logits(alpha).detach().numpy())
    labels = (rng.random((n, 1)) > probabilities.cumsum(1)).sum(1).clip(max=2)
    one_hot = torch.nn.functional.one_hot(torch.from_numpy(labels), 3).double()
    parent = (one_hot + 1e-300).log()

    def direction(_: Tensor) -> Tensor:
        return torch.tensor([1.0, -0.5, 2.0], dtype=torch.float64)

    exact, ggn, fisher = (
        HESSIANS[name](logits, logits(alpha), alpha, parent, direction)[1]
        for name in ("exact-hvp", "ggn", "fisher")
    )
    assert (ggn - exact).norm() < 0.02 * exact.norm()
    assert (fisher - exact).norm() < 0.02 * exact.norm()
    few = slice(0, 20)
    x, parent = x[few], parent[few]
    exact, ggn = (
        HESSIANS[name](logits, logits(alpha), alpha, parent, direction)[1]
        for name in ("exact-hvp", "ggn")
    )
    assert (ggn - exact).norm() > 0.02 * exact.norm()  # the limit, not an identity


def test_decisions_are_ranked_among_their_kind() -> None:
    kinds_of = {
        "normal.edge(0,2)": "normal.edge",
        "edge(0,2)": "edge",
        "part3": "part",
        "model": "model",
        "stage1.depth": "stage1.depth",
        "stage4.layer11.kernel": "stage4.kernel",
        "7": "7",
    }
    assert {name: kind_of(name) for name in kinds_of} == kinds_of
    norms = torch.tensor([5.0, 1.0, 9.0, 2.0])
    kinds = [torch.tensor([0, 2, 3]), torch.tensor([1])]  # the lone depth is not backtracked
    decisions = [
        Decision(name, (1, 2)) for name in ("a.edge(0)", "a.depth", "a.edge(1)", "a.edge(2)")
    ]
    found = positions_by_kind(decisions, torch.device("cpu"))
    assert [positions.tolist() for positions in found] == [[0, 2, 3], [1]]
    assert is_backtracked(norms, kinds, 0.4).tolist() == [True, False, False, True]


@pytest.mark.parametrize("name", sorted({*discover("space")} - {"handcrafted"}))
def test_every_space_of_many_decisions_has_some_that_backtrack(name: str) -> None:
    decisions = discover("space")[name].make({}).decisions
    kinds = positions_by_kind(decisions, torch.device("cpu"))
    assert is_backtracked(torch.arange(1.0, len(decisions) + 1), kinds, 0.2).any()


def test_eq_33_follows_the_graph_of_the_backtracked_alpha() -> None:
    eta, eta_psi = 0.1, 0.5
    alpha, previous, psi = (torch.from_numpy(v) for v in RNG.normal(size=(3, 5)))
    psi = psi.abs().requires_grad_()
    weight = torch.from_numpy(RNG.normal(size=5))
    tilde = alpha + eta * psi * previous
    loss = (tilde.square() * weight).sum()
    (dpsi,) = torch.autograd.grad(loss, psi, retain_graph=True)
    (slope,) = torch.autograd.grad(loss, tilde)
    expected = (psi - eta_psi * dpsi).abs()
    torch.testing.assert_close(next_psi(psi.detach(), slope, previous, eta, eta_psi), expected)
    assert (next_psi(psi.detach(), 1e3 * slope, previous, eta, eta_psi) >= 0).all()


def test_eqs_34_to_36() -> None:
    normal = torch.tensor([3.0, 1.0, 4.0, 1.5, 9.0, 2.6, 5.0, 3.5, 8.0, 7.0])
    norms = torch.cat([normal, 100 * normal])  # the kinds are ranked apart
    kinds = torch.arange(20).split(10)
    assert not is_backtracked(norms, kinds, 1.0).any()
    assert is_backtracked(norms, kinds, 0.1).tolist() == 2 * (normal != 9.0).tolist()
    assert is_backtracked(norms, kinds, 0.2).tolist() == 2 * (normal < 8.0).tolist()
    chosen = is_backtracked(torch.rand(28), torch.arange(28).split(14), 0.1)
    assert chosen.float().mean() > 0.9
    alpha, previous, psi = torch.tensor([[1.0, 2.0], [3.0, 4.0], [0.5, 0.5]])
    mask = torch.tensor([True, False])
    assert backtrack(alpha, previous, psi, 0.1, mask).tolist() == pytest.approx([1.15, 2.0])


@pytest.fixture(scope="module")
def digits():
    from pathlib import Path

    from bnas_bench.core.budget import Budget
    from bnas_bench.data.datasets import load, task

    budget = Budget("tiny", PASSES, 16, 0.025, 0.01)
    dataset = load("digits", image=8, device="cpu", folder=Path())
    return task(dataset, NetworkSpec((1, 8, 8), 10, 2, 2), budget, np.random.default_rng(0))


def search(digits, passes: int | None = PASSES, **options):
    from bnas_bench.methods.dcpnas import DCPNAS

    from bnas_bench.search.meter import Meter

    space = DartsBinary()
    space.name = "darts-binary"
    with Meter(passes) as meter:
        result = DCPNAS(**options).search(space, digits, meter, np.random.default_rng(5))
    log = [{k: v for k, v in line.items() if k != "seconds"} for line in meter.log]
    return result, log, meter


@pytest.mark.slow
def test_lam_zero_is_the_tangent_free_search(digits) -> None:
    plain = {"decoupled": False}
    without = search(digits, tangent=False, **plain)[:2]
    assert search(digits, lam=0.0, **plain)[:2] == without
    assert search(digits, lam=0.0, distance="l1", hessian="ggn", **plain)[:2] == without
    pulled = search(digits, lam=100.0, **plain)
    assert pulled[1][0]["child_loss"] != without[1][0]["child_loss"]


@pytest.mark.slow
def test_epsilon_one_is_the_search_that_is_not_decoupled(digits) -> None:
    apart = search(digits, tangent=False, decoupled=False)[:2]
    assert search(digits, tangent=False, epsilon=1.0, eta=1e-3)[:2] == apart
    backtracked = search(digits, tangent=False, epsilon=0.1, eta=1e-3)
    assert backtracked[1][0]["child_loss"] != apart[1][0]["child_loss"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [{"tangent": False}, {"hessian": "fisher"}, {"hessian": "ggn"}, {"hessian": "exact-hvp"}],
)
def test_the_rounds_that_scale_alpha_are_the_rounds_that_fit(digits, options) -> None:
    """The step of alpha rests on a forecast of the cost of a round: the meter must agree."""
    from bnas_bench.methods.dcpnas import DCPNAS

    _, log, meter = search(digits, **options)
    rounds = DCPNAS(**options).rounds([8] * 28, digits, meter)
    assert len(rounds) == len(log) >= 2
    step = meter.spent / sum(rounds)
    assert meter.passes - step < meter.spent <= meter.passes  # not one more step fits


@pytest.mark.slow
def test_psi_is_learned_and_survives_a_kill(digits, tmp_path) -> None:
    """With constants at which Eq. (33) matters, a resumed search must know psi, mask and the past."""
    from bnas_bench.methods.dcpnas import DCPNAS, Model

    from bnas_bench.search.checkpoint import Checkpoint
    from bnas_bench.search.meter import Meter

    options = {"eta": 2e-4, "eta_psi": 1e3, "tangent": False}
    whole = search(digits, **options)[:2]
    assert search(digits, eta_psi=0.0, eta=2e-4, tangent=False)[:2] != whole
    space = DartsBinary()
    space.name = "darts-binary"
    inherit, lives = Model.inherit, []

    def killed(self, other):
        lives.append(None)
        if len(lives) == 4:  # in the second round, between two inheritances
            raise KeyboardInterrupt
        inherit(self, other)

    Model.inherit = killed
    try:
        with (
            pytest.raises(KeyboardInterrupt),
            Meter(PASSES, Checkpoint(tmp_path / "c", 1e9)) as meter,
        ):
            DCPNAS(**options).search(space, digits, meter, np.random.default_rng(5))
    finally:
        Model.inherit = inherit
    with Meter(PASSES, Checkpoint(tmp_path / "c", 1e9)) as meter:
        result = DCPNAS(**options).search(space, digits, meter, np.random.default_rng(5))
    log = [{k: v for k, v in line.items() if k != "seconds"} for line in meter.log]
    assert (result, log) == whole


def test_a_step_backtracks_by_the_stretched_eta(digits) -> None:
    from bnas_bench.methods.dcpnas import DCPNAS

    space = DartsBinary()
    space.name = "darts-binary"
    method = DCPNAS(eta=0.01, epsilon=0.1)
    model = method.model(space, digits, Precision.W1A1, np.random.default_rng(0))
    model.stretch = 3.0
    before = model.alpha.detach().clone()
    model.step_alpha(torch.zeros_like(before))  # Adam stays where it is; only Eq. (32) moves
    mask = model.backtracker.mask
    torch.testing.assert_close(
        model.alpha.detach()[mask], before[mask] * (1 + 3 * 0.01 * method.psi)
    )
    assert torch.equal(model.alpha.detach()[~mask], before[~mask])
    assert mask.sum() == 2 * 13 * 8  # all but one of 14 edges, in both kinds of cell
