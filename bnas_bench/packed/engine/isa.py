"""What vectors this machine has, and the form of the XNOR-popcount kernel that suits them.

The form `generic` runs on any other machine; `plain`, without vectors, is for comparison alone.

All forms are one piece of vector IR (`tile.py`) with other numbers in it. A *lane* holds some bits of
one output channel's weights. With `table`, the bits are counted by looking up popcount(a xor w) of
4 bits at a time, for two pixels at once: AVX2 has a byte shuffle, but no popcount of vectors.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache

from bnas_bench.core.errors import BadValue, UnknownName

OVERRIDE = "BNAS_BENCH_ISA"
"""Environment variable that names one of `FORMS`, for tests and comparisons."""

Blocks = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


@dataclass(frozen=True)
class Isa:
    """A form of the kernel.

    Attributes:
        name: of the instruction set.
        element: bits in a lane, 8 or 64.
        lanes: in a vector.
        blocks: register blocks, each of so many vectors (times the lanes: output channels) and rows
            of pixels; the widest that the remaining channels fill is taken, the last is one vector.
        floats: pixels of a register block of the product of real numbers (times `floats.WIDE` channels).
        table: whether bits are counted by table; a row then has two pixels, and a lane four bits.
    """

    name: str
    element: int
    lanes: int
    blocks: Blocks
    floats: int
    table: bool = False

    @property
    def unit(self) -> int:
        """Bytes that the channels of a pixel are padded to."""
        return self.element // 8

    @property
    def row(self) -> int:
        """Pixels in a row of the product."""
        return 2 if self.table else 1

    @property
    def height(self) -> int:
        """Pixels of the highest register block: so many may be read where fewer are asked for."""
        return max(self.floats, self.row * max(rows for _, rows in self.blocks))


FORMS = {
    form.name: form
    for form in (
        Isa("avx512-vpopcntdq", 64, 8, ((2, 8), (1, 8), (1, 8)), 12),
        Isa("avx2", 8, 32, ((4, 1), (2, 2), (1, 4)), 6, table=True),
        Isa("neon", 8, 16, ((4, 4), (2, 4), (1, 4)), 6),
        Isa("generic", 8, 16, ((2, 4), (1, 4), (1, 4)), 2),
        Isa("plain", 64, 1, ((1, 1), (1, 1), (1, 1)), 2),
    )
}


@cache
def host() -> Isa:
    """The best form for this machine, or the one that `BNAS_BENCH_ISA` names.

    Raises:
        UnknownName: if it names none.
        BadValue: if this machine lacks its shuffle.
    """
    if name := os.environ.get(OVERRIDE):
        if name not in FORMS:
            raise UnknownName(f"instruction set in {OVERRIDE}", name, FORMS)
        if FORMS[name].table and "avx2" not in features():
            raise BadValue(
                f"'{name}' in {OVERRIDE} needs AVX2, which this processor lacks; unset it"
            )
        return FORMS[name]
    able = features()
    for feature, name in (
        ("avx512vpopcntdq", "avx512-vpopcntdq"),
        ("avx2", "avx2"),
        ("neon", "neon"),
    ):
        if feature in able:
            return FORMS[name]
    return FORMS["generic"]


def features() -> set[str]:
    """What numba compiles for: this processor, unless NUMBA_CPU_NAME or _FEATURES say otherwise."""
    from numba.core.registry import cpu_target

    _, _, text = cpu_target.target_context.codegen().magic_tuple()
    return {part[1:] for part in text.split(",") if part.startswith("+")}
