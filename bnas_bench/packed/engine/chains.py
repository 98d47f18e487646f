"""Chains as the kernels want them: instructions, vectors, bits in place, scratch for each thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bnas_bench.core.errors import BenchError
from bnas_bench.packed.engine.elements import LANES, Code
from bnas_bench.packed.engine.fuse import Stage
from bnas_bench.packed.engine.isa import Isa
from bnas_bench.packed.engine.kernels import FIELDS, Chain, Geometry, kernels
from bnas_bench.packed.engine.layers import signs_of
from bnas_bench.packed.engine.tile import TABLE, steps_of
from bnas_bench.packed.format.program import Program, Step, unpack_bits

Split = Callable[[Callable[[int, int, int], None], int, int], None]
"""Calls a function (thread, begin, end) on parts of a range, given its length and a part's least."""

MOST_BITS = 2**16 - 1
"""Differing bits that a kernel can count."""

BLOCK = 48
"""Pixels of a block; a multiple of the height of every register block."""

BLOCK_BYTES = 2**15
"""Of a block's floats where a chain has no convolution: about a first-level cache."""

LEAST_WORK = 2**19
"""Elements, or products of a byte of bits, that are worth a thread: about 50 microseconds."""

CODES = {
    "add": (Code.ADD, ()),
    "affine": (Code.AFFINE, ("scale", "offset")),
    "prelu": (Code.PRELU, ("slope",)),
    "rprelu": (Code.RPRELU, ("gamma", "slope", "zeta")),
    "relu": (Code.RELU, ()),
    "hardtanh": (Code.HARDTANH, ()),
}


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


def room_for(channels: int) -> int:
    """Floats of a pixel in a block: the compiler's loops take 32 at a time."""
    return -(-channels // 32) * 32


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

    def instruction(self, address: int, pixels: int) -> list[int]:
        places = (self.thresholds.ctypes.data, self.flips.ctypes.data)
        return [Code.PACK, address, self.groups, self.channels, self.size, pixels, *places]


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
        self._shape = (size, groups, *sides, *steps, direct, outputs // groups, self.columns)
        self.pixels = height * width

    def geometry(self, bits: int, batch: int, scratch: Sequence[np.ndarray]) -> Geometry:
        """As the kernel takes it.

        Args:
            bits: address of the map's bits.
            scratch: panel, pairs and counts.
        """
        addresses = (self.base, self.borders, self.scale, TABLE, *scratch)
        base, *others = (array.ctypes.data for array in addresses)
        last = (self.weights.ctypes.data, base, *others)
        return Geometry(bits, batch * self.pixels, *self._shape, *last)


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


class ChainKernel:
    """A chain of operations, behind a 1-bit convolution or over a map."""

    def __init__(
        self, stage: Stage, shapes: Mapping[str, Any], program: Program, form: Isa, split: Split
    ) -> None:
        first = stage.steps[0]
        self.stage, self.form, self.split = stage, form, split
        self.name = next((s.name for s in reversed(stage.steps) if s.op != "sign"), first.name)
        self.layer = first.layer
        self.conv = BinaryConvolution(first, shapes, form) if first.op == "conv_b" else None
        self.kind = "conv_b" if self.conv else "elementwise"
        self._kernel = kernels(form).convolution if self.conv else kernels(form).chain
        shape = shapes[stage.source or first.name]
        self.height, self.width, self.channels = shape.sides
        groups = {
            step.name: sorted(
                {int(s.attributes["groups"]) for s in program.steps if step.name in s.inputs}
            )
            for step in stage.steps
            if step.op == "sign"
        }
        self.layouts = {
            step.name: [Layout(step, g, self.channels, form) for g in groups[step.name]]
            for step in stage.steps
            if step.op == "sign"
        }
        self._compile()
        self.makes = {*stage.stored, *(y.key for ys in self.layouts.values() for y in ys)}
        self.reads = {name for _, name in self._inputs}
        if self.conv:
            self.reads.add(self.conv.source)
        self._room = room_for(self.channels)
        fit = max(1, BLOCK_BYTES // (4 * self._room))
        self._pixels = BLOCK if self.conv else min(BLOCK, fit)
        ops = " ".join(step.op for step in stage.steps)
        more = sorted(y.groups for ys in self.layouts.values() for y in ys)
        before = shapes[first.inputs[0]].sides
        self.key = (
            f"{ops} {dict(first.attributes)} {before} {shape.sides} {len(stage.stored)} {more}"
        )

    def _compile(self) -> None:
        """The instructions, and which of their addresses are those of which values."""
        rows: list[list[int]] = []
        vectors: list[list[np.ndarray]] = []
        self._inputs: list[tuple[int, str]] = []
        self._stores: list[tuple[int, str]] = []
        self._packs: list[tuple[int, Layout]] = []

        def emit(code: Code, *operands: np.ndarray) -> int:
            rows.append([code] + [0] * (FIELDS - 1))
            vectors.append(list(operands))
            return len(rows) - 1

        value = self.stage.source
        if value is not None:
            self._inputs.append((emit(Code.LOAD), value))
        for step in self.stage.steps:
            if step.op == "sign":
                self._packs += [(emit(Code.PACK), layout) for layout in self.layouts[step.name]]
                continue
            if step.op == "conv_b":
                value = step.name
            else:
                code, names = CODES[step.op]
                place = emit(code, *(step.tensors[name] for name in names))
                if step.op == "add":
                    first, second = step.inputs
                    self._inputs.append((place, second if first == value else first))
                value = step.name
            if value in self.stage.stored:
                self._stores.append((emit(Code.STORE), value))
        self.chain = np.array(rows, np.int64).reshape(-1, FIELDS)
        self.vectors = np.zeros((max(1, len(rows)), 3, room_for(self.channels)), np.float32)
        for row, operands in zip(self.vectors, vectors, strict=False):
            for place, operand in zip(row, operands, strict=False):
                place[: self.channels] = operand

    def empty(self, name: str, batch: int) -> Tensor:
        """Memory for a value that it makes."""
        shape = (batch, self.channels, self.height, self.width)
        if name in self.stage.stored:
            return torch.empty(shape, memory_format=torch.channels_last)
        return self._layout(name).empty(batch * self.height * self.width)

    def bind(self, places: Mapping[str, Tensor], batch: int, threads: int) -> None:
        """Settle where the values lie, as far as they always lie there, and for how many images."""
        self._batch = batch
        pixels = batch * self.height * self.width
        for row, layout in self._packs:
            self.chain[row] = layout.instruction(places[layout.key].data_ptr(), pixels)
        for row, name in (*self._stores, *self._inputs):
            if name in places:
                self.chain[row, 1] = places[name].data_ptr()
        self._moving = [(row, name) for row, name in self._inputs if name not in places]
        self._scratch, self._numbers = [], []
        for _ in range(threads):
            numbers, scratch = self._with_scratch(places, batch)
            self._scratch.append(scratch)
            self._numbers.append(np.array(numbers, np.int64))

    def _with_scratch(
        self, places: Mapping[str, Tensor], batch: int
    ) -> tuple[tuple[int, ...], list[np.ndarray]]:
        """What the kernel takes, and the arrays that this points into."""
        block = np.zeros((self._pixels + 1, self._room), np.float32)
        chain, vectors = self.chain, self.vectors
        numbers = Chain(
            chain.ctypes.data,
            len(chain),
            vectors.ctypes.data,
            self.channels,
            block.ctypes.data,
            self._pixels,
            self._room,
        )
        if self.conv is None:
            return numbers, [block]
        conv, pixels = self.conv, self._pixels
        panel = np.zeros((pixels, conv.length), np.uint8)
        pairs = np.zeros((pixels // 2, steps_of(conv.length, self.form)), np.uint8)
        counts = np.zeros((pixels + LANES, conv.groups, conv.columns), np.uint16)
        scratch: list[np.ndarray] = [panel, pairs, counts]
        bits = places[conv.source].data_ptr()
        return (*conv.geometry(bits, batch, scratch), *numbers), [block, *scratch]

    def __call__(self, values: Mapping[str, Tensor]) -> None:
        """Run on the images that it was bound for; what it makes is where it was bound to be."""
        for row, name in self._moving:
            self.chain[row, 1] = values[name].data_ptr()
        pixels = self._batch * self.height * self.width
        least = max(1, LEAST_WORK // self._work // self._pixels)
        self.split(self._part, -(-pixels // self._pixels), least)

    def _part(self, thread: int, begin: int, end: int) -> None:
        """The blocks from `begin` to `end`."""
        last = min(end * self._pixels, self._batch * self.height * self.width)
        self._kernel(self._numbers[thread], begin * self._pixels, last)

    @property
    def _work(self) -> int:
        """Of a pixel."""
        return self.channels * (1 if self.conv is None else 1 + self.conv.length)

    def _layout(self, key: str) -> Layout:
        return next(layout for _, layout in self._packs if layout.key == key)
