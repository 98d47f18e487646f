"""Runs as data within a page: JSON in blocks, compressed.

A page unpacks the blocks of the runs that a reader asks for, not all of them.
"""

from __future__ import annotations

import base64
import gzip
import json
import math
from collections.abc import Mapping, Sequence
from sys import intern
from typing import Any
from urllib.parse import quote

from bnas_bench.report.model import RunView

BLOCK = 250
"""Runs in a block. Neighbours share most of their text, which is what makes a block small."""

DIGITS = 6
"""Significant digits that a log's numbers keep: it is drawn an inch wide."""

SHARED = ("architecture",)
"""What runs may have in common whole: a block holds each only once. Lesser likeness is gzip's part."""

COMPACT = (",", ":")


def blocks(runs: Sequence[RunView]) -> list[str]:
    """The runs, `BLOCK` at a time, as texts that are safe within a script element.

    Each is an object of `runs`, where what is `SHARED` is a place in its `parts`, as `packed` JSON.
    """
    starts = range(0, len(runs), BLOCK)
    return [
        packed(json.dumps(_block(runs[start : start + BLOCK]), separators=COMPACT))
        for start in starts
    ]


def packed(text: str) -> str:
    """Base64 of the text's gzip: a tenth of it."""
    return base64.b64encode(gzip.compress(text.encode(), 6, mtime=0)).decode()


def fields(values: Mapping[str, Any]) -> dict[str, str]:
    """Nested values as lines: `method.name` and its text.

    Equal texts are one object: of 10,000 records most are equal.
    """
    lines: dict[str, str] = {}
    _add(lines, values, "")
    return lines


def beside(link: str) -> str:
    """A relative link, whatever it was: without a colon it has no scheme, without `//` no host."""
    return quote(link, safe="/%").lstrip("/")


def _add(lines: dict[str, str], values: Mapping[str, Any], prefix: str) -> None:
    for key, value in values.items():
        if type(value) is str:
            text = value
        elif type(value) in (int, float):
            text = repr(value)
        elif isinstance(value, Mapping) and value:
            _add(lines, value, f"{prefix}{key}.")
            continue
        else:
            text = json.dumps(value, ensure_ascii=False)
        lines[intern(prefix + key)] = intern(text)


def _block(runs: Sequence[RunView]) -> dict[str, Any]:
    places: dict[str, int] = {}
    parts: list[Any] = []

    def place(part: Any) -> int:
        text = json.dumps(part)
        if text not in places:
            places[text] = len(parts)
            parts.append(part)
        return places[text]

    views = []
    for run in runs:
        view = _view(run)
        views.append(view | {name: place(view[name]) for name in SHARED if name in view})
    return {"parts": parts, "runs": views}


def _view(run: RunView) -> dict[str, Any]:
    """What a page shows of a run, without what is empty."""
    view = {
        "status": run.status,
        "command": run.command,
        "config": run.config,
        "record": run.record,
        "log": _log(run.log),
        "architecture": run.architecture,
        "files": {name: beside(link) for name, link in run.files.items()},
    }
    return {name: part for name, part in view.items() if part}


def _log(log: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The series of numbers in a log, apart for each of its phases; None where one has a gap."""
    phases: dict[str, list[Mapping[str, Any]]] = {}
    for entry in log:
        phases.setdefault(str(entry.get("phase", "")), []).append(entry)
    found = []
    for phase, entries in phases.items():
        keys = dict.fromkeys(key for entry in entries for key in entry)
        series = {key: [_number(entry.get(key)) for entry in entries] for key in keys}
        numeric = {key: line for key, line in series.items() if any(x is not None for x in line)}
        found.append({"phase": phase, "entries": len(entries), "series": numeric})
    return found


def _number(value: Any) -> float | None:
    if type(value) is int:
        return value
    if type(value) is float and math.isfinite(value):
        return float(f"{value:.{DIGITS}g}")
    return None
