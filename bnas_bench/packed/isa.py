"""What vectors this machine has, and the form of the XNOR-popcount kernel that suits them.

All forms are one piece of vector IR (`tile.py`) with other numbers in it. A *lane* holds so many bits
of one output channel's weights. With `table`, the bits of a lane are counted by looking up
popcount(a xor w) of 4 bits at a time: AVX2 has a byte shuffle, but no popcount of vectors.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache

from bnas_bench.errors import UnknownName

OVERRIDE = "BNAS_BENCH_ISA"
"""Environment variable that names one of `FORMS`, for tests and comparisons."""


@dataclass(frozen=True)
class Isa:
    """A form of the kernel.

    Attributes:
        name: of the instruction set.
        element: bits in a lane, 8 or 64.
        lanes: in a vector.
        pixels, vectors: of the register block, pixels x (vectors x lanes) output channels.
        table: whether bits are counted by table.
    """

    name: str
    element: int
    lanes: int
    pixels: int
    vectors: int
    table: bool = False

    @property
    def unit(self) -> int:
        """Bytes that the channels of a pixel are padded to."""
        return self.element // 8

    @property
    def halves(self) -> int:
        """Vectors that one step of weights takes: the table wants low and high 4 bits apart."""
        return 2 if self.table else 1


FORMS = {
    form.name: form
    for form in (
        Isa("avx512-vpopcntdq", 64, 8, 8, 2),
        Isa("avx2", 8, 32, 4, 2, table=True),
        Isa("neon", 8, 16, 4, 4),
        Isa("generic", 8, 16, 4, 2),
        Isa("plain", 64, 1, 1, 1),
    )
}


@cache
def host() -> Isa:
    """The best form for this machine, or the one that `BNAS_BENCH_ISA` names.

    Raises:
        UnknownName: if it names none.
    """
    if name := os.environ.get(OVERRIDE):
        if name not in FORMS:
            raise UnknownName(f"instruction set in {OVERRIDE}", name, FORMS)
        return FORMS[name]
    from llvmlite import binding

    features = binding.get_host_cpu_features()
    for feature, name in (
        ("avx512vpopcntdq", "avx512-vpopcntdq"),
        ("avx2", "avx2"),
        ("neon", "neon"),
    ):
        if features.get(feature):
            return FORMS[name]
    return FORMS["generic"]
