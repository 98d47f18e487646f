"""The anytime logs of searches, without the architectures: those are most of their text."""

from __future__ import annotations

import json
import re
from typing import Any

from bnas_bench.store import Store

CHOICES = re.compile(rb', "choices": \{[^{}]*\}')


def log_entry(line: bytes) -> dict[str, Any]:
    """A line of a log.

    Raises:
        ValueError: if it cannot be read.
    """
    return json.loads(CHOICES.sub(b"", line))


def incumbents(store: Store, run: str) -> tuple[list[float], list[float]]:
    """Passes and validation accuracy in per cent of a search's incumbents; none without a log."""
    passes, valid = [], []
    try:
        for line in (store.folder(run) / "log.jsonl").read_bytes().splitlines():
            if b'"incumbent"' in line and "valid" in (entry := log_entry(line)):
                passes.append(float(entry["passes"]))
                valid.append(100 * float(entry["valid"]))
    except (OSError, ValueError, KeyError, TypeError):
        return [], []
    return passes, valid
