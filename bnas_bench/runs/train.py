"""Training a derived network from scratch, by the space's recipe: the same for every method.

DCP-NAS (Li et al., IJCV 2023), https://arxiv.org/abs/2306.15390, section 4.1.3: Adam, or on demand
SGD, the learning rate going to zero along a cosine. The rate changes with every step, so that short
trainings reach zero as well.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bnas_bench.core.budget import Recipe
from bnas_bench.core.errors import Diverged
from bnas_bench.data.datasets import Dataset
from bnas_bench.nn.network import Network
from bnas_bench.search.checkpoint import Checkpoint
from bnas_bench.search.kernel_loss import LAM, compactness
from bnas_bench.search.learning import adam, cosine, set_lr, sgd


@dataclass(frozen=True)
class TrainResult:
    """What a training leaves beside the network's weights.

    Attributes:
        loss: mean of the last epoch's batches, the auxiliary head's part included.
        seconds: of training, those of earlier, killed runs included.
        log: per epoch the passes so far, the seconds so far and the loss.
    """

    loss: float
    seconds: float
    log: list[dict[str, Any]]


def loss(
    logits_BN: Tensor,
    auxiliary_BN: Tensor | None,
    y_B: Tensor,
    smoothing: float,
    weight: float,
    teacher_BN: Tensor | None = None,
) -> Tensor:
    """Cross-entropy with label smoothing, plus the auxiliary head's at `weight`; a scalar.

    Args:
        teacher_BN: a teacher's logits, whose distribution then takes the place of the labels (ReActNet's
            distributional loss).
    """
    if teacher_BN is None:
        total = F.cross_entropy(logits_BN, y_B, label_smoothing=smoothing)
    else:
        total = F.kl_div(logits_BN.log_softmax(1), teacher_BN.softmax(1), reduction="batchmean")
    if auxiliary_BN is None:
        return total
    return total + weight * F.cross_entropy(auxiliary_BN, y_B, label_smoothing=smoothing)


def error_of(
    network: Network, x_BCHW: Tensor, y_B: Tensor, recipe: Recipe, teacher: Network | None
) -> Tensor:
    """What a step of a training makes smaller, a scalar."""
    how = recipe.label_smoothing, recipe.auxiliary
    if teacher is None:
        return loss(*network.both(x_BCHW), y_B, *how)
    if recipe.teacher == "twin":
        with torch.no_grad():
            target_BN = teacher(x_BCHW)
        return loss(*network.both(x_BCHW), y_B, *how, target_BN)
    with torch.no_grad():
        _, parent_BCHW = teacher.logits_and_features(x_BCHW)
    logits_BN, child_BCHW = network.logits_and_features(x_BCHW)
    error = loss(logits_BN, None, y_B, *how) + network.reconstruction_error("filter")
    return error + LAM * compactness(child_BCHW, parent_BCHW, y_B)


def train(
    network: Network,
    dataset: Dataset,
    recipe: Recipe,
    rng: np.random.Generator,
    checkpoint: Checkpoint,
    *,
    teacher: Network | None = None,
    tell: Callable[[float], None] = lambda _: None,
) -> TrainResult:
    """Train `network`, at the precision it has, on all of the dataset's training images.

    It is left in evaluation mode. A training that was killed goes on from `checkpoint`.

    Args:
        rng: draws the order of the images and their augmentation.
        teacher: a network in evaluation mode to learn from.
        tell: is told after every batch which part of the training is done.

    Raises:
        Diverged: if the loss of an epoch is no finite number.
    """
    images, size = dataset.train, recipe.batch_size
    by = {"adam": adam, "sgd": sgd}[recipe.optimiser]
    optimiser = by(network.parameters(), recipe.lr, recipe.weight_decay, recipe.momentum)
    state: Mapping[str, Any] = {"network": network, "optimiser": optimiser, "rng": rng}
    saved = checkpoint.load(state) or {"seconds": 0.0, "log": []}
    log, began = list(saved["log"]), time.perf_counter() - saved["seconds"]
    batches = max(1, len(images) // size)
    steps = recipe.epochs * batches

    network.train()
    for epoch in range(len(log), recipe.epochs):
        total = torch.zeros((), dtype=torch.float64, device=images.device)
        seen = 0
        # A smaller last batch is left out: batch norm needs more than an image or two.
        augmented = images.batches(size, rng, dataset.augment(recipe.cutout), drop_last=True)
        for step, (x_BCHW, y_B) in enumerate(augmented, epoch * batches):
            set_lr(optimiser, cosine(recipe.lr, step / steps))
            optimiser.zero_grad()
            error = error_of(network, x_BCHW, y_B, recipe, teacher)
            error.backward()
            if recipe.clip:
                nn.utils.clip_grad_norm_(network.parameters(), recipe.clip)
            optimiser.step()
            total += error.detach()
            seen += len(y_B)
            tell((step + 1) / steps)
        mean = total.item() / batches
        if not math.isfinite(mean):
            raise Diverged(
                f"the training loss is {mean} in epoch {epoch + 1} of {recipe.epochs}; "
                "a smaller learning rate may help"
            )
        seconds = time.perf_counter() - began
        passes = (log[-1]["passes"] if log else 0) + seen
        log.append({"epoch": epoch, "passes": passes, "seconds": round(seconds, 3), "loss": mean})
        is_last = epoch + 1 == recipe.epochs  # so that no later training costs this one again
        checkpoint.save(state, {"seconds": seconds, "log": log}, force=is_last)
    network.eval()
    return TrainResult(log[-1]["loss"], time.perf_counter() - began, log)
