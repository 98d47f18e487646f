"""Tests that start a cluster's daemons run one at a time, whatever else runs beside them."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = Path("/tmp/bnas-bench-daemons.lock")


@contextmanager
def alone() -> Iterator[None]:
    """Wait until no other process is within: addresses are the same, and waits are for an idle machine."""
    with LOCK.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
