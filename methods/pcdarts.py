"""PC-DARTS: Partial Channel Connections for Memory-Efficient Architecture Search.

Yuhui Xu, Lingxi Xie, Xiaopeng Zhang, Xin Chen, Guo-Jun Qi, Qi Tian, Hongkai Xiong. ICLR 2020,
https://arxiv.org/abs/1907.05737. Reference code: https://github.com/yuhuixu1993/PC-DARTS. With
`decoupled` as in table 6 of DCP-NAS (Li et al., IJCV 2023), https://arxiv.org/abs/2306.15390.

Deviations
    The supernet is 1-bit unless `precision` says otherwise; the networks that are trained in the end are
    1-bit either way, where those of DCP-NAS' table 6 are real-valued like their search.
    The search ends when the budget does, not after 50 epochs; alpha rests for the same part of it as in
    the paper, and its steps and those of 1-bit weights are stretched so that their paths have the paper's
    length.

Open in the paper
    Which channels are sampled: 1/K of them, the same ones throughout, with a shuffle behind. It is the
    space that builds the supernet: DARTS' cells take the first ones, as the authors' code does.
    Decoupling reaches the operations' parameters, not the edges'.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from bnas_bench.core.budget import Protocol
from bnas_bench.core.errors import UnknownName
from bnas_bench.core.options import Amount, BelowOne, Few
from bnas_bench.nn.binary import Precision
from bnas_bench.search.decoupled import Decoupling
from bnas_bench.search.relaxed import Bilevel, Relaxation, epoch_passes, paired_steps
from bnas_bench.search.strategy import SearchResult

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
    shares = list(torch.ones_like(beta))
    for edges in nodes:
        into = torch.stack([beta[edge] for edge in edges]).softmax(0)
        for edge, share in zip(edges, into, strict=True):
            shares[edge] = share
    return [share * part.softmax(0) for share, part in zip(shares, alpha, strict=True)]


@dataclass(kw_only=True)
class PCDARTS(Decoupling, Bilevel):
    """DARTS on a part of the channels, with a weight for each edge.

    Args:
        partial: K; one channel in K runs through the mixed operations.
        warmup: part of the search in which only the weights learn (15 of 50 epochs).
        precision: of the supernet, `W1A1` (binary) or `W32A32` (real), DCP-NAS table 6.
        decoupled: whether alpha backtracks, DCP-NAS Eqs. (25) to (36), by the constants of `Decoupling`.
        lr: of SGD on the weights.
        alpha_lr: of Adam on alpha and beta; else the optimisers and the epochs are those of `Bilevel`.
    """

    protocol: ClassVar[Protocol] = Protocol(256, 0.5, 0.5)

    partial: Few = 4
    warmup: BelowOne = 0.3
    precision: str = "W1A1"
    lr: Amount = 0.1
    alpha_lr: Amount = 6e-4

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
        model = self.model(
            space,
            task,
            rng,
            precision=Precision(self.precision),
            decoupling=self,
            partial=self.partial,
            edges=len(space.decisions),
        )
        steps = paired_steps(task, meter, self.epochs)
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
