"""The gradients of a depthwise convolution as loops over its taps, on maps in channels-last layout.

A padded image is kept as rows of every stride-th pixel, so that what a tap sees along a row of the
output's gradient lies side by side. How fast that is beside a product of matrices: `bench_layers.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from bnas_bench.nn.kernels.rows import Array, loop, within

LANES = 16
"""Numbers that are summed side by side: a vector register of AVX-512, or two or four of others."""

I64 = ir.IntType(64)
VECTOR = ir.VectorType(ir.FloatType(), LANES)


def products_of(taps: int) -> Any:
    """An intrinsic that keeps the sums of so many taps in registers, which LLVM would not by itself."""

    @intrinsic
    def add_products(typing, given, seen, places, sums, apart, steps, stride):  # type: ignore[no-untyped-def]  # noqa: ARG001
        """Add to `LANES` sums of each tap t the products given[s * stride] * seen[places[t] + s * stride].

        Args:
            given, seen, sums: addresses of float32; `LANES` numbers from there on are meant.
            places: an address of int64, one for each tap.
            apart: how many sums lie from one tap to the next.
            steps: how many products, s from 0 on; at least one.
        """

        def generate(context: Any, b: ir.IRBuilder, _: Any, values: Any) -> ir.Value:
            given, seen, places, sums, apart, steps, stride = values

            def address(start: ir.Value, index: ir.Value, kind: ir.Type, shift: int) -> ir.Value:
                return b.inttoptr(b.add(start, b.shl(index, I64(shift))), ir.PointerType(kind))

            def load(start: ir.Value, index: ir.Value) -> ir.Value:
                found = b.load(address(start, index, VECTOR, 2))
                found.align = 4
                return found

            fma = cgutils.get_or_insert_function(
                b.module, ir.FunctionType(VECTOR, [VECTOR] * 3), f"llvm.fma.v{LANES}f32"
            )
            at = [b.load(address(places, I64(t), I64, 3)) for t in range(taps)]
            start = [load(sums, b.mul(I64(t), apart)) for t in range(taps)]
            before, body = b.block, b.append_basic_block("products")
            after = b.append_basic_block("summed")
            b.branch(body)
            b.position_at_end(body)
            step, place, *totals = (b.phi(kind) for kind in (I64, I64, *[VECTOR] * taps))
            pixel = load(given, place)
            made = [
                b.call(fma, [pixel, load(seen, b.add(place, offset)), total])
                for offset, total in zip(at, totals, strict=True)
            ]
            following = [b.add(step, I64(1)), b.add(place, stride), *made]
            first = [I64(0), I64(0), *start]
            for phi, value, later in zip((step, place, *totals), first, following, strict=True):
                phi.add_incoming(value, before)
                phi.add_incoming(later, body)
            b.cbranch(b.icmp_signed("<", following[0], steps), body, after)
            b.position_at_end(after)
            for t, total in enumerate(made):
                b.store(total, address(sums, b.mul(I64(t), apart), VECTOR, 2)).align = 4
            return context.get_dummy_value()

        return types.void(*(types.int64,) * 7), generate

    return add_products


one, three, five = products_of(1), products_of(3), products_of(5)


@within
def copy(pixels: Array, row: Array) -> None:
    """A line of pixels, shape (W, C), to the beginning of a row; faster than an assignment of slices."""
    flat = pixels.reshape(pixels.size)
    for k in range(len(flat)):
        row[k] = flat[k]


@within
def pad(image: Array, stride: int, padding: int, padded: Array) -> None:
    """An image, shape (H, W, C), into the middle of rows of its every stride-th pixels.

    Args:
        padded: shape (stride, H + 2 * padding, lanes of a row).
    """
    height, width, channels = image.shape
    for h in range(height):
        if stride == 1:
            copy(image[h], padded[0, h + padding, padding * channels :])
            continue
        for w in range(width):
            place = w + padding
            row = padded[place % stride, h + padding]
            at = place // stride * channels
            for c in range(channels):
                row[at + c] = image[h, w, c]


@loop
def tap_sums(
    x: Array, grad: Array, side: int, stride: int, padding: int, dilation: int, sums: Array
) -> None:
    """Per tap and channel the sum of grad times the pixel that the tap saw, added to (side^2, C).

    Args:
        x, grad: channels last, shapes (B, H, W, C) and (B, H', W', C).
    """
    images, height, width, channels = x.shape
    _, out_height, out_width, _ = grad.shape
    together = 1  # pixels that are put side by side, until they fill whole vectors
    while together * channels % LANES and out_width % (together * 2) == 0:
        together *= 2
    lanes = together * channels
    steps = out_width // together
    span, high = (width + 2 * padding + stride - 1) // stride * channels, height + 2 * padding
    # The last vector may reach beyond a row: what it finds there goes into sums that nobody reads.
    room = np.zeros(stride * high * span + LANES, np.float32)
    padded = room[: stride * high * span].reshape(stride, high, span)
    given = np.zeros(out_width * channels + LANES, np.float32)
    wide = (lanes + LANES - 1) // LANES * LANES
    part = np.zeros((side * side, wide), np.float32)
    places = np.empty(side, np.int64)
    for j in range(side):
        places[j] = j * dilation % stride * high * span + j * dilation // stride * channels
    for b in range(images):
        pad(x[b], stride, padding, padded)
        for h in range(out_height):
            copy(grad[b, h], given)
            for i in range(side):
                line = h * stride + i * dilation
                if line < padding or line >= height + padding:
                    continue
                for k in range(0, lanes, LANES):
                    g = given.ctypes.data + 4 * k
                    seen = room.ctypes.data + 4 * (line * span + k)
                    into = part.ctypes.data + 4 * (i * side * wide + k)
                    if side == 3:
                        three(g, seen, places.ctypes.data, into, wide, steps, lanes)
                    elif side == 5:
                        five(g, seen, places.ctypes.data, into, wide, steps, lanes)
                    else:
                        for j in range(side):
                            place = places.ctypes.data + 8 * j
                            one(g, seen, place, into + 4 * j * wide, wide, steps, lanes)
        if b % 4 == 3 or b == images - 1:
            for t in range(side * side):
                for q in range(together):
                    for c in range(channels):
                        sums[t, c] += part[t, q * channels + c]
            part[:] = 0


@loop
def spread(
    grad: Array, taps: Array, side: int, stride: int, padding: int, dilation: int, out: Array
) -> None:
    """The gradient of the pixels: `grad` times each tap, added to what the tap saw.

    Args:
        grad, out: channels last, shapes (B, H', W', C) and (B, H, W, C).
        taps: the kernel, each tap repeated along a row, shape (side^2, W' * C).
    """
    images, height, width, channels = out.shape
    _, out_height, out_width, _ = grad.shape
    lanes = out_width * channels
    span = (width + 2 * padding + stride - 1) // stride
    padded = np.zeros((stride, height + 2 * padding, span * channels), np.float32)
    for b in range(images):
        padded[:] = 0
        for h in range(out_height):
            given = grad[b, h].reshape(lanes)
            for i in range(side):
                line = h * stride + i * dilation
                if line < padding or line >= height + padding:
                    continue
                for j in range(side):
                    at = j * dilation // stride * channels
                    seen = padded[j * dilation % stride, line, at : at + lanes]
                    tap = taps[i * side + j]
                    for k in range(lanes):
                        seen[k] += given[k] * tap[k]
        for h in range(height):
            for w in range(width):
                place = w + padding
                row = padded[place % stride, h + padding]
                at = place // stride * channels
                for c in range(channels):
                    out[b, h, w, c] = row[at + c]
