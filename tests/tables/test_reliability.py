"""Reliability against simulations whose variances are known, and against SciPy's analysis of variance."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from bnas_bench.core.errors import BadValue
from bnas_bench.tables.reliability import count_of_best, icc, reliability


def drawn(
    rng: np.random.Generator, architectures: int, seeds: int, between: float, noise: float
) -> tuple[np.ndarray, np.ndarray]:
    """True values, and what is measured at each seed."""
    true_N = 80 + between * rng.standard_normal(architectures)
    return true_N, true_N[:, None] + noise * rng.standard_normal((architectures, seeds))


@pytest.mark.parametrize(
    ("seeds", "between", "noise"), [(3, 7.6, 1.3), (3, 2.0, 2.0), (5, 1.0, 3.0), (2, 0.0, 1.0)]
)
def test_known_variances_are_found(seeds: int, between: float, noise: float) -> None:
    _, values_NS = drawn(np.random.default_rng(1), 20_000, seeds, between, noise)
    found = reliability(values_NS, resamples=99)
    wanted = between**2 / (between**2 + noise**2 / seeds)
    assert found.reliability == pytest.approx(wanted, abs=0.02)
    assert found.sd_seeds == pytest.approx(noise, rel=0.02)
    assert found.sd_between == pytest.approx(between, rel=0.03, abs=0.15)
    assert (found.architectures, found.seeds) == (20_000, seeds)


def test_it_is_that_of_an_analysis_of_variance() -> None:
    _, values_NS = drawn(np.random.default_rng(2), 30, 4, 2.0, 1.0)
    f = stats.f_oneway(*values_NS).statistic
    assert icc(values_NS.mean(1), values_NS.var(1, ddof=1), 4) == pytest.approx(1 - 1 / f)
    assert reliability(values_NS, resamples=9).reliability == pytest.approx(1 - 1 / f)


@pytest.mark.parametrize(
    ("over_all", "of_best", "estimate"), [(0.95, 0.82, 0.80), (0.81, 0.51, 0.22)]
)
def test_of_the_best_it_is_less_than_what_the_true_values_explain(
    over_all: float, of_best: float, estimate: float
) -> None:
    """The squared correlation of the means with the true values, among those of the highest means."""
    noise = np.sqrt(3 * (1 / over_all - 1))
    true_N, values_NS = drawn(np.random.default_rng(3), 100_000, 3, 1.0, noise)
    means_N = values_NS.mean(1)
    best = means_N >= np.quantile(means_N, 0.75)
    explained = np.corrcoef(true_N[best], means_N[best])[0, 1] ** 2
    found = reliability(values_NS, top=0.25, resamples=9)
    assert reliability(values_NS, resamples=9).reliability == pytest.approx(over_all, abs=0.005)
    assert explained == pytest.approx(of_best, abs=0.01)
    assert found.reliability == pytest.approx(estimate, abs=0.015)
    assert found.architectures == 25_000


@pytest.mark.slow
@pytest.mark.parametrize("top", [1.0, 0.25])
def test_intervals_hold_the_value_of_many_architectures(top: float) -> None:
    """95 % intervals of 200 tables of 200 architectures each."""
    rng = np.random.default_rng(4)
    value = reliability(drawn(rng, 200_000, 3, 2.0, 1.5)[1], top, resamples=2).reliability
    hits = 0
    for _ in range(200):
        found = reliability(drawn(rng, 200, 3, 2.0, 1.5)[1], top, resamples=299)
        hits += found.lower <= value <= found.upper
    assert 0.87 <= hits / 200 <= 0.99


def test_intervals_narrow_with_architectures_and_are_the_same_again() -> None:
    rng = np.random.default_rng(5)
    widths = []
    for architectures in (50, 800):
        values_NS = drawn(rng, architectures, 3, 2.0, 1.5)[1]
        found = reliability(values_NS)
        assert found == reliability(values_NS)
        assert found.lower < found.reliability < found.upper
        widths.append(found.upper - found.lower)
    assert widths[1] < widths[0] / 2


@pytest.mark.filterwarnings("error")
def test_equal_means_are_not_reliable() -> None:
    found = reliability(np.tile([1.0, 2.0], (8, 1)), resamples=9)
    assert (found.reliability, found.upper) == (-np.inf, -np.inf)
    assert (found.sd_between, found.sd_seeds) == (0, pytest.approx(np.sqrt(0.5)))


@pytest.mark.parametrize(
    ("shape", "top"), [((8, 1), 1.0), ((7, 3), 1.0), ((28, 3), 0.25), ((8, 3), 0.0), ((8, 3), 1.5)]
)
def test_too_few_tell_nothing(shape: tuple[int, int], top: float) -> None:
    with pytest.raises(BadValue, match="tell nothing of reliability"):
        reliability(np.zeros(shape), top)


def test_the_best_quarter_of_200_are_50() -> None:
    assert [count_of_best(200, share) for share in (0.25, 1.0, 0.1, 0.3)] == [50, 200, 20, 60]
