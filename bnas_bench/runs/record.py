"""The record of a trial: a sealed file (`core.sealed`) with the fields, types and ranges of a record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf
from typing import Any, TypeAlias

from bnas_bench.core.options import Form, Range
from bnas_bench.core.sealed import NoRecord, parse, seal, unseal

SCHEMA = 2
"""Version of the record's form; 1 had no digest."""

STATUSES = ("ok", "failed", "refused")

Record: TypeAlias = "dict[str, Any]"
"""One flat row per trial, failed ones included; `bnas_bench.runs.run` says what it holds."""

DIGEST = "record_sha256"


def encode(record: Record) -> bytes:
    """The file of a record.

    Raises:
        ValueError: if a number is not finite, which JSON cannot say.
    """
    return seal(record, DIGEST)


def decode(data: bytes) -> Record:
    """The record in a file, without its digest.

    Raises:
        NoRecord: if it was not written by `encode`, or altered since, or is not what a record is.
    """
    record: Any = parse(data)
    match record:
        case {"schema": schema} if schema != SCHEMA:
            raise NoRecord(f"has schema {schema!r} where {SCHEMA} is known")
        case {"schema": _, "id": str(), "status": status} if status in STATUSES:
            pass
        case _:
            raise NoRecord("is no record")
    unseal(data, record, DIGEST)
    if wrong := _wrong(record):
        raise NoRecord(f"lacks what a record has ({wrong})")
    return record


def machine(record: Mapping[str, Any]) -> str:
    """What a trial ran on."""
    return f"{record.get('device_name') or record['cpu']} (CPU threads: {record['threads']})"


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
