"""What a search is not to see stays shut while one is under way in this process.

It stops a method that opens a dataset or a table as anybody would. Python keeps no secret from code that
runs in it, so nothing stops one that goes out of its way: `docs/fairness.md`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bnas_bench.core.errors import BenchError

_searches = 0


class Shut(BenchError):
    """Something that a search is not to see."""


@contextmanager
def searching() -> Iterator[None]:
    """A method's search is under way within."""
    global _searches
    _searches += 1
    try:
        yield
    finally:
        _searches -= 1


def shut_to_searches(what: str) -> None:
    """Refuse to open something while a search is under way.

    Args:
        what: begins the sentence: "the dataset digits".

    Raises:
        Shut: if one is.
    """
    if _searches:
        raise Shut(
            f"{what} is shut while a search is under way, which is to see no more than its task has: "
            "task.train, task.valid and task.score"
        )
