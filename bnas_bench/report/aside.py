"""Work in a process beside this one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context


@contextmanager
def aside(work: Callable[[], None]) -> Iterator[None]:
    """Do `work` while the body of the `with` runs; it is done when that ends.

    The process is a copy of this one, so that nothing is handed over; what it does to files remains.
    If it fails, the work is done again here, where its error is met.
    """
    process = get_context("fork").Process(target=_quietly, args=(work,))
    process.start()
    try:
        yield
        process.join()
    finally:
        process.kill()
        process.join()
    if process.exitcode:
        work()


def _quietly(work: Callable[[], None]) -> None:
    try:
        work()
    except BaseException:
        os._exit(1)
