"""Streams side by side: nothing lost, errors raised, and an early end that stops them all."""

from collections import deque
from collections.abc import Generator
from threading import Barrier, Event

import pytest

from bnas_bench.runs.parallel import Stopped, side_by_side


def count(name: str, upto: int) -> Generator[tuple[str, int], None, None]:
    for k in range(upto):
        yield name, k


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_every_event_arrives_in_the_order_of_its_stream(jobs: int) -> None:
    events = list(side_by_side(deque([count("a", 3), count("b", 4), count("c", 0)]), jobs, Event()))
    for name, upto in (("a", 3), ("b", 4), ("c", 0)):
        assert [k for n, k in events if n == name] == list(range(upto))
    assert len(events) == 7


def test_one_job_takes_the_streams_one_after_another() -> None:
    events = list(side_by_side(deque([count("a", 2), count("b", 2)]), 1, Event()))
    assert events == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]


def test_two_jobs_run_at_the_same_time() -> None:
    meet = Barrier(2)

    def stream() -> Generator[int, None, None]:
        yield meet.wait(timeout=10)

    assert sorted(side_by_side(deque([stream(), stream()]), 2, Event())) == [0, 1]


def test_a_stream_that_cannot_run_yet_goes_to_the_end() -> None:
    streams: deque[Generator[tuple[str, int], None, None]] = deque()

    def later() -> Generator[tuple[str, int], None, None]:
        streams.append(count("a", 1))
        yield from ()

    streams += [later(), count("b", 1)]
    assert list(side_by_side(streams, 1, Event())) == [("b", 0), ("a", 0)]


def test_an_error_ends_the_others_and_is_raised() -> None:
    stop, closed = Event(), []

    def waiting() -> Generator[str, None, None]:
        try:
            yield "begun"
            assert stop.wait(10)
            raise Stopped
        finally:
            closed.append(True)

    def failing() -> Generator[str, None, None]:
        raise OSError("disk full")
        yield ""

    with pytest.raises(OSError, match="disk full"):
        list(side_by_side(deque([waiting(), failing()]), 2, stop))
    assert closed == [True]


def test_closing_ends_the_streams_and_starts_no_more() -> None:
    stop, started = Event(), []

    def one(name: str) -> Generator[str, None, None]:
        started.append(name)
        yield name
        assert stop.wait(10)
        raise Stopped

    events = side_by_side(deque(map(one, "abc")), 1, stop)
    assert next(events) == "a"
    events.close()
    assert started == ["a"]
