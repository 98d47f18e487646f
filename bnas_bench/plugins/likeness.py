"""Whether numbers could be a paper's: by images, scale and length, not by what the budget is called."""

from __future__ import annotations

from functools import cache

from bnas_bench.core.budgets import BUDGETS
from bnas_bench.core.errors import BenchError
from bnas_bench.plugins.spec import parse_spec, resolve_budget

IMAGES = ("cifar10", "imagenet")
"""The datasets on which the papers compare searches, as they are called here."""


def unlike_a_paper(dataset: str, budget: str) -> str:
    """Why the numbers of a dataset and a budget are no paper's, in words; empty where they may be."""
    if not is_full(budget):
        return "a budget other than paper reproduces no paper's numbers"
    if dataset.partition(":")[0] not in IMAGES:
        return "images other than a paper's reproduce none of its numbers"
    return ""


@cache
def is_full(text: str) -> bool:
    """Whether a budget leaves length, depth, images and training to the papers; widths are a row's own."""
    try:
        found = resolve_budget(parse_spec(text), BUDGETS)
    except BenchError:
        return False  # of a record that another version wrote
    scales = (found.search, found.final)
    return (
        (found.passes, found.epochs, found.train_batch) == (None, None, None)
        and all(scale.cells is scale.image is None for scale in scales)
        and {*found.recipe} <= {"precision"}
    )
