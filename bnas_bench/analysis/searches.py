"""What searches left behind beside their records: the anytime logs and the fronts.

Architectures, which are most of a log's text, are left out of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from math import isfinite
from typing import Any
from warnings import warn

from pandas import DataFrame

from bnas_bench.analysis.records import typed
from bnas_bench.analysis.summary import labelled
from bnas_bench.core.errors import Damaged
from bnas_bench.core.files import read_regular
from bnas_bench.plugins.recorded import defaults
from bnas_bench.runs.store import Store

TRIAL = ("id", "method_label", "space_label", "dataset", "budget", "seed")
"""Columns of every row: what its trial ran."""

Rows = Iterable[dict[str, Any]]


NO_LOG = (ValueError, KeyError, TypeError, OverflowError, RecursionError)
"""What reading JSON of another form raises."""

CHOICES = re.compile(rb', "choices": \{[^{}]*\}')


def log_entries(lines: Iterable[bytes]) -> list[dict[str, Any]]:
    """Lines of a log, parsed together, as most of the time goes into each call.

    Raises:
        ValueError, RecursionError: if they cannot be read.
    """
    return json.loads(CHOICES.sub(b"", b"[%b]" % b",".join(lines)))


def incumbents(
    store: Store, run: str, name: str = "valid", unit: float = 100
) -> tuple[list[float], list[float]]:
    """Passes and a number of a search's incumbents, as its log has it times `unit`; none without a log.

    `valid` is the validation accuracy in per cent as the search estimates it, `regret` (of unit 1) what
    the best of a table has more, in points.
    """
    passes, values = [], []
    try:
        lines = read_regular(store.folder(run) / "log.jsonl").splitlines()
        for entry in log_entries(line for line in lines if b'"incumbent"' in line):
            if name in entry:
                passes.append(float(entry["passes"]))
                values.append(unit * float(entry[name]))
    except (OSError, *NO_LOG):
        return [], []
    return (passes, values) if all(map(isfinite, passes + values)) else ([], [])


def losses(store: Store, run: str) -> list[float]:
    """The loss of each epoch of the training of what was found; none without a log."""
    try:
        lines = read_regular(store.folder(run) / "log.jsonl").splitlines()
        found = [
            float(entry["loss"])
            for entry in log_entries(line for line in lines if b'"train"' in line)
            if entry["phase"] == "train"
        ]
    except (OSError, *NO_LOG):
        return []
    return found if all(map(isfinite, found)) else []


def logs(store: Store) -> DataFrame:
    """A row per entry of a log: `phase`, the `passes` (images forward and backward) and `seconds` of that
    phase so far, and what was reported, `valid` and other accuracies from 0 to 1."""
    return _frame(store, "log.jsonl", lambda data: log_entries(data.splitlines()))


def fronts(store: Store) -> DataFrame:
    """A row per member of a search's front: its `architecture` as JSON, its accuracy on the validation
    images, `valid`, from 0 to 1 as the search estimates it, and its `ops` at the search's scale."""

    def members(data: bytes) -> Rows:
        for member in json.loads(data):
            yield member | {"architecture": json.dumps(member["architecture"])}

    return _frame(store, "front.json", members)


def _frame(store: Store, file: str, read: Callable[[bytes], Rows]) -> DataFrame:
    """The rows of that file of every trial, each with what its trial ran.

    One that is damaged is named in a warning.
    """
    rows: list[dict[str, Any]] = []
    for trial_id in store.ids():
        try:
            record = store.read(trial_id)
            if record is not None and (data := store.file(record, file)) is not None:
                labels = {
                    f"{kind}_label": labelled(record, kind, defaults)
                    for kind in ("method", "space")
                }
                trial = {name: (labels | record)[name] for name in TRIAL}
                rows += [trial | row for row in read(data)]
        except (Damaged, *NO_LOG) as error:
            warn(f"{trial_id} is not in the table: its {file} is damaged ({error})", stacklevel=3)
    frame = DataFrame(rows, dtype=object)
    return typed(frame.reindex(columns=list(dict.fromkeys([*TRIAL, *frame]))))
