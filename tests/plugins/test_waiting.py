"""On a GPU no loop over images makes host and device wait for each other: every method on every space.

Whole searches run on a GPU that is none (`tests/helpers/fake_gpu.py`), as do trainings and evaluations of
derived networks.
"""

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bnas_bench.core.budget import Recipe
from bnas_bench.core.seeds import generator
from bnas_bench.data.datasets import Dataset, Task, load, task
from bnas_bench.plugins.checks.contract import TINY
from bnas_bench.plugins.checks.rehearsal import BUDGET
from bnas_bench.plugins.registry import discover, find
from bnas_bench.runs.train import train
from bnas_bench.search.checkpoint import Checkpoint
from bnas_bench.search.learning import BySGD, adam, set_lr, top_accuracies
from bnas_bench.search.meter import Meter
from bnas_bench.search.scores import scored_by_training
from bnas_bench.search.space import SearchSpace
from tests.helpers.fake_gpu import GPU, FakeGPU, fake_gpu

ONCE = ("proxy",)
"""Methods that look at one batch of every candidate: there is no loop over images."""

METHODS = [name for name in discover("method") if name not in ONCE]
SPACES = list(discover("space"))

STAGED = {"evolution": 120, "nasbnn": 120}
"""Passes of the searches whose second stage is another loop: these run to their end."""

QUICK = (("pcdarts", "bats"), ("evolution", "handcrafted"))
"""What `make test` tries: a search by gradients, and one with evaluations."""

SMALL = replace(BUDGET, batch_size=8, search_fraction=0.012, valid_fraction=0.013)
"""Two batches to train on and two to validate on."""


class Plain(Meter):
    """Counts passes, and no memory."""

    def __init__(self, passes: int | None) -> None:
        super().__init__(passes)
        self.step_bytes, self._steady = 0, True


class Halfway(Plain):
    """In the middle of a search, when warm-ups are over; one epoch."""

    progress = 0.5

    def epochs(self, **how):
        yield next(super().epochs(**how))


def digits() -> Dataset:
    return load("digits", image=TINY.image, device=GPU, folder=Path())


def searched(space: SearchSpace) -> Task:
    dataset = digits()
    spec = space.spec(space.fit(TINY), dataset.shape, dataset.classes, final=False)
    return task(dataset, spec, SMALL, generator(0, "waiting", "task"))


def watched(method: str, space: str, options: dict[str, Any]) -> FakeGPU:
    """The GPU after a search."""
    strategy, where = find("method", method).make(options), find("space", space).make({})
    if strategy.refuses(where):
        pytest.skip("a pair that makes no sense")
    meter = Plain(STAGED[method]) if method in STAGED else Halfway(None)
    with fake_gpu() as gpu, meter:
        seen = scored_by_training(searched(where), where, 0, "waiting")
        strategy.search(where, seen, meter, generator(0, "waiting", "search"))
    assert gpu.batches >= 4  # two readings, or more
    return gpu


@pytest.mark.parametrize(
    ("method", "space"),
    [
        pytest.param(*pair, marks=[pytest.mark.slow] * (pair not in QUICK))
        for pair in product(METHODS, SPACES)
    ],
)
def test_searches_do_not_wait(method: str, space: str) -> None:
    assert watched(method, space, {}).in_every_batch() == []


FORMS = {
    "random": {"form": "supernet"},
    "evolution": {"score": "training"},
    "darts": {"decoupled": True, "precision": "W32A32"},
    "dcpnas": {"hessian": "exact-hvp", "distance": "cosine"},
    "nasbnn": {"teacher": "none"},
}
"""Options that choose another way through a step."""


@pytest.mark.slow
@pytest.mark.parametrize("method", FORMS)
def test_other_forms_do_not_wait(method: str) -> None:
    assert watched(method, "bnas-201", FORMS[method]).in_every_batch() == []


@pytest.mark.sample(1)
@pytest.mark.parametrize("name", SPACES)
def test_trainings_and_evaluations_do_not_wait(name: str, tmp_path) -> None:
    space, rng = find("space", name).make({}), generator(0, "waiting", "training")
    with fake_gpu() as gpu:
        dataset = digits()
        part = replace(dataset, train=dataset.train.subset(np.arange(32)))
        spec = space.spec(space.fit(TINY), dataset.shape, dataset.classes, final=True)
        network = space.network(space.sample(rng), spec, rng).to(GPU)
        recipe = Recipe(epochs=1, batch_size=8, label_smoothing=0.1)
        train(network, part, recipe, rng, Checkpoint(tmp_path / "none"))
        top_accuracies(network, part.train, 8, (1, 5))
    assert gpu.batches == 8
    assert gpu.in_every_batch() == []


def crossed(work) -> list[str]:
    with fake_gpu() as gpu:
        numbers = torch.arange(6.0, device=GPU)
        before = len(gpu.crossings)
        work(gpu, numbers)
    return [crossing.operator for crossing in gpu.crossings[before:]]


WAITS = {
    "a number": lambda _, x: x.sum().item(),
    "a truth": lambda _, x: bool((x > 0).all()),
    "a list": lambda _, x: x.tolist(),
    "an array": lambda _, x: x.cpu().numpy(),
    "a mask": lambda _, x: x[x > 2],
    "places": lambda _, x: (x > 2).nonzero(),
    "an unknown length": lambda _, x: x.repeat_interleave(torch.ones_like(x).long()),
    "a constant": lambda _, x: x * torch.tensor([1.0] * 6, device=GPU),
    "places on the host": lambda _, x: x[torch.tensor([1, 2])],
    "places of Python's": lambda _, x: x[[1, 2]],
    "pageable memory": lambda *_: torch.ones(6).to(GPU, non_blocking=True),
    "a copy into": lambda _, x: x.copy_(torch.ones(6)),
}
GOES_ON = {
    "numbers of Python's": lambda _, x: (x * 2 + 1).clamp(min=3).pow(0.5),
    "a number written": lambda _, x: x[2:].fill_(3.0),
    "a known length": lambda _, x: x.repeat_interleave(torch.ones_like(x).long(), output_size=6),
    "constants made there": lambda _, x: x + torch.eye(6, device=x.device)[2],
    "pinned memory": lambda *_: torch.ones(6).pin_memory().to(GPU, non_blocking=True),
}


@pytest.mark.parametrize("what", WAITS)
def test_the_fake_gpu_sees_what_waits(what: str) -> None:
    assert len(crossed(WAITS[what])) == 1


@pytest.mark.parametrize("what", GOES_ON)
def test_the_fake_gpu_lets_go_on(what: str) -> None:
    assert crossed(GOES_ON[what]) == []


def test_the_fake_gpu_refuses_tensors_of_two_devices() -> None:
    with pytest.raises(RuntimeError, match="cuda:0 and on the CPU"):
        crossed(lambda _, x: x + torch.ones(6))


def test_a_loop_that_waits_is_told_from_a_reading_at_its_end() -> None:
    def evaluated(read_each: bool) -> FakeGPU:
        with fake_gpu() as gpu:
            total = torch.zeros((), device=GPU)
            for x, _ in digits().test.batches(180):
                total += x.sum()
                if read_each:
                    total.item()
            total.item()
        return gpu

    assert evaluated(read_each=False).in_every_batch() == []
    (place,) = evaluated(read_each=True).in_every_batch()
    assert "_local_scalar_dense" in place


def test_rates_are_kept_when_a_run_is_resumed(tmp_path) -> None:
    with fake_gpu():
        weight = torch.nn.Parameter(torch.ones(3, device=GPU))
        weight.grad = torch.ones(3, device=GPU)
        state = {"weight": weight, "optimiser": adam([weight], 0.1, 0.0)}
        state["optimiser"].step()
        Checkpoint(tmp_path / "kept").save(state, {}, force=True)
        fresh = {"weight": weight.detach().clone().requires_grad_()}
        fresh["optimiser"] = adam([fresh["weight"]], 0.3, 0.0)
        assert Checkpoint(tmp_path / "kept").load(fresh) == {}
        for each in (state, fresh):
            set_lr(each["optimiser"], 0.2)
            each["weight"].grad = torch.ones(3, device=GPU)
            each["optimiser"].step()
        assert fresh["optimiser"].param_groups[0]["lr"].device == GPU
        assert fresh["weight"].tolist() == weight.tolist()


@pytest.mark.parametrize(
    "make",
    [
        lambda weights: adam(weights, 0.1, 0.0),
        lambda weights: BySGD(lr=0.1).optimiser(torch.nn.ParameterList(weights)),
    ],
)
def test_rates_lie_on_the_gpu(make) -> None:
    """A step that was captured once takes the rate of the day: nothing of it is Python's number."""
    steps = []
    with fake_gpu() as gpu:
        weight = torch.nn.Parameter(torch.ones(3, device=GPU))
        optimiser = make([weight])
        weight.grad = torch.ones(3, device=GPU)
        held = optimiser.param_groups[0]["lr"]
        before = len(gpu.crossings)
        for rate in (0.1, 0.0, 0.2):
            set_lr(optimiser, rate)
            old = weight.detach().clone()
            optimiser.step()
            steps.append((weight.detach() - old).abs().sum())
        assert gpu.crossings[before:] == []
        assert held is optimiser.param_groups[0]["lr"]
        first, none, last = torch.stack(steps).tolist()
    assert none == 0
    assert last > first > 0
