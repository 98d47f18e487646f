"""What a search hands back, held against what a record can hold, before hours of training follow it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from bnas_bench.core.architecture import Architecture
from bnas_bench.core.errors import BenchError, brief
from bnas_bench.nn.network import Network
from bnas_bench.search.space import SearchSpace
from bnas_bench.search.strategy import Candidate, SearchResult

MOST_NOTES = 1_000
"""Notes that a result has at most: each is a column of a table."""

LONGEST_NOTES = 2**20
"""Characters of all notes: a record is read whole whenever a table is made."""


class BadResult(BenchError):
    """Something that a search returned and that is no result of one."""


def check_result(result: Any, space: SearchSpace) -> SearchResult:
    """The result, if it is one.

    Raises:
        BadResult: if a part of it has another type, or is a number that means nothing.
        InvalidArchitecture: if `space` does not hold an architecture of it.
    """
    if not isinstance(result, SearchResult):
        _refuse("search returned", result, "return a SearchResult(...)")
    _check_architecture("best", result.best, space)
    if result.valid is not None:
        _check_accuracy("valid", result.valid)
    if not isinstance(result.notes, Mapping):
        _refuse("the result's notes are", result.notes, "give a dict of numbers and texts")
    for name, value in result.notes.items():
        _check_note(name, value)
    size = sum(len(f"{name}{value}") for name, value in result.notes.items())
    if len(result.notes) > MOST_NOTES or size > LONGEST_NOTES:
        raise BadResult(
            f"the result has {len(result.notes):,} notes of {size:,} characters; log what is long with "
            "meter.report"
        )
    if not isinstance(result.front, Sequence):
        _refuse("the result's front is", result.front, "give a list of Candidate(...)")
    for candidate in result.front:
        if not isinstance(candidate, Candidate):
            _refuse("the result's front holds", candidate, "give a list of Candidate(...)")
        _check_architecture("candidate", candidate.arch, space)
        _check_accuracy("candidate's valid", candidate.valid)
        if not (is_number(candidate.ops) and candidate.ops >= 0):
            _refuse("a candidate's ops are", candidate.ops, "give a number of at least 0")
    if not isinstance(result.heir, Network | None):
        _refuse("the result's heir is", result.heir, "give the network of `best`, or None")
    _check_finetune(result.finetune)
    return result


def _check_architecture(what: str, arch: Any, space: SearchSpace) -> None:
    if not (isinstance(arch, Architecture) and all(isinstance(n, str) for n in arch.choices)):
        _refuse(f"the result's {what} is", arch, "give an Architecture, as the space makes them")
    space.check(arch)


def _check_accuracy(what: str, value: Any) -> None:
    if not (is_number(value) and 0 <= value <= 1):
        _refuse(f"the result's {what} is", value, "give an accuracy from 0 to 1")


def _check_note(name: Any, value: Any) -> None:
    if not isinstance(name, str):
        _refuse("a note's name is", name, "give a text")
    if not (isinstance(value, str | bool) or is_number(value)):
        _refuse(f"note '{brief(name)}' is", value, "a note is a finite number or a text")


def _check_finetune(finetune: Any) -> None:
    match finetune:
        case (rate, list() | tuple() as epochs) if is_number(rate) and rate >= 0:
            if all(isinstance(number, int) and number >= 1 for number in epochs):
                return
    _refuse(
        "the result's finetune is",
        finetune,
        "give a learning rate and a tuple of numbers of epochs",
    )


def result_fields(result: SearchResult) -> dict[str, Any]:
    """What a record says of a result, its front and its fine-tuning, as plain values."""
    return {
        "architecture": result.best.to_json(),
        "architecture_id": result.best.id,
        "valid_accuracy": None if result.valid is None else round(100 * float(result.valid), 6),
        "notes": {name: plain(value) for name, value in result.notes.items()},
        "front_size": len(result.front),
        "front": [member(candidate) for candidate in result.front],
        "finetune": [plain(result.finetune[0]), list(result.finetune[1])],
    }


def is_number(value: Any) -> bool:
    """Whether it is a finite real number: Python's, NumPy's, or the one in a tensor."""
    try:
        number = plain(value)
        return isinstance(number, int | float) and math.isfinite(number)
    except (TypeError, ValueError, OverflowError, RuntimeError):  # many numbers, or one too long
        return False


def plain(value: Any) -> Any:
    """A NumPy or torch scalar as Python's own."""
    return value.item() if hasattr(value, "item") else value


def _refuse(what: str, value: Any, remedy: str) -> None:
    shown = type(value).__name__ if isinstance(value, Architecture | Network) else repr(value)
    raise BadResult(f"{what} {brief(shown)}; {remedy}")


def member(candidate: Candidate) -> dict[str, Any]:
    """A member of a front as JSON; its accuracy in per cent."""
    return {
        "architecture": candidate.arch.to_json(),
        "valid_accuracy": round(100 * float(candidate.valid), 6),
        "ops": float(candidate.ops),
    }
