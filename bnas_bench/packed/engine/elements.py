"""Operations on each element of a block, as vector IR: eight channels at a time.

A block is scratch, (pixels, room) floats, where one may write beyond a pixel's channels; a map in
memory is dense, and where its channels do not fill the last vector, the rest is masked.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from bnas_bench.packed.engine.memory import function, load, store

LANES = 8
F32, I1, I16, I32, I64 = ir.FloatType(), *(ir.IntType(bits) for bits in (1, 16, 32, 64))
FLOATS = ir.VectorType(F32, LANES)


class Code(IntEnum):
    """Instructions of a chain; x is an element of the block, m one of the map, v0 to v2 vectors.

    Up to SCALE they go over elements (`over`), the others over pixels (`blocks.py`).
    """

    LOAD = 0  # m
    STORE = 1  # m becomes x
    ADD = 2  # x + m
    AFFINE = 3  # fma(x, v0, v1)
    PRELU = 4  # x where x > 0, elsewhere x * v0
    RPRELU = 5  # y + v2, where y is x - v0 passed through PRELU with v1
    RELU = 6
    HARDTANH = 7
    QUANTISE = 8  # x / v0 in whole steps from -128 to 127, times v0
    SCALE = 9  # (v0 - 2 m) * v1, where m is 16 bits wide and scratch
    PACK = 10  # bits of x
    BINARY = 11  # x becomes a convolution of bits
    GATHER = 12  # x becomes the pixels under a kernel, one after the other
    DENSE = 13  # x becomes its product with weights
    SLIDE = 14  # x becomes what a window makes, Under.SUM; the next two are MEAN and MAX
    SLIDE_MEAN = 15
    SLIDE_MAX = 16


def constant(value: float) -> ir.Constant:
    return ir.Constant(FLOATS, [value] * LANES)


def splat(b: ir.IRBuilder, value: ir.Value, lanes: int) -> ir.Value:
    """A scalar in every lane."""
    alone = b.insert_element(
        ir.Constant(ir.VectorType(value.type, lanes), ir.Undefined), value, I32(0)
    )
    return b.shuffle_vector(alone, alone, ir.Constant(ir.VectorType(I32, lanes), [0] * lanes))


def remaining(b: ir.IRBuilder, channels: ir.Value) -> ir.Value:
    """Which lanes of the last vector of so many channels are some of them; none where it is whole."""
    lanes = ir.Constant(ir.VectorType(I64, LANES), list(range(LANES)))
    return b.icmp_unsigned("<", lanes, splat(b, b.and_(channels, I64(LANES - 1)), LANES))


def prelu(b: ir.IRBuilder, x: ir.Value, slope: ir.Value) -> ir.Value:
    return b.select(b.fcmp_ordered(">", x, constant(0)), x, b.fmul(x, slope))


def fma(b: ir.IRBuilder, x: ir.Value, scale: ir.Value, offset: ir.Value) -> ir.Value:
    """x * scale + offset, rounded once, as torch's batch norm does it."""
    return b.call(function(b, f"llvm.fma.v{LANES}f32", FLOATS, 3), [x, scale, offset])


def clamp(b: ir.IRBuilder, x: ir.Value, low: float, high: float) -> ir.Value:
    x = b.select(b.fcmp_ordered("<", x, constant(low)), constant(low), x)
    return b.select(b.fcmp_ordered(">", x, constant(high)), constant(high), x)


def compute(b: ir.IRBuilder, code: int, x: Any, m: Any, v: Callable[[int], ir.Value]) -> ir.Value:
    """One vector of results; `x`, `m` and `v` load what they are asked for."""
    match code:
        case Code.LOAD:
            return m()
        case Code.STORE:
            return x()
        case Code.ADD:
            return b.fadd(x(), m())
        case Code.AFFINE:
            return fma(b, x(), v(0), v(1))
        case Code.PRELU:
            return prelu(b, x(), v(0))
        case Code.RPRELU:
            return b.fadd(prelu(b, b.fsub(x(), v(0)), v(1)), v(2))
        case Code.RELU:
            found = x()
            return b.select(b.fcmp_ordered("<", found, constant(0)), constant(0), found)
        case Code.HARDTANH:
            return clamp(b, x(), -1, 1)
        case Code.QUANTISE:
            rounded = b.call(function(b, f"llvm.rint.v{LANES}f32", FLOATS, 1), [b.fdiv(x(), v(0))])
            return b.fmul(clamp(b, rounded, -128, 127), v(0))
        case Code.SCALE:
            counted = m()
            return b.fmul(b.fsub(v(0), b.fadd(counted, counted)), v(1))
    raise AssertionError(f"no operation {code}")


def masked(b: ir.IRBuilder, name: str, address: ir.Value, mask: ir.Value, *value: ir.Value) -> Any:
    """`llvm.masked.load` or `store` of a vector of floats."""
    pointer = b.inttoptr(address, ir.PointerType(FLOATS))
    masks = ir.VectorType(I1, LANES)
    if name == "store":
        kind = ir.FunctionType(ir.VoidType(), [FLOATS, pointer.type, I32, masks])
        args = [*value, pointer, I32(4), mask]
    else:
        kind = ir.FunctionType(FLOATS, [pointer.type, I32, masks, FLOATS])
        args = [pointer, I32(4), mask, constant(0)]
    full = f"llvm.masked.{name}.v{LANES}f32.p0"
    return b.call(cgutils.get_or_insert_function(b.module, kind, full), args)


def emit(b: ir.IRBuilder, code: int, args: tuple[ir.Value, ...]) -> None:
    """The operation on some pixels, vector by vector.

    Args:
        args: addresses of the block and of the map, bytes to the next pixel in each; addresses of
            three vectors of the block's room; pixels and channels.
    """
    block, block_next, map_, map_next, v0, v1, v2, pixels, channels = args
    whole = b.and_(channels, I64(~(LANES - 1)))
    rest = b.sub(channels, whole)
    mask = remaining(b, channels)

    def vector(p: ir.Value, c: ir.Value, *, partial: bool) -> None:
        here = b.add(b.add(block, b.mul(p, block_next)), b.shl(c, I64(2)))
        there = b.add(map_, b.mul(p, map_next))
        there = b.add(there, b.shl(c, I64(1 if code == Code.SCALE else 2)))

        def from_map() -> ir.Value:
            if code == Code.SCALE:
                wide = b.zext(
                    load(b, there, ir.VectorType(I16, LANES), 2), ir.VectorType(I32, LANES)
                )
                return b.sitofp(wide, FLOATS)
            return masked(b, "load", there, mask) if partial else load(b, there, FLOATS, 4)

        def operand(number: int) -> ir.Value:
            return load(b, b.add((v0, v1, v2)[number], b.shl(c, I64(2))), FLOATS, 4)

        y = compute(b, code, lambda: load(b, here, FLOATS, 4), from_map, operand)
        if code == Code.STORE and partial:
            masked(b, "store", there, mask, y)
        else:
            store(b, y, there if code == Code.STORE else here, 4)

    with cgutils.for_range(b, pixels) as pixel:
        with cgutils.for_range_slice(b, I64(0), whole, I64(LANES)) as (c, _):
            vector(pixel.index, c, partial=False)
        with b.if_then(b.icmp_signed(">", rest, I64(0))):
            vector(pixel.index, whole, partial=True)


@intrinsic(prefer_literal=True)
def over(  # type: ignore[no-untyped-def]
    typing,  # noqa: ARG001
    code,
    block,
    block_next,
    map_,
    map_next,
    v0,
    v1,
    v2,
    pixels,
    channels,
):
    """Run `emit`: the first argument is a constant, one of `Code`, the others are its `args`."""
    operands = (block, block_next, map_, map_next, v0, v1, v2, pixels, channels)

    def generate(context: Any, b: ir.IRBuilder, _: Any, values: Any) -> ir.Value:
        emit(b, code.literal_value, tuple(values[1:]))
        return context.get_dummy_value()

    return types.void(code, *operands), generate
