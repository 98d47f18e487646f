"""1-bit maps and convolutions as the kernels read them: layouts of bits, and the constants of a layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bnas_bench.core.errors import BenchError
from bnas_bench.packed.engine.elements import LANES
from bnas_bench.packed.engine.isa import Isa
from bnas_bench.packed.engine.layers import signs_of
from bnas_bench.packed.engine.tile import TABLE, steps_of
from bnas_bench.packed.format.program import Step, unpack_bits

MOST_BITS = 2**16 - 1
"""Differing bits that a kernel can count."""


def room_for(channels: int) -> int:
    """Floats that channels take in a block and in vectors beside it: whole vectors, two at a time."""
    return -(-channels // 16) * 16


def pixel_bytes(channels: int, form: Isa) -> int:
    """Bytes that a pixel's bits of so many channels take."""
    return -(-channels // (8 * form.unit)) * form.unit


def arrange(signs: np.ndarray, form: Isa) -> np.ndarray:
    """The weights of one group as the register blocks read them.

    Args:
        signs: which are +1, shape (outputs, pixels of the kernel, channels).

    Returns:
        bytes, in the order (block of outputs, step, vector, lane).
    """
    outputs, taps, channels = signs.shape
    size = pixel_bytes(channels, form)
    padded = np.zeros((columns(outputs, form), taps, 8 * size), bool)
    padded[:outputs, :, :channels] = signs
    bits = np.packbits(padded, axis=2, bitorder="little").reshape(len(padded), taps * size)
    if form.table:
        bits = np.concatenate([bits & 15, bits >> 4], axis=1)
        bits = np.pad(bits, ((0, 0), (0, steps_of(taps * size, form) - bits.shape[1])))
    blocks, start = [], 0
    while start < len(bits):
        left = (len(bits) - start) // form.lanes
        vectors = next(vectors for vectors, _ in form.blocks if left >= vectors)
        rows = bits[start : start + vectors * form.lanes]
        lanes = rows.reshape(vectors, form.lanes, -1, form.unit).transpose(2, 0, 1, 3)
        blocks.append(lanes.reshape(-1))
        start += len(rows)
    return np.concatenate(blocks)


def bits_of(name: str, groups: int) -> str:
    """Name of the bits of a map of signs, as convolutions of so many groups read them."""
    return f"{name}\n{groups}"  # no name of a value has a line break


def columns(outputs: int, form: Isa) -> int:
    """Output channels, padded to whole vectors."""
    return -(-outputs // form.lanes) * form.lanes


class Layout:
    """How the bits of a map lie for convolutions of so many groups.

    Attributes:
        key: of the value among an engine's values.
    """

    def __init__(self, step: Step, groups: int, channels: int, form: Isa) -> None:
        self.key = bits_of(step.name, groups)
        self.groups, self.channels = groups, channels // groups
        self.size = pixel_bytes(self.channels, form)
        self.spare = form.height * self.size
        thresholds = step.tensors.get("threshold", np.zeros(channels, np.float32))
        flips = np.zeros(channels, bool)
        if "flips" in step.tensors:
            flips = unpack_bits(step.tensors["flips"], (channels,))
        shape = (groups, 8 * self.size)
        self.thresholds = np.full(shape, np.nan, np.float32)
        self.thresholds[:, : self.channels] = thresholds.reshape(groups, -1)
        turned = np.zeros(shape, bool)
        turned[:, : self.channels] = flips.reshape(groups, -1)
        self.flips = np.packbits(turned, axis=1, bitorder="little")

    def empty(self, pixels: int) -> Tensor:
        """Memory for a map: register blocks may read a few bytes more."""
        return torch.empty(self.groups * pixels * self.size + self.spare, dtype=torch.uint8)

    def numbers(self) -> list[int]:
        """What `blocks.pack` takes behind the address of the bits; the map has no pixels yet."""
        places = (self.thresholds.ctypes.data, self.flips.ctypes.data)
        return [self.groups, self.channels, self.size, 0, *places]


class BinaryConvolution:
    """The constants of a 1-bit convolution for one size of map."""

    def __init__(self, step: Step, shapes: Mapping[str, Any], form: Isa) -> None:
        at = {name: int(value) for name, value in step.attributes.items()}
        height, width, _ = shapes[step.inputs[0]].sides
        out_height, out_width, outputs = shapes[step.name].sides
        groups, kernel = at["groups"], at["kernel"]
        channels = at["inputs"] // groups
        size = pixel_bytes(channels, form)
        if (bits := 8 * kernel**2 * size) > MOST_BITS:
            raise BenchError(
                f"layer '{step.layer}' sums {kernel**2 * channels} signs, which take {bits} bits on this "
                f"machine, where the engine counts {MOST_BITS} at most; it needs a smaller kernel or "
                "fewer channels"
            )
        self.source = bits_of(step.inputs[0], groups)
        self.groups, self.length = groups, kernel**2 * size
        signs = signs_of(step).reshape(groups, outputs // groups, kernel**2, channels)
        self.weights = np.concatenate([arrange(group, form) for group in signs])
        self.scale = np.zeros(room_for(outputs) + LANES, np.float32)
        self.scale[:outputs] = step.tensors["scale"]
        self.columns = columns(outputs // groups, form)
        unpadded = at["padding"] == 0 and (height, width) == (out_height, out_width)
        direct = unpadded and kernel == 1 and at["stride"] == 1
        self.base, self.borders = borders(
            (2 * signs.sum(3) - channels).reshape(outputs, kernel, kernel),
            (height, width),
            (out_height, out_width),
            at,
        )
        sides = (height, width, out_height, out_width)
        steps = (kernel, at["stride"], at["padding"], at["dilation"])
        self._geometry = (size, *sides, *steps)
        self._shape = (groups, direct, outputs // groups, self.columns)
        self._room = room_for(outputs)
        self.pixels = height * width

    def numbers(self) -> list[int]:
        """What `blocks.binary` takes behind the address of the bits; the map has no pixels yet."""
        arrays = (self.weights, self.base, self.borders, self.scale, TABLE)
        addresses = (array.ctypes.data for array in arrays)
        return [*self._geometry, 0, *self._shape, *addresses, self._room]

    def scratch(self, pixels: int, form: Isa) -> tuple[int, int, int]:
        """Bytes for the panel, the pairs and the counts of so many pixels."""
        steps = steps_of(self.length, form)
        return pixels * self.length, pixels // 2 * steps, 2 * pixels * self.groups * self.columns


def borders(
    sums: np.ndarray, before: tuple[int, int], after: tuple[int, int], at: Mapping[str, int]
) -> tuple[np.ndarray, np.ndarray]:
    """What a sum of signs is where no bit differs, for each set of padded pixels that occurs.

    Padding has bits 0, as -1 would have: where a weight is -1 no bit differs. It shall count as zero,
    so that its weights' sum is added, and its number of products taken off.

    Args:
        sums: of the weights of each pixel of the kernel, shape (outputs, k, k).

    Returns:
        base, (more than sets, room for the outputs), and which row holds for each output pixel.
    """
    outputs, kernel, _ = sums.shape
    channels = at["inputs"] // at["groups"]
    reach = []
    for side, out in zip(before, after, strict=True):
        places = np.arange(out)[:, None] * at["stride"] - at["padding"]
        places = places + np.arange(kernel) * at["dilation"]
        inside = (places >= 0) & (places < side)  # one piece of the kernel, or nothing
        ends = np.stack([(places < 0).sum(1), (places < 0).sum(1) + inside.sum(1)], axis=1)
        reach.append(np.unique(ends, axis=0, return_inverse=True))
    (rows, row_of), (cols, col_of) = reach
    corner = np.zeros((outputs, kernel + 1, kernel + 1), np.int64)
    corner[:, 1:, 1:] = sums.cumsum(1).cumsum(2)
    top, bottom, left, right = *rows.T[:, :, None], *cols.T[:, None, :]
    within = (corner[:, bottom, right] - corner[:, top, right] - corner[:, bottom, left]) + corner[
        :, top, left
    ]
    padding = corner[:, -1:, -1:] - within
    sets = len(rows) * len(cols)
    base = np.zeros((sets + 1, room_for(outputs)), np.float32)
    base[:sets, :outputs] = channels * kernel**2 + padding.reshape(outputs, -1).T
    return base, (row_of.reshape(-1, 1) * len(cols) + col_of.reshape(-1)).astype(np.int32).ravel()
