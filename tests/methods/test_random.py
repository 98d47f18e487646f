"""Random search: the means over the paths of a supernet, DCP-NAS section 4.2.1."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from bnas_bench.methods.random import Random, expectation

from bnas_bench.core.budget import Budget, Scale
from bnas_bench.data.datasets import load, task
from bnas_bench.plugins.registry import find
from bnas_bench.search.meter import Meter


def test_an_option_is_worth_the_mean_of_the_paths_that_took_it() -> None:
    assert expectation([1.2, 0.0, 0.5], [3, 0, 1]) == pytest.approx([0.4, 0.0, 0.5])


@pytest.mark.slow
def test_the_supernet_form_follows_from_its_log() -> None:
    """The log's accuracies, given to the drawn paths by hand, lead to the same architecture."""
    space = find("space", "darts-binary").make({})
    digits = load("digits", image=None, device=torch.device("cpu"), folder=Path("data"))
    spec = space.spec(Scale(cells=2, channels=2), digits.shape, digits.classes, final=False)
    budget = Budget("test", None, 16, search_fraction=0.05, valid_fraction=0.02)
    seen = task(digits, spec, budget, np.random.default_rng(0))
    meter = Meter(6 * (len(seen.train) + len(seen.valid)))
    with meter:
        result = Random(form="supernet").search(space, seen, meter, np.random.default_rng(3))
    assert len(meter.log) >= 6

    # The same generator draws the supernet's seed, then per epoch a path and the batches.
    rng = np.random.default_rng(3)
    space.supernet(spec, rng)
    tables = [np.zeros((2, len(decision.options))) for decision in space.decisions]
    for entry in meter.log:
        path = space.path(space.sample(rng))
        for _ in seen.train.batches(seen.batch_size, rng, seen.augment, drop_last=True):
            pass
        for table, option in zip(tables, path, strict=True):
            table[:, option] += entry["path_valid"], 1
    means = [table[0] / np.where(table[1] == 0, 1, table[1]) for table in tables]
    assert result.best == space.derive(means)
    assert meter.log[-1]["incumbent"] == result.best.id


def test_a_supernets_latent_weights_take_longer_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of the searches that are held against it: the steps that it takes stand for the paper's."""
    factors: list[float] = []
    monkeypatch.setattr("bnas_bench.methods.random.stretch", lambda _, by: factors.append(by))
    space = find("space", "darts-binary").make({})
    digits = load("digits", image=None, device=torch.device("cpu"), folder=Path("data"))
    spec = space.spec(Scale(cells=2, channels=2), digits.shape, digits.classes, final=False)
    budget = Budget("test", None, 16, search_fraction=0.05, valid_fraction=0.02)
    seen = task(digits, spec, budget, np.random.default_rng(0))
    with Meter(3 * (len(seen.train) + len(seen.valid))) as meter:
        Random(form="supernet").search(space, seen, meter, np.random.default_rng(3))
    (factor,) = factors
    steps = 105 * (25_000 // 512) / factor
    assert int(steps / (len(seen.train) // 16)) == len(meter.log) >= 3
