"""What a page shows of single transfers, and the trials that their backbones come from."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bnas_bench.analysis.summary import labelled
from bnas_bench.analysis.table import Table
from bnas_bench.plugins.spec import pairs
from bnas_bench.report.commands import Origin
from bnas_bench.report.embed import fields
from bnas_bench.report.model import RunView
from bnas_bench.report.transfers import BACKBONE, TASK, Record, alike, comparisons, tables
from bnas_bench.report.views import view
from bnas_bench.runs.store import SHOWN, State, Store
from bnas_bench.transfer.record import FOLDER, read_all

ASKED = (*BACKBONE, *TASK, "seed")
"""What the id of a transfer is hashed from."""

BUDGET = {"epochs": "epochs", "batch_size": "train_batch"}
"""What a budget says of a recipe; its other fields are options of the task."""


class Transfers:
    """The transfers of results.

    Args:
        store: of the results; where it is of some trials alone, their transfers count.
        origin: names it on command lines.
        report: the report's folder, which links lead away from.

    Attributes:
        records: that could be read.
        lost: why others could not, by their ids.
    """

    def __init__(self, store: Store, origin: Origin, report: Path) -> None:
        self.store, self.origin, self.report = store, origin, report
        self.records: list[dict[str, Any]] = []
        self.lost: dict[str, str] = {}
        for each, found in read_all(store.root):
            if isinstance(found, Exception):
                self.lost[each] = str(found).replace(f"{store.root}{os.sep}", "")
            elif store.only is None or found["trial"] in store.only:
                self.records.append(found)

    @cached_property
    def trials(self) -> Mapping[str, tuple[Store, State]]:
        """The trials that backbones come from, and where they lie: here, or in results beside these."""
        wanted = {record["trial"] for record in self.records} - {None}
        found: dict[str, tuple[Store, State]] = {}
        for folder in (self.store.root, *sorted(self.store.root.parent.glob("*/"))):
            store = Store(folder)
            for name in sorted(wanted.intersection(store.ids()).difference(found)):
                found[name] = store, store.state(name, SHOWN)
        return found

    def views(self, known: Iterable[str]) -> list[RunView]:
        """Each transfer, and the trials that are not `known`, which lie beside these results."""
        there = {*known}
        trials = [
            view(store.folder(name), state, replace(self.origin, name=store.root.name), self.report)
            for name, (store, state) in self.trials.items()
            if name not in there
        ]
        return [*trials, *map(self._view, self.records)]

    def _view(self, record: Record) -> RunView:
        elsewhere = {*ASKED, "id", "schema", "log", "choices"}
        file = self.store.root / FOLDER / f"{record['id']}.json"
        files = {"record.json": self._link(file)}
        choices = record.get("choices")
        if trial := self.trials.get(record["trial"]):
            store, state = trial
            choices = choices or ((state.record or {}).get("architecture") or {}).get("choices")
            files["the trial's record.json"] = self._link(
                store.folder(record["trial"]) / "record.json"
            )
        return RunView(
            id=record["id"],
            status="ok",
            command="".join(self.commands([record])),
            config=fields({name: record[name] for name in ASKED if name in record}),
            record=fields({name: v for name, v in record.items() if name not in elsewhere}),
            log=[
                {"phase": f"at {entry.get('precision')}", **entry}
                for entry in record.get("log") or ()
                if isinstance(entry, dict)
            ],
            architecture=fields(choices) if isinstance(choices, dict) else {},
            files=files,
        )

    def _link(self, file: Path) -> str:
        return quote(Path(os.path.relpath(file, self.report)).as_posix())

    def tables(self, known: Iterable[str]) -> list[Table]:
        """A table for each task and recipe, whose backbones lead to their trials where the page has them.

        Args:
            known: trials that the page has beside those of `views`.
        """
        made = tables(self.records, {*known, *self.trials})
        return [
            replace(table, commands=self.commands(group), notes=[*self._unsaid(group)])
            for table, group in zip(made, comparisons(self.records), strict=True)
        ]

    def _unsaid(self, records: Iterable[Record]) -> Iterator[str]:
        """Which backbones no command line makes."""
        groups = [group for group in alike(records) if not self._words(group)]
        if names := dict.fromkeys(group[0]["backbone"] for group in groups):
            yield (
                f"No command carries {', '.join(names)} again: the records do not say what they are, and "
                "their trials are not here."
            )

    def commands(self, records: Iterable[Record]) -> list[str]:
        """Make transfers again: a line for all backbones that are carried alike."""
        alike_carried: dict[tuple[str, ...], list[str]] = {}
        for group in alike(records):
            if words := self._words(group):
                backbone, *others = words
                alike_carried.setdefault(tuple(others), []).append(backbone)
        return [
            shlex.join(["bnas-bench", "transfer", *backbones, *others])
            for others, backbones in alike_carried.items()
        ]

    def _words(self, records: Sequence[Record]) -> list[str]:
        """A backbone, and how it is carried; empty where records that differ in seeds do not say it."""
        first, seeds = records[0], [record["seed"] for record in records]
        try:
            backbone, space = (
                self._backbone(first),
                labelled(dict(first), "space", self.origin.defaults),
            )
            recipe, scale = dict(first["recipe"]), dict(first.get("scale") or {})
        except (KeyError, TypeError, ValueError, AttributeError):
            return []
        if not backbone:
            return []
        budget = {BUDGET[name]: recipe.pop(name) for name in BUDGET if name in recipe}
        budget |= {f"final.{name}": value for name, value in scale.items() if value is not None}
        words = [
            backbone,
            *("--task", f"{first['task']}[{','.join(pairs(recipe))}]"),
            *("--budget", f"quick[{','.join(pairs(budget))}]"),
            *("--precision", ",".join(first["precisions"])),
            *(["--scratch"] if first["weights"] == "drawn" and not is_drawn(first) else []),
            *(["--space", space] if is_drawn(first) and space != first["space"] else []),
            *("--seeds", str(max(seeds) - min(seeds) + 1), "--seed", str(min(seeds))),
            *("--name", self.origin.name),
        ]
        return (
            [*words, "--results", self.origin.folder] if self.origin.folder != "results" else words
        )

    def _backbone(self, record: Record) -> str:
        """As the command line takes it; empty where the record does not say it."""
        if trial := self.trials.get(record["trial"]):
            folder = f"{self.origin.folder}/{trial[0].root.name}/trials/{record['trial']}"
            return f"{folder}/arch.json" if is_drawn(record) else folder
        if record["trial"] or "choices" not in record:
            return ""
        arch = {"space": record["space"], "choices": record["choices"]}
        return json.dumps(arch, separators=(",", ":"))


def is_drawn(record: Record) -> bool:
    """Whether it was an architecture that was carried, not the network of a trial."""
    return "scale" in record
