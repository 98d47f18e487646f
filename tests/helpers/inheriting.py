"""A method that finds at once, and hands on a front and a network with weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from bnas_bench.core.architecture import Architecture
from bnas_bench.data.datasets import Task
from bnas_bench.search.meter import Meter
from bnas_bench.search.space import SearchSpace
from bnas_bench.search.strategy import Candidate, SearchResult, SearchStrategy


@dataclass(kw_only=True)
class Inheriting(SearchStrategy):
    """Draws a network; its weights are those that the generator gives, its statistics made up."""

    finetune: tuple[int, ...] = ()
    heir: bool = True
    stray: bool = False

    def search(
        self, space: SearchSpace, task: Task, meter: Meter, rng: np.random.Generator
    ) -> SearchResult:
        best = space.sample(rng)
        network = space.network(best, task.spec, rng)
        for name, tensor in network.named_buffers():
            if name.endswith("running_mean"):
                tensor.copy_(torch.from_numpy(rng.normal(size=len(tensor))))
        other = Architecture("elsewhere", {}) if self.stray else space.sample(rng)
        meter.spend(meter.passes or 0)
        return SearchResult(
            best,
            valid=0.5,
            front=[Candidate(other, 0.25, 1000.0), Candidate(best, 0.5, 2500.0)],
            heir=network if self.heir else None,
            finetune=(1e-3, self.finetune),
        )
