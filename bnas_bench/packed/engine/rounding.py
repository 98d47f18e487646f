"""Which real convolutions our kernels compute to torch's last bit, found out by running both.

A sum of 32-bit floats depends on its order. Torch adds up pixel of the kernel by pixel and channel by
channel, but may do so in pieces: with one thread it hands some 1x1 convolutions to a matrix product
that sums up at most some 200 terms by themselves. Which it is depends on the processor, the shapes,
the number of images and of threads. So a convolution is tried on random numbers, in one piece and in
several; where nothing agrees, torch runs it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bnas_bench.packed.engine.chains import ChainKernel
from bnas_bench.packed.engine.fuse import separate
from bnas_bench.packed.engine.isa import Isa
from bnas_bench.packed.engine.layers import TorchKernel
from bnas_bench.packed.engine.real import is_dense, is_depthwise, pixelwise
from bnas_bench.packed.engine.stages import Stages
from bnas_bench.packed.engine.threads import Team, torch_threads
from bnas_bench.packed.format.program import Program, Step

MOST_PIECES = 12
"""Of a sum."""

DIVIDED = frozenset({"conv", "conv_w1", "conv_q8", "linear", "global_pool"})
"""Operations whose last digits may depend on how many threads torch has."""


def sums_of(
    program: Program, shapes: Mapping[str, Any], form: Isa, batch: int, threads: int
) -> dict[str, int]:
    """The real convolutions that are ours, and how many terms each sums up by themselves.

    Args:
        threads: that torch would run them with.
    """
    known: dict[object, int | None] = {}
    found = {}
    for step in program.steps:
        if is_dense(step) or is_depthwise(step):
            finite = all(np.isfinite(tensor).all() for tensor in step.tensors.values())
            key = (step.op, *step.attributes.items(), *shapes[step.inputs[0]].sides, finite)
            if key not in known:
                known[key] = _terms(step, shapes, program, form, batch, threads)
            if (terms := known[key]) is not None:
                found[step.name] = terms
    return found


def in_one_thread(step: Step, shapes: Mapping[str, Any], batch: int, threads: int) -> bool:
    """Whether one of torch's threads computes a step to the last bit as so many do."""
    if threads == 1 or step.op not in DIVIDED:
        return True
    kernel, x = TorchKernel(step, shapes), _numbers(step, shapes, batch)
    return torch.equal(_by_torch(kernel, x, 1), _by_torch(kernel, x, threads))


def _terms(
    step: Step, shapes: Mapping[str, Any], program: Program, form: Isa, batch: int, threads: int
) -> int | None:
    """That make our kernel's sums torch's; None if nothing does."""
    x = _numbers(step, shapes, batch)
    expected = _by_torch(TorchKernel(step, shapes), x, threads)
    kernel = ChainKernel(separate([step], {step.name})[0], shapes, program, form, {})
    places = {step.name: kernel.empty(step.name, batch)}
    for terms in _pieces(step):
        Stages([kernel], form, Team(1), places, batch, {step.name: terms}).run(0, 1, x)
        if torch.equal(places[step.name], expected):
            return terms
    return None


def _pieces(step: Step) -> Iterator[int]:
    """Terms of a sum that might be summed up by themselves: all of them first."""
    inputs = int(step.attributes["inputs"]) // int(step.attributes["groups"])
    length = inputs * int(step.attributes["kernel"]) ** 2
    yield length
    if pixelwise(step):
        yield from dict.fromkeys(-(-length // pieces) for pieces in range(2, MOST_PIECES + 1))


def _numbers(step: Step, shapes: Mapping[str, Any], batch: int) -> dict[str, Tensor]:
    """Random ones for its input, in the layout of maps."""
    (name,) = step.inputs
    drawn = np.random.default_rng(0).standard_normal((batch, *shapes[name].sides), np.float32)
    x = torch.from_numpy(drawn).clone()
    return {name: x.permute(0, 3, 1, 2) if x.dim() == 4 else x}


def _by_torch(kernel: TorchKernel, values: Mapping[str, Tensor], threads: int) -> Tensor:
    with torch_threads(threads), torch.inference_mode():
        return kernel(values)
