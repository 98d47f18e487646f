"""A slow and obvious interpreter of packed programs: the oracle of everything that is fast.

It reads `bnas_bench.packed.format.program.OPS` alone. Maps are float tensors (B, C, H, W), those of signs
hold -1 and +1; torch's own layers do the arithmetic, in the layout of a packed network's maps.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bnas_bench.packed.format.program import INPUT, Program, Step, unpack_bits


def run(program: Program, images_BCHW: np.ndarray) -> np.ndarray:
    """The logits, shape (B, N)."""
    return values(program, images_BCHW)[program.steps[-1].name]


@torch.no_grad()
def values(program: Program, images_BCHW: np.ndarray) -> dict[str, np.ndarray]:
    """All values by their names: maps (B, C, H, W), those of signs as -1 and +1, and vectors (B, N)."""
    found = {INPUT: layout(torch.from_numpy(images_BCHW))}
    for step in program.steps:
        value = RUN[step.op](step, *(found[name] for name in step.inputs))
        found[step.name] = layout(value) if value.dim() == 4 else value
    return {name: value.numpy() for name, value in found.items()}


def layout(x_BCHW: Tensor) -> Tensor:
    """The map with a pixel's channels next to each other in memory."""
    return x_BCHW.clone(memory_format=torch.channels_last)


def vector(step: Step, name: str) -> Tensor:
    return torch.from_numpy(step.tensors[name].copy())


def per_channel(step: Step, name: str) -> Tensor:
    return vector(step, name).view(1, -1, 1, 1)


def kernel_signs(step: Step) -> Tensor:
    """Weights of -1 and +1, shape (out, in / groups, k, k)."""
    a = step.attributes
    inputs = int(a["inputs"]) // int(a["groups"])
    shape = (int(a["outputs"]), int(a["kernel"]), int(a["kernel"]), inputs)
    ones = unpack_bits(step.tensors["signs"], shape).transpose(0, 3, 1, 2)
    return torch.from_numpy(np.where(ones, np.float32(1), np.float32(-1)))


def convolve(step: Step, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    stride, padding, dilation, groups = (
        int(step.attributes[name]) for name in ("stride", "padding", "dilation", "groups")
    )
    assert x.shape[1] == step.attributes["inputs"]
    y = F.conv2d(x, weight.contiguous(), bias, stride, padding, dilation, groups)
    assert y.shape[1] == step.attributes["outputs"]
    return y


def conv(step: Step, x: Tensor) -> Tensor:
    bias = vector(step, "bias") if "bias" in step.tensors else None
    return convolve(step, x, vector(step, "weight"), bias)


def conv_q8(step: Step, x: Tensor) -> Tensor:
    weight_step, input_step = vector(step, "steps")
    quantised = torch.clamp(torch.round(x / input_step), -128, 127) * input_step
    return convolve(step, layout(quantised), vector(step, "weight").float() * weight_step)


def conv_w1(step: Step, x: Tensor) -> Tensor:
    return convolve(step, x, kernel_signs(step) * vector(step, "scale").view(-1, 1, 1, 1))


def conv_b(step: Step, x: Tensor) -> Tensor:
    assert set(x.unique().tolist()) <= {-1.0, 1.0}
    sums = convolve(step, x, kernel_signs(step))
    assert torch.equal(sums, sums.round()), "sums of signs are whole"
    return sums * per_channel(step, "scale")


def sign(step: Step, x: Tensor) -> Tensor:
    positive = x >= (per_channel(step, "threshold") if "threshold" in step.tensors else 0)
    if "flips" in step.tensors:
        flips = unpack_bits(step.tensors["flips"], (x.shape[1],))
        positive = positive ^ torch.from_numpy(flips).view(1, -1, 1, 1)
    return torch.where(positive, 1.0, -1.0)


def affine(step: Step, x: Tensor) -> Tensor:
    """A batch norm of mean 0 and variance 1: torch computes fma(x, scale, offset)."""
    scale, offset = vector(step, "scale"), vector(step, "offset")
    return F.batch_norm(x, torch.zeros_like(scale), torch.ones_like(scale), scale, offset, eps=0.0)


def prelu(step: Step, x: Tensor) -> Tensor:
    return torch.where(x > 0, x, x * per_channel(step, "slope"))


def rprelu(step: Step, x: Tensor) -> Tensor:
    return prelu(step, x - per_channel(step, "gamma")) + per_channel(step, "zeta")


def interleave(_: Step, *maps: Tensor) -> Tensor:
    return torch.cat([x[:, c : c + 1] for c in range(maps[0].shape[1]) for x in maps], dim=1)


def shuffle(step: Step, x: Tensor) -> Tensor:
    groups, channels = int(step.attributes["groups"]), x.shape[1]
    y = torch.empty_like(x)
    for group in range(groups):
        for i in range(channels // groups):
            y[:, i * groups + group] = x[:, group * (channels // groups) + i]
    return y


def tile(step: Step, x: Tensor) -> Tensor:
    return x[:, [c % x.shape[1] for c in range(int(step.attributes["channels"]))]]


def resize(step: Step, x: Tensor) -> Tensor:
    parts, channels = int(step.attributes["parts"]), int(step.attributes["channels"])
    before = x.shape[1] // parts
    y = x.new_zeros(len(x), parts * channels, *x.shape[2:])
    for part in range(parts):
        for c in range(min(before, channels)):
            y[:, part * channels + c] = x[:, part * before + c]
    return y


def window(step: Step, x: Tensor) -> Tensor:
    below, right, start, every = (
        int(step.attributes[name]) for name in ("pad_height", "pad_width", "start", "step")
    )
    height, width = x.shape[2:]
    y = x.new_zeros(len(x), x.shape[1], height + below, width + right)
    y[:, :, :height, :width] = x
    return y[:, :, start::every, start::every]


def max_pool(step: Step, x: Tensor) -> Tensor:
    kernel, stride, padding, ceil = (
        step.attributes[name] for name in ("kernel", "stride", "padding", "ceil")
    )
    return F.max_pool2d(x, kernel, stride, padding, 1, ceil)


def avg_pool(step: Step, x: Tensor) -> Tensor:
    kernel, stride, padding, ceil, counted = (
        step.attributes[name] for name in ("kernel", "stride", "padding", "ceil", "count_padding")
    )
    return F.avg_pool2d(x, kernel, stride, padding, ceil, counted)


def zeros(step: Step, x: Tensor) -> Tensor:
    stride = int(step.attributes["stride"])
    sides = [-(-side // stride) for side in x.shape[2:]]
    return x.new_zeros(len(x), step.attributes["channels"], *sides)


def linear(step: Step, x: Tensor) -> Tensor:
    assert x.shape[1] == step.attributes["inputs"]
    return F.linear(x, vector(step, "weight"), vector(step, "bias"))


RUN: dict[str, Callable[..., Tensor]] = {
    "conv": conv,
    "conv_q8": conv_q8,
    "conv_w1": conv_w1,
    "conv_b": conv_b,
    "sign": sign,
    "affine": affine,
    "prelu": prelu,
    "rprelu": rprelu,
    "relu": lambda _, x: torch.clamp(x, min=0),
    "hardtanh": lambda _, x: torch.clamp(x, -1, 1),
    "add": lambda _, x, y: x + y,
    "concat": lambda _, *maps: torch.cat(maps, dim=1),
    "interleave": interleave,
    "shuffle": shuffle,
    "tile": tile,
    "resize": resize,
    "window": window,
    "max_pool": max_pool,
    "avg_pool": avg_pool,
    "zeros": zeros,
    "global_pool": lambda _, x: x.mean((2, 3)),
    "linear": linear,
}
