"""BATS: Binary ArchitecTure Search.

Adrian Bulat, Brais Martinez, Georgios Tzimiropoulos. ECCV 2020, https://arxiv.org/abs/2003.01711,
section 3.3. No reference code was published. A re-implementation from descriptions of it ("BATS-style"):
first-order bi-level search whose softmax over alpha is sharpened by a temperature.

Deviations
    The search ends when the budget does, and the steps of alpha and of 1-bit weights are stretched so that
    their paths have the paper's length.

Open in the paper
    The paper's text was not at hand. The course of the temperature: geometric from `temperature` to
    `last_temperature`, over the search. Optimisers, rates, epochs: those of DARTS, but for the 25 epochs
    that NAS-BNN (table 2) quotes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bnas_bench.core.options import Count, Positive
from bnas_bench.nn.binary import Precision
from bnas_bench.search.relaxed import (
    Bilevel,
    Relaxation,
    paired_steps,
    softmax_relaxation,
    temperature,
)
from bnas_bench.search.strategy import SearchResult

if TYPE_CHECKING:
    import numpy as np

    from bnas_bench.data.datasets import Task
    from bnas_bench.search.meter import Meter
    from bnas_bench.search.space import SearchSpace

PAPER_STEPS = 25 * (25_000 // 64)
"""Steps of alpha: 25 epochs of half of CIFAR-10 in batches of 64."""


@dataclass(kw_only=True)
class BATS(Bilevel):
    """Descend the validation loss in a softmax over operations that is sharpened while searching.

    Args:
        real_weights: whether only the activations are 1-bit while searching, the faster variant.
        temperature, last_temperature: of the softmax, at the start and at the end.
        epochs: where the budget sets no limit; this and the optimisers are those of `Bilevel`.
    """

    real_weights: bool = False
    temperature: Positive = 1.0
    last_temperature: Positive = 0.1
    epochs: Count = 25

    def search(
        self, space: SearchSpace, task: Task, meter: Meter, rng: np.random.Generator
    ) -> SearchResult:
        precision = Precision.W32A1 if self.real_weights else Precision.W1A1
        model = self.model(space, task, rng, precision=precision)
        model.fill(PAPER_STEPS, paired_steps(task, meter, self.epochs))
        found: dict[str, float] = {}
        state = {**model.state(), "found": found, "rng": rng}
        for _ in meter.epochs(state=state, protocol=self.epochs):
            model.anneal(meter.progress)
            mix = self.mix(model.sizes, meter.progress)
            found.update(model.epoch(task, rng, mix))
            meter.incumbent(model.derive(mix), **found)
        return SearchResult(model.derive(self.mix(model.sizes, 1.0)), found["valid"])

    def mix(self, sizes: list[int], progress: float) -> Relaxation:
        """The softmax at the temperature of that part of the search; edges are ranked by the last one."""
        return softmax_relaxation(
            sizes, temperature(self.temperature, self.last_temperature, progress)
        )
