"""The proxies against NumPy, and against what each is known to be."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bnas_bench.methods.proxy import (
    LOWEST,
    ON_A_BATCH,
    SCORES,
    Proxy,
    eigenvalue_score,
    grad_norm,
    shared_signs,
    snip,
    synflow,
)
from torch import Tensor, nn

from bnas_bench.core.budget import Budget, Scale
from bnas_bench.core.errors import UnknownName
from bnas_bench.data.datasets import Task, load, task
from bnas_bench.nn.network import Network
from bnas_bench.plugins.registry import find
from bnas_bench.search.meter import Meter


@cache
def space() -> Any:
    return find("space", "bnas-201").make({})


@cache
def digits() -> Task:
    images = load("digits", image=8, device="cpu", folder=Path())
    spec = space().spec(Scale(5, 4, 8), images.shape, images.classes, final=False)
    budget = Budget("test", 900, 16, search_fraction=0.05, valid_fraction=0.02)
    return task(images, spec, budget, np.random.default_rng(0))


class Line(Network):
    """A linear network of two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(3, 4, bias=False), nn.Linear(4, 2, bias=False)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        return self.first(x)


def line() -> tuple[Line, np.ndarray, np.ndarray]:
    net = Line()
    rng = np.random.default_rng(0)
    first, last = rng.normal(size=(4, 3)), rng.normal(size=(2, 4))
    with torch.no_grad():
        net.first.weight.copy_(torch.from_numpy(first))
        net.head.weight.copy_(torch.from_numpy(last))
    return net.double(), first, last


def test_gradients_of_a_linear_network() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(5, 3)), rng.integers(2, size=5)
    net, first, last = line()
    hidden = x @ first.T
    logits = hidden @ last.T
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    by_logit = (p - np.eye(2)[y]) / 5
    by_last, by_first = by_logit.T @ hidden, (by_logit @ last).T @ x
    batch = torch.from_numpy(x), torch.from_numpy(y)
    assert grad_norm(net, *batch) == pytest.approx(
        np.sqrt((by_last**2).sum() + (by_first**2).sum())
    )
    wanted = np.abs(last * by_last).sum() + np.abs(first * by_first).sum()
    assert snip(net, *batch) == pytest.approx(wanted)


def test_synflow_of_a_linear_network_is_its_flow_once_a_layer() -> None:
    """sum of w dR/dw is R for the weights of each layer, by Euler's theorem."""
    net, first, last = line()
    flow = (np.abs(last) @ np.abs(first)).sum()
    assert synflow(net, torch.zeros(1, 3), torch.zeros(1)) == pytest.approx(np.log(2 * flow))


def test_signs_that_are_shared() -> None:
    codes = np.random.default_rng(2).integers(2, size=(4, 9)).astype(bool)
    wanted = [[int((a == b).sum()) for b in codes] for a in codes]
    assert shared_signs(torch.from_numpy(codes)).tolist() == wanted


def test_eigenvalues_of_correlations() -> None:
    """Images whose gradients have nothing in common score the most, at -n (log 1 + 1)."""
    assert eigenvalue_score(torch.eye(6).double()) == pytest.approx(-6, abs=1e-3)
    alike = 0.5 * torch.eye(6).double() + 0.5
    values = np.linalg.eigvalsh(alike.numpy()) + 1e-5
    assert eigenvalue_score(alike) == pytest.approx(-(np.log(values) + 1 / values).sum())
    assert eigenvalue_score(alike) < -6


@pytest.mark.parametrize("score", ON_A_BATCH)
def test_a_cell_that_computes_scores_more_than_one_that_does_not(score: str) -> None:
    """More convolutions give more of all; an empty cell gives the lowest score, or less than others."""
    values = []
    for arch in (space().member(["none"] * 6), space().largest()):
        rng = np.random.default_rng(3)
        network = space().network(arch, digits().spec, rng)
        values.append(Proxy(score=score).of(network, digits(), rng))
    assert LOWEST <= values[0] < values[1]


@pytest.mark.parametrize("score", SCORES)
def test_the_best_of_what_was_drawn_is_found(score: str) -> None:
    method = Proxy(score=score, images=16, candidates=12)
    with Meter(100_000) as meter:
        found = method.search(space(), digits(), meter, np.random.default_rng(4))
    assert found.valid is None
    assert found.notes["candidates"] == 12
    assert found.notes["unspent"]
    logged = [entry["proxy"] for entry in meter.log]
    assert logged == sorted(logged)
    assert found.notes["proxy"] == logged[-1]
    if score == "ops":
        ops = space().ops(digits().spec)
        assert ops.of(space().path(found.best)) == logged[-1]
    spent = {"ops": 0, "parameters": 0, "synflow": 12, "nwot": 12 * 16 / 3}
    wanted = spent.get(score, 12 * 16)
    assert (
        0.9 * wanted <= meter.spent <= wanted + 1e-6
    )  # a cell that sees nothing has no derivative


@pytest.mark.parametrize(("wanted", "seen"), [(30, 30), (128, 72)])
def test_a_score_looks_at_so_many_images(wanted: int, seen: int) -> None:
    """Whatever a batch of training has; at all of 72 where there are no more."""
    looked: list[int] = []

    def size(_: Network, x: Tensor, y: Tensor) -> float:
        looked.append(len(x))
        assert len(x) == len(y)
        return 1.0

    assert len(digits().train) == 72
    rng = np.random.default_rng(5)
    network = space().network(space().largest(), digits().spec, rng)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ON_A_BATCH, "snip", size)  # type: ignore[arg-type]
        Proxy(score="snip", images=wanted).of(network, digits(), rng)
    assert looked == [seen]
    assert find("method", "proxy").make({}).images == 128  # type: ignore[attr-defined]


def test_an_unknown_proxy() -> None:
    with pytest.raises(UnknownName, match="did you mean synflow"):
        find("method", "proxy").make({"score": "synflo"})
