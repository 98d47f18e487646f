"""What a page shows of single runs: how to run them again, and what they left."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from bnas_bench.analysis.searches import NO_LOG, log_entries
from bnas_bench.core.files import read_regular
from bnas_bench.report.commands import Origin
from bnas_bench.report.embed import fields
from bnas_bench.report.model import RunView
from bnas_bench.runs.store import PREDICTIONS, Record, State

ENTRIES = 30
"""Lines of a log that are shown; the file holds all."""

FILES = (
    *("record.json", "arch.json", "front.json", "log.jsonl", "weights.safetensors"),
    *(PREDICTIONS, "error.txt"),
)

ELSEWHERE = frozenset(
    {
        *("id", "status", "schema", "config", "architecture", "dataset", "budget", "seed"),
        *("root_seed", "method", "method_options", "space", "space_options"),
    }
)
"""Fields of a record that the rest of a view says."""


def view(trial: Path, state: State, origin: Origin, report: Path) -> RunView:
    """A trial, also one that is damaged or has not finished.

    Args:
        trial: its folder.
        report: the report's folder, which links lead away from.
    """
    record = state.record or ({"reason": state.reason} if state.reason else {})
    return RunView(
        id=trial.name,
        status=state.word,
        command=_command(origin, record),
        config=fields(record.get("config") or {}),
        record=fields({k: v for k, v in record.items() if k not in ELSEWHERE}),
        log=_log(trial / "log.jsonl"),
        architecture=fields((record.get("architecture") or {}).get("choices") or {}),
        files=_files(trial, report),
    )


def _command(origin: Origin, record: Record) -> str:
    """Empty where the record does not say what was run."""
    try:
        return origin.run(record)
    except (KeyError, TypeError, AttributeError):
        return ""


def _log(file: Path) -> list[dict[str, Any]]:
    """Entries of a log spread evenly, the first and the last among them."""
    try:
        lines = read_regular(file).splitlines()
        if len(lines) > ENTRIES:
            places = np.linspace(0, len(lines) - 1, ENTRIES).round().astype(int)
            lines = [lines[place] for place in places]
        entries = log_entries(lines)
    except (OSError, *NO_LOG):
        return []
    return [entry for entry in entries if isinstance(entry, dict)]


def _files(trial: Path, folder: Path) -> dict[str, str]:
    # One that is not over has none: its checkpoints lie elsewhere.
    present = {entry.name for entry in os.scandir(trial)} if trial.is_dir() else set()
    away = Path(os.path.relpath(trial, folder)).as_posix()
    return {name: quote(f"{away}/{name}") for name in FILES if name in present}
