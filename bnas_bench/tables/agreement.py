"""What two rankings of the same architectures have in common, as those at two precisions."""

from __future__ import annotations

import numpy as np

from bnas_bench.core.seeds import generator

RESAMPLES = 199
BEST = (10, 100, 1_000)
"""So many of the best are compared, where there are twice as many architectures at least."""


def agreement(first_N: np.ndarray, second_N: np.ndarray) -> dict[str, float]:
    """Of mean accuracies in %; nan where the architectures are too few.

    Returns:
        `kendall_tau`, tau-b, and `tau_lower`, `tau_upper`, its 95 % bootstrap interval over architectures;
        `both_10`, ...: which share of the 10 best by one is among the 10 best by the other (of equal ones the
        first count); `loss`: points of the first that are lost with the second's best architecture, and
        `loss_other`, the other way round.
    """
    found = {"kendall_tau": kendall_tau(first_N, second_N)}
    found |= dict(zip(("tau_lower", "tau_upper"), _interval(first_N, second_N), strict=True))
    orders = [np.argsort(-means_N, kind="stable") for means_N in (first_N, second_N)]
    for count in BEST:
        first, second = ({*order[:count].tolist()} for order in orders)
        enough = len(first_N) >= 2 * count
        found[f"both_{count}"] = len(first & second) / count if enough else float("nan")
    for name, means_N, order in (
        ("loss", first_N, orders[1]),
        ("loss_other", second_N, orders[0]),
    ):
        found[name] = float(means_N.max() - means_N[order[0]]) if len(order) else float("nan")
    return found


def kendall_tau(first_N: np.ndarray, second_N: np.ndarray) -> float:
    """tau-b; nan of fewer than two."""
    from scipy import stats

    if len(first_N) < 2:
        return float("nan")
    return float(stats.kendalltau(first_N, second_N).statistic)


def _interval(first_N: np.ndarray, second_N: np.ndarray) -> tuple[float, float]:
    rng, size = generator(0, "table", "agreement"), len(first_N)
    draws = (rng.integers(size, size=size) for _ in range(RESAMPLES if size > 1 else 0))
    taus = [kendall_tau(first_N[drawn], second_N[drawn]) for drawn in draws]
    if not taus or np.isnan(taus).all():
        return float("nan"), float("nan")
    low, high = np.nanquantile(taus, (0.025, 0.975))
    return float(low), float(high)
