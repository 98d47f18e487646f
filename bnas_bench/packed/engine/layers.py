"""The steps that torch runs: real-valued layers, pools, and what moves channels and pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bnas_bench.nn.blocks import channels_last, shuffle
from bnas_bench.packed.format.program import Step, unpack_bits

Run = Callable[..., Tensor]


def signs_of(step: Step) -> np.ndarray:
    """Which weights of a 1-bit convolution are +1, shape (outputs, k, k, inputs / groups)."""
    at = step.attributes
    shape = (at["outputs"], at["kernel"], at["kernel"], int(at["inputs"]) // int(at["groups"]))
    return unpack_bits(step.tensors["signs"], tuple(map(int, shape)))


def _convolution(step: Step, weight: Tensor, bias: Tensor | None = None) -> Run:
    at = {name: int(value) for name, value in step.attributes.items()}
    weight = channels_last(weight)
    geometry = at["stride"], at["padding"], at["dilation"], at["groups"]
    return lambda x: F.conv2d(x, weight, bias, *geometry)


def _tensor(step: Step, name: str) -> Tensor:
    """In memory of torch's own, where a network has it: its products round by how numbers are aligned."""
    return torch.from_numpy(step.tensors[name]).clone()


def conv(step: Step) -> Run:
    bias = _tensor(step, "bias") if "bias" in step.tensors else None
    return _convolution(step, _tensor(step, "weight"), bias)


def conv_w1(step: Step) -> Run:
    signs = torch.from_numpy(np.where(signs_of(step), np.float32(1), np.float32(-1)))
    scale = _tensor(step, "scale").view(-1, 1, 1, 1)
    return _convolution(step, signs.permute(0, 3, 1, 2) * scale)


def conv_q8(step: Step) -> Run:
    weight_step, input_step = _tensor(step, "steps")
    run = _convolution(step, _tensor(step, "weight").to(torch.float32) * weight_step)

    def quantised(x: Tensor) -> Tensor:
        y = (x / input_step).round().clamp(-128, 127) * input_step
        # Of one channel torch lets go of the layout, which decides how its convolution rounds.
        return run(y.clone(memory_format=torch.channels_last) if x.shape[1] == 1 else y)

    return quantised


def _pool(pool: Callable[..., Tensor]) -> Callable[[Step], Run]:
    def make(step: Step) -> Run:
        at = step.attributes
        options: dict[str, Any] = {"ceil_mode": at["ceil"]}
        if "count_padding" in at:
            options["count_include_pad"] = at["count_padding"]
        window = at["kernel"], at["stride"], at["padding"]
        return lambda x: pool(x, *window, **options)

    return make


def concat(_: Step) -> Run:
    return lambda *maps: torch.cat(maps, dim=1)


def interleave(_: Step) -> Run:
    return lambda *maps: torch.stack(maps, dim=2).flatten(1, 2)


def tile(step: Step) -> Run:
    channels = int(step.attributes["channels"])
    return lambda x: torch.cat([x] * -(-channels // x.shape[1]), dim=1)[:, :channels]


def resize(step: Step) -> Run:
    parts, channels = int(step.attributes["parts"]), int(step.attributes["channels"])

    def run(x: Tensor) -> Tensor:
        x_BNCHW = x.unflatten(1, (parts, -1))
        return F.pad(x_BNCHW, (0, 0, 0, 0, 0, channels - x_BNCHW.shape[2])).flatten(1, 2)

    return run


def window(step: Step) -> Run:
    names = ("pad_height", "pad_width", "start", "step")
    height, width, start, by = (int(step.attributes[name]) for name in names)
    return lambda x: F.pad(x, (0, width, 0, height))[:, :, start::by, start::by]


def zeros(step: Step) -> Run:
    channels, stride = int(step.attributes["channels"]), int(step.attributes["stride"])

    def run(x: Tensor) -> Tensor:
        height, width = (-(-side // stride) for side in x.shape[-2:])
        return x.new_zeros(len(x), channels, height, width)

    return run


def linear(step: Step) -> Run:
    weight, bias = _tensor(step, "weight"), _tensor(step, "bias")
    return lambda x: F.linear(x, weight, bias)


LAYERS: dict[str, Callable[[Step], Run]] = {
    "conv": conv,
    "conv_w1": conv_w1,
    "conv_q8": conv_q8,
    "max_pool": _pool(F.max_pool2d),
    "avg_pool": _pool(F.avg_pool2d),
    "concat": concat,
    "interleave": interleave,
    "shuffle": lambda step: lambda x: shuffle(x, int(step.attributes["groups"])),
    "tile": tile,
    "resize": resize,
    "window": window,
    "zeros": zeros,
    "global_pool": lambda _: lambda x: F.adaptive_avg_pool2d(x, 1).flatten(1),
    "linear": linear,
}


class TorchKernel:
    """One step, run by torch."""

    def __init__(self, step: Step, shapes: Mapping[str, Any]) -> None:
        self.step = step
        self.name, self.layer, self.kind = step.name, step.layer, step.op
        self.reads, self.makes = set(step.inputs), {step.name}
        self.run = LAYERS[step.op](step)
        inputs = [shapes[name] for name in step.inputs]
        self.key = f"{step.op} {dict(step.attributes)} {inputs}"

    def __call__(self, values: Mapping[str, Tensor]) -> Tensor:
        """What it makes, in memory of its own: an input's may be written again."""
        inputs = [values[name] for name in self.step.inputs]
        y = self.run(*inputs)
        if y.dim() == 4:
            y = channels_last(y)
        storage = y.untyped_storage().data_ptr()
        return y.clone() if any(storage == x.untyped_storage().data_ptr() for x in inputs) else y
