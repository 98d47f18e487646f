"""JSON from strangers: what is no plain value is refused, and how is said in one sentence."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn


class BadJson(ValueError):
    """Why a text is no sound JSON, as the end of a sentence that begins with what it is."""


def read_json(text: str) -> Any:
    """The value of a JSON text, which may begin with a byte order mark.

    Raises:
        BadJson: if it is none, or holds NaN, infinity, a number of thousands of digits, a name twice in
            one object, or brackets nested too deeply.
    """
    try:
        return json.loads(
            text.removeprefix("\ufeff"),
            object_pairs_hook=_once,
            parse_constant=_never,
            parse_float=_finite,
            parse_int=_whole,
        )
    except json.JSONDecodeError as error:
        raise BadJson(
            f"stops making sense at line {error.lineno}, column {error.colno}: {error.msg}"
        ) from None
    except RecursionError:
        raise BadJson("is nested too deeply") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise BadJson(f"says {ascii(name)[:60]} twice in one place")
        found[name] = value
    return found


def _never(text: str) -> NoReturn:
    raise BadJson(f"holds {text}, which is no number")


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise BadJson(f"holds {text[:30]}, which is beyond all numbers")
    return number


def _whole(text: str) -> int:
    if len(text) > 300:
        raise BadJson(f"holds a number of {len(text):,} digits")
    return int(text)
