"""DCP-NAS: Discrepant Child-Parent Neural Architecture Search for 1-bit CNNs.

Yanjing Li, Sheng Xu, Xianbin Cao, Li'an Zhuo, Baochang Zhang, Tian Wang, Guodong Guo.
IJCV 2023, https://arxiv.org/abs/2306.15390. The authors published the final networks, not the search.

Deviations
    Eq. (11) as printed sums dp_n/dalpha over the classes, which is zero because the p_n sum to 1;
    the tangent is taken as the gradient of the objective of Eq. (5).
    The first line of Eq. (12) is the negative of its second; G is the second, minus the KL divergence.
    The search ends when the budget does, not after 105 rounds, and the step sizes of alpha, alpha_lr
    and eta, are stretched so that its path has the paper's length; at the paper's budget all are the
    paper's.

Open in the paper
    Direction of `ranking` in Eq. (34): rank 1 has the largest norm, and the edges that rank behind
    tau are backtracked. m is an edge and M the edges of a cell: normal and reduction edges, whose
    weights differ in number, are ranked apart. psi starts at `psi`; with the paper's eta and eta_psi
    it then hardly moves (1e-8 a step).
    How long Parent and Child train between two inheritances: one epoch each. Every weight step on a
    batch of training images is followed by a step of alpha on a batch of validation images, as in
    DARTS; the smaller validation set is gone through several times.
    lam is 1e-4 (section 4.1.2), 1e-3 (ImageNet) or 5e-3 (section 4.2.1); mu is 0.2 (section 4.2.1).
    Whether Eqs. (18) to (23) take the labels from the data or from the Parent: from the Parent, as G
    does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from math import floor
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd import forward_ad, grad
from torch.nn.functional import cosine_similarity, cross_entropy
from torch.nn.utils import clip_grad_norm_

from bnas_bench.core import SearchResult, SearchStrategy
from bnas_bench.errors import BadValue, BudgetExceeded, UnknownName
from bnas_bench.learning import adam, cosine, cycle, set_lr
from bnas_bench.nn.binary import Precision

if TYPE_CHECKING:
    import numpy as np

    from bnas_bench.core import Architecture, SearchSpace
    from bnas_bench.data import Task
    from bnas_bench.meter import Meter
    from bnas_bench.nn.network import Supernet

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


def pull_of(distance: Callable[[Tensor, Tensor], Tensor], tangent: Tensor) -> Pull:
    """dD/du; for Eq. (13) that is the 2 (dG/dalpha - df/dalpha) of Eq. (15)."""

    def pull(u: Tensor) -> Tensor:
        u = u.detach().requires_grad_()
        return grad(distance(u, tangent), u)[0]

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
    (u,) = grad(agreement(z, parent), alpha)
    with forward_ad.dual_level():
        z_dual = logits(forward_ad.make_dual(alpha, pull(u)))
        z, z_dot = forward_ad.unpack_dual(z_dual)
        cotangent = curvature(z.detach(), z_dot.detach())
    return u, grad(z, alpha, cotangent)[0]


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


def next_psi(psi: Tensor, slope: Tensor, previous: Tensor, eta: float, eta_psi: float) -> Tensor:
    """Eq. (33): |psi - eta_psi dL/dpsi|, where dL/dpsi = eta * alpha_previous (*) dL/dalpha~."""
    return (psi - eta_psi * eta * previous * slope).abs()


def is_backtracked(norms: Tensor, kinds: list[str], epsilon: float) -> Tensor:
    """Eqs. (34) to (36): which edges rank below the floor(epsilon * M) largest norms R(w_m).

    Args:
        norms: R of Eq. (35) per edge.
        kinds: the kind of cell that each edge is of; its M edges are ranked among themselves.
    """
    chosen = torch.zeros_like(norms, dtype=torch.bool)
    for kind in set(kinds):
        edges = torch.tensor([m for m, k in enumerate(kinds) if k == kind], device=norms.device)
        order = norms[edges].argsort(descending=True, stable=True)
        chosen[edges[order[floor(epsilon * len(edges)) :]]] = True
    return chosen


def backtrack(alpha: Tensor, previous: Tensor, psi: Tensor, eta: float, mask: Tensor) -> Tensor:
    """Eqs. (32) and (34): alpha + eta psi (*) alpha_previous where `mask`, alpha elsewhere."""
    return torch.where(mask, alpha + eta * psi * previous, alpha)


class Model:
    """A supernet with its architecture parameters: the Parent or the Child."""

    def __init__(
        self,
        method: DCPNAS,
        space: SearchSpace,
        task: Task,
        precision: Precision,
        rng: np.random.Generator,
    ) -> None:
        self.method = method
        self.sizes = [len(decision.options) for decision in space.decisions]
        self.supernet: Supernet = space.supernet(task.spec, rng).to(task.device)
        self.supernet.precision = precision
        start = torch.from_numpy(1e-3 * rng.standard_normal(sum(self.sizes)))
        self.alpha = start.float().to(task.device).requires_grad_()
        self.previous = self.alpha.detach().clone()
        # A step of psi is about 1e-8 with the paper's constants, too small for float32 near 1.
        self.psi = torch.full_like(self.previous, method.psi, dtype=torch.float64)
        self.mask = torch.zeros_like(self.previous, dtype=torch.bool)
        self.kinds = [d.name.partition(".")[0] for d in space.decisions]
        self.stretch = 1.0
        """What alpha's steps are longer by than the paper's, where there are fewer of them."""
        self.w_adam = adam(self.supernet.parameters(), method.lr, method.weight_decay)
        self.alpha_adam = adam([self.alpha], method.alpha_lr, 0.0)

    def state(self, name: str) -> dict[str, Any]:
        """What a resumed run needs; tensors that are restored in place stand at the top of a state."""
        names = ("supernet", "w_adam", "alpha_adam", "alpha", "previous", "psi", "mask")
        return {f"{name}.{part}": getattr(self, part) for part in names}

    def logits(self, x: Tensor, alpha: Tensor | None = None) -> Tensor:
        """The supernet at its own parameters, constant, or as a function of `alpha`."""
        return self.supernet(x, relax(self.alpha.detach() if alpha is None else alpha, self.sizes))

    @torch.no_grad()
    def inherit(self, other: Model) -> None:
        """Lines 7 and 13: take over the other's architecture parameters."""
        self.alpha.copy_(other.alpha)
        self.previous.copy_(other.alpha)
        self.mask.zero_()

    def step_w(self, loss: Tensor) -> None:
        """One step of the weights."""
        self.w_adam.zero_grad()
        loss.backward()
        clip_grad_norm_(self.supernet.parameters(), self.method.clip)
        self.w_adam.step()

    @torch.no_grad()
    def step_alpha(self, slope: Tensor) -> None:
        """One step of the architecture along minus `slope` = dL/dalpha, Eqs. (25) to (36)."""
        method, eta = self.method, self.method.eta * self.stretch
        set_lr(self.alpha_adam, method.alpha_lr * self.stretch)
        if method.decoupled:
            moved = next_psi(self.psi, slope, self.previous, eta, method.eta_psi)
            self.psi.copy_(torch.where(self.mask, moved, self.psi))
        self.previous.copy_(self.alpha)
        self.alpha.grad = slope
        self.alpha_adam.step()
        if method.decoupled:
            chosen = is_backtracked(self.supernet.weight_norms(), self.kinds, method.epsilon)
            sizes = torch.tensor(self.sizes, device=chosen.device)
            self.mask.copy_(chosen.repeat_interleave(sizes))
            self.alpha.copy_(backtrack(self.alpha, self.previous, self.psi, eta, self.mask))


class DCPNAS(SearchStrategy):
    """Search a 1-bit Child along the tangent direction of a real-valued Parent.

    Args:
        tangent: whether D of Eq. (13) takes part (T.P. of table 4); false is lam = 0.
        lam, mu: weights of D and of the reconstruction error in Eq. (14).
        distance: of Eq. (13), `frobenius`, `l1` or `cosine` (table 5).
        hessian: the form of H_G in Eq. (15): `fisher` (Eqs. 18 to 23, the paper's GGN), `ggn`,
            `exact-hvp` or `exact-matrix`.
        decoupled: whether alpha backtracks, Eqs. (25) to (36) (D.O. of table 4).
        eta, eta_psi: the step sizes of Eqs. (32) and (33).
        epsilon: of Eq. (36): 1 backtracks nothing, 0.1 over 90 % of the edges.
        psi: where psi starts.
        lr, weight_decay: of Adam on the weights, the rate annealed by a cosine (section 4.1.2).
        alpha_lr: of Adam on alpha, at the paper's number of steps (section 4.2.2).
        clip: maximal norm of the weights' gradient.
        epochs: rounds of Parent and Child, where the budget sets no limit.
    """

    def __init__(
        self,
        *,
        tangent: bool = True,
        lam: float = 1e-4,
        mu: float = 0.2,
        distance: str = "frobenius",
        hessian: str = "fisher",
        decoupled: bool = True,
        eta: float = 1e-4,
        eta_psi: float = 1e-4,
        epsilon: float = 0.2,
        psi: float = 1.0,
        lr: float = 0.025,
        weight_decay: float = 5e-4,
        alpha_lr: float = 1e-4,
        clip: float = 5.0,
        epochs: int = 105,
    ) -> None:
        self.tangent = tangent
        self.lam = lam
        self.mu = mu
        self.distance = distance
        self.hessian = hessian
        self.decoupled = decoupled
        self.eta = eta
        self.eta_psi = eta_psi
        self.epsilon = epsilon
        self.psi = psi
        self.lr = lr
        self.weight_decay = weight_decay
        self.alpha_lr = alpha_lr
        self.clip = clip
        self.epochs = epochs

    def validate(self) -> None:
        for kind, name, known in (
            ("distance", self.distance, DISTANCES),
            ("hessian", self.hessian, HESSIANS),
        ):
            if name not in known:
                raise UnknownName(f"{kind} of dcpnas", name, known)
        if self.epochs < 1:
            raise BadValue(f"epochs={self.epochs} searches nothing; give at least 1")
        if not 0 < self.epsilon <= 1:
            raise BadValue(f"epsilon={self.epsilon} is no part of the edges; give 0 < epsilon <= 1")

    def search(
        self, space: SearchSpace, task: Task, meter: Meter, rng: np.random.Generator
    ) -> SearchResult:
        """Algorithm 1. One epoch of the meter is one round of its outer loop."""
        parent = Model(self, space, task, Precision.W32A32, rng)
        child = Model(self, space, task, Precision.W1A1, rng)
        found: dict[str, float] = {"valid": 0.0}
        state = {**parent.state("parent"), **child.state("child"), "rng": rng, "found": found}
        steps = max(1, len(task.train) // task.batch_size)
        rounds = self.rounds(parent.sizes, steps, task, meter)
        parent.stretch = child.stretch = PAPER_STEPS / (steps * rounds)
        for _ in meter.epochs(state=state, protocol=self.epochs):
            tangent, parent_loss = self.train_parent(parent, steps, task, meter, rng)
            child.inherit(parent)
            child_loss, found["valid"] = self.train_child(
                child, parent, tangent, steps, task, meter, rng
            )
            parent.inherit(child)
            meter.incumbent(
                self.derive(space, child),
                valid=found["valid"],
                parent_loss=parent_loss,
                child_loss=child_loss,
            )
        return SearchResult(self.derive(space, child), found["valid"])

    def train_parent(
        self, parent: Model, steps: int, task: Task, meter: Meter, rng: np.random.Generator
    ) -> tuple[Tensor, float]:
        """Lines 2 to 6: one epoch of the Parent; the tangent direction is its mean df/dalpha."""
        tangent = torch.zeros_like(parent.previous)
        set_lr(parent.w_adam, cosine(self.lr, meter.progress))
        for (x, y), (x_valid, y_valid) in paired_batches(task, steps, rng):
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
    ) -> tuple[float, float]:
        """Lines 8 to 12: one epoch of the Child; its last loss and its accuracy on valid batches."""
        right = torch.zeros((), device=task.device)
        seen = 0
        pull = pull_of(DISTANCES[self.distance], tangent)
        set_lr(child.w_adam, cosine(self.lr, meter.progress))
        for (x, _), (x_valid, y_valid) in paired_batches(task, steps, rng):
            with torch.no_grad():
                p, p_valid = (parent.logits(images).log_softmax(1) for images in (x, x_valid))
            loss = -agreement(child.logits(x), p)
            child.step_w(loss + self.mu * child.supernet.reconstruction_error())

            z = child.logits(x_valid, child.alpha)
            right += (z.argmax(1) == y_valid).sum()
            seen += len(y_valid)
            if self.tangent and self.lam:
                logits = partial(child.logits, x_valid)
                u, pulled = HESSIANS[self.hessian](logits, z, child.alpha, p_valid, pull)
                child.step_alpha(-u + self.lam * pulled)
            else:
                (u,) = grad(agreement(z, p_valid), child.alpha)
                child.step_alpha(-u)
        return float(loss.detach()), float(right) / seen

    @staticmethod
    def derive(space: SearchSpace, child: Model) -> Architecture:
        """Line 15: the architecture at the Child's parameters."""
        return space.derive([w.cpu().numpy() for w in relax(child.alpha.detach(), child.sizes)])

    def rounds(self, sizes: list[int], steps: int, task: Task, meter: Meter) -> int:
        """How many rounds of Algorithm 1 the budget holds; the paper's without a budget."""
        if meter.passes is None:
            return self.epochs
        second_order = {"fisher": 4, "ggn": 4, "exact-hvp": 4, "exact-matrix": 2 + 2 * sum(sizes)}
        thirds_train = 3 + 1 + 3
        thirds_valid = 3 + 1 + 3 + (second_order[self.hessian] if self.tangent and self.lam else 0)
        train, valid = (min(task.batch_size, len(images)) for images in (task.train, task.valid))
        thirds = steps * (thirds_train * train + thirds_valid * valid)
        if thirds > 3 * meter.passes:
            raise BudgetExceeded(
                f"one round of dcpnas takes {thirds / 3:.0f} passes and the budget is {meter.passes}; "
                "give it a larger budget, or another form of the hessian"
            )
        return 3 * meter.passes // thirds


def paired_batches(
    task: Task, steps: int, rng: np.random.Generator
) -> Iterator[tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]]:
    """An epoch of training batches, each beside one of the validation batches taken in turns."""
    train = task.train.batches(task.batch_size, rng, task.augment, drop_last=True)
    valid = cycle(task.valid, task.batch_size, rng, task.augment)
    yield from islice(zip(train, valid, strict=False), steps)
