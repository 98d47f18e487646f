"""The statistics against scipy, hand counts, published examples, rliable and scikit-posthocs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from math import inf, nan, sqrt
from typing import Any

import numpy as np
import pytest
from scipy import stats as scipy_stats

from bnas_bench.analysis.stats import (
    RESAMPLES,
    Band,
    Contrast,
    CriticalDifference,
    Curve,
    Estimate,
    Interval,
    NotEnough,
    Standing,
    Summary,
    anytime,
    contrast,
    critical_difference,
    detectable,
    holm,
    hypervolume,
    interquartile_mean,
    performance_profile,
    probability_of_improvement,
    rank_correlation,
    rank_sum,
    relative,
    seeds_needed,
    seeds_pair,
    standing,
    summary,
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
    two = summary([0.2, 0.4])
    assert isinstance(two, Summary)
    assert (two.sd, reason(two.interval)) == (
        pytest.approx(0.1 * sqrt(2)),
        "2 values, an interval needs 3",
    )
    assert (same.mean, same.sd) == (pytest.approx(0.1), 0.0)
    assert reason(same.interval) == "all 3 values are equal"


def test_contrast_as_scipy() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.normal(0.90, 0.02, 5), rng.normal(0.89, 0.06, 9)
    found = contrast(dict(enumerate(x)), dict(enumerate(y)), pair=False)
    assert isinstance(found, Contrast)
    welch = scipy_stats.ttest_ind(x, y, equal_var=False)
    assert (found.n, found.paired, found.p) == ((5, 9), False, pytest.approx(welch.pvalue))
    assert ends(found.interval) == pytest.approx(tuple(welch.confidence_interval()))
    margin = 0.03
    sides = (
        scipy_stats.ttest_ind(x + margin, y, equal_var=False, alternative="greater").pvalue,
        scipy_stats.ttest_ind(x - margin, y, equal_var=False, alternative="less").pvalue,
    )
    assert found.equal(margin) == pytest.approx(max(sides))


def test_paired_contrast_by_hand() -> None:
    """Differences 1, 2, 3; with 2 degrees of freedom p = 1 - t / sqrt(2 + t^2)."""
    found = contrast({0: 5, 1: 7, 2: 9, 7: 1}, {2: 6, 1: 5, 0: 4, 8: 2, 9: 3}, pair=True)
    assert isinstance(found, Contrast)
    assert (found.n, found.difference) == ((3, 3), 2.0)
    half, t = 4.302653 / sqrt(3), 2 * sqrt(3)
    assert ends(found.interval) == pytest.approx((2 - half, 2 + half), rel=1e-6)
    assert found.p == pytest.approx(1 - t / sqrt(2 + t * t))


def test_contrasts_without_spread() -> None:
    same = contrast({0: 0.9, 1: 0.9}, {0: 0.9, 1: 0.9}, pair=False)
    apart = contrast({0: 0.9, 1: 0.8, 2: 0.7}, {0: 0.8, 1: 0.7, 2: 0.6}, pair=True)
    assert isinstance(same, Contrast)
    assert isinstance(apart, Contrast)
    assert (same.difference, same.p) == (0, 1)
    for found in (apart.p, apart.interval, apart.equal(1), same.interval, same.detectable()):
        assert reason(found) == "the runs do not spread"
    assert reason(contrast({0: 1.0}, {0: 2.0, 1: 3.0}, pair=False)).startswith("1 and 2 runs")
    assert reason(contrast({0: 1.0}, {1: 2.0}, pair=True)) == "pairs need two shared seeds"


def test_what_n_could_show_is_what_it_shows() -> None:
    """4.05 points at 5 seeds of sd 2, by drawing; and as statsmodels' TTestIndPower has it (2.0244)."""
    assert detectable(2, 5) == pytest.approx(2 * 2.0244, abs=2e-3)
    rng = np.random.default_rng(0)
    x, y = rng.normal(0, 2, (2, 20_000, 5)) + np.array([detectable(2, 5, 3), 0])[:, None, None]
    p = scipy_stats.ttest_ind(x, y, axis=1).pvalue
    assert np.mean(p < 0.05 / 3) == pytest.approx(0.8, abs=0.012)
    assert seeds_needed(2, detectable(2, 7)) == 7
    assert seeds_needed(2, detectable(2, 7) - 1e-6) == 8
    assert reason(seeds_needed(50, 0.01)) == "more than 100,000 seeds would be needed"


def test_pairs_only_where_seeds_explain_more_than_pairing_costs() -> None:
    rng = np.random.default_rng(0)
    seeds = rng.normal(size=6)
    rows = [dict(enumerate(seeds + 0.2 * rng.normal(size=6))) for _ in range(4)]
    assert seeds_pair(rows)
    assert not seeds_pair([dict(enumerate(rng.normal(size=6))) for _ in range(4)])
    assert not seeds_pair(rows[:1])
    assert not seeds_pair([{0: 1.0, 1: 2.0}, {0: 2.0, 1: 3.0}])


@pytest.mark.parametrize(("n", "m"), [(3, 3), (5, 8), (10, 10)])
def test_rank_sum_as_scipy(n: int, m: int) -> None:
    rng = np.random.default_rng(n)
    x, y = rng.normal(size=n), rng.normal(size=m) + 0.5
    p, least = rank_sum(x, y)
    assert p == pytest.approx(scipy_stats.mannwhitneyu(x, y, method="exact").pvalue)
    assert least == pytest.approx(2 / scipy_stats.binom(n + m, 0.5).pmf(n) / 2 ** (n + m))


def test_rank_sum_of_many_is_close_to_the_exact_one(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=60).round(1), (rng.normal(size=50) + 0.4).round(1)
    p, least = rank_sum(x, y)
    monkeypatch.setattr("bnas_bench.analysis.stats.contrasts.EXACT", 200)
    exact, least_exact = rank_sum(x, y)
    assert p == pytest.approx(exact, rel=0.05)
    assert max(least, least_exact) < 1e-15


def test_rank_sum_with_ties_by_dealing_them_all() -> None:
    """Of 10 ways to deal 1, 1, 1, 2, 3 as two and three, 3 give 1, 1 and 1 gives 2, 3, which is as far."""
    assert rank_sum([1, 1], [1, 2, 3]) == (pytest.approx(0.4), pytest.approx(0.1))
    values = [1, 1, 2, 2, 2, 3, 4, 4]
    dealt = [sum(scipy_stats.rankdata(values)[list(c)]) for c in combinations(range(8), 3)]
    x = [1, 2, 2]
    far = np.abs(np.array(dealt) - np.mean(dealt))
    seen = abs(sum(scipy_stats.rankdata(values)[[0, 2, 3]]) - np.mean(dealt))
    p, least = rank_sum(x, [1, 2, 3, 4, 4])
    assert p == pytest.approx(np.mean(far >= seen - 1e-9))
    assert least == pytest.approx(np.mean(far >= far.max() - 1e-9))
    assert rank_sum([1, 1], [1, 1]) == (1, 1)


def test_standing_excludes_the_worst_and_keeps_the_alike() -> None:
    scores = {
        "collapsed": [10.0] * 5,
        "a": [95.0, 96.0, 94.5, 95.5, 96.5],
        "worse": [90.0, 91.0, 89.0, 90.5, 88.0],
        "b": [95.2, 95.8, 96.2, 94.9, 95.1],
    }
    found = standing(scores)
    assert isinstance(found, Standing)
    assert found.kept == ("a", "b")
    assert list(found.excluded) == ["collapsed", "worse"]
    assert max(found.excluded.values()) <= 0.05 < found.p
    assert found.winner is None
    alike = scipy_stats.kruskal(*scores.values()).pvalue
    assert found.alike == pytest.approx(alike)
    assert standing(scores) == found
    back = standing({name: [-x for x in values] for name, values in scores.items()}, better="lower")
    assert isinstance(back, Standing)
    assert (back.kept, list(back.excluded)) == (found.kept, list(found.excluded))
    best = standing({name: scores[name] for name in ("a", "worse", "collapsed")})
    assert isinstance(best, Standing)
    assert best.winner == "a"


def test_standing_without_spread_or_runs() -> None:
    same = standing({"a": [10.0] * 3, "b": [10.0] * 3})
    assert isinstance(same, Standing)
    assert (same.kept, same.p, same.alike) == (("a", "b"), 1, 1)
    assert reason(standing({"a": [1, 2]})) == "nothing to compare with"
    assert reason(standing({"a": [1, 2], "b": [1]})) == "one run of b: a comparison needs 2"


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
    lacking = NotEnough("the runs do not spread")
    assert holm({"a": 0.01, "b": lacking, "c": 0.03}) == {
        "a": pytest.approx(0.03),
        "b": lacking,
        "c": pytest.approx(0.06),
    }


def test_interquartile_mean_as_scipy_and_rliable() -> None:
    found = interquartile_mean(X)
    assert isinstance(found, Estimate)
    assert found.value == scipy_stats.trim_mean(np.concatenate(list(X.values())), 0.25)
    assert found.value == pytest.approx(0.8963)  # rliable's
    assert reason(found.interval).startswith("fewer than 10 runs of a, b, c")
    rng = np.random.default_rng(0)
    many = {task: rng.normal(size=12) for task in "abc"}
    scipys = scipy_stats.bootstrap(
        tuple(many.values()),
        lambda *runs, axis: scipy_stats.trim_mean(np.concatenate(runs, axis), 0.25, axis),
        n_resamples=RESAMPLES,
        method="percentile",
        rng=0,
    )
    _, lower, upper = estimated(interquartile_mean(many))
    assert (lower, upper) == pytest.approx(tuple(scipys.confidence_interval), rel=1e-12)


def test_tasks_count_alike_whatever_their_runs() -> None:
    """Two runs at 95 and many at 66: each task has half of the weight, and the quarters cut are of each."""
    for n in (2, 6, 30):
        found = interquartile_mean({"a": [95.0] * 2, "b": [66.0] * n})
        assert isinstance(found, Estimate)
        assert found.value == pytest.approx(80.5)
        curve = performance_profile({"a": [95.0] * 2, "b": [66.0] * n}, [70])
        assert isinstance(curve, Curve)
        assert curve.y == pytest.approx([0.5])


def test_interval_of_a_trimmed_mean_by_hand() -> None:
    """Of 1, 2, 3, 4, 9 the middle is 2, 3, 4; moved in, 2, 2, 3, 4, 4: squares 4, over 3 x 2."""
    value, lower, upper = estimated(interquartile_mean({"a": [9, 1, 3, 2, 4]}))
    half = 4.302653 * sqrt(4 / 6)
    assert (value, lower, upper) == pytest.approx((3, 3 - half, 3 + half), rel=1e-6)
    four = interquartile_mean({"a": [1, 2, 3, 4]})
    assert isinstance(four, Estimate)
    assert reason(four.interval) == "2 runs in the middle, an interval needs 3"


def test_runs_are_resampled_within_their_task() -> None:
    """Between far tasks all of the spread would lie; within them there is little."""
    ten = np.linspace(0, 0.2, 10)
    value, lower, upper = estimated(interquartile_mean({"a": ten, "b": 9 + ten}))
    assert value == pytest.approx(4.6)
    assert 4.4 < lower < value < upper < 4.8


def test_probability_of_improvement_as_scipy_and_rliable() -> None:
    found = probability_of_improvement(X, Y)
    assert isinstance(found, Estimate)
    u = [scipy_stats.mannwhitneyu(X[task], Y[task]).statistic / 36 for task in X]
    assert found.value == pytest.approx(np.mean(u))
    assert found.value == pytest.approx(0.81944444)  # rliable's
    assert reason(found.interval).startswith("fewer than 10 runs of a, b, c")
    back = probability_of_improvement(Y, X)
    assert isinstance(back, Estimate)
    assert back.value == pytest.approx(1 - found.value)
    uneven = probability_of_improvement({"a": [1, 2]}, {"a": [1, 0, 3]})
    assert isinstance(uneven, Estimate)
    assert uneven.value == (0.5 + 1 + 0 + 1 + 1 + 0) / 6


def test_total_separation_keeps_its_interval() -> None:
    """Newcombe's equation at its ends: theta lies t standard errors, of the end's own, from either."""
    value, lower, upper = estimated(probability_of_improvement({"": [4, 5, 6]}, {"": [1, 2, 3]}))
    assert (value, upper) == (1, 1)
    variance = lower * (1 - lower) / 9 * (1 + 2 * ((1 - lower) / (2 - lower) + lower / (1 + lower)))
    assert (1 - lower) / sqrt(variance) == pytest.approx(2.776445, rel=1e-5)
    back = estimated(probability_of_improvement({"": [1, 2, 3]}, {"": [4, 5, 6]}))
    assert back == pytest.approx((0, 0, 1 - lower))


def test_relative_difference() -> None:
    """By hand; for many runs the interval is that of the delta method."""
    assert estimated(relative([96, 98], [93, 95]))[0] == pytest.approx(300 / 94)
    rng = np.random.default_rng(0)
    m, r = rng.normal(0.90, 0.01, 200), rng.normal(0.80, 0.02, 100)
    value, lower, upper = estimated(relative(m, r))
    ratio = m.mean() / r.mean()
    variance = m.var() / 200 + ratio**2 * r.var() / 100
    assert value == pytest.approx(100 * (ratio - 1))
    half = 1.96 * 100 * sqrt(variance) / r.mean()
    assert (value - lower, upper - value) == pytest.approx((half, half), rel=0.1)
    assert reason(relative([1, 2], [0, 0])) == "a mean of 0 has no multiples"


@pytest.mark.parametrize("seed", range(20))
def test_relative_and_plain_difference_agree_on_whether_there_is_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(92, 2, 3), rng.normal(88, 3, 4)
    _, lower, upper = estimated(relative(x, y))
    plain = contrast(dict(enumerate(x)), dict(enumerate(y)), pair=False)
    assert isinstance(plain, Contrast)
    left, right = ends(plain.interval)
    assert (lower > 0, upper < 0) == (left > 0, right < 0)


def test_rank_correlation_by_hand() -> None:
    """Of 45 pairs one is the wrong way round and two are ties of the supernet: (42 - 1) / sqrt(43 * 45)."""
    alone = np.arange(10.0)
    supernet = np.array([0, 1, 2, 3, 4, 5, 7, 6, 8, 8], dtype=float)
    supernet[0] = supernet[1]
    found = rank_correlation(supernet, alone)
    assert found == pytest.approx((42 - 1) / (43 * 45) ** 0.5)
    assert rank_correlation(-alone, alone) == pytest.approx(-1)


def test_rank_correlations_that_lack_something() -> None:
    few = rank_correlation(range(9), range(9))
    assert reason(few) == "9 architectures, a rank correlation needs 10"
    same = rank_correlation([2] * 10, range(10))
    assert reason(same) == "all 10 supernet accuracies are equal"
    same = rank_correlation(range(10), [2] * 10)
    assert reason(same) == "all 10 stand-alone accuracies are equal"


@pytest.mark.parametrize(
    "number", [interquartile_mean, lambda scores: performance_profile(scores, [0])]
)
def test_scores_without_runs(number: Callable[[Any], object]) -> None:
    assert reason(number({})) == "there are no runs"
    assert reason(number({"a": [1], "b": []})) == "there are no runs of b"


def test_estimates_without_an_interval() -> None:
    lone = interquartile_mean({"a": [1, 2], "b": [5]})
    assert isinstance(lone, Estimate)
    assert reason(lone.interval).startswith("fewer than 10 runs of a, b")
    same = interquartile_mean({"a": [0.1] * 3})
    assert isinstance(same, Estimate)
    assert reason(same.interval) == "the middle 3 runs are equal"
    ri = relative([0.1] * 3, [0.3] * 7)
    assert isinstance(ri, Estimate)
    assert reason(ri.interval) == "the runs do not spread"
    tasks = {"a": [0.3] * 10, "b": [0.4] * 10}
    apart = probability_of_improvement(tasks, {"a": [0.1] * 10, "b": [0.2] * 10})
    assert isinstance(apart, Estimate)
    assert reason(apart.interval) == "resampling does not change the value"
    one = probability_of_improvement({"a": [1, 2]}, {"a": [0]})
    assert isinstance(one, Estimate)
    assert (one.value, reason(one.interval)) == (1, "2 and 1 runs, an interval needs 3 of each")
    ri = relative([0.9], [0.8, 0.7])
    assert isinstance(ri, Estimate)
    assert reason(ri.interval) == "1 and 2 runs: a contrast needs 2 of each"
    odd = probability_of_improvement({"a": [1], "b": [1]}, {"a": [1], "c": [1]})
    assert reason(odd) == "only one of the two has runs of b, c"
    assert reason(probability_of_improvement({"a": [1]}, {})) == "there are no runs"


def test_the_seed_alone_decides() -> None:
    rng = np.random.default_rng(0)
    x, y = ({task: rng.normal(size=10) for task in "ab"} for _ in range(2))
    assert interquartile_mean(x) == interquartile_mean(x, seed=0) != interquartile_mean(x, seed=1)
    assert probability_of_improvement(x, y, seed=5) == probability_of_improvement(x, y, seed=5)


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
    np.testing.assert_allclose(found.y, [1, 16 / 18, 7 / 18, 1 / 18])  # counted; 0.900 is not above
    assert reason(found.band).startswith("fewer than 10 runs of a, b, c")
    rng = np.random.default_rng(0)
    runs = rng.uniform(size=20)
    band = performance_profile({"a": runs}, [0.5]).band
    assert isinstance(band, Band)
    assert band.kind == "95% bootstrap interval of 20 runs, point by point"
    # Of a share in 20 resampled runs: the binomial distribution's quantiles.
    share = np.mean(runs > 0.5)
    expected = scipy_stats.binom(20, share).ppf([0.025, 0.975]) / 20
    np.testing.assert_allclose([band.lower[0], band.upper[0]], expected, atol=0.051)


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
        (lambda: contrast({0: inf, 1: 1}, {0: 1, 1: 2}, pair=False), "scores with inf"),
        (lambda: seeds_needed(2, 0), "a difference of 0; seeds can show one above 0 only"),
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
