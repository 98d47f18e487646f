"""Latency of the float simulation: how long torch takes, not a binary engine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

WARM_UP = 3
FEWEST = 10
"""Repeats below which quartiles say nothing."""


def simulated_latency(
    network: nn.Module, shape: tuple[int, int, int], *, seconds: float = 2.0, repeats: int = 50
) -> dict[str, Any]:
    """Median and quartiles of the time of one image of `shape` (C, H, W), in milliseconds.

    Evaluation and inference mode, on the network's own device, with torch's current number of
    threads. Measures `repeats` times or for `seconds`, whichever ends first, but ten times or more.

    Returns:
        `median_ms`, `lower_ms`, `upper_ms` (quartiles), `repeats` and `threads`.
    """
    first = next(network.parameters())
    pixels = int(np.prod(shape))
    image = torch.linspace(-1, 1, pixels, dtype=first.dtype, device=first.device).view(1, *shape)
    times: list[float] = []

    def measure() -> float:
        _finish(first.device)
        began = time.perf_counter()
        nn.Module.__call__(network, image)  # network(image) would charge a meter that is open
        _finish(first.device)
        return time.perf_counter() - began

    with _evaluating(network), torch.inference_mode():
        for _ in range(WARM_UP):
            measure()
        while len(times) < FEWEST or (len(times) < repeats and sum(times) < seconds):
            times.append(measure())
    lower, median, upper = (1000 * np.quantile(times, [0.25, 0.5, 0.75])).tolist()
    return {
        "median_ms": median,
        "lower_ms": lower,
        "upper_ms": upper,
        "repeats": len(times),
        "threads": torch.get_num_threads(),
    }


def _finish(device: torch.device) -> None:
    """Wait for kernels that still run: on a GPU a forward returns before its work is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode, after which every module is in its own mode again."""
    training = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, mode in training.items():
            module.training = mode
