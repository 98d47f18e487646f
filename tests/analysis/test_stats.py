"""The statistics against scipy, hand counts, published examples, rliable and scikit-posthocs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from math import inf, nan, sqrt
from typing import Any

import numpy as np
import pytest
from scipy import stats as scipy_stats

from bnas_bench.analysis.stats import (
    RESAMPLES,
    Band,
    CriticalDifference,
    Curve,
    Estimate,
    Interval,
    NotEnough,
    Paired,
    RankCorrelation,
    Summary,
    anytime,
    critical_difference,
    holm,
    hypervolume,
    improvement_over_random,
    interquartile_mean,
    paired,
    performance_profile,
    probability_of_improvement,
    rank_correlation,
    summary,
    winner,
)
from bnas_bench.core.errors import BadValue

pytestmark = pytest.mark.filterwarnings("error")

X = {
    "a": [0.900, 0.882, 0.901, 0.888, 0.902, 0.914],
    "b": [0.906, 0.891, 0.927, 0.910, 0.881, 0.873],
    "c": [0.895, 0.880, 0.890, 0.907, 0.899, 0.891],
}
Y = {
    "a": [0.852, 0.885, 0.893, 0.879, 0.859, 0.874],
    "b": [0.864, 0.865, 0.886, 0.889, 0.880, 0.911],
    "c": [0.853, 0.895, 0.840, 0.892, 0.870, 0.874],
}
"""Normal draws, rounded. Numbers of rliable 1.2.0 (with arch 8) below come from these."""

DEMSAR = {
    "C4.5": [4, 1, 4, 4, 4, 1, 3, 2.5, 4, 2.5, 4, 3, 4, 3],
    "C4.5+m": [3, 2, 1, 1, 2, 2.5, 2, 2.5, 3, 2.5, 2.5, 2, 1, 1],
    "C4.5+cf": [2, 3, 2, 3, 3, 4, 4, 4, 2, 2.5, 1, 4, 2, 4],
    "C4.5+m+cf": [1, 4, 3, 2, 1, 2.5, 1, 1, 1, 2.5, 2.5, 1, 3, 2],
}
"""The ranks in table 6 of Demšar (JMLR 2006), whose printed AUC tie once more than they do."""


def reason(found: object) -> str:
    assert isinstance(found, NotEnough)
    return found.reason


def ends(interval: object) -> tuple[float, float]:
    assert isinstance(interval, Interval)
    return interval.lower, interval.upper


def estimated(found: object) -> tuple[float, float, float]:
    assert isinstance(found, Estimate)
    return found.value, *ends(found.interval)


def by_dataset(rows: Mapping[str, Sequence[float]]) -> dict[str, dict[str, float]]:
    return {
        name: {f"d{index}": value for index, value in enumerate(row)} for name, row in rows.items()
    }


def test_it_stands_on_numpy_and_scipy_alone() -> None:
    code = (
        "import sys, bnas_bench; known = {*sys.modules}; import bnas_bench.analysis.stats as s; "
        "print([m for m in sys.modules if m in ('torch', 'pandas') or m not in known and "
        "m.startswith('bnas_bench.') and not m.startswith(s.__name__)])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "['bnas_bench.analysis', 'bnas_bench.core', 'bnas_bench.core.errors']\n"


def test_mean_spread_and_interval_by_hand() -> None:
    """Student's t with 2 degrees of freedom is 4.302653 at 97.5 %."""
    found = summary([3, 1, 2])
    assert isinstance(found, Summary)
    assert (found.n, found.mean, found.sd) == (3, 2.0, 1.0)
    half = 4.302653 / sqrt(3)
    assert ends(found.interval) == pytest.approx((2 - half, 2 + half), rel=1e-6)


def test_summaries_that_lack_something() -> None:
    assert reason(summary([])) == "there are no values"
    one, same = summary([0.7]), summary([0.1, 0.1, 0.1])
    assert isinstance(one, Summary)
    assert isinstance(same, Summary)
    assert (one.n, one.mean) == (1, 0.7)
    assert reason(one.sd) == "one value has no spread"
    assert reason(one.interval) == "one value has no interval"
    assert (same.mean, same.sd) == (pytest.approx(0.1), 0.0)
    assert reason(same.interval) == "all 3 values are equal"


def test_a_winner_lies_clear_of_all_others() -> None:
    fields = {"random": Interval(80, 84), "dcpnas": Interval(85, 88), "bats": Interval(70, 82)}
    assert winner(fields) == "dcpnas"
    assert reason(winner(fields, better="lower")) == "the intervals of bats and random overlap"
    assert winner({"a": Interval(2, 3), "b": Interval(1, 1.5)}, better="lower") == "b"


def test_no_winner_where_intervals_overlap_or_lack() -> None:
    touching = {"dcpnas": Interval(84, 88), "random": Interval(80, 84), "bats": Interval(1, 2)}
    assert reason(winner(touching)) == "the intervals of dcpnas and random overlap"
    wide = {"dcpnas": Interval(84, 88), "random": Interval(70, 99), "bats": Interval(70, 85)}
    assert reason(winner(wide)) == "the interval of dcpnas overlaps those of random and bats"
    lone: dict[str, Interval | NotEnough] = {"dcpnas": Interval(84, 88)}
    lone["random"] = NotEnough("one value has no interval")
    assert reason(winner(lone)) == "random: one value has no interval"
    one = NotEnough("n is 1")
    assert reason(winner({"a": one, "b": one, "c": Interval(1, 2)})) == "a, b: n is 1"
    assert reason(winner({"a": one, "b": one})) == "all: n is 1"
    assert reason(winner({"dcpnas": Interval(1, 2)})) == "nothing to compare with"


def test_paired_by_hand() -> None:
    """Differences 1, 2, 3; with 2 degrees of freedom p = 1 - t / sqrt(2 + t^2)."""
    found = paired({0: 5, 1: 7, 2: 9, 7: 1}, {2: 6, 1: 5, 0: 4, 8: 2, 9: 3})
    assert isinstance(found, Paired)
    assert (found.n, found.difference) == (3, 2.0)
    half, t = 4.302653 / sqrt(3), 2 * sqrt(3)
    assert ends(found.interval) == pytest.approx((2 - half, 2 + half), rel=1e-6)
    assert found.t_p == pytest.approx(1 - t / sqrt(2 + t * t))
    assert found.wilcoxon_p == found.smallest_p == 0.25


@pytest.mark.parametrize("n", [2, 5, 9, 20])
def test_paired_as_scipy(n: int) -> None:
    rng = np.random.default_rng(n)
    x, y = rng.normal(0.90, 0.02, n), rng.normal(0.89, 0.02, n)
    found = paired(dict(enumerate(x)), dict(enumerate(y)))
    assert isinstance(found, Paired)
    assert found.t_p == pytest.approx(scipy_stats.ttest_rel(x, y).pvalue)
    exact = scipy_stats.wilcoxon(x - y, method="exact").pvalue
    assert found.wilcoxon_p == pytest.approx(exact)


@pytest.mark.parametrize("d", [[1, 1, 2, -1, 3, 0, 0, 2, -2], [1, -1], [2, 2, 2, 2, 2, -1]])
def test_wilcoxon_with_ties_and_zeros(d: list[float]) -> None:
    """scipy goes through all signs one by one. Hundredths make sure that rounding breaks no tie."""
    found = paired(
        {i: 0.9 + v / 100 + i / 10 for i, v in enumerate(d)}, {i: 0.9 + i / 10 for i in range(9)}
    )
    assert isinstance(found, Paired)
    every_sign = scipy_stats.PermutationMethod(n_resamples=inf)
    assert found.wilcoxon_p == pytest.approx(scipy_stats.wilcoxon(d, method=every_sign).pvalue)


def test_pairs_that_do_not_differ_or_all_alike() -> None:
    same = paired({0: 0.9, 1: 0.8, 2: 0.7}, {0: 0.9, 1: 0.8, 2: 0.7})
    assert isinstance(same, Paired)
    assert (same.difference, same.t_p, same.wilcoxon_p) == (0, 1, 1)
    assert reason(same.interval) == "all 3 differences are equal"
    shifted = paired({0: 0.9, 1: 0.8, 2: 0.7}, {0: 0.8, 1: 0.7, 2: 0.6})
    assert isinstance(shifted, Paired)
    assert reason(shifted.t_p) == "all 3 differences are equal"
    assert shifted.wilcoxon_p == 0.25
    one = paired({0: 0.9}, {0: 0.8})
    assert isinstance(one, Paired)
    assert reason(one.interval) == reason(one.t_p) == "one pair has no spread"
    assert one.wilcoxon_p == one.smallest_p == 1
    assert reason(paired({0: 0.9}, {1: 0.8})) == "no seed is shared"


def test_holm() -> None:
    """statsmodels 0.15's multipletests(method="holm") of these; and Demšar's three p, section 3.2.2."""
    p_values = {"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005, "e": 0.5, "f": 0.2}
    expected = {"a": 0.05, "b": 0.12, "c": 0.12, "d": 0.03, "e": 0.5, "f": 0.4}
    assert holm(p_values) == pytest.approx(expected)
    assert list(holm(p_values)) == list(p_values)
    demsar = holm({"C4.5+m+cf": 0.016, "C4.5+m": 0.019, "C4.5+cf": 0.607})
    assert [name for name, p in demsar.items() if p < 0.05] == ["C4.5+m+cf", "C4.5+m"]
    assert holm({"a": 0.9, "b": 0.8}) == {"a": 1, "b": 1}
    assert holm({}) == {}


def test_interquartile_mean_as_scipy_and_rliable() -> None:
    value, lower, upper = estimated(interquartile_mean(X))
    assert value == scipy_stats.trim_mean(np.concatenate(list(X.values())), 0.25)
    assert value == pytest.approx(0.8963)  # rliable's
    assert (lower, upper) == pytest.approx((0.8893, 0.9025), abs=4e-4)  # its 50,000 resamples
    scipys = scipy_stats.bootstrap(
        tuple(map(np.array, X.values())),
        lambda *runs, axis: scipy_stats.trim_mean(np.concatenate(runs, axis), 0.25, axis),
        n_resamples=RESAMPLES,
        method="percentile",
        rng=0,
    )
    assert (lower, upper) == pytest.approx(tuple(scipys.confidence_interval), rel=1e-12)
    uneven = {"a": [1.0, 2.0, 9.0], "b": [3.0, 4.0, 5.0, 6.0, 100.0]}
    assert estimated(interquartile_mean(uneven))[0] == (3 + 4 + 5 + 6) / 4


def test_runs_are_resampled_within_their_task() -> None:
    """Between far tasks all of the spread would lie; within them there is little."""
    value, lower, upper = estimated(interquartile_mean({"a": [0, 0.1, 0.2], "b": [9, 9.1, 9.2]}))
    assert value == pytest.approx(4.6)
    assert 4.4 < lower < value < upper < 4.8


def test_coverage_of_the_bootstrap() -> None:
    """Of 20 normal scores nearly 95 %. Three scores have their range, which holds the median in 3/4."""
    rng = np.random.default_rng(0)
    held = {3: 0, 20: 0}
    for n in held:
        for trial in range(400):
            _, lower, upper = estimated(interquartile_mean({"a": rng.normal(size=n)}, seed=trial))
            held[n] += lower <= 0 <= upper
    assert 0.92 <= held[20] / 400 <= 0.98
    assert held[3] / 400 == pytest.approx(0.75, abs=0.05)


def test_probability_of_improvement_as_scipy_and_rliable() -> None:
    value, lower, upper = estimated(probability_of_improvement(X, Y))
    u = [scipy_stats.mannwhitneyu(X[task], Y[task]).statistic / 36 for task in X]
    assert value == pytest.approx(np.mean(u))
    assert value == pytest.approx(0.81944444)  # rliable's
    assert (lower, upper) == pytest.approx((0.66203704, 0.94444444), abs=0.015)  # 10,000 resamples
    back = estimated(probability_of_improvement(Y, X))
    assert back[0] == pytest.approx(1 - value)
    uneven = probability_of_improvement({"a": [1, 2]}, {"a": [1, 0, 3]})
    assert estimated(uneven)[0] == (0.5 + 1 + 0 + 1 + 1 + 0) / 6


def test_improvement_over_random() -> None:
    """By hand; for many runs the interval is that of the delta method."""
    assert estimated(improvement_over_random([96, 98], [93, 95]))[0] == pytest.approx(300 / 94)
    rng = np.random.default_rng(0)
    m, r = rng.normal(0.90, 0.01, 200), rng.normal(0.80, 0.02, 100)
    value, lower, upper = estimated(improvement_over_random(m, r))
    ratio = m.mean() / r.mean()
    variance = m.var() / 200 + ratio**2 * r.var() / 100
    assert value == pytest.approx(100 * (ratio - 1))
    half = 1.96 * 100 * sqrt(variance) / r.mean()
    assert (value - lower, upper - value) == pytest.approx((half, half), rel=0.1)
    assert (
        reason(improvement_over_random([1, 2], [0, 0]))
        == "random sampling has a mean accuracy of 0"
    )


def test_rank_correlation_as_scipy() -> None:
    """The interval from the same resamples, one by one, by scipy; with ties on both sides."""
    x, y = np.array([0.90, 0.92, 0.92, 0.95, 0.91]), np.array([0.60, 0.65, 0.61, 0.63, 0.63])
    found = rank_correlation(x, y, seed=3)
    assert isinstance(found, RankCorrelation)
    assert found.n == 5
    drawn = [
        row
        for row in np.random.default_rng(3).integers(5, size=(RESAMPLES, 5))
        if len(set(x[row])) > 1 and len(set(y[row])) > 1
    ]
    for estimate, scipys in (
        (found.tau, scipy_stats.kendalltau),
        (found.rho, scipy_stats.spearmanr),
    ):
        assert estimate.value == pytest.approx(scipys(x, y).statistic)
        resampled = [scipys(x[row], y[row]).statistic for row in drawn]
        assert ends(estimate.interval) == pytest.approx(np.quantile(resampled, [0.025, 0.975]))


def test_rank_correlations_that_lack_something() -> None:
    three = rank_correlation([1, 2, 3], [1, 3, 2])
    assert isinstance(three, RankCorrelation)
    assert (three.tau.value, three.rho.value) == (pytest.approx(1 / 3), pytest.approx(0.5))
    for estimate in (three.tau, three.rho):
        assert reason(estimate.interval) == "3 architectures, an interval needs 4"
    perfect = rank_correlation(range(9), range(9))
    assert isinstance(perfect, RankCorrelation)
    assert perfect.tau.value == pytest.approx(1)
    assert reason(perfect.tau.interval) == "resampling does not change the value"
    assert reason(rank_correlation([1], [1])) == "1 architecture, a rank correlation needs 2"
    assert reason(rank_correlation([2] * 4, range(4))) == "all 4 supernet accuracies are equal"
    assert reason(rank_correlation(range(4), [2] * 4)) == "all 4 stand-alone accuracies are equal"


@pytest.mark.parametrize(
    "number", [interquartile_mean, lambda scores: performance_profile(scores, [0])]
)
def test_scores_without_runs(number: Callable[[Any], object]) -> None:
    assert reason(number({})) == "there are no runs"
    assert reason(number({"a": [1], "b": []})) == "there are no runs of b"


def test_estimates_without_an_interval() -> None:
    lone = interquartile_mean({"a": [1, 2], "b": [5]})
    assert isinstance(lone, Estimate)
    assert reason(lone.interval) == "one run of b: an interval needs 2"
    for alike in (
        interquartile_mean({"a": [0.1] * 3}),
        probability_of_improvement({"a": [0.3, 0.4]}, {"a": [0.1, 0.2]}),
        improvement_over_random([0.1] * 3, [0.3] * 7),
    ):
        assert isinstance(alike, Estimate)
        assert reason(alike.interval) == "resampling does not change the value"
    one = probability_of_improvement({"a": [1, 2]}, {"a": [0]})
    assert isinstance(one, Estimate)
    assert (one.value, reason(one.interval)) == (1, "one run of a: an interval needs 2")
    ri = improvement_over_random([0.9], [0.8, 0.7])
    assert isinstance(ri, Estimate)
    assert reason(ri.interval) == "one run of the method: an interval needs 2"
    odd = probability_of_improvement({"a": [1], "b": [1]}, {"a": [1], "c": [1]})
    assert reason(odd) == "only one of the two has runs of b, c"
    assert reason(probability_of_improvement({"a": [1]}, {})) == "there are no runs"


def test_the_seed_alone_decides() -> None:
    assert interquartile_mean(X) == interquartile_mean(X, seed=0) != interquartile_mean(X, seed=1)
    assert probability_of_improvement(X, Y, seed=5) == probability_of_improvement(X, Y, seed=5)
    assert rank_correlation(X["a"], Y["a"]) == rank_correlation(X["a"], Y["a"])
    assert improvement_over_random(X["a"], Y["a"]) == improvement_over_random(X["a"], Y["a"])


def test_anytime_by_hand() -> None:
    """The second run begins at 15; two entries at one pass are one step; the last value stays."""
    runs = [([10, 20, 20], [0.2, 0.3, 0.4]), ([15, 30], [0.6, 0.7])]
    found = anytime(runs, [5, 10, 15, 19, 20, 40])
    assert isinstance(found, Curve)
    assert isinstance(found.band, Band)
    assert (found.n, found.band.kind) == (2, "range of 2 runs")
    np.testing.assert_array_equal(found.x, [5, 10, 15, 19, 20, 40])
    np.testing.assert_allclose(found.y, [nan, nan, 0.4, 0.4, 0.5, 0.55])
    np.testing.assert_array_equal(found.band.lower, [nan, nan, 0.2, 0.2, 0.4, 0.4])
    np.testing.assert_array_equal(found.band.upper, [nan, nan, 0.6, 0.6, 0.6, 0.7])


def test_anytime_with_enough_runs_for_an_interval() -> None:
    """Five values of sd sqrt(2.5); Student's t with 4 degrees of freedom is 2.776445 at 97.5 %."""
    found = anytime([([index], [index + 1]) for index in range(5)], [3, 4, 99])
    assert isinstance(found, Curve)
    assert isinstance(found.band, Band)
    half = 2.776445 * sqrt(2.5) / sqrt(5)
    assert found.band.kind == "95% t interval of the mean of 5 runs"
    np.testing.assert_allclose(found.band.lower, [nan, 3 - half, 3 - half], rtol=1e-6)
    np.testing.assert_allclose(found.band.upper, [nan, 3 + half, 3 + half], rtol=1e-6)


def test_anytime_that_lacks_something() -> None:
    assert reason(anytime([], [1])) == "there are no runs"
    late = "at no point of the grid all runs have a value"
    assert reason(anytime([([1], [0.1]), ([9], [0.1])], [5])) == late
    assert reason(anytime([([1], [0.1]), ([], [])], [5])) == late
    one = anytime([([1], [0.5])], [0, 2])
    assert isinstance(one, Curve)
    np.testing.assert_array_equal(one.y, [nan, 0.5])
    assert reason(one.band) == "one run has no band"


def test_performance_profile_as_rliable() -> None:
    found = performance_profile(X, [0.86, 0.88, 0.90, 0.92])
    assert isinstance(found, Curve)
    assert isinstance(found.band, Band)
    np.testing.assert_allclose(found.y, [1, 16 / 18, 7 / 18, 1 / 18])  # counted; 0.900 is not above
    # rliable's 20,000 resamples; quantiles move in steps of 1/18
    np.testing.assert_allclose(found.band.lower, [1, 0.72222222, 0.16666667, 0], atol=1e-8)
    np.testing.assert_allclose(found.band.upper, [1, 1, 0.61111111, 0.16666667], atol=1e-8)
    assert found.band.kind == "95% bootstrap interval of 18 runs, point by point"
    lone = performance_profile({"a": [1], "b": [2, 3]}, [1.5])
    assert isinstance(lone, Curve)
    assert lone.y == pytest.approx([2 / 3])
    assert reason(lone.band) == "one run of a: an interval needs 2"


def test_hypervolume_by_hand() -> None:
    """Two steps: (0.9 - 0.5) (100 - 60) + (0.7 - 0.5) (60 - 20)."""
    assert hypervolume([0.7, 0.9], [20, 60], (0.5, 100)) == pytest.approx(24)
    beyond = ([0.9, 0.7, 0.9, 0.6, 0.4, 0.5, 0.99], [60, 20, 60, 50, 10, 30, 120])
    assert hypervolume(*beyond, (0.5, 100)) == pytest.approx(24)
    assert hypervolume([], [], (0.5, 100)) == 0
    assert hypervolume([0.4], [10], (0.5, 100)) == 0


@pytest.mark.parametrize("seed", range(5))
def test_hypervolume_by_counting_cells(seed: int) -> None:
    """Whole numbers: the area is the number of unit cells below and to the right of some point."""
    rng = np.random.default_rng(seed)
    accuracy, ops = rng.integers(0, 20, 12), rng.integers(0, 20, 12)
    cells = sum(
        any(a >= row + 1 and o <= column for a, o in zip(accuracy, ops, strict=True))
        for row in range(4, 20)
        for column in range(15)
    )
    assert hypervolume(accuracy, ops, (4, 15)) == cells


def test_demsars_example() -> None:
    """Section 3.2.2: chi2 9.28, F_F 3.69, CD 1.25 at 0.05 (no difference) and 1.12 at 0.10 (figure 1)."""
    found = critical_difference(by_dataset(DEMSAR), better="lower")
    assert isinstance(found, CriticalDifference)
    assert list(found.ranks) == ["C4.5+m+cf", "C4.5+m", "C4.5+cf", "C4.5"]
    assert [round(rank, 3) for rank in found.ranks.values()] == [1.964, 2.0, 2.893, 3.143]
    assert (found.n, round(found.chi2, 2), round(found.f, 2)) == (14, 9.28, 3.69)
    assert round(found.difference, 2) == 1.25
    assert found.p < found.alpha == 0.05
    assert found.cliques == [["C4.5+m+cf", "C4.5+m", "C4.5+cf", "C4.5"]]
    wider = critical_difference(by_dataset(DEMSAR), better="lower", alpha=0.1)
    assert isinstance(wider, CriticalDifference)
    assert round(wider.difference, 2) == 1.12
    assert wider.cliques == [["C4.5+m+cf", "C4.5+m", "C4.5+cf"], ["C4.5+cf", "C4.5"]]


def test_nemenyi_as_scikit_posthocs() -> None:
    """Its 0.17.1 gives the best and the worst of these ranks p = 0.074185: where they part."""
    for alpha, together in ((0.0741, True), (0.0743, False)):
        found = critical_difference(by_dataset(DEMSAR), better="lower", alpha=alpha)
        assert isinstance(found, CriticalDifference)
        assert (len(found.cliques[0]) == 4) is together


def test_friedman_as_scipy() -> None:
    rng = np.random.default_rng(0)
    rows = {name: rng.normal(size=7).tolist() for name in "abcde"}
    found = critical_difference(by_dataset(rows))
    assert isinstance(found, CriticalDifference)
    assert found.chi2 == pytest.approx(scipy_stats.friedmanchisquare(*rows.values()).statistic)
    # scipy corrects for ties: in table 6 three pairs and one quadruple of 14 rows of 4
    table = critical_difference(by_dataset(DEMSAR), better="lower")
    assert isinstance(table, CriticalDifference)
    factor = 1 - (3 * (2**3 - 2) + (4**3 - 4)) / (14 * (4**3 - 4))
    corrected = scipy_stats.friedmanchisquare(*DEMSAR.values()).statistic
    assert table.chi2 == pytest.approx(corrected * factor)


def test_friedman_where_all_datasets_agree_or_tie() -> None:
    agreed = critical_difference(
        by_dataset({name: [score] * 5 for score, name in enumerate("cba")})
    )
    assert isinstance(agreed, CriticalDifference)
    assert dict(agreed.ranks) == {"a": 1, "b": 2, "c": 3}
    assert (agreed.chi2, agreed.f) == (pytest.approx(10), inf)
    assert agreed.p == pytest.approx(6 / 6**5)  # one of six orders, five times
    assert agreed.cliques == [["a", "b"], ["b", "c"]]
    tied = critical_difference(by_dataset({name: [0.5] * 5 for name in "abc"}))
    assert isinstance(tied, CriticalDifference)
    assert (tied.chi2, tied.p, tied.cliques) == (0, 1, [["a", "b", "c"]])


def test_one_clique_where_friedman_finds_no_difference() -> None:
    """Ranks 2.2 and 7.0 lie further apart than CD, 3.031 sqrt(8 * 9 / (6 * 5)) = 4.70."""
    ranks = [
        [1, 6, 4, 7, 3, 5, 2, 8],
        [1, 6, 5, 4, 7, 3, 2, 8],
        [1, 7, 4, 3, 2, 5, 6, 8],
        [6, 1, 7, 2, 3, 4, 8, 5],
        [2, 3, 1, 8, 7, 4, 5, 6],
    ]
    rows = dict(zip("abcdefgh", zip(*ranks, strict=True), strict=True))
    found = critical_difference(by_dataset(rows), better="lower")
    assert isinstance(found, CriticalDifference)
    assert found.difference == pytest.approx(3.031 * sqrt(72 / 30), abs=1e-3)
    assert found.ranks["h"] - found.ranks["a"] == pytest.approx(4.8)
    assert found.p > 0.05
    assert found.cliques == [list(found.ranks)]


def test_noise_breaks_no_tie_between_methods() -> None:
    rows = {"a": [0.1 + 0.2] * 5, "b": [0.3] * 5, "c": [0.2] * 5}
    found = critical_difference(by_dataset(rows))
    assert isinstance(found, CriticalDifference)
    assert dict(found.ranks) == {"a": 1.5, "b": 1.5, "c": 3}


def test_why_there_is_no_critical_difference() -> None:
    one = {name: {"digits": 0.9} for name in "abc"}
    assert reason(critical_difference(one)) == "seeds are not datasets: 1 dataset, 5 needed"
    assert reason(critical_difference({})) == "seeds are not datasets: 0 datasets, 5 needed"
    four = by_dataset({name: [1.0] * 4 for name in "abc"})
    assert reason(critical_difference(four)) == "seeds are not datasets: 4 datasets, 5 needed"
    two = by_dataset({"a": [1.0] * 5, "b": [2.0] * 5})
    assert reason(critical_difference(two)) == "2 methods, 3 needed"
    rows = by_dataset({name: [1.0] * 6 for name in "abc"})
    del rows["b"]["d1"], rows["b"]["d4"]
    assert reason(critical_difference(rows)) == "b has no score on d1, d4"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: summary([1, nan]), "values with nan, which is no finite number"),
        (lambda: summary([[1, 2]]), r"values of shape \(1, 2\); one vector is needed"),
        (lambda: paired({0: inf}, {0: 1}), "scores with inf"),
        (lambda: interquartile_mean({"cifar10": [1, nan]}), "scores of cifar10 with nan"),
        (lambda: rank_correlation([1, 2], [1]), "2 and 1 accuracies"),
        (lambda: holm({"a": 1.5}), r"p value 1.5 of a; it must lie within \[0, 1\]"),
        (lambda: anytime([([2, 1], [1, 2])], [3]), "pair them by rising passes"),
        (lambda: anytime([([1], [1, 2])], [3]), "1 passes and 2 values of a run"),
        (lambda: hypervolume([1], [], (0, 1)), "1 accuracies and 0 OPs"),
        (lambda: hypervolume([1], [1], (0, inf)), "reference with inf"),
        (lambda: critical_difference(by_dataset({c: [nan] * 5 for c in "abc"})), "scores on d0"),
    ],
)
def test_bad_values_are_named(call: Callable[[], object], message: str) -> None:
    with pytest.raises(BadValue, match=message):
        call()
