"""Searches and a training by two ranks, against one process with the same seeds."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bnas_bench.core.budget import Recipe
from tests.helpers import several
from tests.helpers.ranks import by_all
from tests.runs.test_train import dataset

RECIPE = Recipe(epochs=3, batch_size=15, lr=0.02, weight_decay=0.01, clip=0.5, cutout=0.25)


def test_a_training_has_the_losses_of_one_process(tmp_path: Path) -> None:
    """In float32, shares of seven and eight images; all ranks end with the same network."""
    for together, alone, apart in by_all(several.training, tmp_path, dataset(), RECIPE, tmp_path):
        assert together == pytest.approx(alone, rel=1e-5)
        assert apart < 1e-4


@pytest.mark.parametrize(
    "method",
    [
        pytest.param("darts"),
        pytest.param("evolution"),
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in (
                *("nasbnn", "bars", "cpnas", "dcpnas", "random[form=supernet]", "pcdarts"),
                *("dcpnas[hessian=exact-hvp]", "dcpnas[hessian=exact-matrix]", "random"),
            )
        ),
    ],
)
def test_a_search_goes_the_way_of_one_process(tmp_path: Path, method: str) -> None:
    """In float64, where rounding decides no sign: the log, what is found; passes are counted once."""
    for outcomes in by_all(several.searches, tmp_path, method, "bnas-201", torch.float64):
        found, expected, apart = outcomes
        assert max(apart) < 1e-9
        assert found.spent == expected.spent
        assert found.forwards == expected.forwards
        assert found.result.best == expected.result.best
        assert len(found.log) == len(expected.log)
        for ours, theirs in zip(found.log, expected.log, strict=True):
            assert ours.keys() == theirs.keys()
            for name, value in theirs.items():
                if isinstance(value, float):
                    value = pytest.approx(value, rel=1e-6, abs=1e-9)
                assert ours[name] == value


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "space"),
    [
        ("darts", "darts-binary"),
        ("dcpnas", "bnas-201"),
        ("evolution", "bnas-201"),
        ("nasbnn", "nas-bnn"),
        ("bars", "bars"),
    ],
)
def test_in_single_precision_the_first_passes_do(tmp_path: Path, method: str, space: str) -> None:
    """Until a value lies so near zero that rounding decides its sign."""
    first, second = by_all(several.searches, tmp_path, method, space, torch.float32)
    found, expected, apart = first
    assert max(apart[:2]) < 1e-4
    assert found.spent == expected.spent
    assert second[0].log == found.log  # the ranks decide alike, come what may
