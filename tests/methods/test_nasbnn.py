"""NAS-BNN: Eq. (4) against NumPy, the sandwich's steps, and the evolution over a range of OPs."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bnas_bench.methods.nasbnn import NASBNN, sandwich
from torch import nn

from bnas_bench.core.architecture import Architecture
from bnas_bench.core.budget import Budget, Scale
from bnas_bench.core.errors import BadValue, BudgetExceeded, UnknownName
from bnas_bench.data.datasets import Task, load, task
from bnas_bench.methods import nasbnn
from bnas_bench.nn.binary import Precision
from bnas_bench.nn.darts.supernet import CellSupernet
from bnas_bench.nn.network import Counted
from bnas_bench.plugins.registry import find
from bnas_bench.search.checkpoint import Checkpoint
from bnas_bench.search.front import FrontSearch, bin_of, pareto, scaled
from bnas_bench.search.learning import Division, accuracy
from bnas_bench.search.meter import Meter
from bnas_bench.search.strategy import Candidate, SearchResult

RNG = np.random.default_rng(0)
SCALE = Scale(cells=2, channels=4, image=8)
BUDGET = Budget("test", 900, 8, search_fraction=0.025, valid_fraction=0.01, search=SCALE)


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def space() -> Any:
    return find("space", "darts-binary").make({})


@cache
def digits_task(batch_size: int = 8) -> Task:
    digits = load("digits", image=8, device="cpu", folder=Path())
    spec = space().spec(SCALE, digits.shape, digits.classes, final=False)
    budget = Budget("test", 900, batch_size, search_fraction=0.025, valid_fraction=0.01)
    return task(digits, spec, budget, np.random.default_rng(0))


def search(passes: int | None = 900, **options: Any) -> tuple[SearchResult, Meter]:
    method = NASBNN(**options)
    method.validate()
    with (meter := Meter(passes)):
        result = method.search(space(), digits_task(), meter, np.random.default_rng(3))
    return result, meter


@pytest.mark.parametrize("distil", [True, False])
def test_eq_4(distil: bool) -> None:
    labels = np.array([0, 2, 1, 1])
    largest, *subnets = RNG.normal(size=(4, 4, 3))
    rows = np.arange(4)

    def cross_entropy(z: np.ndarray) -> float:
        return -np.mean(np.log(softmax(z))[rows, labels])

    def kl(z: np.ndarray) -> float:
        p, q = softmax(largest), softmax(z)
        return np.mean((p * np.log(p / q)).sum(1))

    expected = [cross_entropy(largest), *map(kl if distil else cross_entropy, subnets)]
    y_l = torch.from_numpy(largest).requires_grad_()
    logits = [torch.from_numpy(z).requires_grad_() for z in subnets]
    terms = list(sandwich(y_l, logits, torch.from_numpy(labels), distil=distil))
    np.testing.assert_allclose([term.item() for term in terms], expected)

    # The Bi-Teacher learns from the labels alone; a subnet's derivative is that of its own term.
    sum(terms).backward()
    onehot = np.eye(3)[labels]
    target = softmax(largest) if distil else onehot
    np.testing.assert_allclose(y_l.grad.numpy(), (softmax(largest) - onehot) / 4)
    for z, y in zip(subnets, logits, strict=True):
        np.testing.assert_allclose(y.grad.numpy(), (softmax(z) - target) / 4)


def test_a_term_is_there_before_the_next_subnet_runs() -> None:
    ran: list[int] = []

    def subnets() -> Any:
        for k in range(2):
            ran.append(k)
            yield torch.zeros(1, 2)

    terms = sandwich(torch.zeros(1, 2), subnets(), torch.zeros(1, dtype=torch.int64))
    assert [(next(terms).item() >= 0, len(ran)) for _ in range(3)] == [
        (True, 0),
        (True, 1),
        (True, 2),
    ]


def test_bins_divide_the_range() -> None:
    # 2 M OPs from 20 to 180 M: 80 bins.
    assert [bin_of(m, 20, 180, 80) for m in (20, 21.9, 22, 100, 179, 180)] == [0, 0, 1, 40, 79, 79]
    assert bin_of(7, 7, 7, 80) == 0


def test_pareto_keeps_what_nothing_cheaper_matches() -> None:
    def candidate(name: str, valid: float, ops: float) -> Candidate:
        return Candidate(Architecture(name, {}), valid, ops)

    candidates = [
        candidate("dear", 0.9, 9),
        candidate("cheap", 0.5, 1),
        candidate("matched", 0.5, 2),
        candidate("same price", 0.6, 3),
        candidate("same price, worse", 0.55, 3),
        candidate("dominated", 0.4, 4),
        candidate("as good, dearer", 0.9, 10),
    ]
    assert [c.arch.space for c in pareto(candidates)] == ["cheap", "same price", "dear"]


def test_an_evolution_is_scaled_to_its_evaluations() -> None:
    assert scaled(5632, 512, 20, 256) == (512, 20, 256)
    for evaluations in range(1, 400):
        population, rounds, children = scaled(evaluations, 512, 20, 256)
        assert population >= 1
        assert 1 <= rounds <= 20
        assert evaluations - rounds < population + rounds * children <= evaluations
    assert scaled(12, 512, 20, 256) == (8, 1, 4)
    assert scaled(5632 + 300, 512, 20, 256) == (512, 21, 256)
    population, rounds, children = scaled(1408, 512, 20, 256)
    assert (population / 512, children / 256) == pytest.approx((rounds / 20,) * 2, abs=0.1)


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    ("teacher", "precision"),
    [("FWBA", "W32A1"), ("BWBA", "W1A1"), ("FWFA", "W32A32"), ("none", "W32A1")],
)
def test_a_step_runs_the_largest_the_smallest_and_random_ones(
    teacher: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[str, list[int], float]] = []
    forward = CellSupernet.features
    rates: list[float] = []

    def spied(self: CellSupernet, x: torch.Tensor, mix: Any) -> torch.Tensor:
        ran.append((self.precision.value, list(mix), float(x.sum())))
        return forward(self, x, mix)

    monkeypatch.setattr(CellSupernet, "features", spied)
    monkeypatch.setattr(nasbnn, "set_lr", lambda _, lr: rates.append(lr))
    search(450, teacher=teacher)
    largest, smallest = space().path(space().largest()), space().path(space().smallest())
    steps = [ran[k : k + 4] for k in range(0, len(ran), 4)]
    assert len(steps) == len(rates) >= 10
    for first, second, *randoms in steps:
        assert first[:2] == (precision, largest)
        assert second[:2] == ("W1A1", smallest)
        assert [r[0] for r in randoms] == ["W1A1", "W1A1"]
        assert len({images for _, _, images in (first, second, *randoms)}) == 1
    assert len({tuple(path) for step in steps for _, path, _ in step[2:]}) > len(steps)
    expected = [5e-4 * (1 + np.cos(np.pi * k / len(steps))) / 2 for k in range(len(steps))]
    np.testing.assert_allclose(rates, expected)


def test_gradients_of_a_step_add_up_over_the_subnets(monkeypatch: pytest.MonkeyPatch) -> None:
    """What reaches the optimiser is the derivative of Eq. (4), taken at once."""
    rng = np.random.default_rng(5)
    supernet = space().supernet(digits_task().spec, rng)
    grads: dict[str, torch.Tensor] = {}
    optimiser = torch.optim.SGD(supernet.parameters(), 0.0)

    def keep() -> None:
        grads.update(
            {n: p.grad.clone() for n, p in supernet.named_parameters() if p.grad is not None}
        )

    monkeypatch.setattr(optimiser, "step", keep)
    plan = Division(1, 1, 1, 1)
    before = rng.bit_generator.state
    learnt = NASBNN().train(space(), supernet, optimiser, plan, 0, digits_task(), rng)

    rng.bit_generator.state = before
    x, y = next(digits_task().train.batches(8, rng, digits_task().augment, drop_last=True))
    paths = [space().path(space().smallest())]
    paths += [space().path(space().sample(rng)) for _ in range(2)]
    supernet.zero_grad()
    supernet.precision = Precision.W32A1
    y_l = supernet(x, space().path(space().largest()))
    supernet.precision = Precision.W1A1
    subnets = [supernet(x, path) for path in paths]
    total = sum(sandwich(y_l, subnets, y, smoothing=0.1))
    total.backward()
    assert learnt["loss"] == pytest.approx(total.item(), rel=1e-5)
    right = [int((logits.argmax(1) == y).sum()) for logits in subnets[1:]]  # not the smallest's
    assert learnt["subnet_accuracy"] == pytest.approx(sum(right) / 16)
    assert grads
    for name, parameter in supernet.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(grads[name], parameter.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_the_front_the_best_and_the_heir_agree() -> None:
    result, meter = search(passes=500, training_share=0.5, recalibration=2)
    front = result.front
    assert len(front) >= 2
    assert result.best == front[-1].arch
    assert result.valid == front[-1].valid == max(c.valid for c in front)
    formula = space().ops(digits_task().spec)
    assert [c.ops for c in front] == sorted(formula.of(space().path(c.arch)) for c in front)
    # The heir is the best one as it was evaluated: nothing is computed anew.
    spent = meter.spent
    assert result.heir is not None
    assert not result.heir.training
    assert accuracy(result.heir, digits_task().valid, 8) == result.valid
    assert meter.spent == spent <= 500
    statistics = [m.running_mean for m in result.heir.modules() if isinstance(m, nn.BatchNorm2d)]
    assert any(mean.abs().max() > 0 for mean in statistics)
    assert result.finetune == (1e-5, ())
    assert search(200, finetune=(25, 50), finetune_lr=1e-3)[0].finetune == (1e-3, (25, 50))


class Killed(BaseException):
    pass


def counted(
    checkpoint: Checkpoint | None = None, kill_after: float = math.inf
) -> tuple[SearchResult, int]:
    """A search that is killed after that number of forward passes, and how many it made."""
    forwards: list[None] = []

    def count(_: torch.Tensor) -> None:
        forwards.append(None)
        if len(forwards) >= kill_after:
            raise Killed

    Counted.listeners.append(count)
    try:
        with (meter := Meter(400, checkpoint)):
            method, rng = NASBNN(training_share=0.5, recalibration=2), np.random.default_rng(3)
            return method.search(space(), digits_task(), meter, rng), len(forwards)
    finally:
        Counted.listeners.remove(count)


@pytest.fixture(scope="module")
def undisturbed() -> tuple[SearchResult, int]:
    return counted()


@pytest.mark.slow
@pytest.mark.parametrize("part", [0.3, 0.8, 1.0])
def test_killed_in_either_phase_it_hands_on_the_same_heir(
    part: float, undisturbed: tuple[SearchResult, int], tmp_path: Path
) -> None:
    whole, total = undisturbed
    checkpoint = Checkpoint(tmp_path / "search.ckpt", math.inf)
    with pytest.raises(Killed):
        counted(checkpoint, max(1, round(part * total)))
    resumed, forwards = counted(checkpoint)
    assert forwards < total
    assert resumed.front == whole.front
    assert resumed.heir is not None
    assert whole.heir is not None
    for name, tensor in whole.heir.state_dict().items():
        assert torch.equal(resumed.heir.state_dict()[name], tensor)


@pytest.mark.slow
def test_no_architecture_is_evaluated_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluated: list[str] = []
    network = FrontSearch.network

    def spied(self: FrontSearch, arch: Architecture) -> Any:
        evaluated.append(arch.id)
        return network(self, arch)

    monkeypatch.setattr(FrontSearch, "network", spied)
    result, _ = search(
        passes=600,
        training_share=0.2,
        recalibration=1,
        population=8,
        crossovers=2,
        mutations=2,
    )
    *evaluated, heir = evaluated
    assert len(evaluated) == len(set(evaluated)) == result.notes["candidates"] > 40
    assert result.notes["rounds"] > 1
    assert heir == result.best.id


def evolution(**options: Any) -> FrontSearch:
    return NASBNN(**options).evolution(space(), digits_task(), np.random.default_rng(0))


def ends() -> tuple[float, float]:
    whole = evolution()
    return whole.low / 1e6, whole.high / 1e6


def test_the_range_bounds_every_candidate() -> None:
    low, high = ends()
    assert 0 < low < high
    third = (high - low) / 3
    within = evolution(low=low + third, high=high - third)
    within.populate(20)
    queue = [Architecture.from_json(arch) for arch in within.state["queue"]]
    assert len(set(queue)) == len(queue) == 20
    within.state["kept"] = {0: (queue[0].to_json(), 0.5, 1.0), 1: (queue[1].to_json(), 0.5, 1.0)}
    within.state["queue"].clear()
    within.breed(8)
    children = [Architecture.from_json(arch) for arch in within.state["queue"]]
    assert len(children) == 8
    assert not set(children) & set(queue)
    for arch in (*queue, *children):
        assert low + third <= within.ops(arch) / 1e6 <= high - third


@pytest.mark.parametrize("at", ["low", "high"])
def test_a_narrow_range_at_an_end_is_found_though_no_draw_meets_it(at: str) -> None:
    low, high = ends()
    edge = low if at == "low" else high
    bounds = (edge, edge + 1e-5) if at == "low" else (edge - 1e-5, edge)
    narrow = evolution(low=bounds[0] - 1e-9, high=bounds[1] + 1e-9)
    narrow.populate(2)
    assert narrow.state["queue"]


@pytest.mark.sample(1)
@pytest.mark.parametrize("where", ["above", "below", "between"])
def test_a_range_without_members_is_refused_before_anything_runs(where: str) -> None:
    low, high = ends()
    bounds = {
        "above": {"low": 2 * high},
        "below": {"high": low / 2},
        "between": {"low": low + 1e-12, "high": low + 2e-12},
    }[where]
    with pytest.raises(
        BadValue,
        match=r"no architecture of darts-binary was found between .* M OPs; .* low and high",
    ):
        search(**bounds)
    runs: list[Any] = []
    Counted.listeners.append(runs.append)
    with pytest.raises(BadValue):
        search(**bounds)
    Counted.listeners.remove(runs.append)
    assert not runs


def test_a_mutation_changes_as_many_places_as_its_probability_says() -> None:
    calls: list[None] = []
    few = evolution(mutation=0.0)
    mutate = few.space.mutate
    few.space.mutate = lambda *a: (calls.append(None), mutate(*a))[1]  # type: ignore[method-assign]
    few.mutant(few.space.smallest())
    assert len(calls) == 1
    few.mutation = 1.0
    few.mutant(few.space.smallest())
    assert len(calls) == 1 + 28


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"teacher": "FWAB"}, UnknownName, "did you mean .*FWBA"),
        ({"training_share": 1.0}, BadValue, "above 0 and below 1"),
        ({"low": 5.0, "high": 1.0}, BadValue, "rising order"),
        ({"low": "small"}, BadValue, "'low' is 'small'; it takes a number"),
        ({"finetune": (25, 0)}, BadValue, "'finetune' is '0'; it takes a whole number"),
        ({"bins": 0}, BadValue, "'bins' is '0'"),
        ({"random_subnets": -1}, BadValue, "at least 0"),
        ({"mutation": 1.5}, BadValue, "at most 1"),
    ],
)
def test_hyperparameters_without_sense_are_refused(
    options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        find("method", "nasbnn").make(options)


def test_a_budget_of_one_step_is_too_small() -> None:
    with pytest.raises(BudgetExceeded, match="give it a larger budget"):
        search(passes=40)


def test_the_papers_protocol_without_a_budget() -> None:
    plan = NASBNN().plan(digits_task(), Meter(None))
    assert (plan.trainings, plan.evaluations) == (512, 512 + 20 * 256)
