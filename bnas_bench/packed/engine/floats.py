"""Real numbers under windows and in products, as vector IR.

Both sum as torch's convolutions do: pixel of the kernel by pixel, channel by channel, each term by one
fused multiplication and addition onto the sum so far.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from bnas_bench.packed.engine.elements import F32, FLOATS, LANES, masked, remaining, splat
from bnas_bench.packed.engine.isa import FORMS
from bnas_bench.packed.engine.memory import I64, function, load, store

WIDE, NARROW = 16, 8
"""Output channels of a register block of the product; narrow is what remains."""

RUN = 4
"""Pixels next to each other whose windows are gone over at once, with each weight read once."""

VECTORS = {1: 4, RUN: 2}
"""Vectors of channels that so many windows are gone over at once."""


class Under(IntEnum):
    """What is made of the pixels under a window, channel by channel."""

    SUM = 0  # of pixels times weights
    MEAN = 1  # the sum, over a number that each window has
    MAX = 2


def emit_dense(b: ir.IRBuilder, lanes: int, rows: int, args: tuple[ir.Value, ...]) -> None:
    """The register block: y[p, n] += sum over k of x[p, k] * w[k, n], for `rows` pixels p.

    Args:
        args: address of the first pixel's x and bytes to the next one's; address of the weights,
            `lanes` for each k; how many k; address of the first pixel's y and bytes to the next one's.
    """
    x, x_next, w, length, y, y_next = args
    kind = ir.VectorType(F32, lanes)
    fma = function(b, f"llvm.fma.v{lanes}f32", kind, 3)
    starts = [b.add(x, b.mul(x_next, I64(row))) for row in range(rows)]
    before, body, after = b.block, b.append_basic_block("term"), b.append_basic_block("add")
    b.branch(body)
    b.position_at_end(body)
    k = b.phi(I64)
    k.add_incoming(I64(0), before)
    sums = [b.phi(kind) for _ in range(rows)]
    weights = load(b, b.add(w, b.mul(k, I64(4 * lanes))), kind, 4)
    added = []
    for start, total in zip(starts, sums, strict=True):
        value = splat(b, load(b, b.add(start, b.shl(k, I64(2))), F32, 4), lanes)
        added.append(b.call(fma, [value, weights, total]))
    following = b.add(k, I64(1))
    k.add_incoming(following, body)
    for total, more in zip(sums, added, strict=True):
        total.add_incoming(ir.Constant(kind, [0.0] * lanes), before)
        total.add_incoming(more, body)
    b.cbranch(b.icmp_signed("<", following, length), body, after)
    b.position_at_end(after)
    for row, total in enumerate(added):
        place = b.add(y, b.mul(y_next, I64(row)))
        store(b, b.fadd(load(b, place, kind, 4), total), place, 4)


@intrinsic(prefer_literal=True)
def dense(typing, form, lanes, x, x_next, w, length, y, y_next):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """Run `emit_dense`; the first two are constants: which of `FORMS`, and the outputs."""
    rows, count = tuple(FORMS.values())[form.literal_value].floats, lanes.literal_value

    def generate(context: Any, b: ir.IRBuilder, _: Any, values: Any) -> ir.Value:
        emit_dense(b, count, rows, tuple(values[2:]))
        return context.get_dummy_value()

    return types.void(form, lanes, x, x_next, w, length, y, y_next), generate


def emit_under(b: ir.IRBuilder, how: Under, pixels: int, args: tuple[ir.Value, ...]) -> None:
    """Some pixels of what a window makes, all their channels.

    Args:
        args: address of the first result, which may be written up to a whole vector, and bytes to the
            next; address of the first pixel under the first window, and bytes to that of the next
            window, to the pixel below and to the one beside; the same of the weights, but for the next
            window; rows and columns under a window; channels; address of the number that means are over.
    """
    (
        to,
        to_next,
        source,
        next_,
        below,
        beside,
        w,
        w_below,
        w_beside,
        rows,
        columns,
        channels,
        over,
    ) = args
    fma = function(b, f"llvm.fma.v{LANES}f32", FLOATS, 3)
    start = float("-inf") if how == Under.MAX else 0.0
    most = VECTORS[pixels]
    sums = [[cgutils.alloca_once(b, FLOATS) for _ in range(most)] for _ in range(pixels)]
    sources = [b.add(source, b.mul(next_, I64(p))) for p in range(pixels)]
    places = [b.add(to, b.mul(to_next, I64(p))) for p in range(pixels)]
    mask = remaining(b, channels)

    def vectors(c: ir.Value, count: int, *, partial: bool = False) -> None:
        offset = b.shl(c, I64(2))
        for total in (total for row in sums for total in row[:count]):
            b.store(ir.Constant(FLOATS, [start] * LANES), total)
        with cgutils.for_range(b, rows) as u, cgutils.for_range(b, columns) as v:
            pixel = b.add(b.mul(u.index, below), b.mul(v.index, beside))
            pixel = b.add(offset, pixel)
            weight = b.add(b.mul(u.index, w_below), b.mul(v.index, w_beside))
            weight = b.add(b.add(w, offset), weight)
            for i in range(count):
                further = I64(4 * LANES * i)
                weights = load(b, b.add(weight, further), FLOATS, 4) if how == Under.SUM else None
                for first, row in zip(sources, sums, strict=True):
                    at, so_far = b.add(b.add(first, pixel), further), b.load(row[i])
                    x = masked(b, "load", at, mask) if partial else load(b, at, FLOATS, 4)
                    if how == Under.SUM:
                        b.store(b.call(fma, [x, weights, so_far]), row[i])
                    elif how == Under.MEAN:
                        b.store(b.fadd(so_far, x), row[i])
                    else:
                        larger = b.fcmp_ordered(">", x, so_far)
                        takes = b.or_(larger, b.fcmp_unordered("uno", x, x))  # a NaN wins
                        b.store(b.select(takes, x, so_far), row[i])
        for place, row in zip(places, sums, strict=True):
            for i, total in enumerate(row[:count]):
                y = b.load(total)
                if how == Under.MEAN:
                    y = b.fdiv(y, splat(b, load(b, over, F32, 4), LANES))
                store(b, y, b.add(b.add(place, offset), I64(4 * LANES * i)), 4)

    many = b.and_(channels, I64(-LANES * most))
    whole = b.and_(channels, I64(-LANES))
    with cgutils.for_range_slice(b, I64(0), many, I64(LANES * most)) as (c, _):
        vectors(c, most)
    with cgutils.for_range_slice(b, many, whole, I64(LANES)) as (c, _):
        vectors(c, 1)
    with b.if_then(b.icmp_signed("<", whole, channels)):
        vectors(whole, 1, partial=True)


@intrinsic(prefer_literal=True)
def under(  # type: ignore[no-untyped-def]
    typing,  # noqa: ARG001
    how,
    pixels,
    to,
    to_next,
    source,
    next_,
    below,
    beside,
    w,
    w_below,
    w_beside,
    rows,
    columns,
    channels,
    over,
):
    """Run `emit_under`; the first two are constants: one of `Under`, and the pixels."""
    operands = (
        to, to_next, source, next_, below, beside, w, w_below, w_beside, rows, columns, channels, over
    )  # fmt: skip

    def generate(context: Any, b: ir.IRBuilder, _: Any, values: Any) -> ir.Value:
        emit_under(b, Under(how.literal_value), pixels.literal_value, tuple(values[2:]))
        return context.get_dummy_value()

    return types.void(how, pixels, *operands), generate
