"""PC-DARTS: Partial Channel Connections for Memory-Efficient Architecture Search.

Yuhui Xu, Lingxi Xie, Xiaopeng Zhang, Xin Chen, Guo-Jun Qi, Qi Tian, Hongkai Xiong. ICLR 2020,
https://arxiv.org/abs/1907.05737. Reference code: https://github.com/yuhuixu1993/PC-DARTS. With
`decoupled` as in table 6 of DCP-NAS (Li et al., IJCV 2023), https://arxiv.org/abs/2306.15390.

Deviations
    The supernet is 1-bit unless `precision` says otherwise; the networks that are trained in the end are
    1-bit either way, where those of DCP-NAS' table 6 are real-valued like their search.
    The search ends when the budget does, not after 50 epochs; alpha rests for the same part of it as in
    the paper, and its step size is stretched so that its path has the paper's length.

Open in the paper
    Which channels are sampled: 1/K of them, the same ones throughout, with a shuffle behind. It is the
    space that builds the supernet: DARTS' cells take the first ones, as the authors' code does.
    Decoupling reaches the operations' parameters, not the edges'.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bnas_bench.core.errors import UnknownName
from bnas_bench.core.options import AboveZero, Amount, BelowOne, Count, Few, Positive
from bnas_bench.nn.binary import Precision
from bnas_bench.search.decoupled import Decoupling
from bnas_bench.search.relaxed import Relaxation, Relaxed, epoch_passes, planned_steps, sgd
from bnas_bench.search.strategy import SearchResult, SearchStrategy

if TYPE_CHECKING:
    import numpy as np

    from bnas_bench.data.datasets import Task
    from bnas_bench.search.meter import Meter
    from bnas_bench.search.space import SearchSpace

PAPER_STEPS = 35 * (25_000 // 256)
"""Steps of alpha in section 4.2: the last 35 of 50 epochs of half of CIFAR-10 in batches of 256."""


def edge_normalisation(alpha: list[Tensor], beta: Tensor, nodes: list[list[int]]) -> list[Tensor]:
    """Eq. (3): per edge softmax(alpha) times the softmax of beta over the edges into its node.

    Args:
        alpha: per edge the parameters of its operations.
        beta: one parameter per edge.
        nodes: per node the positions of the edges into it; an edge is in one.
    """
    shares = torch.ones_like(beta)
    for edges in nodes:
        shares = shares.index_put(
            (torch.tensor(edges, device=beta.device),), beta[edges].softmax(0)
        )
    return [share * part.softmax(0) for share, part in zip(shares, alpha, strict=True)]


class PCDARTS(SearchStrategy):
    """DARTS on a part of the channels, with a weight for each edge.

    Args:
        partial: K; one channel in K runs through the mixed operations.
        warmup: part of the search in which only the weights learn (15 of 50 epochs).
        precision: of the supernet, `W1A1` (binary) or `W32A32` (real), DCP-NAS table 6.
        decoupled: whether alpha backtracks, DCP-NAS Eqs. (25) to (36).
        eta, eta_psi, epsilon, psi: of these equations, see `bnas_bench.search.decoupled`.
        lr, momentum, weight_decay, clip: SGD on the weights, the rate annealed by a cosine.
        alpha_lr, alpha_decay: of Adam on alpha and beta, whose first decay rate is 0.5.
        epochs: where the budget sets no limit.
    """

    def __init__(
        self,
        *,
        partial: Few = 4,
        warmup: BelowOne = 0.3,
        precision: str = "W1A1",
        decoupled: bool = False,
        eta: Amount = 1e-4,
        eta_psi: Amount = 1e-4,
        epsilon: AboveZero = 0.2,
        psi: Amount = 1.0,
        lr: Amount = 0.1,
        momentum: BelowOne = 0.9,
        weight_decay: Amount = 3e-4,
        clip: Positive = 5.0,
        alpha_lr: Amount = 6e-4,
        alpha_decay: Amount = 1e-3,
        epochs: Count = 50,
    ) -> None:
        self.partial = partial
        self.warmup = warmup
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
            raise UnknownName("precision of pcdarts", self.precision, Precision)

    def refuses(self, space: SearchSpace) -> str | None:
        if space.nodes:
            return None
        return "partial channels run beside an edge's operations, and this space's decisions are no edges"

    def search(
        self, space: SearchSpace, task: Task, meter: Meter, rng: np.random.Generator
    ) -> SearchResult:
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
            partial=self.partial,
            edges=len(space.decisions),
        )
        steps = planned_steps(task, meter, self.epochs)
        model.fill(PAPER_STEPS, (1 - self.warmup) * steps)
        relaxation = self.relaxation(space)
        found: dict[str, float] = {}
        state = {**model.state(), "found": found, "rng": rng}
        dearest = epoch_passes(task)  # the warm-up looks at no validation image
        for _ in meter.epochs(state=state, protocol=self.epochs, dearest=dearest):
            model.anneal(meter.progress)
            awake = meter.progress >= self.warmup
            found.update(model.epoch(task, rng, relaxation, search=awake))
            if awake:
                meter.incumbent(model.derive(relaxation), **found)
        return SearchResult(model.derive(relaxation), found.get("valid"))

    @staticmethod
    def relaxation(space: SearchSpace) -> Relaxation:
        """Eq. (3) as a function of alpha and, behind it, a beta for every decision."""
        sizes = [len(decision.options) for decision in space.decisions]
        nodes = [list(node) for node in space.nodes]

        def mix(parameters: Tensor) -> list[Tensor]:
            *alpha, beta = parameters.split([*sizes, len(sizes)])
            return edge_normalisation(alpha, beta, nodes)

        return mix
