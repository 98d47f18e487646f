"""DARTS: Differentiable Architecture Search.

Hanxiao Liu, Karen Simonyan, Yiming Yang. ICLR 2019, https://arxiv.org/abs/1806.09055, first order
(section 2.3, xi = 0). Reference code: https://github.com/quark0/darts. With `decoupled` as in table 6
of DCP-NAS (Li et al., IJCV 2023), https://arxiv.org/abs/2306.15390.

Deviations
    The supernet is 1-bit unless `precision` says otherwise; the networks that are trained in the end are
    1-bit either way, where those of DCP-NAS' table 6 are real-valued like their search.
    The search ends when the budget does, not after 50 epochs, and alpha's step size is stretched so
    that its path has the paper's length.

Open in the paper
    Whether alpha or the weights step first: alpha, as in the authors' code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bnas_bench.core.errors import UnknownName
from bnas_bench.core.options import AboveZero, Amount, BelowOne, Count, Positive
from bnas_bench.nn.binary import Precision
from bnas_bench.search.decoupled import Decoupling
from bnas_bench.search.relaxed import Relaxed, planned_steps, sgd, softmax_relaxation
from bnas_bench.search.strategy import SearchResult, SearchStrategy

if TYPE_CHECKING:
    import numpy as np

    from bnas_bench.data.datasets import Task
    from bnas_bench.search.meter import Meter
    from bnas_bench.search.space import SearchSpace

PAPER_STEPS = 50 * (25_000 // 64)
"""Steps of alpha in section 3.1: 50 epochs of half of CIFAR-10 in batches of 64."""


class DARTS(SearchStrategy):
    """Descend the validation loss in a softmax over operations.

    Args:
        precision: of the supernet, `W1A1` (binary) or `W32A32` (real), DCP-NAS table 6.
        decoupled: whether alpha backtracks, DCP-NAS Eqs. (25) to (36).
        eta, eta_psi, epsilon, psi: of these equations, see `bnas_bench.search.decoupled`.
        lr, momentum, weight_decay, clip: SGD on the weights, the rate annealed by a cosine.
        alpha_lr, alpha_decay: of Adam on alpha, whose first decay rate is 0.5.
        epochs: where the budget sets no limit.
    """

    def __init__(
        self,
        *,
        precision: str = "W1A1",
        decoupled: bool = False,
        eta: Amount = 1e-4,
        eta_psi: Amount = 1e-4,
        epsilon: AboveZero = 0.2,
        psi: Amount = 1.0,
        lr: Amount = 0.025,
        momentum: BelowOne = 0.9,
        weight_decay: Amount = 3e-4,
        clip: Positive = 5.0,
        alpha_lr: Amount = 3e-4,
        alpha_decay: Amount = 1e-3,
        epochs: Count = 50,
    ) -> None:
        self.precision = precision
        self.decoupled = decoupled
        self.eta = eta
        self.eta_psi = eta_psi
        self.epsilon = epsilon
        self.psi = psi
        self.lr = lr
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.clip = clip
        self.alpha_lr = alpha_lr
        self.alpha_decay = alpha_decay
        self.epochs = epochs

    def validate(self) -> None:
        if self.precision not in list(Precision):
            raise UnknownName("precision of darts", self.precision, Precision)

    def search(
        self, space: SearchSpace, task: Task, meter: Meter, rng: np.random.Generator
    ) -> SearchResult:
        """Algorithm 1."""
        decoupling = Decoupling(self.eta, self.eta_psi, self.epsilon, self.psi)
        model = Relaxed(
            space,
            task,
            rng,
            precision=Precision(self.precision),
            optimiser=sgd(self.lr, self.weight_decay, self.momentum),
            alpha_lr=self.alpha_lr,
            alpha_decay=self.alpha_decay,
            clip=self.clip,
            decoupling=decoupling if self.decoupled else None,
        )
        model.fill(PAPER_STEPS, planned_steps(task, meter, self.epochs))
        relaxation = softmax_relaxation(model.sizes)
        found: dict[str, float] = {}
        state = {**model.state(), "found": found, "rng": rng}
        for _ in meter.epochs(state=state, protocol=self.epochs):
            model.anneal(meter.progress)
            found.update(model.epoch(task, rng, relaxation))
            meter.incumbent(model.derive(relaxation), **found)
        return SearchResult(model.derive(relaxation), found["valid"])
