"""A record as a file: JSON whose last line is the digest of all lines before, checked when it is read.

So no flipped bit and no edited number passes, and what comes out has the fields, types and ranges
that a record has: whoever reads it need not expect anything else.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from itertools import chain
from math import inf
from typing import Any, TypeAlias

from bnas_bench.core.options import Form, Range
from bnas_bench.core.strict import read_json

SCHEMA = 2
"""Version of the record's form; 1 had no digest."""

STATUSES = ("ok", "failed", "refused")

Record: TypeAlias = "dict[str, Any]"
"""One flat row per trial, failed ones included; `bnas_bench.runs.run` says what it holds."""

DIGEST = "record_sha256"

LARGEST = 16 * 2**20
"""Bytes that no record has."""

MOST = 5_000
"""Fields, nested ones included, that no record has."""

DEEPEST = 16
"""Levels of nesting that no record has."""


class NoRecord(ValueError):
    """What is wrong with a text that should be a record, to follow the name of its file."""


def encode(record: Record) -> bytes:
    """The file of a record.

    Raises:
        ValueError: if a number is not finite, which JSON cannot say.
    """
    text = json.dumps(record, indent=2, allow_nan=False)
    body = CONTROL.sub(lambda found: found[1] or "?", text).removesuffix("\n}").encode()
    return body + _last_line(body)


def decode(data: bytes) -> Record:
    """The record in a file, without its digest.

    Raises:
        NoRecord: if it was not written by `encode`, or altered since, or is not what a record is.
    """
    record = _parse(data)
    match record:
        case {"schema": schema} if schema != SCHEMA:
            raise NoRecord(f"has schema {schema!r} where {SCHEMA} is known")
        case {"schema": _, "id": str(), "status": status} if status in STATUSES:
            pass
        case _:
            raise NoRecord("is no record")
    digest = record.pop(DIGEST, None)
    body = data[: -len(_last_line(b""))]
    if digest is None or data != body + _last_line(body):
        raise NoRecord("is truncated or altered: its digest is another")
    if data.count(b"{") + data.count(b"[") > DEEPEST and _depth(record) > DEEPEST:
        raise NoRecord("is no record: it is nested too deeply")
    is_plain = data.isascii() and b"\\" not in data and b"\x7f" not in data
    if not is_plain and not _is_text(record):
        raise NoRecord("is no record: it holds characters that no text has")
    if data.count(b'": ') > MOST:
        raise NoRecord(f"is no record: it has more than {MOST:,} fields")
    if wrong := _wrong(record):
        raise NoRecord(f"lacks what a record has ({wrong})")
    return record


def _last_line(body: bytes) -> bytes:
    return f',\n  "{DIGEST}": "{hashlib.sha256(body).hexdigest()}"\n}}\n'.encode()


CONTROL = re.compile(r"(\\\\)|\\u00(?:[0189][0-9a-f]|7f)|\\[bfr]")
"""What a terminal would obey, as JSON writes it; an escaped backslash is none, and group 1."""


def _parse(data: bytes) -> Any:
    try:
        return read_json(data.decode())
    except ValueError as error:  # BadJson, or no text at all
        raise NoRecord(f"cannot be read ({error})") from error


def machine(record: Mapping[str, Any]) -> str:
    """What a trial ran on."""
    return f"{record.get('device_name') or record['cpu']} (CPU threads: {record['threads']})"


def _depth(record: Record) -> int:
    """Levels of nesting."""
    depth = 0
    level: list[Any] = [record]
    while level:
        depth += 1
        parts = chain.from_iterable(v.values() if isinstance(v, dict) else v for v in level)
        level = [part for part in parts if isinstance(part, dict | list)]
    return depth


def _is_text(record: Record) -> bool:
    """Whether its texts, names too, hold no control character and no half of one."""
    try:
        json.dumps(record, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return all(found[1] for found in CONTROL.finditer(json.dumps(record)))


_count = Form(int, Range(0, inf)).takes
_amount = Form(float, Range(0, inf)).takes
_share = Form(float, Range(0, 100)).takes
_text = Form(str).takes


def _options(value: Any) -> bool:
    return isinstance(value, dict)


def _amounts(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_amount, value.values()))


def _maybe(kind: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or kind(value)


Kinds = Mapping[str, Callable[[Any], bool]]

ALWAYS: Kinds = {
    **dict.fromkeys(("method", "space", "dataset", "budget", "cpu", "device"), _text),
    **dict.fromkeys(("method_options", "space_options", "config"), _options),
    **dict.fromkeys(("method_source", "space_source", "harness_source"), _text),
    **dict.fromkeys(("reason", "device_name", "commit"), _maybe(_text)),
    **dict.fromkeys(("seed", "threads"), _count),
    "root_seed": Form(int).takes,
    "dirty": _maybe(Form(bool).takes),
}
"""The fields of every record."""

CONFIG: Kinds = {
    "method": _options,
    "space": _options,
    "dataset": _text,
    "budget": _options,
}

FINISHED: Kinds = {
    "test_accuracy": _share,
    "classes": Form(int, Range(1, inf)).takes,
    **dict.fromkeys(("parameters", "memory_bits"), _count),
    **dict.fromkeys(("passes", "search_seconds", "train_seconds"), _amount),
    "ops": lambda value: _amounts(value) and {"nas-bnn", "honest"} <= value.keys(),
    "architecture": _options,
    "dataset_fingerprint": _text,
}
"""Those of a trial that ended well."""

SOMETIMES: Kinds = {
    **dict.fromkeys(("valid_accuracy", "test_top5_accuracy", "test_error"), _maybe(_share)),
    "inherited_test_accuracy": _maybe(_share),
    **dict.fromkeys(("front_size", "packed_bytes", "packed_threads"), _maybe(_count)),
    **dict.fromkeys(("latency_ms", "packed_latency_ms", "search_step_mib"), _maybe(_amount)),
    **dict.fromkeys(("seconds", "test_accuracy_sd", "load", "latency_load"), _maybe(_amount)),
    "latency_others": _maybe(_amount),
    **dict.fromkeys(("latency_machine", "packed_engine"), _maybe(_text)),
    "devices": Form(int, Range(1, inf)).takes,
    "batch_norm": _text,
    "retimed": _options,
    "test_accuracies": lambda value: (
        isinstance(value, list) and len(value) > 1 and all(map(_share, value))
    ),
    "evaluated": _text,
    "table": _options,
    "table_seeds": _count,
    "regret": Form(float, Range(-100, 100)).takes,
    "percentile": _share,
    **dict.fromkeys(("packed_reason", "packed_isa", "signal"), _maybe(_text)),
    "attempts": lambda value: isinstance(value, list) and all(_has(v, ATTEMPT) for v in value),
    "finetuned_test_accuracy": _maybe(_amounts),
    **dict.fromkeys(("macs", "memory"), _amounts),
    **dict.fromkeys(("recipe", "notes", "numerics"), _options),
    "learned": lambda value: value == {} or (_has(value, LEARNED) and _ranked(value)),
}

ATTEMPT: Kinds = {
    **dict.fromkeys(("host", "device", "ended"), _text),
    "seconds": _amount,
}
"""What a record says of each try at its trial, the last of which came to it (`runs.attempt`)."""

LEARNED: Kinds = {
    "chance": _share,
    "steps": _options,
    "supernets": lambda value: (
        isinstance(value, dict) and all(_has(supernet, SUPERNET) for supernet in value.values())
    ),
}
"""What a record says of what a search learned (`search.learned`)."""

SUPERNET: Kinds = {
    "precision": _text,
    "signs_changed": _maybe(_share),
    "path_valid_accuracy": _share,
    "above_chance": Form(bool).takes,
}


def _ranked(learned: Mapping[str, Any]) -> bool:
    """Whether as many accuracies with inherited weights are there, of each supernet, as those of networks
    trained alone that they are to rank."""
    alone = learned.get("drawn_test_accuracies")
    lists = [one.get("drawn_valid_accuracies") for one in learned["supernets"].values()]
    if alone is None:
        return not any(lists)
    return isinstance(alone, list) and all(
        isinstance(known, list) and len(known) == len(alone) and all(map(_share, known))
        for known in [alone, *lists]
    )


def _has(value: Any, fields: Kinds) -> bool:
    return isinstance(value, dict) and all(
        name in value and kind(value[name]) for name, kind in fields.items()
    )


def _wrong(record: Record) -> str | None:
    """The first field that is not what a record has."""
    needed = {**ALWAYS, **(FINISHED if record["status"] == "ok" else {})}
    for name, kind in {**needed, **SOMETIMES}.items():
        if name not in record:
            if name in needed:
                return f"no '{name}'"
        elif not kind(record[name]):
            return f"'{name}' is {_short(record[name])}"
    for name, kind in CONFIG.items():
        if not kind(value := record["config"].get(name)):
            return f"'config.{name}' is {_short(value)}"
    return None


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."
