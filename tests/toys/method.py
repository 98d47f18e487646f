"""Trains single paths of the supernet and keeps the best.

Not from a paper.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from bnas_bench.core.architecture import Architecture
from bnas_bench.data.datasets import Task
from bnas_bench.search.meter import Meter
from bnas_bench.search.space import SearchSpace
from bnas_bench.search.strategy import SearchResult, SearchStrategy


class ToyMethod(SearchStrategy):
    """One shot, uniform paths."""

    def __init__(self, *, lr: float = 0.1, names: tuple[str, ...] = ("a", "b")) -> None:
        self.lr = lr
        self.names = names

    def search(
        self, space: SearchSpace, task: Task, meter: Meter, rng: np.random.Generator
    ) -> SearchResult:
        supernet = space.supernet(task.spec, rng)
        optimiser = torch.optim.SGD(supernet.parameters(), self.lr, momentum=0.9)
        best: dict[str, Any] = {"arch": None, "valid": -1.0}
        state = {"supernet": supernet, "optimiser": optimiser, "rng": rng, "best": best}
        for _ in meter.epochs(state=state, protocol=3):
            for x_BCHW, y_B in task.train.batches(task.batch_size, rng, task.augment):
                loss = F.cross_entropy(supernet(x_BCHW, self.path(space, space.sample(rng))), y_B)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            arch = space.sample(rng)
            with torch.no_grad():
                hits = [
                    (supernet(x_BCHW, self.path(space, arch)).argmax(1) == y_B).float().mean()
                    for x_BCHW, y_B in task.valid.batches(task.batch_size)
                ]
            valid = float(torch.stack(hits).mean())
            if valid > best["valid"]:
                best.update(arch=arch.to_json(), valid=valid)
            meter.incumbent(Architecture.from_json(best["arch"]), loss=loss.item(), valid=valid)
        return SearchResult(Architecture.from_json(best["arch"]), best["valid"])

    @staticmethod
    def path(space: SearchSpace, arch: Architecture) -> list[int]:
        return [d.options.index(arch.choices[d.name]) for d in space.decisions]
