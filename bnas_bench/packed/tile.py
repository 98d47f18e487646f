"""The register block of the binary matrix product, as vector IR; see `isa.py` for its forms.

For each pixel p and output channel n it adds to counts[p, n] how many of the bits of a[p] and of w[n]
differ. Weights lie as (step, half, vector, lane), so that a vector holds the same bits of as many
output channels as it has lanes, and the activations' bits are repeated in every lane. 8-bit lanes
are added up for at most 31 steps, 64-bit ones for as long as one likes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from bnas_bench.packed.isa import Isa

STEPS = 31
"""8-bit lanes hold the counts of so many steps: 31 * 8 < 256."""

REVISION = crc32(Path(__file__).read_bytes())
"""Is an argument of the kernels' closure, so that numba's cache on disk notices a change here."""

_BYTES = np.arange(256)
TABLE = np.bitwise_count(
    np.stack([_BYTES & 15, _BYTES >> 4], axis=1)[:, :, None] ^ np.arange(16)
).astype(np.uint8)
"""TABLE[a, half, w] = popcount of the low or high 4 bits of the byte a, xor w."""

I8, I16, I32, I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
SHUFFLES = {32: "llvm.x86.avx2.pshuf.b"}


def vector(element: ir.Type, lanes: int) -> ir.VectorType:
    return ir.VectorType(element, lanes)


def spread(b: ir.IRBuilder, value: ir.Value, repeats: int) -> ir.Value:
    """A scalar in every lane, or a vector over and over."""
    if not isinstance(value.type, ir.VectorType):
        undefined = ir.Constant(vector(value.type, 1), ir.Undefined)
        value = b.insert_element(undefined, value, I32(0))
    lanes = value.type.count
    order = ir.Constant(vector(I32, lanes * repeats), [i % lanes for i in range(lanes * repeats)])
    return b.shuffle_vector(value, ir.Constant(value.type, ir.Undefined), order)


def differing(
    b: ir.IRBuilder,
    form: Isa,
    activations: ir.Value,
    weights: list[list[ir.Value]],
    table: ir.Value,
) -> list[ir.Value]:
    """Per vector of weights: how many bits of each lane differ from the activations' bits.

    Args:
        weights: the vectors of each half.
        table: the address of `TABLE`.
    """
    lanes = vector(ir.IntType(form.element), form.lanes)
    if not form.table:
        kind = f"v{form.lanes}i{form.element}"
        popcount = cgutils.get_or_insert_function(
            b.module, ir.FunctionType(lanes, [lanes]), f"llvm.ctpop.{kind}"
        )
        same = spread(b, activations, form.lanes)
        return [b.call(popcount, [b.xor(same, w)]) for w in weights[0]]
    shuffle = cgutils.get_or_insert_function(
        b.module, ir.FunctionType(lanes, [lanes, lanes]), SHUFFLES[form.lanes]
    )
    row = b.add(table, b.shl(b.zext(activations, I64), I64(5)))
    counts: list[ir.Value] = []
    for number, half in enumerate(weights):
        found = load(b, b.add(row, I64(16 * number)), vector(I8, 16), 1)
        looked_up = spread(b, found, form.lanes // 16)
        some = [b.call(shuffle, [looked_up, w]) for w in half]
        counts = [b.add(x, y) for x, y in zip(counts, some, strict=True)] if counts else some
    return counts


def load(b: ir.IRBuilder, address: ir.Value, kind: ir.Type, align: int) -> ir.Value:
    value = b.load(b.inttoptr(address, ir.PointerType(kind)))
    value.align = align
    return value


def emit_tile(
    b: ir.IRBuilder, form: Isa, pixels: int, vectors: int, args: tuple[ir.Value, ...]
) -> None:
    """The register block: a loop over the steps, then the counts in memory are added to.

    Args:
        args: addresses of the first pixel's bits and bytes to the next pixel's; address of the
            weights; steps (>= 1); address of the counts (16 bits each) and bytes to the next
            pixel's; address of `TABLE`.
    """
    a, a_next, w, steps, counts, counts_next, table = args
    element, unit = ir.IntType(form.element), form.unit
    lanes, size = vector(element, form.lanes), form.lanes * unit
    block = [(p, v) for p in range(pixels) for v in range(vectors)]

    before, body, after = b.block, b.append_basic_block("step"), b.append_basic_block("add")
    b.branch(body)
    b.position_at_end(body)
    step = b.phi(I64)
    step.add_incoming(I64(0), before)
    sums = {place: b.phi(lanes) for place in block}
    for total in sums.values():
        total.add_incoming(ir.Constant(lanes, [0] * form.lanes), before)

    here = b.add(w, b.mul(step, I64(form.halves * vectors * size)))
    weights = [
        [load(b, b.add(here, I64((h * vectors + v) * size)), lanes, unit) for v in range(vectors)]
        for h in range(form.halves)
    ]
    added: dict[tuple[int, int], ir.Value] = {}
    for p in range(pixels):
        place = b.add(b.add(a, b.mul(a_next, I64(p))), b.mul(step, I64(unit)))
        found = differing(b, form, load(b, place, element, 1), weights, table)
        added |= {(p, v): b.add(sums[p, v], found[v]) for v in range(vectors)}
    following = b.add(step, I64(1))
    step.add_incoming(following, body)
    for place, total in sums.items():
        total.add_incoming(added[place], body)
    b.cbranch(b.icmp_signed("<", following, steps), body, after)

    b.position_at_end(after)
    narrow = vector(I16, form.lanes)
    for p, v in block:
        start = b.add(counts, b.add(b.mul(counts_next, I64(p)), I64(2 * form.lanes * v)))
        place = b.inttoptr(start, ir.PointerType(narrow))
        old = b.load(place)
        old.align = 2
        resize = b.trunc if form.element > 16 else b.zext
        b.store(b.add(old, resize(added[p, v], narrow)), place).align = 2


def form_of(element: Any, lanes: Any, table: Any) -> Isa:
    """The form that literal arguments of a kernel describe."""
    return Isa("", element.literal_value, lanes.literal_value, 0, 0, bool(table.literal_value))


@intrinsic(prefer_literal=True)
def tile(  # type: ignore[no-untyped-def]
    typing,  # noqa: ARG001
    element,
    lanes,
    table,
    pixels,
    vectors,
    revision,
    a,
    a_next,
    w,
    steps,
    counts,
    counts_next,
    popcounts,
):
    """Run `emit_tile`: the first six arguments are constants, the others its `args`."""
    form = Isa("", element.literal_value, lanes.literal_value, 0, 0, bool(table.literal_value))
    shape = pixels.literal_value, vectors.literal_value
    constants = (element, lanes, table, pixels, vectors, revision)
    operands = (a, a_next, w, steps, counts, counts_next, popcounts)

    def generate(context: Any, b: ir.IRBuilder, _: Any, values: Any) -> ir.Value:
        emit_tile(b, form, *shape, tuple(values[len(constants) :]))
        return context.get_dummy_value()

    return types.void(*constants, *operands), generate
