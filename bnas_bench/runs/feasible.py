"""Whether trials can run at all, found out before the first of them does."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from bnas_bench.core.budget import Scale
from bnas_bench.core.budgets import BUDGETS
from bnas_bench.core.errors import BadValue
from bnas_bench.core.machine import amount, is_modest, memory
from bnas_bench.data.names import SIZES
from bnas_bench.plugins.spec import label

if TYPE_CHECKING:
    from bnas_bench.runs.trial import Trial
    from bnas_bench.search.space import SearchSpace

KNOWN = {scale for budget in BUDGETS.values() for scale in (budget.search, budget.final)}
"""Scales that every space can build."""


def check_trials(trials: Iterable[Trial]) -> None:
    """Raise unless the options make sense together, and networks and images fit into the machine.

    torch is imported only for a method's options that were written by hand, and for sizes that no
    paper has.

    Raises:
        BenchError: if a constructor refuses its options, a space cannot build a scale, or anything is
            too large for this machine.
    """
    seen: set[object] = set()
    for trial in trials:
        method = label(trial.method.name, trial.method_options)
        if method not in seen and trial.method_options != trial.method.defaults:
            trial.method.make(trial.method_options)
        space = label(trial.space.name, trial.space_options)
        place = (space, trial.dataset, trial.budget.search, trial.budget.final)
        if place not in seen and _is_new(trial):
            made = trial.space.make(trial.space_options)
            for scale, final in ((trial.budget.search, False), (trial.budget.final, True)):
                _check_scale(made, trial.dataset, scale, final=final)
        seen |= {method, place}


def _is_new(trial: Trial) -> bool:
    scales = {trial.budget.search, trial.budget.final}
    return trial.space_options != trial.space.defaults or not scales <= KNOWN


def _check_scale(space: SearchSpace, dataset: str, scale: Scale, *, final: bool) -> None:
    size = SIZES[dataset.partition(":")[0]]
    channels, *sides = size.shape
    height, width = (scale.image, scale.image) if scale.image else sides
    spec = space.spec(space.fit(scale), (channels, height, width), size.classes, final=final)
    if (pixels := size.images * channels * height * width) > memory():
        raise BadValue(
            f"{dataset} at {height}x{width} pixels takes {amount(pixels)}, and this machine has "
            f"{amount(memory())}: give a smaller {'final' if final else 'search'}.image"
        )
    if is_modest(spec):
        return
    from bnas_bench.cost.capacity import check_fits

    rng, largest = np.random.default_rng(0), space.largest()
    if final:
        who = f"the largest network of {space.name} at this final scale"
        check_fits(who, lambda: space.network(largest, spec, rng), spec.shape)
    else:
        who = f"the supernet of {space.name} at this search scale"
        check_fits(who, lambda: space.supernet(spec, rng), spec.shape, space.path(largest))
