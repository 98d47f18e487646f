"""Whether numbers could be a paper's is asked of images, scale and length."""

from __future__ import annotations

import pytest

from bnas_bench.plugins.likeness import unlike_a_paper

BUDGET, IMAGES = "a budget other than paper", "images other than a paper's"


@pytest.mark.parametrize(
    ("dataset", "budget", "why"),
    [
        ("cifar10", "paper", ""),
        ("imagenet:/x", "paper", ""),
        ("imagenet:/x", "common", ""),
        ("cifar10", "paper[final.channels=72,recipe.precision=W32A32]", ""),
        ("cifar10", "quick[passes=none,epochs=none,train_batch=none]", BUDGET),  # still small
        ("cifar10", "paper[passes=1000]", BUDGET),
        ("cifar10", "paper[epochs=1]", BUDGET),
        ("cifar10", "paper[final.image=8]", BUDGET),
        ("cifar10", "paper[recipe.lr=0.1]", BUDGET),
        ("cifar10", "standard", BUDGET),
        ("cifar10", "a budget of another version", BUDGET),
        ("digits", "quick", BUDGET),
        ("digits", "paper", IMAGES),
        ("imagefolder:cifar10", "paper", IMAGES),
    ],
)
def test_what_may_be_held_against_a_paper(dataset: str, budget: str, why: str) -> None:
    found = unlike_a_paper(dataset, budget)
    assert found.startswith(why)
    assert bool(found) == bool(why)
