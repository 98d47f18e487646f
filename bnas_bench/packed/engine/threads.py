"""The one place where threads are: an engine's team, and torch's workers out of its way.

A team's members sleep between the pieces of work that it is given. Within one they never return to
Python, and wait for each other inside the kernel (`kernels.run`), at first without sleeping. Torch's
own workers go on spinning for milliseconds after each of its operations, on the cores that a team
needs: while an engine runs, torch has one thread.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Lock

import torch


class Team:
    """Threads that work on one thing together, the caller among them.

    Args:
        threads: the caller and so many less one.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._settle()

    def _settle(self) -> None:
        """In this process: what a fork copies has no threads, and its lock may be held by one of them."""
        self._process = os.getpid()
        self._lock = Lock()
        self._others = ThreadPoolExecutor(self.threads - 1) if self.threads > 1 else None

    @contextmanager
    def alone(self) -> Iterator[None]:
        """One caller at a time; others wait here."""
        if self._process != os.getpid():
            self._settle()
        with self._lock:
            yield

    def work(self, part: Callable[[int], None]) -> None:
        """Call part(0) here and part(1), part(2), ... in the other threads; all are over at the end.

        A thread that has not begun when this one is done is not waited for: what is to be done must
        not need every part.

        Raises:
            Exception: what one of the parts raised.
        """
        futures = [
            self._others.submit(part, index)
            for index in range(1, self.threads)
            if self._others is not None
        ]
        try:
            part(0)
        finally:
            begun = [future for future in futures if not future.cancel()]
            errors = [error for future in begun if (error := future.exception())]
        for error in errors:
            raise error

    def close(self) -> None:
        """End the threads, after which there is no more work."""
        if self._others is not None:
            self._others.shutdown()


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """So many of torch's threads, and then as many as before."""
    before = torch.get_num_threads()
    if before != threads:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        if before != threads:
            torch.set_num_threads(before)
