"""DCP-NAS: Discrepant Child-Parent Neural Architecture Search for 1-bit CNNs.

Yanjing Li, Sheng Xu, Xianbin Cao, Li'an Zhuo, Baochang Zhang, Tian Wang, Guodong Guo.
IJCV 2023, https://arxiv.org/abs/2306.15390. The authors published the final networks, not the search.

Deviations
    Eq. (11) as printed sums dp_n/dalpha over the classes, which is zero because the p_n sum to 1;
    the tangent is taken as the gradient of the objective of Eq. (5).
    The first line of Eq. (12) is the negative of its second; G is the second, minus the KL divergence.
    The search ends when the budget does, not after 105 rounds, and the step sizes of alpha, alpha_lr
    and eta, are stretched so that its path has the paper's length; at the paper's budget all are the
    paper's. The Child's 1-bit weights take longer steps as well (`search.learning.stretch`).
    Eq. (7) is printed for one layer. Summed over a supernet it holds the Child's signs where they start; by
    default it is the sum of the filters' means, as in CP-NAS (`reconstruction`, docs/findings.md). Eq. (14)
    has the term, Eq. (16) has not; here it takes part in the steps of the weights.

Open in the paper
    Eqs. (25) to (36) stand in `bnas_bench.search.decoupled`, with what they leave open.
    How long Parent and Child train between two inheritances: one epoch each. Every weight step on a
    batch of training images is followed by a step of alpha on a batch of validation images, as in
    DARTS; the smaller validation set is gone through several times.
    lam is 1e-4 (section 4.1.2), 1e-3 (ImageNet) or 5e-3 (section 4.2.1); mu is 0.2 (section 4.2.1).
    Whether Eqs. (18) to (23) take the labels from the data or from the Parent: from the Parent, as G
    does.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.autograd import forward_ad, grad
from torch.nn.functional import cosine_similarity, cross_entropy

from bnas_bench.core.errors import BudgetExceeded, UnknownName
from bnas_bench.core.options import Amount, Count
from bnas_bench.nn.binary import RECONSTRUCTIONS, Precision
from bnas_bench.nn.kernels import plain
from bnas_bench.search.decoupled import Decoupling
from bnas_bench.search.learning import ByAdam, constant, evenly, steps_per_epoch
from bnas_bench.search.relaxed import Relaxed, on_host, paired_batches
from bnas_bench.search.strategy import SearchResult, SearchStrategy

if TYPE_CHECKING:
    import numpy as np

    from bnas_bench.core.architecture import Architecture
    from bnas_bench.data.datasets import Task
    from bnas_bench.search.meter import Meter
    from bnas_bench.search.space import SearchSpace

PAPER_STEPS = 105 * (25_000 // 512)
"""Steps of alpha in section 4.1.2: 105 epochs of half of CIFAR-10 in batches of 512."""

Logits = Callable[[Tensor], Tensor]
"""Logits (B, N) as a function of all architecture parameters, one vector."""

Pull = Callable[[Tensor], Tensor]
"""dD/du as a function of the Child's direction u = dG/dalpha."""


def relax(alpha: Tensor, sizes: list[int]) -> list[Tensor]:
    """Eq. (2): per decision the softmax of its parameters; `alpha` holds all of them, one vector."""
    return [part.softmax(0) for part in alpha.split(sizes)]


def log_likelihood(logits: Tensor, labels: Tensor) -> Tensor:
    """f of Eq. (5), the mean over the batch of sum_n p_n(X) log p_n(w, alpha)."""
    return -cross_entropy(logits, labels)


def agreement(logits: Tensor, parent: Tensor) -> Tensor:
    """G of Eq. (12), the mean over the batch of sum_n p_n log(p^_n / p_n): minus the KL divergence.

    Args:
        logits: the Child's, shape (B, N).
        parent: the Parent's log-probabilities, shape (B, N), constant.
    """
    return (parent.exp() * (logits.log_softmax(1) - parent)).sum(1).mean()


def frobenius(u: Tensor, tangent: Tensor) -> Tensor:
    """D of Eq. (13): the squared 2-norm of the difference."""
    return (tangent - u).square().sum()


def l1(u: Tensor, tangent: Tensor) -> Tensor:
    """Table 5: the 1-norm of the difference."""
    return (tangent - u).abs().sum()


def cosine_distance(u: Tensor, tangent: Tensor) -> Tensor:
    """Table 5: one minus the cosine similarity."""
    return 1 - cosine_similarity(u, tangent, dim=0)


DISTANCES = {"frobenius": frobenius, "l1": l1, "cosine": cosine_distance}


def pull_of(distance: Callable[[Tensor, Tensor], Tensor], tangent: Tensor, images: int = 1) -> Pull:
    """dD/du; for Eq. (13) that is the 2 (dG/dalpha - df/dalpha) of Eq. (15).

    Args:
        images: by how much longer the directions are than given: sums over so many, given as means.
    """

    def pull(u: Tensor) -> Tensor:
        u = (images * u.detach()).requires_grad_()
        return grad(distance(u, images * tangent), u)[0]

    return pull


# The second term of Eq. (15), dD/dalpha = H_G(alpha) dD/du, in four forms. Each takes the logits as
# a function of alpha and their value z, and returns the direction u = dG/dalpha and H_G pull(u).


def exact_matrix(
    logits: Logits,  # noqa: ARG001
    z: Tensor,
    alpha: Tensor,
    parent: Tensor,
    pull: Pull,
) -> tuple[Tensor, Tensor]:
    """The whole Hessian of G, one backward pass a row."""
    (u,) = grad(agreement(z, parent), alpha, create_graph=True)
    hessian = torch.stack([grad(row, alpha, retain_graph=True)[0] for row in u])
    return u.detach(), pull(u) @ hessian


def exact_hvp(
    logits: Logits,  # noqa: ARG001
    z: Tensor,
    alpha: Tensor,
    parent: Tensor,
    pull: Pull,
) -> tuple[Tensor, Tensor]:
    """The product with the Hessian of G by one double backward."""
    (u,) = grad(agreement(z, parent), alpha, create_graph=True)
    return u.detach(), grad(u, alpha, pull(u))[0]


def _product_through_logits(
    logits: Logits,
    z: Tensor,
    alpha: Tensor,
    parent: Tensor,
    pull: Pull,
    curvature: Callable[[Tensor, Tensor], Tensor],
) -> tuple[Tensor, Tensor]:
    """J^T C(J v) for the Jacobian J of the logits: one forward- and one reverse-mode product."""
    (u,) = grad(agreement(z, parent), alpha, retain_graph=True)
    v = pull(u)
    with torch.no_grad(), forward_ad.dual_level():
        z_dot = forward_ad.unpack_dual(logits(forward_ad.make_dual(alpha, v))).tangent
    return u, grad(z, alpha, curvature(z.detach(), z_dot))[0]


def ggn(
    logits: Logits, z: Tensor, alpha: Tensor, parent: Tensor, pull: Pull
) -> tuple[Tensor, Tensor]:
    """The generalised Gauss-Newton product: H_G with the second derivatives of the logits left out.

    The Hessian of G in the logits is -(diag(p^) - p^ p^T) / B, whatever the Parent says.
    """

    def curvature(z: Tensor, z_dot: Tensor) -> Tensor:
        p = z.softmax(1)
        return -(p * z_dot - p * (p * z_dot).sum(1, keepdim=True)) / len(z)

    return _product_through_logits(logits, z, alpha, parent, pull, curvature)


def fisher(
    logits: Logits, z: Tensor, alpha: Tensor, parent: Tensor, pull: Pull
) -> tuple[Tensor, Tensor]:
    """Eqs. (18) to (23), the paper's GGN: H_G as minus the mean product of first derivatives.

    -1/B sum_X sum_n p_n (d log p^_n/dalpha) (d log p^_n/dalpha)^T, one X and n at a time, with p of
    the Parent. It equals `ggn` where Child and Parent predict the same.
    """

    def curvature(z: Tensor, z_dot: Tensor) -> Tensor:
        p_child, p_parent = z.softmax(1), parent.exp()
        along = z_dot - (p_child * z_dot).sum(1, keepdim=True)  # v . d log p^_n/dalpha, per X and n
        weighted = p_parent * along
        return -(weighted - p_child * weighted.sum(1, keepdim=True)) / len(z)

    return _product_through_logits(logits, z, alpha, parent, pull, curvature)


HESSIANS = {
    "fisher": fisher,
    "ggn": ggn,
    "exact-hvp": exact_hvp,
    "exact-matrix": exact_matrix,
}


class Model(Relaxed):
    """The Parent or the Child: a supernet with its architecture parameters."""

    def logits(self, x: Tensor, alpha: Tensor | None = None) -> Tensor:
        """The supernet as a function of its weights, or of `alpha` alone where that is given."""
        if alpha is None:
            return self.supernet(x, relax(self.own, self.sizes))
        with constant(self.supernet):
            return self.supernet(x, relax(alpha, self.sizes))

    @torch.no_grad()
    def inherit(self, other: Model) -> None:
        """Lines 7 and 13: take over the other's architecture parameters."""
        self.alpha.copy_(other.alpha)
        if self.backtracker:
            self.backtracker.forget(self.alpha)


@dataclass(kw_only=True)
class DCPNAS(ByAdam, Decoupling, SearchStrategy):
    """Search a 1-bit Child along the tangent direction of a real-valued Parent.

    Args:
        tangent: whether D of Eq. (13) takes part (T.P. of table 4); false is lam = 0.
        lam, mu: weights of D and of the reconstruction error in Eq. (14).
        reconstruction: how Eq. (7), printed for one layer, becomes a number for the supernet: `filter`,
            the sum of its filters' means as in CP-NAS; `weight`, the mean over all weights; or `sum`.
        images: whether f and G are the `mean` over the images of a batch or their `sum`, beside which D
            weighs more and the reconstruction error less.
        distance: of Eq. (13), `frobenius`, `l1` or `cosine` (table 5).
        hessian: the form of H_G in Eq. (15): `fisher` (Eqs. 18 to 23, the paper's GGN), `ggn`,
            `exact-hvp` or `exact-matrix`.
        decoupled: whether alpha backtracks, Eqs. (25) to (36) (D.O. of table 4), by the constants of
            `Decoupling`.
        lr, weight_decay: of Adam on the weights, the rate annealed by a cosine (section 4.1.2).
        alpha_lr: of Adam on alpha, at the paper's number of steps (section 4.2.2).
        epochs: rounds of Parent and Child, where the budget sets no limit.
    """

    tangent: bool = True
    lam: Amount = 1e-4
    mu: Amount = 0.2
    reconstruction: str = "filter"
    images: str = "mean"
    distance: str = "frobenius"
    hessian: str = "fisher"
    decoupled: bool = True
    lr: Amount = 0.025
    weight_decay: Amount = 5e-4
    alpha_lr: Amount = 1e-4
    epochs: Count = 105

    def validate(self) -> None:
        for kind, name, known in (
            ("distance", self.distance, DISTANCES),
            ("hessian", self.hessian, HESSIANS),
            ("reconstruction", self.reconstruction, RECONSTRUCTIONS),
            ("images", self.images, ("mean", "sum")),
        ):
            if name not in known:
                raise UnknownName(f"{kind} of dcpnas", name, known)

    def search(
        self, space: SearchSpace, task: Task, meter: Meter, rng: np.random.Generator
    ) -> SearchResult:
        """Algorithm 1. One epoch of the meter is one round of its outer loop."""
        parent = self.model(space, task, Precision.W32A32, rng)
        child = self.model(space, task, Precision.W1A1, rng)
        found: dict[str, float] = {"valid": 0.0}
        state = {**parent.state("parent"), **child.state("child"), "rng": rng, "found": found}
        rounds = self.rounds(parent.sizes, task, meter)
        for model in (parent, child):
            model.fill(PAPER_STEPS, sum(rounds))
        for k in meter.epochs(state=state, protocol=len(rounds)):
            steps = rounds[k]
            tangent, parent_loss = self.train_parent(parent, steps, task, meter, rng)
            child.inherit(parent)
            learned = self.train_child(child, parent, tangent, steps, task, meter, rng)
            found["valid"] = learned["valid"]
            parent.inherit(child)
            meter.incumbent(
                self.derive(space, child),
                **learned,
                parent_loss=parent_loss,
                undecided=child.undecided,
            )
        return SearchResult(self.derive(space, child), found["valid"])

    def model(
        self, space: SearchSpace, task: Task, precision: Precision, rng: np.random.Generator
    ) -> Model:
        """Section 4.1.2: Adam on the weights and on alpha."""
        return Model(
            space,
            task,
            rng,
            precision=precision,
            optimiser=self.optimiser,
            alpha_lr=self.alpha_lr,
            alpha_betas=(0.9, 0.999),
            alpha_decay=0.0,
            clip=self.clip,
            decoupling=self,
        )

    def train_parent(
        self, parent: Model, steps: int, task: Task, meter: Meter, rng: np.random.Generator
    ) -> tuple[Tensor, float]:
        """Lines 2 to 6: one epoch of the Parent; the tangent direction is its mean df/dalpha."""
        tangent = torch.zeros_like(parent.own)
        parent.anneal(meter.progress)
        for (x, y), (x_valid, y_valid) in paired_batches(task, rng, steps):
            parent.step_w(-log_likelihood(parent.logits(x), y))
            likelihood = log_likelihood(parent.logits(x_valid, parent.alpha), y_valid)
            (direction,) = grad(likelihood, parent.alpha)
            parent.step_alpha(-direction)
            tangent += direction / steps
        return tangent, -float(likelihood.detach())

    def train_child(
        self,
        child: Model,
        parent: Model,
        tangent: Tensor,
        steps: int,
        task: Task,
        meter: Meter,
        rng: np.random.Generator,
    ) -> dict[str, float]:
        """Lines 8 to 12: one epoch of the Child.

        Returns:
            Its accuracy on the validation batches, `valid`, and of the last step: `child_loss`; its
            part `mu_l_r`, the reconstruction error; `lam_d`, the norm of the tangent's part of alpha's
            slope by that of the rest.
        """
        share = right = torch.zeros((), device=task.device)
        seen = 0
        together = min(task.batch_size, len(task.valid)) if self.images == "sum" else 1
        pull = pull_of(DISTANCES[self.distance], tangent, together)
        second = self.tangent and self.lam and self.hessian in ("exact-hvp", "exact-matrix")
        child.anneal(meter.progress)
        for (x, _), (x_valid, y_valid) in paired_batches(task, rng, steps):
            with torch.no_grad():
                p, p_valid = (parent.logits(images).log_softmax(1) for images in (x, x_valid))
            loss = -agreement(child.logits(x), p)
            error = self.mu * child.supernet.reconstruction_error(self.reconstruction)
            error = error / (len(x) if self.images == "sum" else 1)  # so that G is a mean as well
            child.step_w(loss + error)

            with plain() if second else nullcontext():
                z = child.logits(x_valid, child.alpha)
            right += (z.argmax(1) == y_valid).sum()
            seen += len(y_valid)
            if self.tangent and self.lam:
                logits = partial(child.logits, x_valid)
                u, pulled = HESSIANS[self.hessian](logits, z, child.alpha, p_valid, pull)
                child.step_alpha(-u + self.lam * pulled)
                share = self.lam * pulled.norm() / u.norm().clamp(min=1e-12)
            else:
                (u,) = grad(agreement(z, p_valid), child.alpha)
                child.step_alpha(-u)
        last = {"child_loss": loss, "mu_l_r": error, "lam_d": share}
        return {"valid": float(right) / seen, **{name: v.item() for name, v in last.items()}}

    @staticmethod
    def derive(space: SearchSpace, child: Model) -> Architecture:
        """Line 15: the architecture at the Child's parameters."""
        return space.derive(on_host(relax(child.own, child.sizes)))

    def rounds(self, sizes: list[int], task: Task, meter: Meter) -> list[int]:
        """Steps of every round of Algorithm 1: epochs, but for the last that a budget holds.

        A budget's steps are divided evenly, so that none is left over: the longer rounds come last.
        """
        whole = steps_per_epoch(task)
        if meter.passes is None:
            return [whole] * self.epochs
        second_order = {"fisher": 4, "ggn": 4, "exact-hvp": 4, "exact-matrix": 2 + 2 * sum(sizes)}
        thirds_train = 3 + 1 + 3
        thirds_valid = 3 + 1 + 3 + (second_order[self.hessian] if self.tangent and self.lam else 0)
        train, valid = (min(task.batch_size, len(images)) for images in (task.train, task.valid))
        thirds = thirds_train * train + thirds_valid * valid
        if whole * thirds > 3 * meter.passes:
            raise BudgetExceeded(
                f"one round of dcpnas takes {whole * thirds / 3:.0f} passes and the budget is "
                f"{meter.passes}; give it a larger budget, or another form of the hessian"
            )
        steps = 3 * meter.passes // thirds
        return evenly(steps, -(-steps // whole))
