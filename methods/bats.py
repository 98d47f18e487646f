"""BATS: Binary ArchitecTure Search.

Adrian Bulat, Brais Martinez, Georgios Tzimiropoulos. ECCV 2020, https://arxiv.org/abs/2003.01711,
section 3.3. No reference code was published. A re-implementation from descriptions of it ("BATS-style"):
first-order bi-level search whose softmax over alpha is sharpened by a temperature.

Deviations
    The search ends when the budget does, and alpha's step size is stretched so that its path has the
    paper's length.

Open in the paper
    The paper's text was not at hand. The course of the temperature: geometric from `temperature` to
    `last_temperature`, over the search. Optimisers, rates, epochs: those of DARTS, but for the 25 epochs
    that NAS-BNN (table 2) quotes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bnas_bench.core.options import Amount, BelowOne, Count, Positive
from bnas_bench.nn.binary import Precision
from bnas_bench.search.relaxed import Relaxed, planned_steps, sgd, softmax_relaxation, temperature
from bnas_bench.search.strategy import SearchResult, SearchStrategy

if TYPE_CHECKING:
    import numpy as np

    from bnas_bench.data.datasets import Task
    from bnas_bench.search.meter import Meter
    from bnas_bench.search.space import SearchSpace

PAPER_STEPS = 25 * (25_000 // 64)
"""Steps of alpha: 25 epochs of half of CIFAR-10 in batches of 64."""


class BATS(SearchStrategy):
    """Descend the validation loss in a softmax over operations that is sharpened while searching.

    Args:
        real_weights: whether only the activations are 1-bit while searching, the faster variant.
        temperature, last_temperature: of the softmax, at the start and at the end.
        lr, momentum, weight_decay, clip: SGD on the weights, the rate annealed by a cosine.
        alpha_lr, alpha_decay: of Adam on alpha.
        epochs: where the budget sets no limit.
    """

    def __init__(
        self,
        *,
        real_weights: bool = False,
        temperature: Positive = 1.0,
        last_temperature: Positive = 0.1,
        lr: Amount = 0.025,
        momentum: BelowOne = 0.9,
        weight_decay: Amount = 3e-4,
        clip: Positive = 5.0,
        alpha_lr: Amount = 3e-4,
        alpha_decay: Amount = 1e-3,
        epochs: Count = 25,
    ) -> None:
        self.real_weights = real_weights
        self.temperature = temperature
        self.last_temperature = last_temperature
        self.lr = lr
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.clip = clip
        self.alpha_lr = alpha_lr
        self.alpha_decay = alpha_decay
        self.epochs = epochs

    def search(
        self, space: SearchSpace, task: Task, meter: Meter, rng: np.random.Generator
    ) -> SearchResult:
        model = Relaxed(
            space,
            task,
            rng,
            precision=Precision.W32A1 if self.real_weights else Precision.W1A1,
            optimiser=sgd(self.lr, self.weight_decay, self.momentum),
            alpha_lr=self.alpha_lr,
            alpha_decay=self.alpha_decay,
            clip=self.clip,
        )
        model.fill(PAPER_STEPS, planned_steps(task, meter, self.epochs))
        found: dict[str, float] = {}
        state = {**model.state(), "found": found, "rng": rng}
        for _ in meter.epochs(state=state, protocol=self.epochs):
            model.anneal(meter.progress)
            heat = temperature(self.temperature, self.last_temperature, meter.progress)
            found.update(model.epoch(task, rng, softmax_relaxation(model.sizes, heat)))
            meter.incumbent(model.derive(softmax_relaxation(model.sizes)), **found)
        return SearchResult(model.derive(softmax_relaxation(model.sizes)), found["valid"])
