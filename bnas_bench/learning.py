"""Small pieces that searches and the final training share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count
from math import cos, pi
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

if TYPE_CHECKING:
    import numpy as np

    from bnas_bench.data import Augment, Images


def cosine(lr: float, progress: float) -> float:
    """The cosine schedule: `lr` at progress 0, zero at progress 1."""
    return lr * (1 + cos(pi * progress)) / 2


def set_lr(optimiser: Optimizer, lr: float) -> None:
    """Give all parameters the learning rate `lr`."""
    for group in optimiser.param_groups:
        group["lr"] = lr


def adam(
    parameters: Iterable[Tensor], lr: float, weight_decay: float, momentum: float = 0.9
) -> Adam:
    """Adam "with momentum", as the papers put it: its first decay rate is the momentum."""
    return Adam(parameters, lr=lr, betas=(momentum, 0.999), weight_decay=weight_decay, fused=True)


@torch.no_grad()
def accuracy(network: nn.Module, images: Images, batch_size: int, *args: Any) -> float:
    """The part of the images that is classified rightly, from 0 to 1.

    Args:
        args: what the forward takes after the images, such as a supernet's mix.
    """
    training = network.training
    network.eval()
    right = sum((network(x, *args).argmax(1) == y).sum() for x, y in images.batches(batch_size))
    network.train(training)
    return int(right) / len(images)


def cycle(
    images: Images, size: int, rng: np.random.Generator, augment: Augment
) -> Iterator[tuple[Tensor, Tensor]]:
    """Shuffled batches without end; the last, smaller batch of a round is left out."""
    for _ in count():
        yield from images.batches(size, rng, augment, drop_last=True)
