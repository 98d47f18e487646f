"""Predictor-guided search: a Gaussian process says which architecture to look at next.

Donald R. Jones, Matthias Schonlau, William J. Welch. "Efficient Global Optimization of Expensive Black-Box
Functions", Journal of Global Optimization 13, 1998, https://doi.org/10.1023/A:1008306431147: the expected
improvement, Eq. (15). Colin White, Willie Neiswanger, Yash Savani. "BANANAS: Bayesian Optimization with
Neural Architectures for Neural Architecture Search", AAAI 2021, https://arxiv.org/abs/1910.11858: candidates
are mutations of the best that were seen.

Deviations
    BANANAS predicts by an ensemble of networks on an encoding of paths; here a Gaussian process of
    scikit-learn sees every decision as one of its options, which any space has.
    Half of the candidates are drawn at random, so that no region is out of reach.
    Beyond `most` scores the process sees the latest ones, as its cost grows with their cube.

Open in the paper
    The kernel: a Matern kernel of smoothness 5/2 on the distances between encodings, and white noise, as the
    score of one seed is a noisy one; both fitted to the scores by their likelihood.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bnas_bench.core.architecture import Architecture
from bnas_bench.core.options import Count
from bnas_bench.search.strategy import SearchResult, SearchStrategy

if TYPE_CHECKING:
    from bnas_bench.data.datasets import Task
    from bnas_bench.search.meter import Meter
    from bnas_bench.search.space import SearchSpace


def encoding(space: SearchSpace, arch: Architecture) -> np.ndarray:
    """A 1 for the option that each decision takes, zeros for those that do not arise."""
    parts = []
    for decision in space.decisions:
        part = np.zeros(len(decision.options))
        if decision.name in arch.choices:
            part[decision.options.index(arch.choices[decision.name])] = 1
        parts.append(part)
    return np.concatenate(parts)


def expected_improvement(mean_N: np.ndarray, sd_N: np.ndarray, best: float) -> np.ndarray:
    """Eq. (15), for a maximum: (mean - best) Phi(z) + sd phi(z), z = (mean - best) / sd; 0 where sd is 0."""
    from scipy.stats import norm

    sd_N = np.maximum(sd_N, 1e-12)
    z_N = (mean_N - best) / sd_N
    return (mean_N - best) * norm.cdf(z_N) + sd_N * norm.pdf(z_N)


def fitted(x_NF: np.ndarray, y_N: np.ndarray) -> Any:
    """The process that explains the scores."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import Matern, WhiteKernel

    kernel = Matern(2.0, (0.1, 100.0), nu=2.5) + WhiteKernel(0.5, (1e-4, 10.0))
    process = GaussianProcessRegressor(kernel, normalize_y=True, random_state=0)
    with warnings.catch_warnings():  # a bound that is reached is as good a fit as there is
        warnings.simplefilter("ignore", ConvergenceWarning)
        return process.fit(x_NF, y_N)


@dataclass(kw_only=True)
class Predictor(SearchStrategy):
    """The candidate of the highest expected improvement is scored next.

    Args:
        epochs: that a candidate is trained for, or looked up at.
        first: architectures that are drawn at random before there is a predictor (BANANAS, section 5).
        pool: candidates among which it chooses.
        parents: so many of the best are mutated.
        candidates: in all, where the budget sets no limit (BANANAS, section 5).
        most: scores that the predictor sees.
    """

    epochs: Count = 4
    first: Count = 10
    pool: Count = 100
    parents: Count = 5
    candidates: Count = 150
    most: Count = 300

    def search(
        self, space: SearchSpace, task: Task, meter: Meter, rng: np.random.Generator
    ) -> SearchResult:
        seen: dict[str, list[Any]] = {"archs": [], "scores": []}
        for _ in meter.epochs(state={"rng": rng, "seen": seen}, protocol=self.candidates):
            known = [Architecture.from_json(arch) for arch in seen["archs"]]
            if len(known) < self.first:
                arch = space.sample(rng)
            else:
                arch = self.propose(space, known, seen["scores"], rng)
            score = task.score(arch, self.epochs)
            if not known or score > max(seen["scores"]):
                meter.incumbent(arch, valid=score)
            seen["archs"].append(arch.to_json())
            seen["scores"].append(score)
        valid = max(seen["scores"])
        best = Architecture.from_json(seen["archs"][seen["scores"].index(valid)])
        return SearchResult(best, valid, {"candidates": len(seen["scores"])})

    def propose(
        self,
        space: SearchSpace,
        known: Sequence[Architecture],
        scores: Sequence[float],
        rng: np.random.Generator,
    ) -> Architecture:
        """What of a fresh pool promises most; what is known is left out, unless the pool has nothing else."""
        process = fitted(
            np.array([encoding(space, arch) for arch in known[-self.most :]]),
            np.array(scores[-self.most :]),
        )
        best = sorted(range(len(known)), key=lambda k: -scores[k])[: self.parents]
        drawn = [space.sample(rng) for _ in range(self.pool // 2)]
        mutants = [
            space.mutate(known[best[k]], rng)
            for k in rng.integers(len(best), size=self.pool - len(drawn))
        ]
        pool = list(dict.fromkeys([*drawn, *mutants]))
        pool = [arch for arch in pool if arch not in set(known)] or pool
        mean_N, sd_N = process.predict(
            np.array([encoding(space, arch) for arch in pool]), return_std=True
        )
        return pool[int(np.argmax(expected_improvement(mean_N, sd_N, max(scores))))]
