"""Carries a backbone to a downstream task: trained there, tested once, its costs counted, all recorded."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bnas_bench.core import provenance
from bnas_bench.core.budget import PRECISIONS
from bnas_bench.core.errors import BadValue, UnknownName
from bnas_bench.core.files import canonical, sha256
from bnas_bench.core.seeds import generator
from bnas_bench.cost import costs
from bnas_bench.nn.binary import Precision
from bnas_bench.nn.network import run_at
from bnas_bench.plugins.source import harness_digest
from bnas_bench.runs.backbones import Backbone
from bnas_bench.runs.claims import claim
from bnas_bench.runs.store import CHECKPOINT
from bnas_bench.search.checkpoint import Checkpoint
from bnas_bench.transfer import record as records
from bnas_bench.transfer.downstream import Downstream
from bnas_bench.transfer.training import check_memory, fitting, train


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """What is asked.

    Attributes:
        folder: of the results, `results/NAME`.
        precisions: that are trained at, one after the other; none is the backbone's own.
    """

    backbone: Backbone
    task: Downstream[Any]
    folder: Path
    precisions: Sequence[str] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        for precision in self.precisions:
            if precision not in PRECISIONS:
                raise UnknownName("precision", precision, PRECISIONS)

    @property
    def config(self) -> dict[str, Any]:
        """All that a result depends on beside the trial's own record and the code."""
        return {
            **self.backbone.facts,
            "task": self.task.name,
            "fingerprint": self.task.fingerprint,
            "recipe": asdict(self.task.recipe),
            "precisions": list(self.precisions or [self.backbone.precision]),
            "seed": self.seed,
        }

    @property
    def id(self) -> str:
        digest = sha256(canonical(self.config).encode())[:8]
        return f"{self.task.name}-{self.backbone.name}-{digest}"

    @property
    def file(self) -> Path:
        """Of the record."""
        return self.folder / records.FOLDER / f"{self.id}.json"


def transfer(
    asked: Transfer,
    *,
    say: Callable[[str], Any] = lambda _: None,
    tell: Callable[[float], None] = lambda _: None,
) -> dict[str, Any]:
    """The record of a transfer, made now unless it is there.

    Args:
        say: is told of a checkpoint that cannot be used.
        tell: is told which part of the training is done.

    Raises:
        BadValue: if the backbone takes no such images, memory does not hold them, or another process
            makes this transfer.
        Damaged: if the record that is there is.
        Diverged: if the training does.
    """
    if known := records.read(asked.file):
        return known
    task, config = asked.task, asked.config
    rng = generator(asked.seed, "transfer", task.name)
    backbone = asked.backbone.make(task.shape, rng)
    model = task.model(backbone, rng)
    check_memory(task, model)
    run_at(model, Precision(config["precisions"][-1]))
    cost = costs(task.ledger(model))
    asked.file.parent.mkdir(parents=True, exist_ok=True)
    path = asked.file.with_name(f".{asked.id}")
    if (lock := claim(path.with_name(f"{path.name}.lock"), 0.0)) is None:
        raise BadValue(f"{asked.id} is being made by another process: wait until it has ended")
    with lock, lock.beating():
        if known := records.read(asked.file):  # of who had the claim before
            return known
        began = time.perf_counter()
        checkpoint = Checkpoint(
            path.with_name(f"{path.name}{CHECKPOINT}"),
            identity=canonical(config | {"harness": harness_digest()}),
            say=say,
        )
        with fitting(task):
            model = model.to(task.device)
        trained = train(model, task, config["precisions"], rng, checkpoint, tell)
        with fitting(task):
            found = task.test(model)
        record = {
            "schema": records.SCHEMA,
            "id": asked.id,
            **config,
            "choices": dict(asked.backbone.arch.choices),
            "test": records.values(found),
            "shape": list(task.shape),
            **cost,
            "train_loss": trained.loss,
            "train_seconds": round(trained.seconds, 3),
            "log": trained.log,
            "seconds": round(time.perf_counter() - began, 3),
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
            **provenance.commit(),
            **provenance.versions(),
            **provenance.hardware(task.device),
            "harness_source": harness_digest(),
        }
        records.write(asked.file, record)
        checkpoint.remove()
    return record
