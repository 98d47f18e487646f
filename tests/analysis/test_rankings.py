"""Several searches' taus: the mean and its interval, and where there is none, one search's own."""

from __future__ import annotations

from typing import Any

import pytest

from bnas_bench.analysis.rankings import over_seeds


def row(seed: int, tau: float | None, truth: str = "W1A1") -> dict[str, Any]:
    return {
        "method": "evolution",
        "of": "supernet",
        "precision": "W1A1",
        "seed": seed,
        "truth": truth,
        "n": 500,
        "tau": tau,
        "lower": -0.5,
        "upper": 0.5,
        "passes": 100.0 + seed,
        "passes_each": 9.0,
    }


def test_seeds_have_a_mean_and_a_t_interval() -> None:
    (found,) = over_seeds([row(0, 0.1), row(1, 0.2), row(2, 0.3)])
    half = 4.302653 * 0.1 / 3**0.5  # the t quantile of two degrees of freedom
    assert (found["tau"], found["passes"], found["seeds"]) == (pytest.approx(0.2), 101, 3)
    assert (found["lower"], found["upper"]) == pytest.approx((0.2 - half, 0.2 + half))
    assert (found["over"], found["n"]) == ("seeds", 500)


@pytest.mark.parametrize("taus", [[0.2], [0.2, 0.3], [0.2, 0.2, 0.2]])
def test_without_an_interval_over_seeds_there_is_one_over_architectures(taus: list[float]) -> None:
    (found,) = over_seeds([row(seed, tau) for seed, tau in enumerate(taus)])
    assert found["tau"] == pytest.approx(sum(taus) / len(taus))
    assert (found["lower"], found["upper"], found["over"]) == (-0.5, 0.5, "architectures")


def test_truths_stand_apart_and_a_tau_that_is_missing_is_not_left_out() -> None:
    rows = [row(0, 0.1), row(0, 0.7, "W32A32"), row(1, None), row(1, 0.7, "W32A32"), row(2, 0.1)]
    one, other = over_seeds(rows)
    assert (one["truth"], one["tau"], one["seeds"]) == ("W1A1", None, 3)
    assert (other["truth"], other["tau"], other["seeds"]) == ("W32A32", pytest.approx(0.7), 2)
