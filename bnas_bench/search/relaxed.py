"""A supernet with continuous architecture parameters: what differentiable searches have in common.

DARTS (Liu et al., ICLR 2019), https://arxiv.org/abs/1806.09055, first order: the weights learn on
training images, the parameters on validation images, in turns. The relaxation, the mix as a function
of the parameters, is the method's own equation and is passed in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torch.autograd import grad
from torch.nn.functional import cross_entropy
from torch.optim import Adam, Optimizer

from bnas_bench.core.budget import Protocol
from bnas_bench.core.options import Amount, Count
from bnas_bench.nn.binary import Precision
from bnas_bench.search.decoupled import Backtracker, Decoupling
from bnas_bench.search.learning import (
    BySGD,
    capturable,
    constant,
    cosine,
    cycle,
    descend,
    planned_steps,
    set_lr,
    steps_per_epoch,
    stretch,
)
from bnas_bench.search.strategy import SearchStrategy

if TYPE_CHECKING:
    import numpy as np

    from bnas_bench.core.architecture import Architecture
    from bnas_bench.data.datasets import Task
    from bnas_bench.nn.network import Supernet
    from bnas_bench.search.meter import Meter
    from bnas_bench.search.space import SearchSpace

Relaxation = Callable[[Tensor], list[Tensor]]
"""The mix, a weight per option of every decision, as a function of all parameters, one vector."""

MakeOptimiser = Callable[["Supernet"], Optimizer]


def softmax_relaxation(sizes: list[int], temperature: float = 1.0) -> Relaxation:
    """Per decision the softmax of its parameters over a temperature (DARTS Eq. 2)."""
    return lambda alpha: [(part / temperature).softmax(0) for part in alpha.split(sizes)]


def on_host(mix: Sequence[Tensor]) -> list[np.ndarray]:
    """A mix as arrays, fetched from its device at once."""
    sizes = [len(weights) for weights in mix]
    return [part.numpy() for part in torch.cat(list(mix)).cpu().split(sizes)]


def entropy(p: Tensor) -> Tensor:
    """- sum_i p_i log p_i, a scalar; 0 log 0 = 0."""
    return torch.special.entr(p).sum()


def undecided(mix: Sequence[Tensor]) -> float:
    """Mean entropy of the decisions by its largest: 1 where all options are alike, 0 at a choice."""
    shares = [entropy(p) / math.log(len(p)) for p in mix if len(p) > 1]
    return float(torch.stack(shares).mean()) if shares else 0.0


def temperature(first: float, last: float, progress: float) -> float:
    """Geometric from `first` to `last`: sharpened by the same factor in equal parts of the search."""
    return first * (last / first) ** progress


class Relaxed:
    """A supernet, its architecture parameters, and an optimiser for each.

    Args:
        optimiser: of the weights; its learning rate is annealed to zero by a cosine.
        alpha_lr, alpha_betas, alpha_decay: of Adam on the parameters.
        clip: maximal norm of the weights' gradient; None is none.
        decoupling: whether parameters backtrack, and how.
        partial: K of PC-DARTS.
        edges: how many further parameters follow the decisions' own (PC-DARTS' beta).
    """

    def __init__(
        self,
        space: SearchSpace,
        task: Task,
        rng: np.random.Generator,
        *,
        precision: Precision = Precision.W1A1,
        optimiser: MakeOptimiser,
        alpha_lr: float,
        alpha_betas: tuple[float, float] = (0.5, 0.999),
        alpha_decay: float = 1e-3,
        clip: float | None = 5.0,
        decoupling: Decoupling | None = None,
        partial: int = 1,
        edges: int = 0,
    ) -> None:
        self.space = space
        self.sizes = [len(decision.options) for decision in space.decisions]
        self.supernet = space.supernet(task.spec, rng, partial=partial).to(task.device)
        self.supernet.precision = precision
        start = torch.from_numpy(1e-3 * rng.standard_normal(sum(self.sizes) + edges))
        self.alpha = start.to(task.device, torch.get_default_dtype()).requires_grad_()
        self.w_optimiser = optimiser(self.supernet)
        self.w_lr = self.w_optimiser.defaults["lr"]
        self.alpha_lr = alpha_lr
        self.alpha_adam = capturable(
            Adam([self.alpha], alpha_lr, alpha_betas, weight_decay=alpha_decay, fused=True)
        )
        self.clip = clip
        self.backtracker = (
            Backtracker(decoupling, space.decisions, self.own)
            if decoupling and decoupling.decoupled
            else None
        )
        self.stretch = 1.0
        """What alpha's steps are longer by than the paper's, where there are fewer of them."""

    @property
    def own(self) -> Tensor:
        """The decisions' own parameters, constant, a view."""
        return self.alpha.detach()[: sum(self.sizes)]

    @property
    def undecided(self) -> float:
        """Of the softmax of the decisions' parameters."""
        return undecided(softmax_relaxation(self.sizes)(self.own))

    def state(self, name: str = "model") -> dict[str, Any]:
        """What a resumed run needs; tensors that are restored in place stand at the top of a state."""
        parts = {
            "supernet": self.supernet,
            "w_optimiser": self.w_optimiser,
            "alpha": self.alpha,
            "alpha_adam": self.alpha_adam,
            **(self.backtracker.state() if self.backtracker else {}),
        }
        return {f"{name}.{part}": value for part, value in parts.items()}

    def fill(self, paper_steps: float, steps: float) -> None:
        """Stretch alpha's steps so that so many go as far as the paper's, and 1-bit weights'."""
        self.stretch = paper_steps / max(1.0, steps)
        stretch(self.w_optimiser, self.stretch)

    def anneal(self, progress: float) -> None:
        """Set the weights' learning rate."""
        set_lr(self.w_optimiser, cosine(self.w_lr, progress))

    def step_w(self, loss: Tensor) -> None:
        """One step of the weights."""
        descend(self.supernet, self.w_optimiser, loss, self.clip)

    @torch.no_grad()
    def step_alpha(self, slope: Tensor) -> None:
        """One step of the architecture along minus `slope` = dL/dalpha, backtracked where it is."""
        tracker = self.backtracker
        eta = tracker.how.eta * self.stretch if tracker else 0.0
        own = sum(self.sizes)
        if tracker:
            tracker.learn(self.own, slope[:own], eta)
        set_lr(self.alpha_adam, self.alpha_lr * self.stretch)
        self.alpha.grad = slope
        self.alpha_adam.step()
        if tracker:
            tracker.apply(self.own, self.supernet.weight_norms(), eta)

    def epoch(
        self,
        task: Task,
        rng: np.random.Generator,
        relaxation: Relaxation,
        *,
        objective: Callable[[Tensor, Tensor], Tensor] = lambda loss, _: loss,
        search: bool = True,
    ) -> dict[str, float]:
        """One epoch over the training images: a step of alpha, then one of the weights, in turns.

        Args:
            objective: what alpha minimises, of the validation loss and alpha.
            search: whether alpha learns; if not, no validation image is looked at.

        Returns:
            The last training loss as `loss`, how `undecided` alpha is then, and with `search` the
            accuracy on the validation batches as `valid`.
        """
        right, seen = torch.zeros((), device=task.device), 0
        for (x, y), (x_valid, y_valid) in paired_batches(task, rng):
            if search:
                with constant(self.supernet):
                    logits = self.supernet(x_valid, relaxation(self.alpha))
                loss = objective(cross_entropy(logits, y_valid), self.alpha)
                self.step_alpha(grad(loss, self.alpha)[0])
                right += (logits.argmax(1) == y_valid).sum()
                seen += len(y_valid)
            training = cross_entropy(self.supernet(x, relaxation(self.alpha.detach())), y)
            self.step_w(training)
        found = {"loss": training.item(), "undecided": self.undecided}
        return found | {"valid": float(right) / seen} if seen else found

    def derive(self, relaxation: Relaxation) -> Architecture:
        """The architecture that the mix points at."""
        return self.space.derive(on_host(relaxation(self.alpha.detach())))


@dataclass(kw_only=True)
class Bilevel(BySGD, SearchStrategy):
    """A search whose weights learn by SGD and whose parameters by Adam, as those of DARTS, section 3.1.

    Args:
        alpha_lr, alpha_decay: of Adam on the parameters, whose first decay rate is 0.5.
        epochs: where the budget sets no limit.
    """

    protocol: ClassVar[Protocol] = Protocol(64, 0.5, 0.5)

    alpha_lr: Amount = 3e-4
    alpha_decay: Amount = 1e-3
    epochs: Count = 50

    def model(
        self, space: SearchSpace, task: Task, rng: np.random.Generator, **further: Any
    ) -> Relaxed:
        """The supernet and its parameters, with these optimisers; `further` is of `Relaxed`."""
        return Relaxed(
            space,
            task,
            rng,
            optimiser=self.optimiser,
            alpha_lr=self.alpha_lr,
            alpha_decay=self.alpha_decay,
            clip=self.clip,
            **further,
        )


def epoch_passes(task: Task) -> int:
    """What an epoch costs in which both weights and alpha learn."""
    batch = sum(min(task.batch_size, len(images)) for images in (task.train, task.valid))
    return steps_per_epoch(task) * batch


def paired_steps(task: Task, meter: Meter, epochs: int) -> float:
    """`planned_steps` of epochs in which both weights and alpha learn."""
    return planned_steps(task, meter.passes, epochs, epoch_passes(task))


def paired_batches(
    task: Task, rng: np.random.Generator, steps: int | None = None
) -> Iterator[tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]]:
    """Training batches, each beside one of the validation batches taken in turns.

    Args:
        steps: how many, at most those of an epoch; None: all of these.
    """
    train = task.train.batches(task.batch_size, rng, task.augment, drop_last=True)
    valid = cycle(task.valid, task.batch_size, rng, task.augment)
    yield from islice(zip(train, valid, strict=False), steps or steps_per_epoch(task))
