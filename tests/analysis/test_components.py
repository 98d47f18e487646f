"""Variance components: by hand, as scipy has the analysis of variance, and where there is nothing to part."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from scipy.stats import chi2, f, f_oneway

from bnas_bench.analysis.stats import Estimate, Interval, NotEnough, components, images_component
from bnas_bench.core.errors import BadValue


def drawn(s: int, r: int, search: float, training: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return 90 + search * rng.normal(size=(s, 1)) + training * rng.normal(size=(s, r))


def known(part: Estimate | NotEnough) -> tuple[float, Interval]:
    assert isinstance(part, Estimate)
    assert isinstance(part.interval, Interval)
    return part.value, part.interval


def test_the_components_are_those_of_the_analysis_of_variance() -> None:
    x_SR = drawn(6, 4, 2.0, 1.0)
    s, r = x_SR.shape
    found = components(x_SR)
    training, of_training = known(found.training)
    search, of_search = known(found.search)
    within = x_SR.var(axis=1, ddof=1).mean()
    ratio = f_oneway(*x_SR).statistic  # of the mean squares, so the between one is ratio * within
    assert training == pytest.approx(sqrt(within))
    assert search == pytest.approx(sqrt((ratio - 1) * within / r))
    df = s * (r - 1)
    assert of_training.lower == pytest.approx(sqrt(df * within / chi2(df).ppf(0.975)))
    assert of_training.upper == pytest.approx(sqrt(df * within / chi2(df).ppf(0.025)))
    for end, p in ((of_search.lower, 0.975), (of_search.upper, 0.025)):
        part = within * (ratio - f(s - 1, df).ppf(p)) / r
        assert end == pytest.approx(sqrt((s - 1) * part / chi2(s - 1).ppf(p)))


def test_searches_that_spread_no_more_than_their_trainings_have_a_component_of_0() -> None:
    x_SR = np.array([[89.0, 91.0], [90.0, 90.2], [88.5, 91.5]])
    search, interval = known(components(x_SR).search)
    assert search == interval.lower == 0
    assert 0 <= interval.upper < 2


@pytest.mark.parametrize(
    ("x_SR", "search", "training"),
    [
        ([[90.0], [91.0]], "--train-seeds parts", "--train-seeds parts"),
        ([[90.0, 91.0]], "one search has no spread of searches", None),
        ([[90.0, 90.0], [90.0, 90.0]], "all runs are equal", "all runs are equal"),
    ],
)
def test_what_cannot_be_parted(x_SR: list[list[float]], search: str, training: str | None) -> None:
    found = components(x_SR)
    assert isinstance(found.search, NotEnough)
    assert search in found.search.reason
    assert isinstance(found.training, NotEnough) == bool(training)


def test_two_searches_have_no_interval() -> None:
    found = components([[90.0, 91.0], [92.0, 93.5]])
    assert isinstance(found.search, Estimate)
    assert found.search.interval == NotEnough("2 searches, an interval needs 3")
    with pytest.raises(BadValue, match=r"shape \(2,\)"):
        components([90.0, 91.0])


def test_the_images_component_is_that_of_the_crossed_analysis_of_variance() -> None:
    rng = np.random.default_rng(0)
    x_MN = rng.random((5, 300)) < rng.beta(8, 1, size=300) * np.linspace(0.8, 1, 5)[:, None]
    m, n = x_MN.shape
    value, interval = known(images_component(x_MN))
    share = x_MN.mean()
    rest = x_MN - x_MN.mean(axis=1, keepdims=True) - x_MN.mean(axis=0) + share
    of_images = m * x_MN.mean(axis=0).var(ddof=1)
    of_rest = (rest**2).sum() / ((m - 1) * (n - 1))
    assert value == pytest.approx(100 * sqrt((of_images - of_rest) / m / n))
    assert interval.lower < value < interval.upper


def test_images_that_are_all_alike_change_nothing() -> None:
    rng = np.random.default_rng(1)
    value, interval = known(images_component(rng.random((6, 2000)) < 0.9))
    assert interval.lower == 0
    assert value < 100 * sqrt(0.9 * 0.1 / 2000) / 2
    assert isinstance(images_component(np.ones((1, 9))), NotEnough)
