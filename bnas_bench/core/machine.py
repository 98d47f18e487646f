"""How much memory this machine has, how it is kept, and which networks fit into any."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from pathlib import Path

from bnas_bench.core.budget import NetworkSpec

CONTAINER = Path("/sys/fs/cgroup/memory.max")
UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def memory() -> int:
    """Bytes that this machine has, or the container that this process runs in."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with suppress(OSError, ValueError):  # there is none, or its limit is "max"
        return min(pages, int(CONTAINER.read_text("ascii")))
    return pages


def keep_pages() -> None:
    """Let this process keep the memory that it frees, where glibc manages it.

    Training frees and takes the same large maps step after step; glibc gives each back to the system and
    has the next one's pages zeroed anew, which took a seventh of the time.
    """
    with suppress(OSError, AttributeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        for option, value in (
            (M_MMAP_MAX, 0),
            (M_TRIM_THRESHOLD, 2**31 - 1),
            (M_TOP_PAD, 64 << 20),
        ):
            mallopt(option, value)


M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4


def amount(size: int) -> str:
    """Bytes in the unit that suits them."""
    power = min((max(size, 1).bit_length() - 1) // 10, len(UNITS) - 1)
    return f"{size / 1024**power:,.1f} {UNITS[power]}"


MODEST = NetworkSpec((16, 256, 256), 2000, cells=30, channels=128)
"""Networks up to this size fit everywhere; the papers' are smaller."""


def is_modest(spec: NetworkSpec) -> bool:
    """Whether nothing about a network is so large that it has to be weighed."""
    sides = zip(spec.shape, MODEST.shape, strict=True)
    return (
        all(side <= most for side, most in sides)
        and spec.classes <= MODEST.classes
        and spec.cells <= MODEST.cells
        and spec.channels <= MODEST.channels
    )
