"""BNAS: Learning Architectures for Binary Networks.

Dahyun Kim, Kunal Pratap Singh, Jonghyun Choi. ECCV 2020, https://arxiv.org/abs/2002.06963.
Reference code: https://github.com/gistvision/bnas. (Another work than the BNAS of Chen et al., AAAI
2020, that CP-NAS builds on.)

Deviations
    Whether a final cell keeps `none`, the paper's Zeroise layer, is the space's rule, the same for all
    methods: darts-binary and bats take two edges into every node unless zeroise=true, bars any number.
    So is the cell: the published one has a shortcut around it, and no `skip_connect`.
    The search ends when the budget does, not after 50 epochs: t of the diversity regulariser counts the
    paper's epochs, and the steps of alpha and of 1-bit weights are stretched so that their paths have the
    paper's length.

Open in the paper
    The paper's text was not at hand: lam and tau are the values that its authors' work is quoted with.
    The sign: the loss falls with the entropy, so that early on operations are tried alike. The entropy is
    summed over the options of a decision and averaged over decisions. As in the published code, what is
    found is the architecture of the epoch whose mix was the most accurate on the validation batches.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bnas_bench.core.architecture import Architecture
from bnas_bench.core.options import Amount, Positive
from bnas_bench.search.relaxed import Bilevel, entropy, paired_steps, softmax_relaxation
from bnas_bench.search.strategy import SearchResult

if TYPE_CHECKING:
    import numpy as np

    from bnas_bench.data.datasets import Task
    from bnas_bench.search.meter import Meter
    from bnas_bench.search.space import SearchSpace

PAPER_STEPS = 50 * (25_000 // 64)
"""Steps of alpha: 50 epochs of half of CIFAR-10 in batches of 64."""


def diversity(mix: list[Tensor], lam: float, tau: float, t: float) -> Tensor:
    """The diversity regulariser, - lam H(alpha) exp(-t / tau); a scalar.

    Args:
        mix: the probabilities of every decision's options.
        t: epoch of the search.
    """
    mean = torch.stack([entropy(p) for p in mix]).mean()
    return -lam * mean * exp(-t / tau)


@dataclass(kw_only=True)
class BNAS(Bilevel):
    """Descend the validation loss in a softmax over operations that early on is kept diverse.

    Args:
        lam, tau: weight of the diversity regulariser, and the epochs in which it falls to 1/e.
        epochs: the paper's number; this and the optimisers are those of `Bilevel`.
    """

    lam: Amount = 1.0
    tau: Positive = 7.7

    def search(
        self, space: SearchSpace, task: Task, meter: Meter, rng: np.random.Generator
    ) -> SearchResult:
        model = self.model(space, task, rng)
        model.fill(PAPER_STEPS, paired_steps(task, meter, self.epochs))
        relaxation = softmax_relaxation(model.sizes)
        found: dict[str, float] = {}
        best: dict[str, Any] = {"valid": -1.0, "arch": None}
        state = {**model.state(), "best": best, "rng": rng}
        for _ in meter.epochs(state=state, protocol=self.epochs):
            t = meter.progress * self.epochs

            def objective(loss: Tensor, alpha: Tensor, t: float = t) -> Tensor:
                return loss + diversity(relaxation(alpha), self.lam, self.tau, t)

            model.anneal(meter.progress)
            found.update(model.epoch(task, rng, relaxation, objective=objective))
            if found["valid"] > best["valid"]:
                best.update(valid=found["valid"], arch=model.derive(relaxation).to_json())
                meter.incumbent(Architecture.from_json(best["arch"]), **found)
        return SearchResult(Architecture.from_json(best["arch"]), best["valid"])
