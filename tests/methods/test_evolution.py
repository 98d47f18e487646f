"""Regularised evolution: its two pure steps, its two scores, and how a small budget shrinks it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bnas_bench.methods.evolution import Evolution, Member, aged, tournament

from bnas_bench.core.architecture import Architecture
from bnas_bench.core.budget import Budget, Scale
from bnas_bench.core.errors import BadValue, BudgetExceeded, UnknownName
from bnas_bench.core.seeds import generator
from bnas_bench.data.datasets import Task, load, task
from bnas_bench.methods import evolution
from bnas_bench.plugins.registry import find
from bnas_bench.search.learning import ByAdam, accuracy, train_briefly
from bnas_bench.search.meter import Meter
from bnas_bench.search.scores import scored_by_training
from bnas_bench.search.strategy import SearchResult

SCALE = Scale(cells=2, channels=4, image=8)


def space() -> Any:
    return find("space", "darts-binary").make({})


@cache
def digits_task() -> Task:
    digits = load("digits", image=8, device="cpu", folder=Path())
    spec = space().spec(SCALE, digits.shape, digits.classes, final=False)
    budget = Budget("test", 900, 8, search_fraction=0.025, valid_fraction=0.01)
    return task(digits, spec, budget, np.random.default_rng(0))


def search(passes: int | None = 500, **options: Any) -> tuple[SearchResult, Meter]:
    method = Evolution(**options)
    method.validate()
    with (meter := Meter(passes)):
        task = scored_by_training(digits_task(), space(), 7, "test")
        result = method.search(space(), task, meter, np.random.default_rng(3))
    return result, meter


def members(*scores: float) -> list[Member]:
    return [({"space": str(k), "choices": {}}, score) for k, score in enumerate(scores)]


def test_a_tournament_is_won_by_the_best_of_its_sample() -> None:
    population = members(0.1, 0.9, 0.5, 0.9)
    rng, again = np.random.default_rng(0), np.random.default_rng(0)
    for _ in range(50):
        drawn = again.integers(4, size=2)
        best = max(population[k][1] for k in drawn)
        assert tournament(population, 2, rng)[1] == best
    first = [tournament(population, 1, rng)[0]["space"] for _ in range(400)]
    assert {first.count(str(k)) > 60 for k in range(4)} == {True}  # a sample of one is a draw
    assert {tournament(population, 200, rng)[1] for _ in range(20)} == {0.9}


def test_the_oldest_goes_though_it_is_the_best() -> None:
    population = members(0.9, 0.1)
    (child,) = members(0.5)
    assert aged(population, child, 3) == [*population, child]
    assert aged(population, child, 2) == [population[1], child]
    assert population == members(0.9, 0.1)


@pytest.mark.slow
def test_children_are_mutants_of_the_tournaments_winner(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole of Algorithm 1, done again with the scores that the search gave."""
    births: list[tuple[Architecture, float]] = []
    evaluate = Evolution.evaluate

    def spied(self: Evolution, space: Any, supernet: Any, arch: Architecture, *rest: Any) -> float:
        births.append((arch, evaluate(self, space, supernet, arch, *rest)))
        return births[-1][1]

    monkeypatch.setattr(Evolution, "evaluate", spied)
    result, _ = search()
    size = result.notes["population"]
    assert result.notes["candidates"] == len(births) > size == len(births) // 2
    best = max(score for _, score in births)
    assert result.valid == best
    assert result.best == next(arch for arch, score in births if score == best)
    for k in range(size, len(births)):
        alive = [arch for arch, _ in births[k - size : k]]
        changes = [
            sum(births[k][0].choices[d] != arch.choices[d] for d in arch.choices) for arch in alive
        ]
        assert 0 < min(changes) <= 2  # another operation on an edge, or the edge moved
        assert births[k][0] not in alive[int(np.argmin(changes)) :][:1]


@pytest.mark.slow
def test_a_supernets_score_is_that_of_a_path_of_trained_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[tuple[list[int], float, float]] = []
    score = evolution.accuracy

    def spied(supernet: Any, images: Any, size: int, path: list[int]) -> float:
        weights = sum(float(p.detach().sum()) for p in supernet.parameters())
        seen.append((path, weights, score(supernet, images, size, path)))
        return seen[-1][-1]

    monkeypatch.setattr(evolution, "accuracy", spied)
    result, meter = search()
    assert len({weights for _, weights, _ in seen}) == 1  # the training is over
    assert max(value for *_, value in seen) == result.valid
    training = [entry for entry in meter.log if "loss" in entry]
    assert 0.6 * 500 < training[-1]["passes"] < 0.85 * 500
    assert meter.spent <= 500


@pytest.mark.slow
def test_a_trainings_score_is_that_of_a_network_from_scratch() -> None:
    result, meter = search(score="training", candidate_epochs=1)
    each = 32 + len(digits_task().valid) / 3
    assert result.notes["candidates"] == 500 // each
    assert meter.spent == pytest.approx(result.notes["candidates"] * each)

    # The first candidate, again.
    arch = space().sample(np.random.default_rng(3))
    rng = generator(7, "test", "score", arch.id)
    network = space().network(arch, digits_task().spec, rng)
    train_briefly(network, digits_task(), rng, ByAdam(), epochs=1)
    first = next(entry for entry in meter.log if "incumbent" in entry)
    assert first["incumbent"] == arch.id
    assert first["valid"] == accuracy(network, digits_task().valid, 8)


def test_a_short_training_does_what_it_says() -> None:
    rng = np.random.default_rng(0)
    network = space().network(space().sample(rng), digits_task().spec, rng)
    before = torch.nn.utils.parameters_to_vector(network.parameters()).detach().clone()
    with (meter := Meter(None)):
        train_briefly(network, digits_task(), rng, ByAdam(lr=0.01, weight_decay=0.0), epochs=3)
    assert meter.spent == 3 * 32
    after = torch.nn.utils.parameters_to_vector(network.parameters()).detach()
    assert not torch.equal(before, after)
    # Adam moves a weight by about the rate a step; along a cosine that is half of them.
    assert (after - before).abs().max() < 0.01 * 12


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"score": "trainig"}, UnknownName, "did you mean training"),
        ({"sample": 0}, BadValue, "'sample' is '0'"),
        ({"training_share": 0.0}, BadValue, "above 0 and below 1"),
    ],
)
def test_hyperparameters_without_sense_are_refused(
    options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        find("method", "evolution").make(options)


@pytest.mark.parametrize("score", evolution.SCORES)
def test_a_budget_without_room_for_a_candidate_is_too_small(score: str) -> None:
    with pytest.raises(BudgetExceeded, match="give it a larger budget"):
        search(passes=9, score=score)
