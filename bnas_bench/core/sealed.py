"""A record as a file: JSON whose last line is the digest of all lines before, checked when it is read.

So no flipped bit and no edited number passes, and what comes out is nested and worded as a record is: whoever
reads it need not expect anything else.
"""

from __future__ import annotations

import hashlib
import json
import re
from itertools import chain
from typing import Any

from bnas_bench.core.strict import read_json

LARGEST = 16 * 2**20
"""Bytes that no record has."""

MOST = 5_000
"""Fields, nested ones included, that no record has."""

DEEPEST = 16
"""Levels of nesting that no record has."""


class NoRecord(ValueError):
    """What is wrong with a text that should be a record, to follow the name of its file."""


def seal(record: dict[str, Any], field: str) -> bytes:
    """The file of a record.

    Args:
        field: of its last line.

    Raises:
        ValueError: if a number is not finite, which JSON cannot say.
    """
    text = json.dumps(record, indent=2, allow_nan=False)
    body = CONTROL.sub(lambda found: found[1] or "?", text).removesuffix("\n}").encode()
    return body + _last_line(field, body)


def parse(data: bytes) -> Any:
    """What a file says, its digest too; nothing of it is checked.

    Raises:
        NoRecord: if it is no JSON.
    """
    try:
        return read_json(data.decode())
    except ValueError as error:  # BadJson, or no text at all
        raise NoRecord(f"cannot be read ({error})") from error


def unseal(data: bytes, record: dict[str, Any], field: str) -> None:
    """Take the digest out of a record that was parsed.

    Raises:
        NoRecord: if `seal` did not write it, or it was altered since, or is not what a record is.
    """
    digest = record.pop(field, None)
    body = data[: -len(_last_line(field, b""))]
    if digest is None or data != body + _last_line(field, body):
        raise NoRecord("is truncated or altered: its digest is another")
    check_form(data, record)


def check_form(data: bytes, record: dict[str, Any]) -> None:
    """Whether it is nested and worded as a record is.

    Raises:
        NoRecord: if not.
    """
    if data.count(b"{") + data.count(b"[") > DEEPEST and _depth(record) > DEEPEST:
        raise NoRecord("is no record: it is nested too deeply")
    is_plain = data.isascii() and b"\\" not in data and b"\x7f" not in data
    if not is_plain and not _is_text(record):
        raise NoRecord("is no record: it holds characters that no text has")
    if data.count(b'": ') > MOST:
        raise NoRecord(f"is no record: it has more than {MOST:,} fields")


def _last_line(field: str, body: bytes) -> bytes:
    return f',\n  "{field}": "{hashlib.sha256(body).hexdigest()}"\n}}\n'.encode()


CONTROL = re.compile(r"(\\\\)|\\u00(?:[0189][0-9a-f]|7f)|\\[bfr]")
"""What a terminal would obey, as JSON writes it; an escaped backslash is none, and group 1."""


def _depth(record: dict[str, Any]) -> int:
    """Levels of nesting."""
    depth = 0
    level: list[Any] = [record]
    while level:
        depth += 1
        parts = chain.from_iterable(v.values() if isinstance(v, dict) else v for v in level)
        level = [part for part in parts if isinstance(part, dict | list)]
    return depth


def _is_text(record: dict[str, Any]) -> bool:
    """Whether its texts, names too, hold no control character and no half of one."""
    try:
        json.dumps(record, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return all(found[1] for found in CONTROL.finditer(json.dumps(record)))
