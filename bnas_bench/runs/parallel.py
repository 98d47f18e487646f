"""Several streams of events side by side, each in a thread of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from contextlib import closing
from queue import Queue
from threading import Event, Thread
from typing import TypeVar

T = TypeVar("T")


class Stopped(Exception):
    """Raised within a stream that is to end before its time."""


def side_by_side(
    streams: deque[Generator[T, None, None]], jobs: int, stop: Event
) -> Generator[T, None, None]:
    """Yield what the streams yield, as it comes, at most `jobs` streams at a time, in their order.

    A stream may put another one, or itself anew, at the end of `streams`, which empties.
    The first error of a stream ends them all and is raised here. Closing this iterator sets `stop`,
    at which a stream that waits is to raise `Stopped`, and returns when all have ended.
    """
    said: Queue[tuple[T | None, BaseException | None]] = Queue()

    def work() -> None:
        error: BaseException | None = None
        try:
            while not stop.is_set():
                try:
                    stream = streams.popleft()
                except IndexError:
                    break
                with closing(stream):
                    for event in stream:
                        said.put((event, None))
        except Stopped:
            pass
        except BaseException as raised:
            error = raised
        said.put((None, error))

    threads = [Thread(target=work, daemon=True) for _ in range(jobs)]
    try:
        for thread in threads:
            thread.start()
        ended = 0
        while ended < jobs:
            event, error = said.get()
            if error is not None:
                raise error
            if event is None:
                ended += 1
            else:
                yield event
    finally:
        stop.set()
        for thread in threads:
            thread.join()
