"""BARS: Joint Search of Cell Topology and Layout for Accurate and Efficient Binary ARchitectures.

Tianchen Zhao, Xuefei Ning, Jianfei Chen, Songyi Yang, Huazhong Yang, Shuang Liang, Yu Wang, Peng Lei.
2020, https://arxiv.org/abs/2011.10804, sections 4.2 and 4.3.

Deviations
    Eq. (7) as printed would, with the text's gamma = 0, switch the penalty off above the budget F; its
    sense is that the exponent is 0 below F, and so it is here: `gamma` below, `mu` from F on.
    Eq. (6) writes alpha for the probabilities; so it is here. The entropies of the decisions are averaged,
    so that lambda means the same in spaces of few and of many decisions.
    "FLOPs" of Eq. (7) are OPs, FLOPs + BOPs/64 as in table 2, computed by the space's formula.
    The search ends when the budget does, and the steps of alpha and of 1-bit weights are stretched so that
    their paths have the paper's length.

Open in the paper
    Its appendix is missing. The courses of temperature (geometric) and lambda (linear), their ends, mu,
    and F (a part of the largest network's OPs). How long the weights warm up: a fifth of the search.
    Optimisers, rates and epochs: those of DARTS.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from bnas_bench.core.options import AboveZero, Amount, BelowOne, Few, Positive, Signed
from bnas_bench.data.images import sent
from bnas_bench.search.relaxed import (
    Bilevel,
    Relaxation,
    Relaxed,
    entropy,
    epoch_passes,
    on_host,
    paired_steps,
    softmax_relaxation,
    temperature,
)
from bnas_bench.search.strategy import SearchResult

if TYPE_CHECKING:
    from bnas_bench.core.architecture import Architecture
    from bnas_bench.data.datasets import Task
    from bnas_bench.search.meter import Meter
    from bnas_bench.search.space import SearchSpace

PAPER_STEPS = 50 * (25_000 // 64)
"""Steps of alpha: 50 epochs of half of CIFAR-10 in batches of 64, as in DARTS."""


def gumbel_softmax(alpha: Tensor, noise: Tensor, tau: float) -> Tensor:
    """Eq. (5): softmax of (alpha + g) / tau with standard Gumbel noise g, both of shape (options,)."""
    return ((alpha + noise) / tau).softmax(0)


def entropy_penalty(p: list[Tensor], lam: float) -> Tensor:
    """Eq. (6): lambda times the entropy of a decision, the mean over decisions; a scalar."""
    return lam * torch.stack([entropy(q) for q in p]).mean()


def capacity_penalty(ops: Tensor, budget: float, gamma: float, mu: float) -> Tensor:
    """Factor of Eq. (7): (OPs / F) ** theta with theta = mu from F on and gamma below; a scalar."""
    part = ops / budget
    return torch.where(ops.detach().double() >= budget, part**mu, part**gamma)


def lam_at(first: float, last: float, progress: float) -> float:
    """Section 4.2.2: lambda_ent adds up from negative (explore) to positive (decide), linearly."""
    return first + (last - first) * progress


@dataclass(kw_only=True)
class BARS(Bilevel):
    """Sample relaxed architectures by Gumbel-softmax; explore first, then decide, within OPs.

    Args:
        gumbel: whether Eq. (5) samples; if not, the mix is the softmax of alpha.
        tau, last_tau: the temperature of Eq. (5), at the start and at the end.
        warmup: part of the search in which only the weights learn; 0 is none.
        entropy: whether Eq. (6) takes part.
        lam, last_lam: lambda of Eq. (6), at the start and at the end.
        capacity: whether Eq. (7) takes part.
        target: F of Eq. (7) as a part of the OPs of the space's largest network.
        gamma, mu: the exponents of Eq. (7) below F and from F on.
        sample: whether candidates are drawn when deriving (section 4.3); if not, the strongest option of
            every decision is taken.
        samples: K, how many candidates are drawn.
        epochs: where the budget sets no limit; this and the optimisers are those of `Bilevel`.
    """

    gumbel: bool = True
    tau: Positive = 5.0
    last_tau: Positive = 0.1
    warmup: BelowOne = 0.2
    entropy: bool = True
    lam: Signed = -0.5
    last_lam: Signed = 0.5
    capacity: bool = True
    target: AboveZero = 0.5
    gamma: Amount = 0.0
    mu: Amount = 0.5
    sample: bool = True
    samples: Few = 8

    def search(
        self, space: SearchSpace, task: Task, meter: Meter, rng: np.random.Generator
    ) -> SearchResult:
        model = self.model(space, task, rng)
        awake = 1 - self.warmup
        model.fill(awake * PAPER_STEPS, awake * paired_steps(task, meter, self.epochs))
        probabilities = softmax_relaxation(model.sizes)
        formula = space.ops(task.spec)
        budget = self.target * formula.of(space.path(space.largest()))
        found: dict[str, float] = {}
        state = {**model.state(), "found": found, "rng": rng}
        reserve = self.samples * len(task.valid) / 3 if self.sample else 0.0
        dearest = epoch_passes(task)  # the warm-up looks at no validation image
        for _ in meter.epochs(state=state, protocol=self.epochs, reserve=reserve, dearest=dearest):
            lam = lam_at(self.lam, self.last_lam, meter.progress)

            def objective(loss: Tensor, alpha: Tensor, lam: float = lam) -> Tensor:
                p = probabilities(alpha)
                if self.capacity:
                    loss = loss * capacity_penalty(formula.expected(p), budget, self.gamma, self.mu)
                return loss + entropy_penalty(p, lam) if self.entropy else loss

            model.anneal(meter.progress)
            relaxation = self.relaxation(model, meter.progress, rng)
            awake = meter.progress >= self.warmup
            found.update(model.epoch(task, rng, relaxation, objective=objective, search=awake))
            p = probabilities(model.own)
            meter.incumbent(
                model.derive(probabilities),
                **found,
                entropy=float(torch.stack([entropy(q) for q in p]).mean()),
                ops=float(formula.expected(p)),
                **frequencies(space, p),
            )
        ends = frequencies(space, probabilities(model.own))
        if not self.sample:
            return SearchResult(model.derive(probabilities), found.get("valid"), ends)
        best, valid = self.best_sample(space, model, task, rng)
        return SearchResult(best, valid, ends)

    def relaxation(self, model: Relaxed, progress: float, rng: np.random.Generator) -> Relaxation:
        """Eq. (5) with new noise for every batch, or the softmax of alpha."""
        if not self.gumbel:
            return softmax_relaxation(model.sizes)
        tau = temperature(self.tau, self.last_tau, progress)

        def mix(alpha: Tensor) -> list[Tensor]:
            noise = sent(
                torch.from_numpy(rng.gumbel(size=len(alpha))).to(alpha.dtype), alpha.device
            )
            parts = zip(alpha.split(model.sizes), noise.split(model.sizes), strict=True)
            return [gumbel_softmax(part, g, tau) for part, g in parts]

        return mix

    @torch.no_grad()
    def best_sample(
        self, space: SearchSpace, model: Relaxed, task: Task, rng: np.random.Generator
    ) -> tuple[Architecture, float]:
        """Section 4.3: of K sampled architectures the one of least validation loss; its accuracy."""
        p = [q.astype(np.float64) for q in on_host(softmax_relaxation(model.sizes)(model.own))]
        found: list[tuple[float, float, Architecture]] = []
        for _ in range(self.samples):
            drawn = [rng.choice(len(q), p=q / q.sum()) for q in p]
            # Where the space's rules need more than the drawn options, the probabilities decide.
            arch = space.derive(
                [np.eye(len(q))[k] + 1e-3 * q for q, k in zip(p, drawn, strict=True)]
            )
            loss, right = torch.zeros(2, dtype=torch.float64, device=task.device)
            for x, y in task.valid.batches(task.batch_size):
                logits = model.supernet(x, space.path(arch))
                loss += cross_entropy(logits, y, reduction="sum")
                right += (logits.argmax(1) == y).sum()
            found.append((loss.item(), right.item() / len(task.valid), arch))
        _, valid, arch = min(found, key=lambda item: item[0])
        return arch, valid


def frequencies(space: SearchSpace, p: list[Tensor]) -> dict[str, float]:
    """Mean probability of every named operation over the decisions that offer it (figure 5)."""
    seen: dict[str, list[float]] = {}
    for decision, q in zip(space.decisions, on_host(p), strict=True):
        for option, value in zip(decision.options, q.tolist(), strict=True):
            if isinstance(option, str):
                seen.setdefault(f"p({option})", []).append(value)
    return {name: sum(values) / len(values) for name, values in seen.items()}
