"""What the steps of a trial have in common: its record, its files, its generators and checkpoints."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from bnas_bench.core import numerics, provenance
from bnas_bench.core.files import sha256
from bnas_bench.core.seeds import generator
from bnas_bench.nn.network import Network
from bnas_bench.runs.heir import Heir
from bnas_bench.runs.progress import Progress
from bnas_bench.runs.record import SCHEMA
from bnas_bench.runs.store import CHECKPOINT, DIGESTS, Record
from bnas_bench.search.checkpoint import Checkpoint
from bnas_bench.search.space import SearchSpace

if TYPE_CHECKING:
    from bnas_bench.runs.trial import Trial


class Steps:
    """A trial that runs. What a step finds out goes to the record and the files at once."""

    def __init__(
        self, trial: Trial, folder: Path, device: torch.device, progress: Progress
    ) -> None:
        numerics.settle(device)
        self.trial, self.folder, self.device, self.progress = trial, folder, device, progress
        self.budget = trial.budget
        self.identity = ""
        self.began = time.perf_counter()
        """Moved back by the time that earlier, killed processes have spent."""
        self.log: list[dict[str, Any]] = []
        self.files: dict[str, bytes] = {}
        self.about: dict[str, str] = {}
        self.heir: Heir | None = None
        self.record: Record = {
            "schema": SCHEMA,
            "id": trial.id,
            "status": "ok",
            "reason": None,
            **trial.description(),
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
            **provenance.commit(),
            **provenance.versions(),
            **provenance.hardware(device),
            "devices": 1,
        }

    def space(self) -> SearchSpace:
        """A fresh one: what a search has had trains nothing."""
        return self.trial.space.make(self.trial.space_options)

    def finished(self) -> Record:
        """The record, with what is known only at the end; adds the log to the files."""
        if self.log:
            lines = (f"{json.dumps(entry)}\n" for entry in self.log)
            self.files["log.jsonl"] = "".join(lines).encode()
        digests = {
            field: sha256(self.files[name]) for name, field in DIGESTS.items() if name in self.files
        }
        seconds = {"seconds": round(time.perf_counter() - self.began, 3)}
        return self.record | digests | provenance.peaks(self.device) | seconds

    def rng(self, *purpose: str) -> np.random.Generator:
        return generator(self.trial.root_seed, *purpose, self.trial.repetition)

    def checkpoint(self, name: str) -> Checkpoint:
        path = self.folder / f"{name}{CHECKPOINT}"
        return Checkpoint(path, identity=self.identity, say=self.progress.say)


def weights_of(network: Network) -> dict[str, Tensor]:
    """A network's whole state, on the CPU."""
    return {name: tensor.cpu().clone() for name, tensor in network.state_dict().items()}
