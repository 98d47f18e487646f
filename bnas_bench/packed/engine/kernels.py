"""The compiled kernels: a network's chains, run block by block by all threads at once.

A chain (`chains.py`) is a list of instructions that a block of pixels goes through before the next: a
window or a convolution, then scale, batch norm, shortcut, slope, sign, a 1x1 convolution of what there
is, and so on, so that a value is written once. The block stays in the cache.

Numba keeps what it compiled on disk, by the name of a function and the file that it stands in, but
knows nothing of the functions and the IR that this was made of: so the name says of which.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
from numba import carray, njit
from numba.core.registry import cpu_target

from bnas_bench.packed.engine.blocks import (
    FIELDS,
    convolutions,
    element,
    gather,
    matrix_product,
    pack,
    sliding,
)
from bnas_bench.packed.engine.elements import Code
from bnas_bench.packed.engine.floats import Under
from bnas_bench.packed.engine.isa import Isa
from bnas_bench.packed.engine.memory import doze, look, pause, pointer, take

WRITTEN_IN = ("blocks.py", "elements.py", "floats.py", "isa.py", "memory.py", "tile.py")

REVISION = crc32(b"".join(Path(__file__).with_name(name).read_bytes() for name in WRITTEN_IN))
"""Of the files whose functions the kernels are made of."""

PACK, BINARY, GATHER, DENSE, SLIDE, SLIDE_MEAN = map(int, list(Code)[10:16])

SPINS = 4000
"""Looks at a counter before a thread dozes: some 120 microseconds, what most stages last at the most."""

DOZE = 20
"""Microseconds, to which the system adds some fifty."""

COUNTER = 64
"""Bytes of a counter: a line of the cache, which two threads that write must not share."""


class StageNumbers(NamedTuple):
    """A chain, as the kernel takes it."""

    instructions: int  # address of (number, FIELDS), int64
    number: int
    room: int  # floats of a pixel in a block
    pixels: int  # of all images
    size: int  # pixels of a block
    blocks: int
    needs: int  # address of the numbers of stages that must be done before, int64
    needed: int  # how many these are


class Scratch(NamedTuple):
    """What each thread has for itself, as addresses; see `blocks.py`."""

    block: int
    other_block: int
    panel: int
    pairs: int
    counts: int


def compiled(function: Callable[..., None], form: Isa, **parts: Any) -> Callable[..., None]:
    """Compile a kernel, and keep it on disk where there is a place to.

    Each form and processor has files of its own: numba's index of a function's files knows no lock,
    so that two processes that write into one could mix up what they compiled.

    Args:
        parts: what it calls by these names. In a closure they would be part of the index, where a
            compiled function is another in every process.
    """
    target = cpu_target.target_context.codegen().magic_tuple()
    own = f"{form.name}-{crc32(repr((target, REVISION)).encode()):08x}".replace("-", "_")
    name = f"{function.__name__}_{own}"
    ours = FunctionType(function.__code__, {**function.__globals__, **parts}, name)
    ours.__qualname__ = name
    try:
        return njit(nogil=True, cache=True)(ours)
    except RuntimeError:  # no folder that can be written
        return njit(nogil=True)(ours)


class Kernels(NamedTuple):
    """The kernels that are compiled for one form."""

    product: Callable[..., None]  # `blocks.matrix_product`
    run: Callable[..., None]


@cache
def kernels(form: Isa) -> Kernels:
    """The matrix product of a block of bits, and a thread's part in a network."""
    binary, product = convolutions(form)
    slide, slide_mean, slide_max = map(sliding, Under)

    @njit(inline="always")  # as one function LLVM goes over it once
    def go(stage: Any, scratch: Any, first: int, pixels: int) -> None:
        """A block of pixels, the first of which has that number, through all instructions of a chain."""
        address, number, room = stage[0], stage[1], stage[2]
        x, y, x_next = scratch[0], scratch[1], 4 * room
        for i in range(number):
            row = carray(pointer(address + 8 * FIELDS * i), FIELDS, np.int64)
            code = row[0]
            if code == PACK:
                pack(row, x, x_next, first, pixels)
            elif code == BINARY:
                binary(row, scratch, first, pixels, x, x_next)
            elif code == GATHER:
                gather(row, row[1], 4 * row[2], first, pixels, x, x_next)
            elif code == DENSE:
                product(row, x, y, x_next, pixels)
                x, y = y, x
            elif code == SLIDE:
                slide(row, first, pixels, x, x_next)
            elif code == SLIDE_MEAN:
                slide_mean(row, first, pixels, x, x_next)
            elif code > SLIDE_MEAN:
                slide_max(row, first, pixels, x, x_next)
            else:
                element(row, x, x_next, first, pixels)

    return Kernels(
        compiled(product_of_bits, form, multiply=matrix_product(form)), compiled(run, form, go=go)
    )


def multiply(*_: int) -> None:
    """Stands for a form's own, see `compiled`."""


def go(*_: Any) -> None:
    """Stands for a form's own, see `compiled`."""


def product_of_bits(
    a: int, a_next: int, pixels: int, w: int, columns: int, steps: int, counts: int, counts_next: int,
    popcounts: int,
) -> None:  # fmt: skip
    multiply(a, a_next, pixels, w, columns, steps, counts, counts_next, popcounts)


def run(
    stages: Any, counters: int, scratches: Any, begin: int, end: int, thread: int, threads: int
) -> None:
    """A thread's part of the stages from `begin` to `end`: the same call from every thread.

    A stage begins when those are done that it needs; these stand before it. Its blocks belong to the
    threads in equal parts, so that what a thread wrote lies in its own cache at the next stage; who is
    done takes of the others'. Whoever comes late finds them taken and goes on, so that nobody waits
    for a thread that has not begun.

    Args:
        stages: (number, fields of `StageNumbers`), int64.
        counters: address of a counter for each thread, of its blocks that are taken, and one of
            the blocks that are done, for each stage; all 0 before the first call.
        scratches: (threads, fields of `Scratch`), int64.
    """
    scratch = scratches[thread]
    done, line = counters + COUNTER * threads, COUNTER * (threads + 1)
    for s in range(begin, end):
        stage = stages[s]
        pixels, size, blocks = stage[3], stage[4], stage[5]
        for need in carray(pointer(stage[6]), stage[7], np.int64):
            spins = 0
            while need >= begin and look(done + line * need) < stages[need, 5]:
                pause()
                spins += 1
                if spins > SPINS:
                    doze(DOZE)
        for turn in range(threads):
            owner = (thread + turn) % threads
            start, stop = blocks * owner // threads, blocks * (owner + 1) // threads
            while True:
                block = start + take(counters + line * s + COUNTER * owner)
                if block >= stop:
                    break
                go(stage, scratch, block * size, min(size, pixels - block * size))
                take(done + line * s)
    for s in range(begin, end):
        spins = 0
        while look(done + line * s) < stages[s, 5]:
            pause()
            spins += 1
            if spins > SPINS:
                doze(DOZE)
