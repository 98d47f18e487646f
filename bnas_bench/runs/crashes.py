"""Crashes of the packed engine, counted: after two of them a trial is recorded without its latency.

Only the process outside can tell a crash from a kill. The trial's own process leaves a marker while
the engine is at work; where it ends by a signal of broken code and the marker is there, its parent
writes a line. Whoever else ends it, and however often, costs a trial nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bnas_bench.core.files import Unwritable, read_regular
from bnas_bench.plugins.source import harness_digest
from bnas_bench.runs.store import CHECKPOINT

TRIES = 2
"""Times that a trial may die in the packed engine, before it is recorded without."""

SIGNALS = ("SIGSEGV", "SIGILL", "SIGBUS", "SIGABRT")
"""What ends a process whose compiled code is broken."""

MARKER, COUNTED = f"packing{CHECKPOINT}", f"packed{CHECKPOINT}"

LARGEST = 4096
"""Bytes that no count takes."""


@contextmanager
def packing(folder: Path) -> Iterator[None]:
    """Mark that the engine is at work for a trial.

    Raises:
        Unwritable: if the attempt's folder takes no files.
    """
    marker = folder / MARKER
    try:
        marker.unlink(missing_ok=True)
        # A new file: where a link was put, nothing is written through it.
        os.close(os.open(marker, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
    except OSError as error:
        raise Unwritable(marker, error) from error
    yield
    marker.unlink(missing_ok=True)


def forget_marker(folder: Path) -> None:
    """Remove the marker of a process that was killed, before the next one starts."""
    if not folder.is_symlink():
        with suppress(OSError):
            (folder / MARKER).unlink()


def count_death(folder: Path, signal: str | None) -> None:
    """Count the death of a trial's process by that signal, if it is the engine's doing."""
    if signal not in SIGNALS or folder.is_symlink() or not (folder / MARKER).is_file():
        return
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    with suppress(OSError), os.fdopen(os.open(folder / COUNTED, flags, 0o644), "a") as file:
        file.write(f"{harness_digest()}\n")


def crashes(folder: Path) -> int:
    """How often the engine ended a process of this trial; that of other code does not count."""
    try:
        lines = read_regular(folder / COUNTED, LARGEST).split()
    except OSError:
        return 0
    return lines.count(harness_digest().encode())
