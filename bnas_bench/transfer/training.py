"""Trains a task's model: one loop for all tasks, which a killed training goes on with bit for bit."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from bnas_bench.core.errors import BadValue, Diverged
from bnas_bench.core.machine import amount, memory
from bnas_bench.cost.capacity import training_bytes
from bnas_bench.nn.binary import Precision
from bnas_bench.nn.network import run_at
from bnas_bench.search.checkpoint import Checkpoint
from bnas_bench.search.learning import set_lr, sgd
from bnas_bench.transfer.downstream import Downstream

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class Trained:
    """What a training leaves beside the weights: the last epoch's mean loss, seconds, and the log."""

    loss: float
    seconds: float
    log: list[dict[str, Any]]


def train(
    model: M,
    task: Downstream[M],
    precisions: Sequence[str],
    rng: np.random.Generator,
    checkpoint: Checkpoint,
    tell: Callable[[float], None] = lambda _: None,
) -> Trained:
    """Train a model for a task; it is left in evaluation mode, at the last precision.

    Args:
        precisions: one after the other, each for the recipe's epochs, with a learning rate of its own
            from the start and from the weights that the one before has left.
        tell: is told after every epoch which part of the training is done.

    Raises:
        Diverged: if the loss of an epoch is no finite number.
        BadValue: if the memory does not hold a step.
    """
    recipe = task.recipe
    optimiser = sgd(
        [weight for weight in model.parameters() if weight.requires_grad],
        recipe.lr,
        recipe.weight_decay,
        recipe.momentum,
    )
    state: Mapping[str, Any] = {"model": model, "optimiser": optimiser, "rng": rng}
    saved = checkpoint.load(state) or {"seconds": 0.0, "log": []}
    log, began = list(saved["log"]), time.perf_counter() - saved["seconds"]
    epochs = len(precisions) * recipe.epochs
    for epoch in range(len(log), epochs):
        phase, within = divmod(epoch, recipe.epochs)
        run_at(model, Precision(precisions[phase]))
        if within == 0:
            optimiser.state.clear()
        with fitting(task):
            mean = _epoch(model, task, optimiser, within, rng)
        if not math.isfinite(mean):
            raise Diverged(
                f"the training loss is {mean} in epoch {epoch + 1} of {epochs}; a smaller learning "
                "rate may help"
            )
        seconds = time.perf_counter() - began
        entry = {"epoch": epoch, "precision": precisions[phase], "loss": mean}
        log.append(entry | {"seconds": round(seconds, 3)})
        is_last = epoch + 1 == epochs
        checkpoint.save(state, {"seconds": seconds, "log": log}, force=is_last)
        tell((epoch + 1) / epochs)
    run_at(model, Precision(precisions[-1]))
    model.eval()
    return Trained(log[-1]["loss"], time.perf_counter() - began, log)


def _epoch(
    model: M,
    task: Downstream[M],
    optimiser: torch.optim.Optimizer,
    epoch: int,
    rng: np.random.Generator,
) -> float:
    """Train one epoch; the mean loss of its batches."""
    recipe, steps = task.recipe, task.steps
    model.train()
    losses = []
    for step, batch in enumerate(islice(task.batches(rng), steps)):
        set_lr(optimiser, task.rate((epoch + step / steps) / recipe.epochs))
        optimiser.zero_grad()
        error = task.loss(model, batch)
        error.backward()
        if recipe.clip:
            nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        optimiser.step()
        losses.append(error.detach())
    return float(torch.stack(losses).double().mean())


@contextmanager
def fitting(task: Downstream[Any]) -> Iterator[None]:
    """Within it a model computes: where memory ends, that is said in one sentence.

    Raises:
        BadValue: with the images, the batch and the remedy.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        reason = " ".join(str(error).split())
        if not isinstance(error, torch.OutOfMemoryError | MemoryError) and (
            "allocate memory" not in reason
        ):
            raise
        raise _too_large(task, "has no memory") from error


def check_memory(task: Downstream[M], model: M) -> None:
    """Raise unless a step of training fits into this machine, so far as what the model keeps tells.

    A GPU says so itself; a process that takes more than the machine has is ended without a word.

    Raises:
        BadValue: as `fitting`.
    """
    if task.device.type == "cpu":
        needed = training_bytes(task.used(model), task.shape, task.recipe.batch_size)
        if needed > memory():
            raise _too_large(task, f"has {amount(memory())} of memory, not the {amount(needed)}")


def _too_large(task: Downstream[Any], what: str) -> BadValue:
    size, images = task.recipe.batch_size, "x".join(map(str, task.shape))
    return BadValue(
        f"{task.device} {what} for {task.name} in batches of {size} images of {images}: give a smaller "
        f"batch as --budget quick[train_batch={max(1, size // 2)}], or a narrower backbone"
    )
