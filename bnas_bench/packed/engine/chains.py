"""Chains as the kernels want them: instructions, and which of their addresses are those of which values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import cycle
from math import lcm
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bnas_bench.packed.engine.binary import BinaryConvolution, Layout, room_for
from bnas_bench.packed.engine.blocks import FIELDS
from bnas_bench.packed.engine.elements import Code
from bnas_bench.packed.engine.fuse import MOVES, Stage
from bnas_bench.packed.engine.isa import Isa
from bnas_bench.packed.engine.kernels import StageNumbers
from bnas_bench.packed.engine.real import (
    CONVOLUTIONS,
    WINDOWS,
    arrange,
    geometry,
    is_dense,
    means_over,
    padded,
    slide,
    weight_of,
)
from bnas_bench.packed.format.program import Program, Step

BLOCK = 48
"""Pixels of a block at most; a multiple of the height of every register block."""

EVEN = 4
"""Pixels that a block has a multiple of; where real numbers are multiplied, of a register block's too."""

BLOCK_BYTES = 2**15
"""Of a block's floats where a chain has no convolution: about a first-level cache."""

CODES = {
    "add": (Code.ADD, ()),
    "affine": (Code.AFFINE, ("scale", "offset")),
    "prelu": (Code.PRELU, ("slope",)),
    "rprelu": (Code.RPRELU, ("gamma", "slope", "zeta")),
    "relu": (Code.RELU, ()),
    "hardtanh": (Code.HARDTANH, ()),
}

Part = tuple[str, int]
"""A value, and how many of its channels, from the first on."""


def parts_of(name: str, views: Mapping[str, Step], shapes: Mapping[str, Any]) -> Iterator[Part]:
    """The maps that lie next to each other in a value."""
    if (step := views.get(name)) is None:
        yield name, shapes[name].channels
        return
    left = shapes[name].channels
    sources = [part for source in step.inputs for part in parts_of(source, views, shapes)]
    for source, channels in cycle(sources):
        yield source, min(channels, left)
        left -= min(channels, left)
        if not left:
            return


class ChainKernel:
    """A chain of operations on blocks of pixels.

    Attributes:
        name: of the last value it makes.
        layer: the module of the network that it begins with.
        kind: its operations, but those on each element; `elementwise` where there are none.
        reads, makes: names of values.
    """

    def __init__(
        self,
        stage: Stage,
        shapes: Mapping[str, Any],
        program: Program,
        form: Isa,
        views: Mapping[str, Step],
    ) -> None:
        first = stage.steps[0]
        self.stage, self.form, self.shapes, self.program = stage, form, shapes, program
        self.views = views if first.op not in MOVES else {**views, first.name: first}
        self.name = next((s.name for s in reversed(stage.steps) if s.op != "sign"), first.name)
        self.layer = first.layer
        heavy = [s.op for s in stage.steps if s.op not in CODES and s.op != "sign"]
        self.kind = "+".join(heavy) or "elementwise"
        self.height, self.width, _ = shapes[stage.source or first.name].sides
        self.layouts: dict[str, Layout] = {}
        self._convolutions: list[BinaryConvolution] = []
        self._rows: list[list[int]] = []
        self._kept: list[np.ndarray] = []
        self._addresses: list[tuple[int, str]] = []
        self._maps: list[tuple[int, int, int]] = []
        self._sums: list[tuple[int, str]] = []
        self._room = 0
        self._compile()
        self.instructions = np.zeros((len(self._rows), FIELDS), np.int64)
        for numbers, row in zip(self.instructions, self._rows, strict=True):
            numbers[: len(row)] = row
        self.makes = {*stage.stored, *self.layouts}
        self.reads = {name for _, name in self._addresses} - stage.stored
        ops = " ".join(step.op for step in stage.steps)
        at = [dict(step.attributes) for step in stage.steps if step.attributes]
        groups = sorted(layout.groups for layout in self.layouts.values())
        before = [shapes[name].sides for name in first.inputs]
        after = shapes[self.name].sides
        self.key = f"{ops} {at} {before} {after} {len(stage.stored)} {groups}"

    def _emit(self, code: int, *fields: int, value: str | None = None) -> int:
        """Append an instruction; its first field is the address of that value, if there is one."""
        self._rows.append([code, *fields] if value is None else [code, 0, *fields])
        if value is not None:
            self._addresses.append((len(self._rows) - 1, value))
        return len(self._rows) - 1

    def _keep(self, array: np.ndarray) -> int:
        """The address of an array that stays."""
        self._kept.append(np.ascontiguousarray(array))
        return self._kept[-1].ctypes.data

    def _compile(self) -> None:
        stage = self.stage
        if stage.source is not None:
            self._from_maps(Code.LOAD, stage.source)
        value = stage.source
        for step in stage.steps:
            match step.op:
                case "sign":
                    self._pack(step)
                    continue
                case "conv_b":
                    self._binary(step)
                case op if op in WINDOWS:
                    self._slide(step)
                case op if op in MOVES:
                    self._from_maps(Code.LOAD, step.name)
                case op if op in CONVOLUTIONS:
                    self._dense(step, value) if is_dense(step) else self._slide(step)
                case _:
                    self._element(step, value)
            value = step.name
            if value in stage.stored:
                channels = self.shapes[value].channels
                self._emit(Code.STORE, channels, channels, 0, value=value)

    def _from_maps(self, code: Code, name: str) -> None:
        """LOAD or ADD of a value, part by part: each may write a whole vector where the next begins."""
        offset = 0
        for source, channels in parts_of(name, self.views, self.shapes):
            self._emit(code, self.shapes[source].channels, channels, offset, value=source)
            self._room = max(self._room, room_for(offset + padded(channels)))
            offset += channels

    def _element(self, step: Step, value: str | None) -> None:
        code, names = CODES[step.op]
        if step.op == "add":
            first, second = step.inputs
            self._from_maps(code, second if first == value else first)
            return
        channels = self.shapes[step.name].channels
        room = room_for(channels)
        vectors = [np.pad(step.tensors[name], (0, room - channels)) for name in names]
        self._emit(code, 0, 0, channels, 0, *map(self._keep, vectors))

    def _pack(self, step: Step) -> None:
        channels = self.shapes[step.name].channels
        readers = (s for s in self.program.steps if step.name in s.inputs)
        for groups in sorted({int(s.attributes["groups"]) for s in readers}):
            layout = Layout(step, groups, channels, self.form)
            self.layouts[layout.key] = layout
            row = self._emit(Code.PACK, *layout.numbers(), value=layout.key)
            self._maps.append((row, 5, self.height * self.width))

    def _binary(self, step: Step) -> None:
        convolution = BinaryConvolution(step, self.shapes, self.form)
        self._convolutions.append(convolution)
        row = self._emit(Code.BINARY, *convolution.numbers(), value=convolution.source)
        self._maps.append((row, 11, convolution.pixels))
        self._room = max(self._room, room_for(self.shapes[step.name].channels))

    def _dense(self, step: Step, value: str | None) -> None:
        """A product of what is in the block, which is gathered first where it is not there yet."""
        inputs, outputs = (self.shapes[name].channels for name in (step.inputs[0], step.name))
        length = inputs * int(step.attributes["kernel"]) ** 2
        if value is None:
            sides = (self.shapes[name].sides[:2] for name in (step.inputs[0], step.name))
            self._emit(Code.GATHER, inputs, *geometry(step, *sides), value=step.inputs[0])
        if step.op == "conv_q8":
            by = np.full(room_for(length), step.tensors["steps"][1], np.float32)
            self._emit(Code.QUANTISE, 0, 0, length, 0, self._keep(by))
        weights = self._keep(arrange(weight_of(step)))
        row = self._emit(Code.DENSE, 0, weights, length, padded(outputs), length)
        self._sums.append((row, step.name))
        self._room = max(self._room, room_for(length), room_for(padded(outputs)))

    def _slide(self, step: Step) -> None:
        before, after = (self.shapes[name].sides for name in (step.inputs[0], step.name))
        channels = before[-1]
        code, weights = slide(step, channels)
        over = means_over(step, before[:2], after[:2])
        numbers = (*geometry(step, before[:2], after[:2]), self._keep(weights), padded(channels))
        self._emit(code, channels, *numbers, self._keep(over), value=step.inputs[0])
        self._room = max(self._room, room_for(channels))

    def empty(self, name: str, batch: int) -> Tensor:
        """Memory for a value that it makes."""
        if name in self.layouts:
            return self.layouts[name].empty(batch * self.height * self.width)
        shape = (batch, self.shapes[name].channels, self.height, self.width)
        return torch.empty(shape, memory_format=torch.channels_last)

    def bind(self, places: Mapping[str, Tensor], batch: int, sums: Mapping[str, int]) -> None:
        """Settle for how many images, where the values lie that always lie there, and how to sum.

        Args:
            sums: of real convolutions, how many terms are summed up by themselves.
        """
        for row, field, pixels in self._maps:
            self.instructions[row, field] = batch * pixels
        for row, name in self._sums:
            self.instructions[row, 5] = sums[name]
        self.point_to(places)
        self.moving = self.reads - places.keys()

    def point_to(self, places: Mapping[str, Tensor]) -> None:
        """Say where values lie."""
        for row, name in self._addresses:
            if name in places:
                self.instructions[row, 1] = places[name].data_ptr()

    def numbers(self, batch: int, threads: int, needs: np.ndarray) -> StageNumbers:
        """As the kernel takes it, in as many blocks for each thread.

        Args:
            needs: numbers of the stages that must be done before; the caller keeps them.
        """
        pixels, most = batch * self.height * self.width, BLOCK
        if not (self._convolutions or self._sums):
            most = min(BLOCK, max(EVEN, BLOCK_BYTES // (4 * self._room)))
        blocks = -(-pixels // (most * threads)) * threads
        even = lcm(EVEN, self.form.floats) if self._sums else EVEN
        size = -(-pixels // (max(1, blocks) * even)) * even
        blocks = -(-pixels // max(1, size))
        where = self.instructions
        given = where.ctypes.data, len(where), self._room, pixels, size, blocks
        return StageNumbers(*given, needs.ctypes.data, len(needs))

    def scratch(self) -> tuple[int, int, int, int]:
        """Bytes that a thread needs: for a block, and for the panel, pairs and counts of bits."""
        pixels = BLOCK + self.form.height
        bits = [convolution.scratch(pixels, self.form) for convolution in self._convolutions]
        return 4 * pixels * self._room, *(
            max(sizes) for sizes in zip((0, 0, 0), *bits, strict=True)
        )
