"""What travels between the command and a worker that need not see its files: JSON texts and files' bytes.

A file has one of the names that a trial's files have; nothing else is written, and nothing is unpickled.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bnas_bench.core.budget import Budget, Scale
from bnas_bench.core.errors import BadValue, Damaged
from bnas_bench.core.files import read_regular
from bnas_bench.plugins.registry import Plugin, find
from bnas_bench.plugins.spec import changed, written
from bnas_bench.runs.progress import Event
from bnas_bench.runs.store import CHECKPOINT, DIGESTS, RECORD
from bnas_bench.runs.trial import Trial, judged_by_tables

RESULTS = (*DIGESTS, "error.txt", RECORD)
"""The files of a trial that is over."""

SAVED = re.compile(rf"[a-z][a-z0-9-]*{re.escape(CHECKPOINT)}")
"""The names of checkpoints."""


def is_known(name: str) -> bool:
    """Whether a trial has files of that name."""
    return name in RESULTS or bool(SAVED.fullmatch(name))


def describe(trial: Trial) -> dict[str, Any]:
    """A trial as plain values, which `trial_of` reads back."""
    return {
        "id": trial.id,
        "method": _named(trial.method, trial.method_options),
        "space": _named(trial.space, trial.space_options),
        "dataset": trial.dataset,
        "budget": asdict(trial.budget),
        "repetition": trial.repetition,
        "root_seed": trial.root_seed,
        "judged": trial.table is not None,
    }


def trial_of(told: Mapping[str, Any]) -> Trial:
    """The trial that was described, with the plug-ins and tables of this machine.

    Raises:
        BenchError: if it is another one here, or there is none.
    """
    plain = told["budget"]
    scales = {stage: Scale(**plain[stage]) for stage in ("search", "final")}
    trial = Trial(
        *_found("method", told["method"]),
        *_found("space", told["space"]),
        told["dataset"],
        Budget(**plain | scales),
        told["repetition"],
        told["root_seed"],
    )
    if told["judged"]:
        (trial,) = judged_by_tables([trial])
    if trial.id != told["id"]:
        raise BadValue(
            f"trial {told['id']} is another one here, {trial.id}: its options, or the table that judges it, "
            "are not those of where the trials were submitted"
        )
    return trial


def _named(plugin: Plugin, options: Mapping[str, Any]) -> list[Any]:
    edits = changed(options, plugin.defaults)
    return [plugin.name, {key: written(value) for key, value in edits.items()}]


def _found(kind: Any, named: list[Any]) -> tuple[Plugin, dict[str, Any]]:
    name, options = named
    plugin = find(kind, name)
    return plugin, plugin.resolve(options)


@dataclass(kw_only=True)
class Reply:
    """What a worker tells of an attempt since it was asked last.

    Attributes:
        events: what its process said.
        files: what was saved, and the results once there are any; empty where the store is seen.
        gone: checkpoints that are no more.
        end: how the attempt ended: `exited`, `lost` or `preempted` and what `backend.End` says; None before.
        recorded: whether it left a record.
    """

    events: list[Event] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)
    end: list[Any] | None = None
    recorded: bool = False

    def encode(self) -> list[str | bytes]:
        """As a text and the files' bytes."""
        told = {
            "events": [vars(event) for event in self.events],
            "files": [*self.files],
            "gone": self.gone,
            "end": self.end,
            "recorded": self.recorded,
        }
        return [json.dumps(told), *self.files.values()]

    @classmethod
    def decode(cls, parts: list[str | bytes]) -> Reply:
        """What `encode` gave.

        Raises:
            Damaged: if a file has a name that no trial's file has.
        """
        text, *contents = parts
        told = json.loads(text)
        for name in (*told["files"], *told["gone"]):
            if not is_known(name):
                raise Damaged(f"a worker sends '{name}', and no file of a trial has that name")
        events = [Event(**each) for each in told.pop("events")]
        files = dict(zip(told.pop("files"), map(bytes, contents), strict=True))  # type: ignore[arg-type]
        return cls(events=events, files=files, **told)


class Mirror:
    """Tells which checkpoints of a folder are new or gone since it looked last.

    Args:
        sent: those that the other side has, by their names, as they lie here now.
    """

    def __init__(self, folder: Path, sent: Iterable[str] = ()) -> None:
        self.sent = {
            name: (folder / name).stat().st_mtime_ns for name in sent if (folder / name).is_file()
        }

    def changes(self, folder: Path) -> tuple[dict[str, bytes], list[str]]:
        """New contents by name, and the names that are gone; none of both where the folder is."""
        found: dict[str, int] = {}
        new: dict[str, bytes] = {}
        for path in folder.glob(f"*{CHECKPOINT}"):
            if SAVED.fullmatch(path.name):
                with suppress(OSError):  # gone since
                    when = path.stat().st_mtime_ns
                    if self.sent.get(path.name) != when:
                        new[path.name] = read_regular(path)
                    found[path.name] = when
        if not folder.is_dir():
            return {}, []
        gone = [name for name in self.sent if name not in found]
        self.sent = found
        return new, gone
