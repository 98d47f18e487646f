"""BARS: its equations against NumPy, its switches, the frequencies of figure 5."""

import numpy as np
import pytest
import torch
from bnas_bench.methods.bars import (
    capacity_penalty,
    entropy_penalty,
    frequencies,
    gumbel_softmax,
    lam_at,
)

from bnas_bench.core.architecture import Decision
from bnas_bench.core.errors import BadValue
from bnas_bench.plugins.registry import find

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("tau", [0.1, 1.0, 5.0])
def test_eq_5(tau) -> None:
    alpha, g = RNG.normal(size=4), RNG.gumbel(size=4)
    e = np.exp((alpha + g) / tau)
    m = gumbel_softmax(torch.from_numpy(alpha), torch.from_numpy(g), tau)
    np.testing.assert_allclose(m.numpy(), e / e.sum())


def test_eq_5_samples_the_softmax_of_alpha() -> None:
    """Gumbel-max: the largest entry is option i with probability softmax(alpha)_i."""
    alpha = torch.tensor([0.0, 1.0, -1.0], dtype=torch.double)
    noise = torch.from_numpy(RNG.gumbel(size=(20_000, 3)))
    drawn = torch.stack([gumbel_softmax(alpha, g, 0.5) for g in noise]).argmax(1)
    share = torch.bincount(drawn, minlength=3) / len(noise)
    np.testing.assert_allclose(share.numpy(), alpha.softmax(0).numpy(), atol=0.015)


def test_eq_6() -> None:
    p = [RNG.dirichlet(np.ones(n)) for n in (2, 3)]
    expected = 0.7 * np.mean([-(q * np.log(q)).sum() for q in p])
    found = entropy_penalty([torch.from_numpy(q) for q in p], 0.7)
    assert found.item() == pytest.approx(expected)


def test_a_negative_lambda_explores_and_a_positive_one_decides() -> None:
    assert [lam_at(-0.5, 0.5, t) for t in (0, 0.5, 1)] == [-0.5, 0.0, 0.5]
    for lam, sign in ((-1.0, -1), (1.0, 1)):
        alpha = torch.tensor([0.3, 0.0], requires_grad=True)
        entropy_penalty([alpha.softmax(0)], lam).backward()
        step = -alpha.grad  # descent
        assert sign * (step[0] - step[1]) > 0  # apart when deciding, together when exploring


@pytest.mark.parametrize(("ops", "expected"), [(50.0, 1.0), (100.0, 1.0), (400.0, 2.0)])
def test_eq_7(ops, expected) -> None:
    assert capacity_penalty(torch.tensor(ops), 100.0, 0.0, 0.5).item() == pytest.approx(expected)


def test_eq_7_pulls_only_above_the_budget() -> None:
    for ops, pulls in ((99.0, False), (101.0, True)):
        value = torch.tensor(ops, requires_grad=True)
        capacity_penalty(value, 100.0, 0.0, 0.5).backward()
        assert (value.grad.item() > 0) == pulls


def test_frequencies_are_means_over_the_decisions_that_offer_an_operation() -> None:
    class Space:
        decisions = (
            Decision("a", ("conv", "none")),
            Decision("b", ("conv", "skip")),
            Decision("c", (1, 2)),
        )

    p = [torch.tensor(q) for q in ([0.25, 0.75], [0.75, 0.25], [0.5, 0.5])]
    assert frequencies(Space, p) == {"p(conv)": 0.5, "p(none)": 0.75, "p(skip)": 0.25}


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({"tau": 0.0}, "'tau' is '0.0'"),
        ({"warmup": 1.0}, "'warmup' is '1.0'"),
        ({"target": 2.0}, "'target' is '2.0'"),
    ],
)
def test_what_makes_no_search_is_refused(options, place) -> None:
    with pytest.raises(BadValue, match=place):
        find("method", "bars").make(options)
