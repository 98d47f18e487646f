"""The predictor: its encoding, its expected improvement against an integral, and that it learns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from bnas_bench.methods.predictor import Predictor, encoding, expected_improvement, fitted
from scipy import stats

from bnas_bench.methods import predictor
from bnas_bench.plugins.registry import discover, find
from bnas_bench.search.meter import Meter
from tests.helpers.scores import Asked, asked_task, true_score


@pytest.mark.parametrize("name", discover("space"))
def test_different_architectures_have_different_encodings(name: str) -> None:
    space = find("space", name).make({})
    rng = np.random.default_rng(0)
    archs = {space.sample(rng) for _ in range(200)}
    codes = {encoding(space, arch).tobytes() for arch in archs}
    assert len(codes) == len(archs)
    code = encoding(space, space.sample(rng))
    assert set(code) <= {0.0, 1.0}
    assert code.size == sum(len(decision.options) for decision in space.decisions)


@pytest.mark.parametrize(
    ("mean", "sd", "best"), [(0.7, 0.1, 0.8), (0.9, 0.05, 0.8), (0.5, 0.3, 0.5)]
)
def test_the_expected_improvement_is_an_expectation(mean: float, sd: float, best: float) -> None:
    draws = stats.norm(mean, sd).ppf((np.arange(200_000) + 0.5) / 200_000)
    wanted = np.maximum(draws - best, 0).mean()
    assert expected_improvement(np.array([mean]), np.array([sd]), best)[0] == pytest.approx(
        wanted, abs=1e-5
    )
    assert expected_improvement(np.array([mean]), np.zeros(1), best)[0] == pytest.approx(
        max(mean - best, 0), abs=1e-9
    )


def test_it_predicts_what_it_has_not_seen() -> None:
    with Meter(None) as meter:
        space, _, _ = asked_task(meter)
    rng = np.random.default_rng(1)
    archs = [space.sample(rng) for _ in range(160)]
    x, y = (
        np.array([encoding(space, a) for a in archs]),
        np.array([true_score(a, 4) for a in archs]),
    )
    predicted = fitted(x[:80], y[:80]).predict(x[80:])
    assert stats.spearmanr(predicted, y[80:]).statistic > 0.6


def best_after(passes: int, seed: int, **options: int) -> tuple[float, Asked]:
    with Meter(passes) as meter:
        space, task, asked = asked_task(meter)
        result = Predictor(**options).search(space, task, meter, np.random.default_rng(seed))
    assert result.valid == max(true_score(*call) for call in asked.calls)
    assert result.notes["candidates"] == len(asked.calls) == passes // (3 * 4)
    return true_score(result.best, 4), asked


def test_it_finds_more_than_as_many_draws() -> None:
    guided = [best_after(480, seed)[0] for seed in range(4)]
    draws = [best_after(480, seed, first=1000)[0] for seed in range(4)]
    assert min(guided) > max(draws)


def test_what_is_known_is_not_asked_for_again() -> None:
    _, asked = best_after(480, 0, pool=20)
    guided = [arch for arch, _ in asked.calls[10:]]
    assert len(set(guided)) == len(guided)


def test_the_process_sees_the_latest_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[float]] = []

    def spied(x_NF: np.ndarray, y_N: np.ndarray) -> Any:
        assert len(x_NF) == len(y_N)
        seen.append(y_N.tolist())
        return fitted(x_NF, y_N)

    monkeypatch.setattr(predictor, "fitted", spied)
    _, asked = best_after(240, 0, most=12)
    scores = [true_score(*call) for call in asked.calls]
    assert seen == [scores[max(0, n - 12) : n] for n in range(10, 20)]
