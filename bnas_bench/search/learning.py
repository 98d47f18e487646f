"""Small pieces that searches and the final training share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, islice
from math import ceil, cos, pi
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_
from torch.optim import SGD, Adam, Optimizer

from bnas_bench.core.errors import BudgetExceeded
from bnas_bench.core.options import Amount, BelowOne, Positive
from bnas_bench.nn.binary import BinaryConv2d

if TYPE_CHECKING:
    import numpy as np

    from bnas_bench.data.datasets import Augment, Images, Task
    from bnas_bench.nn.network import Network


def cosine(lr: float, progress: float) -> float:
    """The cosine schedule: `lr` at progress 0, zero at progress 1."""
    return lr * (1 + cos(pi * progress)) / 2


@contextmanager
def constant(network: nn.Module) -> Iterator[None]:
    """What runs within the `with` has no derivative by the weights: none is computed that nobody wants."""
    learned = [weight for weight in network.parameters() if weight.requires_grad]
    for weight in learned:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in learned:
            weight.requires_grad_()


def set_lr(optimiser: Optimizer, lr: float) -> None:
    """Give all parameters the learning rate `lr`, stretched ones as many times it as `stretch` said."""
    for group in optimiser.param_groups:
        rate = lr * group.get("stretch", 1.0)
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def groups(network: nn.Module) -> list[dict[str, Any]]:
    """A network's parameters for an optimiser, the latent weights of 1-bit layers apart from the rest."""
    latent = [
        module.weight
        for module in network.modules()
        if isinstance(module, BinaryConv2d) and module.precision.weight_bits == 1
    ]
    known = set(map(id, latent))
    others = [weight for weight in network.parameters() if id(weight) not in known]
    parts = ((others, False), (latent, True))
    return [{"params": part, "latent": is_latent} for part, is_latent in parts if part]


def steps_per_epoch(task: Task) -> int:
    """Whole batches of training images."""
    return max(1, len(task.train) // task.batch_size)


def planned_steps(task: Task, passes: float | None, epochs: int, epoch: float) -> float:
    """Steps of the weights that the budget holds; of the paper's epochs without a budget.

    Args:
        passes: the budget; None is none.
        epochs: the paper's.
        epoch: what one costs, in passes.
    """
    whole = steps_per_epoch(task)
    return whole * (epochs if passes is None else passes / epoch)


PAPER_EPOCH = 25_000 // 512
"""Steps of an epoch of half of CIFAR-10 at the budget `paper`, for methods whose paper trains on ImageNet
or leaves the batch open."""

LONGEST = 0.1
"""The longest step of Adam on a latent weight: a tenth of the clip of its estimator (DCP-NAS Eq. 17)."""


def stretch(optimiser: Optimizer, factor: float) -> None:
    """Make the steps of latent weights longer where a budget has fewer of them than the paper.

    Together they go as far as the paper's, but for Adam's, of which none is longer than `LONGEST`.
    Only a latent weight's sign counts: how often it turns depends on the length of its way by the size
    at its start (Helwegen et al., NeurIPS 2019, https://arxiv.org/abs/1906.02107). Real-valued weights
    would not bear such steps.

    Args:
        factor: steps in the paper by steps here; below 1 it changes nothing.
    """
    if isinstance(optimiser, Adam):
        factor = min(factor, LONGEST / max(float(optimiser.defaults["lr"]), 1e-12))
    for group in optimiser.param_groups:
        if group.get("latent"):
            group["stretch"] = max(1.0, factor)


AnyOptimizer = TypeVar("AnyOptimizer", bound=Optimizer)


def capturable(optimiser: AnyOptimizer) -> AnyOptimizer:
    """The optimiser, its steps such that a CUDA graph can hold them where its parameters are on a GPU.

    A graph repeats the numbers that Python gave when it was captured. So the learning rate lies on the
    device, where `set_lr` changes it, and the step is fused: the others read that rate back each time.
    """
    for group in optimiser.param_groups:
        device = group["params"][0].device
        if device.type == "cuda":
            group["lr"] = torch.tensor(group["lr"], device=device)
            group["fused"] = True
            if "capturable" in group:
                group["capturable"] = True
    return optimiser


Parameters = Iterable[Tensor] | Iterable[dict[str, Any]]


def adam(parameters: Parameters, lr: float, weight_decay: float, momentum: float = 0.9) -> Adam:
    """Adam "with momentum", as the papers put it: its first decay rate is the momentum."""
    betas = momentum, 0.999
    return capturable(Adam(parameters, lr, betas, weight_decay=weight_decay, fused=True))


def sgd(parameters: Parameters, lr: float, weight_decay: float, momentum: float = 0.9) -> SGD:
    """SGD with momentum."""
    return capturable(SGD(parameters, lr, momentum, weight_decay=weight_decay))


@dataclass(kw_only=True)
class BySGD:
    """Hyperparameters of a search whose weights learn by SGD; the defaults are those of DARTS, section 3.1.

    Args:
        lr: at the start; a cosine anneals it to zero.
        momentum, weight_decay: of SGD.
        clip: maximal norm of the gradient; None is none.
    """

    lr: Amount = 0.025
    momentum: BelowOne = 0.9
    weight_decay: Amount = 3e-4
    clip: Positive | None = 5.0

    def optimiser(self, network: nn.Module) -> Optimizer:
        return sgd(groups(network), self.lr, self.weight_decay, self.momentum)


@dataclass(kw_only=True)
class ByAdam:
    """Hyperparameters of a search whose weights learn by Adam; the defaults are those of the final
    training, DCP-NAS section 4.1.3.

    Args:
        lr: at the start; a cosine anneals it to zero.
        clip: maximal norm of the gradient.
    """

    lr: Amount = 0.0025
    weight_decay: Amount = 1e-5
    clip: Positive = 5.0

    def optimiser(self, network: nn.Module) -> Optimizer:
        return adam(groups(network), self.lr, self.weight_decay)


def descend(
    network: nn.Module,
    optimiser: Optimizer,
    loss: Tensor,
    clip: float | None,
    *,
    path: bool = False,
) -> None:
    """One step of the network's weights against the gradient of `loss`, of norm `clip` at most.

    Args:
        path: whether `loss` is that of a path, whose weights alone take the step.
    """
    optimiser.zero_grad()
    loss.backward()
    if clip is not None:
        clip_grad_norm_(network.parameters(), clip)
    if path:
        step_of_paths(optimiser)
    else:
        optimiser.step()


@torch.no_grad()
def step_of_paths(optimiser: Optimizer) -> None:
    """A step of those output channels alone that a path has run since gradients were zero.

    The operations that paths leave out are parts of the same bundles: their gradients are zero where
    they would be absent from operations of their own, and momentum and weight decay would move them on.
    """
    weights = [w for group in optimiser.param_groups for w in group["params"] if w.grad is not None]
    before = [{name: v.clone() for name, v in _moved(optimiser, w).items()} for w in weights]
    optimiser.step()
    for weight, known in zip(weights, before, strict=True):
        rests = weight.grad == 0
        if weight.dim() > 1:
            rests = rests.all(dim=tuple(range(1, weight.dim())), keepdim=True)
        for name, value in _moved(optimiser, weight).items():
            value.copy_(torch.where(rests, known.get(name, torch.zeros_like(value)), value))


def _moved(optimiser: Optimizer, weight: Tensor) -> dict[str, Tensor]:
    """What a step changes of a weight: its value, and what the optimiser keeps of each of its elements."""
    kept = {
        name: value
        for name, value in optimiser.state.get(weight, {}).items()
        if isinstance(value, Tensor) and value.shape == weight.shape and name != "step"
    }
    return {"": weight.data, **kept}


def accuracy(network: nn.Module, images: Images, batch_size: int, *args: Any) -> float:
    """The part of the images that is classified rightly, from 0 to 1.

    Args:
        args: what the forward takes after the images, such as a supernet's mix.
    """
    return top_accuracies(network, images, batch_size, (1,), *args)[0]


@torch.no_grad()
def top_accuracies(
    network: nn.Module,
    images: Images,
    batch_size: int,
    ks: Sequence[int],
    *args: Any,
    classes: list[Tensor] | None = None,
) -> list[float]:
    """For every k the part of the images whose class is among the k largest logits, from 0 to 1.

    Args:
        args: what the forward takes after the images, such as a supernet's mix.
        classes: takes those of the largest logits, a tensor a batch.
    """
    training = network.training
    network.eval()
    right = torch.zeros(len(ks), dtype=torch.long, device=images.device)  # read once, at the end
    for x, y in images.batches(batch_size):
        logits = network(x, *args)
        largest = logits.argmax(1)
        if classes is not None:
            classes.append(largest)
        for place, k in enumerate(ks):
            if k == 1:
                hits = largest == y
            else:
                hits = (logits.topk(min(k, logits.shape[1])).indices == y[:, None]).any(1)
            right[place] += hits.sum()
    network.train(training)
    return [hits / len(images) for hits in right.tolist()]


def cycle(
    images: Images, size: int, rng: np.random.Generator, augment: Augment
) -> Iterator[tuple[Tensor, Tensor]]:
    """Shuffled batches without end; the last, smaller batch of a round is left out."""
    for _ in count():
        yield from images.batches(size, rng, augment, drop_last=True)


def evenly(steps: int, parts: int) -> list[int]:
    """So many steps in so many parts that differ by one at most, the longer ones last."""
    short, longer = divmod(steps, parts)
    return [short] * (parts - longer) + [short + 1] * longer


def train_briefly(
    network: Network, task: Task, rng: np.random.Generator, how: ByAdam, epochs: int
) -> None:
    """Train a search's candidate on its training images, the rate annealed by a cosine."""
    optimiser = how.optimiser(network)
    network.train()
    steps = epochs * steps_per_epoch(task)
    batches = cycle(task.train, task.batch_size, rng, task.augment)
    for step, (x, y) in zip(range(steps), batches, strict=False):
        set_lr(optimiser, cosine(how.lr, step / steps))
        descend(network, optimiser, cross_entropy(network(x), y), how.clip)


@torch.no_grad()
def recalibrate(
    network: Network, images: Images, batch_size: int, batches: int, rng: np.random.Generator
) -> None:
    """Set batch norm's running statistics to their mean over some batches of the weights as they are.

    The network is left in evaluation mode.

    Args:
        batches: how many, of the images in a random order; each image is read at most once.
    """
    network.eval()
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.train()
    read = islice(images.batches(batch_size, rng, drop_last=True), batches)
    for seen, (x, _) in enumerate(read, start=1):
        for (
            norm
        ) in norms:  # torch's own plain mean, momentum None, reads its counter off the device
            norm.momentum = 1 / seen
        network(x)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.eval()


@dataclass(frozen=True)
class Division:
    """How a search that trains a supernet and then evaluates candidates divides the meter's epochs.

    Attributes:
        trainings: epochs of training, which come first.
        steps: batches in each of them.
        evaluations: candidates that the rest of the budget holds.
        together: how many of them make an epoch: about as dear as one of training, because the
            meter begins an epoch only where the dearest so far would fit.
    """

    trainings: int
    steps: int
    evaluations: int
    together: int

    @property
    def epochs(self) -> int:
        return self.trainings + ceil(self.evaluations / self.together)


def divide(
    passes: int | None,
    task: Task,
    *,
    step: int,
    evaluation: int,
    share: float,
    fewest: int,
    protocol: tuple[int, int],
) -> Division:
    """Divide a budget between training and evaluations; without one, follow the paper's protocol.

    Args:
        step: what one batch of training costs, in thirds of a pass.
        evaluation: what one candidate costs, in thirds of a pass.
        share: the part of the passes that trains, between 0 and 1.
        fewest: evaluations that a small budget holds at least, if it holds one epoch beside them.
        protocol: the paper's epochs of training and evaluations.

    Raises:
        BudgetExceeded: if the budget does not hold one step and one evaluation.
    """
    whole = steps_per_epoch(task)
    if passes is None:
        trainings, evaluations = protocol
        return Division(trainings, whole, evaluations, max(1, whole * step // evaluation))
    thirds = 3 * passes
    # So many epochs that none is longer than a reading of the images, nor than the evaluations' share.
    epochs = max(ceil(thirds / (whole * step)), round(1 / (1 - share)), 2)
    unit = max(thirds // epochs, step, evaluation)
    steps = min(whole, unit // step)
    unit = max(steps * step, evaluation)
    together, epochs = unit // evaluation, thirds // unit
    if epochs < 2:
        raise BudgetExceeded(
            f"a step of the search and the evaluation of a candidate take up to {unit / 3:.0f} passes "
            f"each and the budget is {passes}; give it a larger budget or a smaller batch_size"
        )
    evaluating = max(round((1 - share) * epochs), ceil(fewest / together), 1)
    evaluating = min(evaluating, epochs - 1)
    return Division(epochs - evaluating, steps, evaluating * together, together)
