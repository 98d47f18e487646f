"""Convolutions of real numbers, and windows, as the kernels read them.

A convolution is ours where it has no bias and either one group or one for each channel. Whether it
then rounds as torch does is found out by running both: `rounding.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bnas_bench.packed.engine.elements import LANES, Code
from bnas_bench.packed.engine.floats import NARROW, WIDE
from bnas_bench.packed.engine.layers import signs_of
from bnas_bench.packed.format.program import Step

CONVOLUTIONS = frozenset({"conv", "conv_w1", "conv_q8"})
WINDOWS = frozenset({"max_pool", "avg_pool", "window"})


def is_dense(step: Step) -> bool:
    """Whether it is a convolution of one group: a product of what lies under its kernel."""
    return step.op in CONVOLUTIONS and "bias" not in step.tensors and step.attributes["groups"] == 1


def is_depthwise(step: Step) -> bool:
    """Whether it is a convolution with one kernel for each channel."""
    at = step.attributes
    alone = step.op in {"conv", "conv_w1"} and "bias" not in step.tensors
    return alone and at["groups"] == at["inputs"] == at["outputs"] != 1


def pixelwise(step: Step) -> bool:
    """Whether a convolution makes each pixel of the one at its place."""
    at = step.attributes
    return at["kernel"] == at["stride"] == 1 and at["padding"] == 0


def weight_of(step: Step) -> np.ndarray:
    """Of a convolution, as torch has it: (outputs, inputs / groups, k, k), 32-bit floats."""
    match step.op:
        case "conv_w1":
            signs = np.where(signs_of(step), np.float32(1), np.float32(-1)).transpose(0, 3, 1, 2)
            return signs * step.tensors["scale"].reshape(-1, 1, 1, 1)
        case "conv_q8":
            return step.tensors["weight"].astype(np.float32) * step.tensors["steps"][0]
    return step.tensors["weight"]


def arrange(weight: np.ndarray) -> np.ndarray:
    """The weights of a dense convolution as the register blocks read them.

    Args:
        weight: (outputs, inputs, k, k).

    Returns:
        floats in the order (block of outputs, row and column of the kernel, input, output), blocks
        being of `WIDE` outputs, and half as many where less remains; the last is padded with 0.
    """
    outputs = len(weight)
    terms = weight.transpose(2, 3, 1, 0).reshape(-1, outputs)
    terms = np.pad(terms, ((0, 0), (0, padded(outputs) - outputs)))
    blocks, start = [], 0
    while start < terms.shape[1]:
        width = WIDE if terms.shape[1] - start >= WIDE else NARROW
        blocks.append(terms[:, start : start + width].reshape(-1))
        start += width
    return np.concatenate(blocks).astype(np.float32)


def padded(channels: int) -> int:
    """Channels, filled up to whole vectors."""
    return -(-channels // LANES) * LANES


def geometry(step: Step, before: tuple[int, int], after: tuple[int, int]) -> list[int]:
    """What `blocks.gather` reads of an instruction: sides, kernel, stride, padding, dilation."""
    at: Mapping[str, Any] = step.attributes
    if step.op == "window":  # one pixel of every so many, of which the first is not the first
        return [*before, *after, 1, at["step"], -at["start"], 1]
    return [
        *before,
        *after,
        at["kernel"],
        at["stride"],
        at["padding"],
        at.get("dilation", 1),
    ]


def slide(step: Step, channels: int) -> tuple[Code, np.ndarray]:
    """The code of a window, and its weights: (k, k, channels), padded to whole vectors."""
    match step.op:
        case "max_pool":
            return Code.SLIDE_MAX, np.zeros(1, np.float32)
        case "avg_pool":
            return Code.SLIDE_MEAN, np.zeros(1, np.float32)
        case "window":
            return Code.SLIDE, np.ones((1, 1, padded(channels)), np.float32)
    weight = weight_of(step)[:, 0].transpose(1, 2, 0)
    return Code.SLIDE, np.pad(weight, ((0, 0), (0, 0), (0, padded(channels) - channels)))


def means_over(step: Step, before: tuple[int, int], after: tuple[int, int]) -> np.ndarray:
    """What an average is taken over, for each output pixel: as torch counts, padding or no padding.

    Windows may hang over the map and its padding, which never counts.
    """
    at: Mapping[str, Any] = step.attributes
    if step.op != "avg_pool":
        return np.ones(1, np.float32)
    counts = []
    for side, out in zip(before, after, strict=True):
        first = np.arange(out) * at["stride"] - at["padding"]
        last = np.minimum(first + at["kernel"], side + at["padding"])
        inside = np.minimum(last, side) - np.maximum(first, 0)
        counts.append(last - first if at["count_padding"] else inside)
    return np.outer(*counts).astype(np.float32).clip(1)
