"""Instructions that go over the pixels of a block, each with an IR loop of its own inside.

An instruction is a row of `FIELDS` whole numbers: its `Code` and what stands in its docstring here, in
that order. A block is scratch, (pixels, room) 32-bit floats. Maps are (image, row, column, channel);
bits lie as (group, pixel, byte): the channels of each group of the convolution that reads them are
padded to whole bytes (words, in some forms), so that what a kernel's row covers is one piece.

"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, njit
from numba.core import types
from numba.extending import intrinsic

from bnas_bench.packed.engine.elements import FLOATS, Code, over
from bnas_bench.packed.engine.floats import NARROW, RUN, WIDE, Under, dense, under
from bnas_bench.packed.engine.isa import FORMS, Isa
from bnas_bench.packed.engine.memory import clear_bytes, copy_bytes, load, pointer
from bnas_bench.packed.engine.tile import TOGETHER, most_steps, tile

FIELDS = 24
"""Numbers of an instruction."""

LOAD, STORE, ADD, AFFINE, PRELU, RPRELU, RELU, HARDTANH, QUANTISE, SCALE = map(int, list(Code)[:10])

inner = njit(no_cpython_wrapper=True, no_cfunc_wrapper=True)
"""Compiles what only kernels call."""


@intrinsic
def at_least(typing, x, threshold):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """Eight comparisons x >= threshold of floats at two addresses, as the bits of a byte."""

    def generate(context: Any, b: ir.IRBuilder, _: Any, values: Any) -> ir.Value:  # noqa: ARG001
        eights = [load(b, address, FLOATS, 4) for address in values]
        return b.bitcast(b.fcmp_ordered(">=", *eights), ir.IntType(8))

    return types.uint8(x, threshold), generate


@inner
def element(row: Any, x: int, x_next: int, first: int, pixels: int) -> None:
    """An operation on each element.

    Args:
        row: address of the map, its channels; those that are gone over, and from which on in the
            block; addresses of three vectors. What an operation does not need may be anything.
    """
    code, m_next, c, v0, v1, v2 = row[0], 4 * row[2], row[3], row[5], row[6], row[7]
    m, to = row[1] + first * m_next, x + 4 * row[4]
    if code == LOAD:
        over(LOAD, to, x_next, m, m_next, v0, v1, v2, pixels, c)
    elif code == STORE:
        over(STORE, to, x_next, m, m_next, v0, v1, v2, pixels, c)
    elif code == ADD:
        over(ADD, to, x_next, m, m_next, v0, v1, v2, pixels, c)
    elif code == AFFINE:
        over(AFFINE, to, x_next, m, m_next, v0, v1, v2, pixels, c)
    elif code == PRELU:
        over(PRELU, to, x_next, m, m_next, v0, v1, v2, pixels, c)
    elif code == RPRELU:
        over(RPRELU, to, x_next, m, m_next, v0, v1, v2, pixels, c)
    elif code == RELU:
        over(RELU, to, x_next, m, m_next, v0, v1, v2, pixels, c)
    elif code == HARDTANH:
        over(HARDTANH, to, x_next, m, m_next, v0, v1, v2, pixels, c)
    elif code == QUANTISE:
        over(QUANTISE, to, x_next, m, m_next, v0, v1, v2, pixels, c)


@inner
def pack(instruction: Any, block: int, block_next: int, first: int, pixels: int) -> None:
    """Write the bits [x >= threshold] xor flip of a block.

    Thresholds and flips lie as (group, channel), padded with NaN and 0 to whole bytes: what is read
    beyond a group's channels becomes 0.

    Args:
        instruction: address of the bits, groups, channels of each, bytes of a pixel in a group,
            pixels of the map, addresses of the thresholds and of the flips.
    """
    address, groups, channels, size = instruction[1], instruction[2], instruction[3], instruction[4]
    in_map, thresholds, flips = instruction[5], instruction[6], instruction[7]
    turned = carray(pointer(flips), (groups, size), np.uint8)
    bits = carray(pointer(address), (groups, in_map, size), np.uint8)
    used = (channels + 7) // 8
    for g in range(groups):
        for p in range(pixels):
            x = block + p * block_next + 4 * g * channels
            t = thresholds + 32 * g * size
            for byte in range(used):
                found = at_least(x + 32 * byte, t + 32 * byte)
                bits[g, first + p, byte] = found ^ turned[g, byte]
            for byte in range(used, size):
                bits[g, first + p, byte] = 0


@inner
def gather(
    geometry: Any, plane: int, size: int, first: int, pixels: int, to: int, to_next: int
) -> None:
    """What lies under a kernel for each output pixel, row by row of the kernel; padding is 0.

    Args:
        geometry: an instruction with, from the third number on: height, width, those of the output,
            kernel, stride, padding and dilation.
        plane, size: address of the map, and the bytes of a pixel.
        to, to_next: address of what is made, and bytes to the next pixel's.
    """
    height, width, out_height, out_width = geometry[3], geometry[4], geometry[5], geometry[6]
    kernel, stride, padding, dilation = geometry[7], geometry[8], geometry[9], geometry[10]
    for p in range(pixels):
        image, place = divmod(first + p, out_height * out_width)
        i, j = divmod(place, out_width)
        left = j * stride - padding
        inside = left >= 0 and left + (kernel - 1) * dilation < width
        at = to + p * to_next
        for u in range(kernel):
            y = i * stride - padding + u * dilation
            if y < 0 or y >= height:
                clear_bytes(at, kernel * size)
                at += kernel * size
                continue
            row = plane + (image * height + y) * width * size
            if inside and dilation == 1:
                copy_bytes(at, row + left * size, kernel * size)
                at += kernel * size
                continue
            for v in range(kernel):
                x = left + v * dilation
                if x < 0 or x >= width:
                    clear_bytes(at, size)
                else:
                    copy_bytes(at, row + x * size, size)
                at += size


@inner
def pair(rows: int, size: int, pixels: int, to: int, steps: int) -> None:
    """The bits of two pixels at a time, as `tile` reads them by table.

    Each byte has four bits of one pixel and of the next: first the low four of every byte, then the
    high ones, then zeros.

    Args:
        rows, size: address of the pixels' bytes, and how many each has.
        to, steps: address of the pairs, and bytes of each.
    """
    for p in range(0, pixels, 2):
        one = carray(pointer(rows + p * size), size, np.uint8)
        two = carray(pointer(rows + (p + 1) * size), size, np.uint8)
        both = carray(pointer(to + p // 2 * steps), steps, np.uint8)
        low, high = both[:size], both[size : 2 * size]
        for byte in range(size):
            low[byte] = (one[byte] & 15) | (two[byte] << 4)
        for byte in range(size):
            high[byte] = (one[byte] >> 4) | (two[byte] & 240)
        for byte in range(2 * size, steps):
            both[byte] = 0


@cache
def sliding(how: Under) -> Callable[..., None]:
    """What windows make, in one of the ways."""
    way = int(how)

    @inner
    def slide(geometry: Any, first: int, pixels: int, block: int, block_next: int) -> None:
        """What windows make of the pixels under them, of which only those of the map count.

        Args:
            geometry: an instruction: address of the map, its channels; what `gather` reads; address of
                the weights, (kernel, kernel, room) 32-bit floats, and that room; address of the number
                that a mean is over, for each output pixel of an image.
        """
        address, channels, height, width = geometry[1], geometry[2], geometry[3], geometry[4]
        out_height, out_width, kernel, stride = geometry[5], geometry[6], geometry[7], geometry[8]
        padding, dilation, weights, room = geometry[9], geometry[10], geometry[11], geometry[12]
        pixel, weight = 4 * channels, 4 * room
        below, beside, w_below = pixel * width * dilation, pixel * dilation, weight * kernel
        p = 0
        while p < pixels:
            image, place = divmod(first + p, out_height * out_width)
            i, j = divmod(place, out_width)
            top, left = i * stride - padding, j * stride - padding
            u = max(0, (dilation - 1 - top) // dilation)
            v = max(0, (dilation - 1 - left) // dilation)
            rows = min(kernel, (height - top + dilation - 1) // dilation) - u
            columns = min(kernel, (width - left + dilation - 1) // dilation) - v
            y, x = image * height + top + u * dilation, left + v * dilation
            to, source = block + p * block_next, address + pixel * (y * width + x)
            w, over_ = weights + weight * (u * kernel + v), geometry[13] + 4 * place
            last = left + (RUN - 1) * stride + (kernel - 1) * dilation
            if left >= 0 and last < width and j + RUN <= out_width and p + RUN <= pixels:
                under(
                    way, RUN, to, block_next, source, pixel * stride, below, beside, w, w_below,
                    weight, rows, columns, channels, over_,
                )  # fmt: skip
                p += RUN
            else:
                under(
                    way, 1, to, 0, source, 0, below, beside, w, w_below, weight, rows, columns,
                    channels, over_,
                )  # fmt: skip
                p += 1

    return slide


@cache
def matrix_product(form: Isa) -> Callable[..., None]:
    """The product of bits in a form."""
    which, lanes, unit, row, chunk = (
        index_of(form),
        form.lanes,
        form.unit,
        form.row,
        most_steps(form),
    )
    (v0, r0), (v1, r1), (v2, r2) = form.blocks

    @inner
    def multiply(
        a: int, a_next: int, pixels: int, w: int, columns: int, steps: int, counts: int, counts_next: int,
        popcounts: int,
    ) -> None:  # fmt: skip
        """counts[p, n] = differing bits of pixel p and output channel n.

        Args:
            a, a_next: address of the rows; bytes from one to the next.
            pixels: how many; up to a multiple of the register block's height are read and written.
            w: address of the weights, as `binary.arrange` leaves them.
            columns: number of output channels, a multiple of the lanes.
            steps: see `tile.steps_of`.
            counts, counts_next: address of the counts; bytes from one pixel's to the next.
            popcounts: address of `tile.TABLE`.
        """
        for p in range(pixels):
            clear_bytes(counts + p * counts_next, 2 * columns)
        n = 0
        while n < columns:
            left = (columns - n) // lanes
            block = 0 if left >= v0 else 1 if left >= v1 else 2
            vectors, rows = ((v0, r0), (v1, r1), (v2, r2))[block]
            width = vectors * lanes
            for k in range(0, steps, chunk):
                number, weights = min(chunk, steps - k), w + (n * steps + k * width) * unit
                for p in range(0, pixels, row * rows):
                    x, y = a + p // row * a_next + k * unit, counts + p * counts_next + 2 * n
                    if block == 0:
                        tile(which, 0, x, a_next, weights, number, y, counts_next, popcounts)
                    elif block == 1:
                        tile(which, 1, x, a_next, weights, number, y, counts_next, popcounts)
                    else:
                        tile(which, 2, x, a_next, weights, number, y, counts_next, popcounts)
            n += width

    return multiply


@cache
def convolutions(form: Isa) -> tuple[Callable[..., None], Callable[..., None]]:
    """A convolution of bits and a product of real numbers in a form."""
    which, multiply, unit, rows = index_of(form), matrix_product(form), form.unit, form.floats
    paired, together = form.table, TOGETHER

    @inner
    def binary(
        instruction: Any, scratch: Any, first: int, pixels: int, block: int, block_next: int
    ) -> None:
        """A convolution of bits, times its scale, into the block.

        Args:
            instruction: address of the bits, bytes of a pixel; what `gather` reads; pixels of the map,
                groups, whether the bits of a pixel are a row of the product as they lie, outputs of a
                group and the counts it has room for (`outputs`, padded to whole vectors); addresses of
                the weights of all groups, as `binary.arrange` leaves them, of what twice the differing
                bits are taken off, (borders, room) 32-bit floats, of which row of that holds for each
                output pixel of an image, int32, of the scale of each channel, and of `tile.TABLE`; room.
            scratch: of it the addresses of a panel for `gather`, (pixels, bytes), of pairs for `pair`,
                (half the pixels, steps), and of counts, (pixels, groups, columns) uint16.
        """
        bits, size, height, width = instruction[1], instruction[2], instruction[5], instruction[6]
        kernel, pixels_in, groups, direct = (
            instruction[7],
            instruction[11],
            instruction[12],
            instruction[13],
        )
        outputs, columns, weights = instruction[14], instruction[15], instruction[16]
        base, borders_address, scale = instruction[17], instruction[18], instruction[19]
        popcounts, room = instruction[20], instruction[21]
        panel, pairs, counts = scratch[2], scratch[3], scratch[4]
        borders = carray(pointer(borders_address), height * width, np.int32)
        length, counts_next = kernel * kernel * size, 2 * groups * columns
        steps = (2 * length + together - 1) // together * together if paired else length // unit
        for g in range(groups):
            plane = bits + g * pixels_in * size
            a, a_next = panel, length
            if direct:
                a = plane + first * size
            else:
                gather(instruction, plane, size, first, pixels, panel, length)
            if paired:
                pair(a, length, pixels, pairs, steps)
                a, a_next = pairs, steps
            w, sums = weights + g * columns * steps * unit, counts + 2 * g * columns
            multiply(a, a_next, pixels, w, columns, steps, sums, counts_next, popcounts)
        place = first % (height * width)
        for p in range(pixels):
            left = base + 4 * room * borders[place]
            place = place + 1 if place + 1 < height * width else 0
            for g in range(groups):
                c, count = 4 * g * outputs, counts + p * counts_next + 2 * g * columns
                x = block + p * block_next + c
                over(SCALE, x, 0, count, 0, left + c, scale + c, 0, 1, outputs)

    @inner
    def product(instruction: Any, x: int, y: int, block_next: int, pixels: int) -> None:
        """Real numbers times real weights, from one block into another.

        Up to a multiple of the register block's pixels are read and written.

        Args:
            instruction: nothing; address of the weights, as `real.arrange` leaves them; numbers of a
                pixel, and how many it becomes, a multiple of 8; terms that are summed up by themselves.
        """
        w, length, columns, chunk = instruction[2], instruction[3], instruction[4], instruction[5]
        for p in range((pixels + rows - 1) // rows * rows):
            clear_bytes(y + p * block_next, 4 * columns)
        n = 0
        while n < columns:
            width = WIDE if columns - n >= WIDE else NARROW
            for k in range(0, length, chunk):
                number, weights = min(chunk, length - k), w + 4 * (n * length + k * width)
                for p in range(0, pixels, rows):
                    a, to = x + p * block_next + 4 * k, y + p * block_next + 4 * n
                    if width == WIDE:
                        dense(which, WIDE, a, block_next, weights, number, to, block_next)
                    else:
                        dense(which, NARROW, a, block_next, weights, number, to, block_next)
            n += width

    return binary, product


def index_of(form: Isa) -> int:
    """Which of `FORMS`, as the intrinsics want it."""
    return list(FORMS.values()).index(form)
