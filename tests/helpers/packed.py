"""A packed file taken apart by hand, and others put together with a right checksum, for the tests."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bnas_bench.packed.format.file import KEY, BadFile, load, save
from bnas_bench.packed.format.program import Program
from tests.helpers.programs import everything

# The text gives the container's header some padding.
GOOD = replace(everything(), about={**everything().about, "note": "12345"})
DATA = save(GOOD)


def container(data: bytes = DATA) -> tuple[dict[str, Any], bytes]:
    """The container's header and all tensors' bytes, read by hand."""
    size = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + size]), data[8 + size :]


def header_of(data: bytes = DATA) -> dict[str, Any]:
    return json.loads(container(data)[0]["__metadata__"][KEY][65:])


def forged(header: Any, outer: dict[str, Any] | None = None, body: bytes | None = None) -> bytes:
    """A file with such a header whose checksum is right, as somebody with bad intentions makes it.

    Args:
        header: ours, as a value or as text.
        outer, body: the container's header and the tensors' bytes; the good file's if not given.
    """
    whole, tensors = container()
    whole = dict(outer or whole)
    text = header if isinstance(header, str) else json.dumps(header)

    def data(digest: str) -> bytes:
        whole["__metadata__"] = {KEY: f"{digest} {text}"}
        head = json.dumps(whole).encode()
        head += b" " * (-len(head) % 8)
        return len(head).to_bytes(8, "little") + head + (tensors if body is None else body)

    return data(hashlib.sha256(data("0" * 64)).hexdigest())


def refused(data: bytes | Path) -> str:
    """The one sentence on a file that cannot be read."""
    with pytest.raises(BadFile) as caught:
        load(data)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 800
    return message


def same(first: Program, second: Program) -> bool:
    """Whether two programs are equal, to the bit and the type."""
    plain = [
        (p.shape, dict(p.about), [replace(step, tensors={}) for step in p.steps])
        for p in (first, second)
    ]
    arrays = [
        [
            (n, t.dtype.str, t.shape, t.tobytes())
            for s in p.steps
            for n, t in sorted(s.tensors.items())
        ]
        for p in (first, second)
    ]
    return plain[0] == plain[1] and arrays[0] == arrays[1]
