"""The progress of trials as TensorBoard events: the incumbents while they search, the rest as they end.

`tensorboard --logdir results/NAME/tensorboard` shows them, a run for each trial.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from bnas_bench.core.errors import BadValue
from bnas_bench.core.files import read_regular
from bnas_bench.runs.progress import Event, curve
from bnas_bench.runs.store import Record, Store

RESULTS = (
    "test_accuracy",
    "valid_accuracy",
    "inherited_test_accuracy",
    "latency_ms",
    "packed_latency_ms",
)
"""Numbers of a record that become a point each."""


class Events:
    """Writes what it is shown to `results/NAME/tensorboard/ID/`.

    Args:
        show: is shown every event, too.

    Raises:
        BadValue: if TensorBoard is not installed.
    """

    def __init__(self, store: Store, show: Callable[[Event], None]) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise BadValue(
                f"--log tensorboard cannot write ({error}): pip install 'bnas-bench[tensorboard]'"
            ) from None
        self.store, self.also, self.open = store, show, SummaryWriter
        self.writers: dict[str, Any] = {}
        self.told: dict[str, int] = {}

    def show(self, event: Event) -> None:
        """Write an event, if there is a number in it."""
        self.also(event)
        if event.kind == "progress":
            self._searched(event.trial_id, event.curve)
        elif event.kind == "finished" and event.record:
            self._end(event.record)
        if event.kind in ("finished", "failed") and (
            writer := self.writers.pop(event.trial_id, None)
        ):
            writer.close()

    def _writer(self, trial_id: str) -> Any:
        if trial_id not in self.writers:
            folder = str(self.store.root / "tensorboard" / trial_id)
            # All points are written again where the trial goes on after a kill, or is run anew: TensorBoard
            # shows none that stood here before.
            self.writers[trial_id] = self.open(folder, purge_step=0)
        return self.writers[trial_id]

    def _searched(self, trial_id: str, incumbents: Sequence[tuple[float, float]]) -> None:
        """Write the incumbents that are new."""
        told = self.told.get(trial_id, 0)
        for passes, valid in incumbents[told:]:
            self._writer(trial_id).add_scalar("search/valid", 100 * valid, round(passes))
        self.told[trial_id] = max(told, len(incumbents))

    def _end(self, record: Record) -> None:
        """What the log and the record say, and the incumbents since the last look at the search."""
        writer = self._writer(record["id"])
        with suppress(OSError, ValueError):
            lines = read_regular(self.store.folder(record["id"]) / "log.jsonl").splitlines()
            entries = [json.loads(line) for line in lines]
            self._searched(record["id"], curve(entries))
            for entry in entries:
                for name, value in entry.items():
                    if name not in ("passes", "valid", "epoch") and isinstance(value, float | int):
                        writer.add_scalar(f"{entry['phase']}/{name}", value, round(entry["passes"]))
        for name in RESULTS:
            if record.get(name) is not None:
                writer.add_scalar(f"result/{name}", record[name], 0)
