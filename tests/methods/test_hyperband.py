"""Hyperband: its arithmetic against the paper's example, and its rounds against scores that are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from bnas_bench.methods.hyperband import Hyperband, best_of, brackets, most_halvings

from bnas_bench.core.architecture import Architecture
from bnas_bench.core.errors import BadValue, BudgetExceeded
from bnas_bench.plugins.registry import find
from bnas_bench.search.meter import Meter
from bnas_bench.search.strategy import SearchResult
from tests.helpers.scores import Asked, asked_task, true_score


def test_the_brackets_of_the_papers_example() -> None:
    """JMLR 2018, section 3.2: R = 81, eta = 3; the first and the last bracket of its Table 1."""
    assert most_halvings(81, 3) == 4
    first, *_, last = brackets(81, 3)
    assert first == [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)]
    assert last == [(5, 81)]
    for longest, eta in ((81, 3), (10, 3), (1, 3), (27, 2), (26, 3)):
        found = brackets(longest, eta)
        assert len(found) == most_halvings(longest, eta) + 1
        for rounds in found:
            assert rounds[-1].epochs == longest
            assert rounds[-1].architectures >= 1
            assert all(r.epochs >= 1 for r in rounds)


def test_the_best_of_scores() -> None:
    assert best_of([0.1, 0.9, 0.5, 0.9], 3) == [1, 3, 2]


def search(passes: int | None, **options: int) -> tuple[SearchResult, Asked, Meter]:
    with Meter(passes) as meter:
        space, task, asked = asked_task(meter)
        result = Hyperband(**options).search(space, task, meter, np.random.default_rng(0))
    return result, asked, meter


def test_the_rounds_go_on_with_the_best() -> None:
    result, asked, _ = search(None, epochs=9, eta=3)
    calls = asked.calls
    place = 0
    for rounds in brackets(9, 3):
        before: list[tuple[Architecture, int]] = []
        for architectures, epochs in rounds:
            now = calls[place : place + architectures]
            place += architectures
            assert {r for _, r in now} == {epochs}
            if before:
                scores = sorted((true_score(a, r) for a, r in before), reverse=True)
                assert [true_score(a, before[0][1]) for a, _ in now] == scores[:architectures]
            before = now
    assert place == len(calls) == result.notes["candidates"]
    assert result.valid == max(true_score(*call) for call in calls)


def test_a_budget_bounds_the_longest_training() -> None:
    result, asked, meter = search(400, epochs=81)
    assert meter.spent <= 400
    assert result.notes["longest"] == max(r for _, r in asked.calls) < 81
    one = brackets(int(result.notes["longest"]), 3)[0]
    assert sum(n * asked.passes(r) for n, r in one) <= 400
    with pytest.raises(BudgetExceeded):
        search(2)


def test_a_table_bounds_it_as_well() -> None:
    with Meter(None) as meter:
        space, task, asked = asked_task(meter)
        task = replace(task, scorer=replace(asked, longest=4))
        result = Hyperband().search(space, task, meter, np.random.default_rng(0))
    assert result.notes["longest"] == 4


def test_an_eta_that_ends_no_round() -> None:
    with pytest.raises(BadValue, match="give 2 or more"):
        find("method", "hyperband").make({"eta": 1})
