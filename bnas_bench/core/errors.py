"""Errors a user can cause or meet: one sentence with the value, the place and the remedy."""

from collections.abc import Iterable
from difflib import get_close_matches


class BenchError(Exception):
    """An error for the user: the command line prints it as one line, without a traceback."""


LONGEST = 60
"""Characters of a value that a sentence shows whole."""


def brief(value: object) -> str:
    """A value as a sentence shows it: on one line, without control characters, cut if it is long."""
    text = str(value)
    shown = (
        text if len(text) <= LONGEST else f"{text[: LONGEST // 2]}... ({len(text):,} characters)"
    )
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in shown)


MOST = 10_000
"""Characters of an error that a record holds; `error.txt` has the rest."""


def one_line(error: BaseException) -> str:
    """`TypeName: message`, in one line, which a record can hold."""
    line = " ".join(f"{type(error).__name__}: {error}".split())
    return line if len(line) <= MOST else f"{line[:MOST]}... ({len(line):,} characters)"


LISTED = 20
"""Names that an error lists, where none is near to what was written."""


class UnknownName(BenchError):
    """A name that nothing answers to; the sentence lists the nearest names that exist.

    Args:
        kind: what was named ("method", "hyperparameter of dcpnas").
        name: what the user wrote.
        known: the names that exist.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        known = sorted(set(known))
        near = get_close_matches(name, known, n=3, cutoff=0.5)
        more = f" and {len(known) - LISTED} more" if len(known) > LISTED else ""
        listed = f"known: {', '.join(known[:LISTED])}{more}"
        hint = f"did you mean {' or '.join(near)}?" if near else listed
        super().__init__(f"unknown {kind} '{brief(name)}'; {hint}")
        self.name = name


class BadValue(BenchError):
    """A value of the wrong form or range for the option that was given it."""


class InvalidArchitecture(BenchError):
    """An architecture that does not parse, or that does not fit its space."""


class BudgetExceeded(BenchError):
    """A search that asked for more passes than its budget allows."""


class Diverged(BenchError):
    """A loss that is no longer a finite number."""


class MissingData(BenchError):
    """A dataset that is not where it was looked for."""


class Damaged(BenchError):
    """A file under results/ that is truncated, altered or of another version."""
