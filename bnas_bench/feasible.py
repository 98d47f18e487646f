"""Whether cells can run at all, found out before the first of them does."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from bnas_bench.budgets import BUDGETS
from bnas_bench.core import Scale
from bnas_bench.errors import BadValue
from bnas_bench.machine import amount, is_modest, memory
from bnas_bench.names import SIZES
from bnas_bench.spec import label

if TYPE_CHECKING:
    from bnas_bench.core import SearchSpace
    from bnas_bench.grid import Cell

KNOWN = {scale for budget in BUDGETS.values() for scale in (budget.search, budget.final)}
"""Scales that every space can build."""


def check_cells(cells: Iterable[Cell]) -> None:
    """Raise unless the options make sense together, and networks and images fit into the machine.

    torch is imported only for a method's options that were written by hand, and for sizes that no
    paper has.

    Raises:
        BenchError: if a constructor refuses its options, a space cannot build a scale, or anything is
            too large for this machine.
    """
    seen: set[object] = set()
    for cell in cells:
        method = label(cell.method.name, cell.method_options)
        if method not in seen and cell.method_options != cell.method.defaults:
            cell.method.make(cell.method_options)
        space = label(cell.space.name, cell.space_options)
        place = (space, cell.dataset, cell.budget.search, cell.budget.final)
        if place not in seen and _is_new(cell):
            made = cell.space.make(cell.space_options)
            for scale, final in ((cell.budget.search, False), (cell.budget.final, True)):
                _check_scale(made, cell.dataset, scale, final=final)
        seen |= {method, place}


def _is_new(cell: Cell) -> bool:
    scales = {cell.budget.search, cell.budget.final}
    return cell.space_options != cell.space.defaults or not scales <= KNOWN


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
    from bnas_bench.capacity import check_fits

    rng, largest = np.random.default_rng(0), space.largest()
    if final:
        who = f"the largest network of {space.name} at this final scale"
        check_fits(who, lambda: space.network(largest, spec, rng), spec.shape)
    else:
        who = f"the supernet of {space.name} at this search scale"
        check_fits(who, lambda: space.supernet(spec, rng), spec.shape, space.path(largest))
