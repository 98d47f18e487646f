"""What a register-only loop reaches on this machine: nothing is loaded, nothing stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit
from numba.core import cgutils, types
from numba.extending import intrinsic

from bnas_bench.packed.engine.isa import Isa
from bnas_bench.packed.engine.tile import SHUFFLES, vector


def chains_of(form: Isa) -> int:
    """Independent ones, so that no latency shows: as many as the registers hold, two each."""
    return 12 if form.lanes * form.element == 512 else 6


I64 = ir.IntType(64)


def loop(form: Isa, operation: str) -> tuple[Callable[[int, np.ndarray], None], int]:
    """A loop of `popcount` (xor, popcount, add) or `shuffle` (look up, add) on vectors of a form.

    Returns:
        the loop, called with its number of rounds and 64 bytes; and the bits that a round counts.
    """
    lanes = vector(ir.IntType(form.element), form.lanes)
    name = f"llvm.ctpop.v{form.lanes}i{form.element}"
    if operation == "shuffle":
        name = SHUFFLES[form.lanes]
    chains = chains_of(form)
    bits = form.lanes * form.element // (2 if operation == "shuffle" else 1)

    @intrinsic
    def rounds(typing, number, place):  # type: ignore[no-untyped-def]  # noqa: ARG001
        def generate(context: Any, b: ir.IRBuilder, _: Any, values: Any) -> ir.Value:
            number, place = values
            pointer = b.inttoptr(place, ir.PointerType(lanes))
            fixed = b.load(pointer)
            fixed.align = 1
            arguments = [lanes, lanes] if operation == "shuffle" else [lanes]
            kind = ir.FunctionType(lanes, arguments)
            function = cgutils.get_or_insert_function(b.module, kind, name)
            before, body, after = b.block, b.append_basic_block(), b.append_basic_block()
            b.branch(body)
            b.position_at_end(body)
            step = b.phi(I64)
            step.add_incoming(I64(0), before)
            found, sums = ([b.phi(lanes) for _ in range(chains)] for _ in range(2))
            for chain in range(chains):
                start = ir.Constant(lanes, [(7 * chain + i) % 16 for i in range(form.lanes)])
                found[chain].add_incoming(start, before)
                sums[chain].add_incoming(start, before)
            for chain in range(chains):
                x = found[chain]
                y = b.call(function, [x, fixed] if operation == "shuffle" else [b.xor(x, fixed)])
                x.add_incoming(y, body)
                sums[chain].add_incoming(b.add(sums[chain], y), body)
            following = b.add(step, I64(1))
            step.add_incoming(following, body)
            results = [phi.incomings[1][0] for phi in sums]
            b.cbranch(b.icmp_signed("<", following, number), body, after)
            b.position_at_end(after)
            total = results[0]
            for result in results[1:]:
                total = b.xor(total, result)
            b.store(total, pointer).align = 1
            return context.get_dummy_value()

        return types.void(number, place), generate

    @njit(nogil=True)
    def run(number: int, bytes_: np.ndarray) -> None:
        rounds(number, bytes_.ctypes.data)

    return run, chains * bits
