"""How long one image takes: through the packed engine, the float simulation, and the real-valued twin.

A latency says of which kind it is, so that a simulated number never stands where a measured one is
meant. What is compared is timed in turns, in one run: a machine that slows down slows all of them.
"""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import nn

from bnas_bench.core import provenance
from bnas_bench.nn.binary import BinaryConv2d, Precision, sign
from bnas_bench.nn.network import Counted
from bnas_bench.nn.quantised import QuantConv2d
from bnas_bench.packed.engine.isa import host
from bnas_bench.packed.engine.threads import torch_threads

if TYPE_CHECKING:
    from bnas_bench.packed.engine.engine import Engine

Kind = Literal["packed", "simulated", "real"]
Shape = tuple[int, int, int]

WARM_UP = 3
FEWEST = 10
"""Repeats below which quartiles say nothing."""
TURN = 5
"""Repeats in a row, before it is the next one's turn."""


@dataclass(frozen=True)
class Subject:
    """Something that takes time.

    Attributes:
        kind: `packed`, `simulated` (1-bit layers as floats, eager torch) or `real` (no 1-bit layer,
            eager torch).
        run: runs one image through it, to the end.
    """

    kind: Kind
    run: Callable[[], object]


@dataclass(frozen=True)
class Latency:
    """Median and quartiles of the time of one image (batch 1), in milliseconds."""

    kind: Kind
    median_ms: float
    lower_ms: float
    upper_ms: float
    repeats: int
    threads: int


def packed(engine: Engine, shape: Shape) -> Subject:
    """The engine, on the CPU; it must have been made for the threads that it is timed with."""
    image = probe_image(shape)
    return Subject("packed", lambda: engine.run(image))


def simulated(network: nn.Module, shape: Shape) -> Subject:
    """A copy of the network, on its own device, in evaluation and inference mode; see `settle`."""
    return Subject("simulated", _forward(copy.deepcopy(network), shape))


def real(network: nn.Module, shape: Shape) -> Subject:
    """The network's real-valued twin: a copy that runs at W32A32, on its own device."""
    twin = copy.deepcopy(network)
    if isinstance(twin, Counted):
        twin.precision = Precision.W32A32
    return Subject("real", _forward(twin, shape))


def latency(subject: Subject, *, threads: int, seconds: float = 2.0, repeats: int = 50) -> Latency:
    """The latency of one subject alone; see `latencies`."""
    return latencies({"": subject}, threads=threads, seconds=seconds, repeats=repeats)[""]


def latencies(
    subjects: Mapping[str, Subject], *, threads: int, seconds: float = 2.0, repeats: int = 50
) -> dict[str, Latency]:
    """Time subjects in turns, `threads` of torch's being at work.

    Each is run `repeats` times or for `seconds`, whichever ends first, but ten times or more, after
    a warm-up that is not counted. A search that times a network pays for every run.
    """
    runs = {name: subject.run for name, subject in subjects.items()}
    with torch_threads(threads):
        times = timed(runs, seconds=seconds, repeats=repeats)
    found = {}
    for name, subject in subjects.items():
        lower, median, upper = (1000 * np.quantile(times[name], [0.25, 0.5, 0.75])).tolist()
        count = len(times[name])
        found[name] = Latency(subject.kind, median, lower, upper, count, threads)
    return found


def timed(
    runs: Mapping[str, Callable[[], object]], *, seconds: float, repeats: int
) -> dict[str, list[float]]:
    """Seconds of every counted run, by name; see `latencies`."""
    times: dict[str, list[float]] = {name: [] for name in runs}

    def unfinished(name: str) -> bool:
        mine = times[name]
        return len(mine) < FEWEST or (len(mine) < repeats and sum(mine) < seconds)

    for run in runs.values():
        for _ in range(WARM_UP):
            run()
    while waiting := [name for name in runs if unfinished(name)]:
        for name in waiting:
            if len(runs) > 1:
                runs[name]()  # the others have just emptied the caches
            for _ in range(TURN):
                if unfinished(name):
                    began = time.perf_counter()
                    runs[name]()
                    times[name].append(time.perf_counter() - began)
    return times


def probe_image(shape: Shape) -> np.ndarray:
    """A batch of one image of `shape` (C, H, W) with numbers from -1 to 1, 32-bit floats."""
    return np.linspace(-1, 1, int(np.prod(shape)), dtype=np.float32).reshape(1, *shape)


def machine(threads: int) -> dict[str, Any]:
    """What a latency is to be read with: the CPU, what sets its frequency, how much of it works.

    `isa` is the instruction set of the engine's kernels.
    """
    return {
        "cpu": provenance.cpu(),
        "governor": provenance.governor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "isa": host().name,
    }


def settle(network: nn.Module) -> None:
    """Take signs, scales and normalisation of the weights once, as any engine would, not every time."""
    for module in network.modules():
        if isinstance(module, BinaryConv2d):
            module.forward = _settled(module)  # type: ignore[method-assign, assignment]
        elif isinstance(module, QuantConv2d):
            weight = module.effective_weight().detach()
            module.effective_weight = lambda *_, w=weight: w  # type: ignore[method-assign]


def _settled(conv: BinaryConv2d) -> Callable[[torch.Tensor], torch.Tensor]:
    """The forward of a layer in evaluation mode, with its weights as they are now."""
    with torch.no_grad():
        if not conv.scales_sums:
            whole = conv.effective_weight().clone()
            return lambda x: conv.convolve(x, whole, conv.groups)
        weight, scale = conv.filters()
        signs, scale = sign(weight), scale.view(-1, 1, 1)
        return lambda x: conv.convolve(x, signs, conv.groups) * scale


def _forward(network: nn.Module, shape: Shape) -> Callable[[], object]:
    network.eval()
    settle(network)
    first = next(network.parameters())
    image = torch.from_numpy(probe_image(shape)).to(first)

    @torch.inference_mode()
    def run() -> None:
        network(image)
        if first.is_cuda:  # a forward returns before its kernels are done
            torch.cuda.synchronize(first.device)

    return run
