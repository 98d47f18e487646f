"""The command lines that make what a report shows."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter

from bnas_bench.analysis.frame import Row
from bnas_bench.analysis.summary import Defaults, labelled
from bnas_bench.runs.store import Record


@dataclass(frozen=True)
class Origin:
    """Where results lie and how their plug-ins are named.

    Attributes:
        name: of the results.
        folder: of all results, as on the command line.
        defaults: of the plug-ins' options, which a command need not say.
    """

    name: str
    folder: str
    defaults: Defaults

    def run(self, record: Record) -> str:
        """Runs the trial of a record again, and those of the seeds before it."""
        method = labelled(record, "method", self.defaults)
        return self.command([method], record, record["root_seed"], record["seed"])

    def rows(self, rows: Sequence[Row]) -> list[str]:
        """Runs all trials of the rows of a setting; a line for each root seed and number of seeds."""
        alike: dict[tuple[int, int], list[Row]] = {}
        for row in rows:
            for root in {root for root, _ in row.seeds}:
                last = max(repetition for known, repetition in row.seeds if known == root)
                alike.setdefault((root, last), []).append(row)
        return [
            self.command(
                [labelled(row.example, "method", self.defaults) for row in group],
                group[0].example,
                root,
                last,
            )
            for (root, last), group in sorted(alike.items(), key=itemgetter(0))
        ]

    def command(self, methods: Sequence[str], record: Record, root: int, last: int) -> str:
        """Runs methods with all seeds up to the last, on what and as a record was run."""
        words = [
            *("bnas-bench", "run"),
            *("--method", ",".join(methods)),
            *("--space", labelled(record, "space", self.defaults)),
            *("--dataset", record["dataset"]),
            *("--budget", record["budget"]),
            *("--seeds", str(last + 1)),
            *("--seed", str(root)),
            *("--name", self.name),
            *("--threads", str(record["threads"])),
            *("--device", record["device"]),
        ]
        if record.get("devices", 1) > 1:
            words += ["--devices", str(record["devices"])]
            words += ["--batch-norm", record["batch_norm"]] if record.get("batch_norm") else []
        if self.folder != "results":
            words += ["--results", self.folder]
        return shlex.join(words)
