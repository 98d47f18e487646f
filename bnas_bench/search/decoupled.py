"""Decoupled optimisation of architecture parameters: they backtrack where their weights are small.

DCP-NAS (Li et al., IJCV 2023), https://arxiv.org/abs/2306.15390, section 3.6, Eqs. (25) to (36). An
add-on to any search with continuous parameters: the paper's table 6 adds it to DARTS and PC-DARTS.

Open in the paper
    Direction of `ranking` in Eq. (34): rank 1 has the largest norm, and the decisions that rank behind
    tau are backtracked. m is an edge and M the edges of a cell: decisions whose weights differ in number
    (normal and reduction edges; a stage's kernels and its widths) are of different kinds and ranked apart,
    and one that is alone of its kind has no rank and is not backtracked. Section 4.2.2 speaks of "edges or
    operations": were m an operation, single options of an edge would backtrack; here all of an edge's do.
    psi starts at `psi`; with the paper's eta and eta_psi it then hardly moves (1e-8 a step).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import floor

import torch
from torch import Tensor

from bnas_bench.core.architecture import Decision
from bnas_bench.core.options import AboveZero, Amount


def next_psi(psi: Tensor, slope: Tensor, previous: Tensor, eta: float, eta_psi: float) -> Tensor:
    """Eq. (33): |psi - eta_psi dL/dpsi|, where dL/dpsi = eta * alpha_previous (*) dL/dalpha~."""
    return (psi - eta_psi * eta * previous * slope).abs()


def is_backtracked(norms: Tensor, kinds: Iterable[Tensor], epsilon: float) -> Tensor:
    """Eqs. (34) to (36): which decisions rank below the floor(epsilon * M) largest norms R(w_m).

    One that is alone of its kind is not.

    Args:
        norms: R of Eq. (35) per decision.
        kinds: the positions of each kind's decisions; the M of a kind are ranked among themselves.
    """
    chosen = torch.zeros_like(norms, dtype=torch.bool)
    for edges in kinds:
        if len(edges) == 1:
            continue
        order = norms[edges].argsort(descending=True, stable=True)
        chosen.index_fill_(0, edges[order[floor(epsilon * len(edges)) :]], True)
    return chosen


def backtrack(alpha: Tensor, previous: Tensor, psi: Tensor, eta: float, mask: Tensor) -> Tensor:
    """Eqs. (32) and (34): alpha + eta psi (*) alpha_previous where `mask`, alpha elsewhere."""
    return torch.where(mask, alpha + eta * psi * previous, alpha)


def kind_of(decision: str) -> str:
    """What a decision is ranked among: its name without what numbers it, and the first part of where it is.

    `normal.edge` of `normal.edge(0,2)`, `edge` of `edge(0,2)`, `stage4.kernel` of `stage4.layer2.kernel`.
    """
    *places, last = decision.split(".")
    return ".".join([*places[:1], re.sub(r"(\(.*\)|\d+)$", "", last) or last])


def positions_by_kind(decisions: Sequence[Decision], device: torch.device) -> list[Tensor]:
    """Which decisions are of one kind, for every kind."""
    kinds: dict[str, list[int]] = {}
    for position, decision in enumerate(decisions):
        kinds.setdefault(kind_of(decision.name), []).append(position)
    return [torch.tensor(positions, device=device) for positions in kinds.values()]


@dataclass(kw_only=True)
class Decoupling:
    """Hyperparameters of a search whose parameters can backtrack.

    Args:
        decoupled: whether they do.
        eta, eta_psi: the step sizes of Eqs. (32) and (33).
        epsilon: of Eq. (36): 1 backtracks nothing, 0.1 over 90 % of the decisions.
        psi: where psi starts.
    """

    decoupled: bool = False
    eta: Amount = 1e-4
    eta_psi: Amount = 1e-4
    epsilon: AboveZero = 0.2
    psi: Amount = 1.0


class Backtracker:
    """psi and the mask of a search with its previous parameters."""

    def __init__(self, how: Decoupling, decisions: tuple[Decision, ...], alpha: Tensor) -> None:
        self.how = how
        self.kinds = positions_by_kind(decisions, alpha.device)
        sizes = [len(decision.options) for decision in decisions]
        self.sizes = torch.tensor(sizes, device=alpha.device)
        self.previous = alpha.detach().clone()
        # A step of psi is about 1e-8 with the paper's constants, too small for float32 near 1.
        self.psi = torch.full_like(self.previous, how.psi, dtype=torch.float64)
        self.mask = torch.zeros_like(self.previous, dtype=torch.bool)

    def state(self) -> dict[str, Tensor]:
        return {"previous": self.previous, "psi": self.psi, "mask": self.mask}

    def forget(self, alpha: Tensor) -> None:
        """Start over at parameters that came from elsewhere."""
        self.previous.copy_(alpha)
        self.mask.zero_()

    def learn(self, alpha: Tensor, slope: Tensor, eta: float) -> None:
        """Before alpha's own step: let psi follow `slope` = dL/dalpha where alpha was backtracked."""
        moved = next_psi(self.psi, slope, self.previous, eta, self.how.eta_psi)
        self.psi.copy_(torch.where(self.mask, moved, self.psi))
        self.previous.copy_(alpha)

    def apply(self, alpha: Tensor, norms: Tensor, eta: float) -> None:
        """After alpha's own step: backtrack in place where the weights' norms rank low."""
        chosen = is_backtracked(norms, self.kinds, self.how.epsilon)
        # The length said, none has to be read off the device.
        self.mask.copy_(chosen.repeat_interleave(self.sizes, output_size=len(self.mask)))
        alpha.copy_(backtrack(alpha, self.previous, self.psi, eta, self.mask))
