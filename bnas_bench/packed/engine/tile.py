"""The register block of the binary matrix product, as vector IR; see `isa.py` for its forms.

For each pixel p and output channel n it adds to counts[p, n] how many of the bits of a[p] and of w[n]
differ. Weights lie as (step, vector, lane), so that a vector holds the same bits of as many output
channels as it has lanes, and the activations' bits are repeated in every lane. 64-bit lanes are
added up for as long as one likes, 8-bit ones only until they could overflow.

By table, a step is four bits, and a byte of activations holds those of two pixels: what is looked up
in it has one pixel's count in its low and the other's in its high half, for three steps before they
are taken apart.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from bnas_bench.packed.engine.isa import FORMS, Isa
from bnas_bench.packed.engine.memory import function, load

TOGETHER = 3
"""Steps by table that are counted in half a byte: 3 * 4 < 16."""

TABLE = (np.bitwise_count(np.arange(16)[:, None] ^ np.arange(16))).astype(np.uint8)
TABLE = (TABLE[np.arange(256) & 15] + 16 * TABLE[np.arange(256) >> 4]).astype(np.uint8)
"""TABLE[a, w] = popcount(a0 xor w) + 16 popcount(a1 xor w), a0 and a1 being the halves of the byte a."""

I8, I16, I32, I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
SHUFFLES = {32: "llvm.x86.avx2.pshuf.b"}


def most_steps(form: Isa) -> int:
    """Steps that a lane can count: 60 * 4 and 31 * 8 are below 256."""
    if form.table:
        return 60
    return 31 if form.element == 8 else 1 << 30


def steps_of(size: int, form: Isa) -> int:
    """Steps for so many bytes of a pixel."""
    return -(-2 * size // TOGETHER) * TOGETHER if form.table else size // form.unit


def vector(element: ir.Type, lanes: int) -> ir.VectorType:
    return ir.VectorType(element, lanes)


def constant(kind: ir.VectorType, value: int) -> ir.Constant:
    return ir.Constant(kind, [value] * kind.count)


def spread(b: ir.IRBuilder, value: ir.Value, repeats: int) -> ir.Value:
    """A scalar in every lane, or a vector over and over."""
    if not isinstance(value.type, ir.VectorType):
        undefined = ir.Constant(vector(value.type, 1), ir.Undefined)
        value = b.insert_element(undefined, value, I32(0))
    lanes = value.type.count
    order = ir.Constant(vector(I32, lanes * repeats), [i % lanes for i in range(lanes * repeats)])
    return b.shuffle_vector(value, ir.Constant(value.type, ir.Undefined), order)


class Step:
    """What one round of the loop reads: weights and activations of one or more steps.

    Args:
        a, a_next, w: addresses of this round's activations of the first row, bytes to the next row,
            and address of this round's weights.
        table: address of `TABLE`.
    """

    def __init__(
        self, b: ir.IRBuilder, form: Isa, vectors: int, args: tuple[ir.Value, ...]
    ) -> None:
        self.b, self.form, self.vectors = b, form, vectors
        self.a, self.a_next, self.w, self.table = args
        self.lanes = vector(ir.IntType(form.element), form.lanes)
        self.size = form.lanes * form.unit

    def weights(self, step: int) -> list[ir.Value]:
        starts = [(step * self.vectors + v) * self.size for v in range(self.vectors)]
        return [
            load(self.b, self.b.add(self.w, I64(s)), self.lanes, self.form.unit) for s in starts
        ]

    def activations(self, row: int, step: int) -> ir.Value:
        place = self.b.add(self.b.add(self.a, self.b.mul(self.a_next, I64(row))), I64(step))
        return load(self.b, place, self.lanes.element, 1)

    def by_popcount(self, rows: int) -> dict[tuple[int, int], ir.Value]:
        """Differing bits, by pixel and vector."""
        b, weights = self.b, self.weights(0)
        name = f"llvm.ctpop.v{self.form.lanes}i{self.form.element}"
        popcount = function(b, name, self.lanes, 1)
        found: dict[tuple[int, int], ir.Value] = {}
        for row in range(rows):
            same = spread(b, self.activations(row, 0), self.form.lanes)
            found |= {(row, v): b.call(popcount, [b.xor(same, w)]) for v, w in enumerate(weights)}
        return found

    def by_table(self, rows: int) -> dict[tuple[int, int], ir.Value]:
        """Differing bits of `TOGETHER` steps, by pixel and vector."""
        b, lanes = self.b, self.lanes
        shuffle = function(b, SHUFFLES[self.form.lanes], lanes, 2)
        both: dict[tuple[int, int], ir.Value] = {}
        for step in range(TOGETHER):
            weights = self.weights(step)
            for row in range(rows):
                index = b.shl(b.zext(self.activations(row, step), I64), I64(4))
                entries = load(b, b.add(self.table, index), vector(I8, 16), 1)
                looked_up = spread(b, entries, self.form.lanes // 16)
                for v, w in enumerate(weights):
                    some = b.call(shuffle, [looked_up, w])
                    both[row, v] = b.add(both[row, v], some) if step else some
        found = {}
        pairs, half = vector(I16, self.form.lanes // 2), constant(lanes, 15)
        for (row, v), counts in both.items():
            high = b.lshr(b.bitcast(counts, pairs), constant(pairs, 4))
            found[2 * row, v] = b.and_(counts, half)
            found[2 * row + 1, v] = b.and_(b.bitcast(high, lanes), half)
        return found


def emit_tile(
    b: ir.IRBuilder, form: Isa, vectors: int, rows: int, args: tuple[ir.Value, ...]
) -> None:
    """The register block: a loop over the steps, then the counts in memory are added to.

    Args:
        args: address of the first row's bits and bytes to the next row's; address of the weights;
            steps (>= 1; by table a multiple of `TOGETHER`); address of the counts (16 bits each)
            and bytes to the next pixel's; address of `TABLE`.
    """
    a, a_next, w, steps, counts, counts_next, table = args
    lanes, narrow = vector(ir.IntType(form.element), form.lanes), vector(I16, form.lanes)
    stride, size = TOGETHER if form.table else 1, form.lanes * form.unit

    before, body, after = b.block, b.append_basic_block("step"), b.append_basic_block("add")
    b.branch(body)
    b.position_at_end(body)
    step = b.phi(I64)
    step.add_incoming(I64(0), before)
    block = [(p, v) for p in range(rows * form.row) for v in range(vectors)]
    sums = {place: b.phi(lanes) for place in block}
    here = b.add(a, b.mul(step, I64(form.unit))), a_next, b.add(w, b.mul(step, I64(vectors * size)))
    reading = Step(b, form, vectors, (*here, table))
    found = reading.by_table(rows) if form.table else reading.by_popcount(rows)
    added = {place: b.add(sums[place], found[place]) for place in block}
    following = b.add(step, I64(stride))
    step.add_incoming(following, body)
    for place, total in sums.items():
        total.add_incoming(constant(lanes, 0), before)
        total.add_incoming(added[place], body)
    b.cbranch(b.icmp_signed("<", following, steps), body, after)

    b.position_at_end(after)
    for p, v in block:
        start = b.add(counts, b.add(b.mul(counts_next, I64(p)), I64(2 * form.lanes * v)))
        place = b.inttoptr(start, ir.PointerType(narrow))
        old = b.load(place)
        old.align = 2
        resize = b.trunc if form.element > 16 else b.zext
        b.store(b.add(old, resize(added[p, v], narrow)), place).align = 2


@intrinsic(prefer_literal=True)
def tile(  # type: ignore[no-untyped-def]
    typing,  # noqa: ARG001
    form,
    block,
    a,
    a_next,
    w,
    steps,
    counts,
    counts_next,
    popcounts,
):
    """Run `emit_tile` with a register block of a form; the other arguments are its `args`.

    Args:
        form, block: constants: which of `FORMS`, and which of its blocks.
    """
    chosen = tuple(FORMS.values())[form.literal_value]
    vectors, rows = chosen.blocks[block.literal_value]
    constants = (form, block)
    operands = (a, a_next, w, steps, counts, counts_next, popcounts)

    def generate(context: Any, b: ir.IRBuilder, _: Any, values: Any) -> ir.Value:
        emit_tile(b, chosen, vectors, rows, tuple(values[len(constants) :]))
        return context.get_dummy_value()

    return types.void(*constants, *operands), generate
