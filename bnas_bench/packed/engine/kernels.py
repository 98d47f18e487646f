"""The compiled kernels: a binary convolution, and chains of operations on each element.

Both go over a map in blocks of pixels that stay in the cache. Behind a convolution, as on their own,
chains do all they have to on a block before the next: scale, batch norm, shortcut, slope, sign, so
that a value is written once. Addresses are those of NumPy arrays that the engine keeps alive.

Bits of a map lie as (group, pixel, byte): the channels of each group of the convolution that reads
them are padded to whole bytes (words, in some forms), so that what a kernel's row covers is one piece.

Numba keeps what it compiled on disk, by the file that a function stands in and by the constants that
its closure holds. So the functions that are compiled are closures over numbers alone; all that they
call is written into them (`inline`), and `REVISION` is one of the numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
from llvmlite import ir
from numba import carray, njit
from numba.core import cgutils, types
from numba.core.registry import cpu_target
from numba.extending import intrinsic
from numba.np.unsafe.ndarray import to_fixed_tuple

from bnas_bench.packed.engine.elements import FLOATS, Code, over
from bnas_bench.packed.engine.isa import FORMS, Isa
from bnas_bench.packed.engine.tile import TOGETHER, load, most_steps, tile

REVISION = crc32(
    b"".join(Path(__file__).with_name(n).read_bytes() for n in ("elements.py", "isa.py", "tile.py"))
)
"""Of the files whose functions write vector IR into the kernels."""

LOAD, STORE, ADD, AFFINE, PRELU, RPRELU, RELU, HARDTANH, PACK, SCALE = map(int, Code)
FIELDS = 8
"""Numbers of an instruction: code, address of the map, and for PACK those of `pack`."""


class Chain(NamedTuple):
    """A chain and its scratch, as a kernel takes it: addresses and sizes."""

    instructions: int  # (number, FIELDS), int64
    number: int
    vectors: int  # of each instruction, (number, 3, room), 32-bit floats
    channels: int
    block: int  # scratch for the values, (pixels + 1, room), 32-bit floats
    pixels: int  # of a block
    room: int  # for the channels, padded to whole vectors


class Geometry(NamedTuple):
    """A binary convolution, as a kernel takes it: addresses and sizes."""

    bits: int  # of the map
    pixels_in: int
    pixel_bytes: int
    groups: int
    height: int
    width: int
    out_height: int
    out_width: int
    kernel: int
    stride: int
    padding: int
    dilation: int
    direct: int  # whether the bits of a pixel are a row of the product as they lie
    outputs: int  # of a group
    columns: int  # counts that a group has room for: `outputs`, padded to whole vectors
    weights: int  # of all groups, as `chains.arrange` leaves them
    base: int  # what twice the differing bits are taken off, (borders, room), 32-bit floats
    borders: int  # which row of `base` holds for each output pixel of an image, int32
    scale: int  # of each channel, (room,), 32-bit floats
    popcounts: int  # `tile.TABLE`
    panel: int  # scratch for `gather`, (pixels of a block, bytes)
    pairs: int  # scratch for `pair`, (half the pixels of a block, steps)
    counts: int  # scratch, (pixels of a block, groups, columns), uint16


CHAIN, GEOMETRY = len(Chain._fields), len(Geometry._fields)


@intrinsic
def pointer(typing, address):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """An address as a pointer, for `carray`."""

    def generate(context: Any, b: ir.IRBuilder, _: Any, values: Any) -> ir.Value:  # noqa: ARG001
        return b.inttoptr(values[0], cgutils.voidptr_t)

    return types.voidptr(address), generate


@intrinsic
def copy_bytes(typing, to, source, size):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """memcpy between addresses."""

    def generate(context: Any, b: ir.IRBuilder, _: Any, values: Any) -> ir.Value:
        to, source, size = values
        places = (b.inttoptr(address, cgutils.voidptr_t) for address in (to, source))
        cgutils.raw_memcpy(b, *places, size, 1)
        return context.get_dummy_value()

    return types.void(to, source, size), generate


@intrinsic
def clear_bytes(typing, to, size):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """Zeros from an address on."""

    def generate(context: Any, b: ir.IRBuilder, _: Any, values: Any) -> ir.Value:
        cgutils.memset(b, b.inttoptr(values[0], cgutils.voidptr_t), values[1], 0)
        return context.get_dummy_value()

    return types.void(to, size), generate


@intrinsic
def at_least(typing, x, threshold):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """Eight comparisons x >= threshold of floats at two addresses, as the bits of a byte."""

    def generate(context: Any, b: ir.IRBuilder, _: Any, values: Any) -> ir.Value:  # noqa: ARG001
        eights = [load(b, address, FLOATS, 4) for address in values]
        return b.bitcast(b.fcmp_ordered(">=", *eights), ir.IntType(8))

    return types.uint8(x, threshold), generate


@njit(inline="always")
def run_chain(revision: int, chain: Any, first: int, pixels: int) -> None:
    """Run the instructions of a `Chain` on a block of pixels, the first of which has that number."""
    address, number, vectors, channels, x, _, room = chain
    instructions = carray(pointer(address), (number, FIELDS), np.int64)
    x_next, m_next = 4 * room, 4 * channels
    for i in range(number):
        code, m = instructions[i, 0], instructions[i, 1] + first * m_next
        v0 = vectors + 12 * i * room
        v1, v2 = v0 + 4 * room, v0 + 8 * room
        if code == LOAD:
            over(LOAD, revision, x, x_next, m, m_next, v0, v1, v2, pixels, channels)
        elif code == STORE:
            over(STORE, revision, x, x_next, m, m_next, v0, v1, v2, pixels, channels)
        elif code == ADD:
            over(ADD, revision, x, x_next, m, m_next, v0, v1, v2, pixels, channels)
        elif code == AFFINE:
            over(AFFINE, revision, x, x_next, m, m_next, v0, v1, v2, pixels, channels)
        elif code == PRELU:
            over(PRELU, revision, x, x_next, m, m_next, v0, v1, v2, pixels, channels)
        elif code == RPRELU:
            over(RPRELU, revision, x, x_next, m, m_next, v0, v1, v2, pixels, channels)
        elif code == RELU:
            over(RELU, revision, x, x_next, m, m_next, v0, v1, v2, pixels, channels)
        elif code == HARDTANH:
            over(HARDTANH, revision, x, x_next, m, m_next, v0, v1, v2, pixels, channels)
        else:
            pack(instructions[i], x, x_next, first, pixels)


@njit(inline="always")
def pack(instruction: Any, block: int, block_next: int, first: int, pixels: int) -> None:
    """Write the bits [x >= threshold] xor flip of a block.

    Thresholds and flips lie as (group, channel), padded with NaN and 0 to whole bytes: what is read
    beyond a group's channels becomes 0.

    Args:
        instruction: its code, address of the bits, groups, channels of each, bytes of a pixel in a
            group, pixels of the map, addresses of the thresholds and of the flips.
    """
    _, address, groups, channels, size, in_map, thresholds, flips = instruction
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


@njit(inline="always")
def gather(geometry: Any, group: int, first: int, pixels: int) -> None:
    """The bits that each output pixel's sum runs over, row by row, into the panel; padding is 0."""
    bits, pixels_in, size, _, height, width, out_height, out_width = geometry[:8]
    kernel, stride, padding, dilation = geometry[8:12]
    plane = bits + group * pixels_in * size
    to = geometry[20]
    for p in range(pixels):
        image, place = divmod(first + p, out_height * out_width)
        i, j = divmod(place, out_width)
        left = j * stride - padding
        inside = left >= 0 and left + (kernel - 1) * dilation < width
        for u in range(kernel):
            y = i * stride - padding + u * dilation
            if y < 0 or y >= height:
                clear_bytes(to, kernel * size)
                to += kernel * size
                continue
            row = plane + (image * height + y) * width * size
            if inside and dilation == 1:
                copy_bytes(to, row + left * size, kernel * size)
                to += kernel * size
                continue
            for v in range(kernel):
                x = left + v * dilation
                if x < 0 or x >= width:
                    clear_bytes(to, size)
                else:
                    copy_bytes(to, row + x * size, size)
                to += size


@njit(inline="always")
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


@njit(inline="always")
def multiply(
    form: int, revision: int, numbers: Any, a: int, a_next: int, pixels: int, w: int, columns: int,
    steps: int, counts: int, counts_next: int, popcounts: int,
) -> None:  # fmt: skip
    """counts[p, n] = differing bits of pixel p and output channel n.

    Args:
        form, revision: constants: which of `FORMS`, and `REVISION`.
        numbers: lanes, unit and pixels of a row in that form, the steps that a lane can count, and
            vectors and rows of its three blocks.
        a, a_next: address of the rows; bytes from one to the next.
        pixels: how many; up to a multiple of the register block's height are read and written.
        w: address of the weights, as `chains.arrange` leaves them.
        columns: number of output channels, a multiple of the lanes.
        steps: see `tile.steps_of`.
        counts, counts_next: address of the counts; bytes from one pixel's to the next.
        popcounts: address of `tile.TABLE`.
    """
    lanes, unit, row, chunk, v0, r0, v1, r1, v2, r2 = numbers
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
                    tile(form, 0, revision, x, a_next, weights, number, y, counts_next, popcounts)
                elif block == 1:
                    tile(form, 1, revision, x, a_next, weights, number, y, counts_next, popcounts)
                else:
                    tile(form, 2, revision, x, a_next, weights, number, y, counts_next, popcounts)
        n += width


def compiled(form: Isa) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Compile a kernel, and keep it on disk where there is a place to.

    Each form and processor has files of its own: numba's index of a function's files knows no lock,
    so that two processes that write into one could mix up what they compiled.
    """
    target = cpu_target.target_context.codegen().magic_tuple()
    own = f"{form.name}-{crc32(repr(target).encode()):08x}".replace("-", "_")

    def wrap(function: Callable[..., None]) -> Callable[..., None]:
        function.__qualname__ = f"{function.__name__}_{own}"
        try:
            return njit(nogil=True, cache=True)(function)
        except RuntimeError:  # no folder that can be written
            return njit(nogil=True)(function)

    return wrap


class Kernels(NamedTuple):
    """The kernels that are compiled for one form."""

    product: Callable[..., None]  # `multiply`
    convolution: Callable[..., None]
    chain: Callable[..., None]


@cache
def kernels(form: Isa) -> Kernels:
    """The matrix product of a block, a convolution over many blocks, and a chain alone."""
    which, revision, paired = list(FORMS.values()).index(form), REVISION, form.table
    (v0, r0), (v1, r1), (v2, r2) = form.blocks
    numbers = (form.lanes, form.unit, form.row, most_steps(form), v0, r0, v1, r1, v2, r2)
    unit, together = form.unit, TOGETHER

    @compiled(form)
    def product(
        a: int, a_next: int, pixels: int, w: int, columns: int, steps: int, counts: int, counts_next: int,
        popcounts: int,
    ) -> None:  # fmt: skip
        multiply(
            which, revision, numbers, a, a_next, pixels, w, columns, steps, counts, counts_next, popcounts
        )  # fmt: skip

    @compiled(form)
    def convolution(arguments: Any, begin: int, end: int) -> None:
        """A binary convolution and the chain behind it, for the output pixels from `begin` to `end`.

        Args:
            arguments: a `Geometry` and a `Chain`, one after the other, int64.
        """
        geometry = to_fixed_tuple(arguments[:GEOMETRY], GEOMETRY)
        chain = to_fixed_tuple(arguments[GEOMETRY:], CHAIN)
        bits, pixels_in, size, groups, _, _, height, width, kernel = geometry[:9]
        direct, outputs, columns, weights, base, borders_address, scale = geometry[12:19]
        popcounts, panel, pairs, counts = geometry[19:]
        block, most, room = chain[4:]
        borders = carray(pointer(borders_address), height * width, np.int32)
        length, counts_next = kernel * kernel * size, 2 * groups * columns
        steps = (2 * length + together - 1) // together * together if paired else length // unit
        for first in range(begin, end, most):
            pixels = min(most, end - first)
            for g in range(groups):
                a, a_next = panel, length
                if direct:
                    a = bits + (g * pixels_in + first) * size
                else:
                    gather(geometry, g, first, pixels)
                if paired:
                    pair(a, length, pixels, pairs, steps)
                    a, a_next = pairs, steps
                w, sums = weights + g * columns * steps * unit, counts + 2 * g * columns
                multiply(
                    which, revision, numbers, a, a_next, pixels, w, columns,
                    steps, sums, counts_next, popcounts,
                )  # fmt: skip
            place = first % (height * width)
            for p in range(pixels):
                left = base + 4 * room * borders[place]
                place = place + 1 if place + 1 < height * width else 0
                for g in range(groups):
                    c, count = 4 * g * outputs, counts + p * counts_next + 2 * g * columns
                    x = block + 4 * p * room + c
                    over(SCALE, revision, x, 0, count, 0, left + c, scale + c, 0, 1, outputs)
            run_chain(revision, chain, first, pixels)

    @compiled(form)
    def chain(arguments: Any, begin: int, end: int) -> None:
        """A chain that begins with LOAD over the pixels from `begin` to `end`, block by block.

        Args:
            arguments: a `Chain`, int64.
        """
        chain = to_fixed_tuple(arguments, CHAIN)
        most = chain[5]
        for first in range(begin, end, most):
            run_chain(revision, chain, first, min(most, end - first))

    return Kernels(product, convolution, chain)
