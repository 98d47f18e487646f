"""The anytime logs of searches, without the architectures: those are most of their text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from math import isfinite
from typing import Any

from bnas_bench.core.files import read_regular
from bnas_bench.runs.store import Store

NO_LOG = (ValueError, KeyError, TypeError, OverflowError, RecursionError)
"""What reading JSON of another form raises."""

CHOICES = re.compile(rb', "choices": \{[^{}]*\}')


def log_entries(lines: Iterable[bytes]) -> list[dict[str, Any]]:
    """Lines of a log, parsed together, as most of the time goes into each call.

    Raises:
        ValueError, RecursionError: if they cannot be read.
    """
    return json.loads(CHOICES.sub(b"", b"[%b]" % b",".join(lines)))


def incumbents(store: Store, run: str) -> tuple[list[float], list[float]]:
    """Passes and validation accuracy in per cent of a search's incumbents; none without a log."""
    passes, valid = [], []
    try:
        lines = read_regular(store.folder(run) / "log.jsonl").splitlines()
        for entry in log_entries(line for line in lines if b'"incumbent"' in line):
            if "valid" in entry:
                passes.append(float(entry["passes"]))
                valid.append(100 * float(entry["valid"]))
    except (OSError, *NO_LOG):
        return [], []
    return (passes, valid) if all(map(isfinite, passes + valid)) else ([], [])
