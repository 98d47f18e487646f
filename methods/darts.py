"""DARTS: Differentiable Architecture Search.

Hanxiao Liu, Karen Simonyan, Yiming Yang. ICLR 2019, https://arxiv.org/abs/1806.09055, first order
(section 2.3, xi = 0). Reference code: https://github.com/quark0/darts. With `decoupled` as in table 6
of DCP-NAS (Li et al., IJCV 2023), https://arxiv.org/abs/2306.15390.

Deviations
    The supernet is 1-bit unless `precision` says otherwise; the networks that are trained in the end are
    1-bit either way, where those of DCP-NAS' table 6 are real-valued like their search.
    The search ends when the budget does, not after 50 epochs, and the steps of alpha and of 1-bit weights
    are stretched so that their paths have the paper's length.

Open in the paper
    Whether alpha or the weights step first: alpha, as in the authors' code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bnas_bench.core.errors import UnknownName
from bnas_bench.nn.binary import Precision
from bnas_bench.search.decoupled import Decoupling
from bnas_bench.search.relaxed import Bilevel, paired_steps, softmax_relaxation
from bnas_bench.search.strategy import SearchResult

if TYPE_CHECKING:
    import numpy as np

    from bnas_bench.data.datasets import Task
    from bnas_bench.search.meter import Meter
    from bnas_bench.search.space import SearchSpace

PAPER_STEPS = 50 * (25_000 // 64)
"""Steps of alpha in section 3.1: 50 epochs of half of CIFAR-10 in batches of 64."""


@dataclass(kw_only=True)
class DARTS(Decoupling, Bilevel):
    """Descend the validation loss in a softmax over operations.

    Args:
        precision: of the supernet, `W1A1` (binary) or `W32A32` (real), DCP-NAS table 6.
        decoupled: whether alpha backtracks, DCP-NAS Eqs. (25) to (36), by the constants of `Decoupling`.
        epochs: where the budget sets no limit; this and the optimisers are those of `Bilevel`.
    """

    precision: str = "W1A1"

    def validate(self) -> None:
        if self.precision not in list(Precision):
            raise UnknownName("precision of darts", self.precision, Precision)

    def search(
        self, space: SearchSpace, task: Task, meter: Meter, rng: np.random.Generator
    ) -> SearchResult:
        """Algorithm 1."""
        model = self.model(space, task, rng, precision=Precision(self.precision), decoupling=self)
        model.fill(PAPER_STEPS, paired_steps(task, meter, self.epochs))
        relaxation = softmax_relaxation(model.sizes)
        found: dict[str, float] = {}
        state = {**model.state(), "found": found, "rng": rng}
        for _ in meter.epochs(state=state, protocol=self.epochs):
            model.anneal(meter.progress)
            found.update(model.epoch(task, rng, relaxation))
            meter.incumbent(model.derive(relaxation), **found)
        return SearchResult(model.derive(relaxation), found["valid"])
