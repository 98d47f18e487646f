"""Carries a finished trial's network to a downstream task: trained there, tested once, its costs counted."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bnas_bench.core import provenance
from bnas_bench.core.architecture import Architecture
from bnas_bench.core.budget import NetworkSpec
from bnas_bench.core.errors import BadValue
from bnas_bench.core.files import canonical, sha256
from bnas_bench.core.seeds import generator
from bnas_bench.cost import costs, ledger
from bnas_bench.nn.binary import Precision
from bnas_bench.nn.network import Network
from bnas_bench.plugins import recorded
from bnas_bench.plugins.registry import Plugin
from bnas_bench.plugins.source import harness_digest
from bnas_bench.runs.claims import claim
from bnas_bench.runs.network import rebuilt, saved
from bnas_bench.runs.store import CHECKPOINT
from bnas_bench.search.checkpoint import Checkpoint
from bnas_bench.transfer import record as records
from bnas_bench.transfer.people import People
from bnas_bench.transfer.reidentification import (
    Embedding,
    Recipe,
    last_channels,
    tested,
    train,
)
from bnas_bench.transfer.retrieval import by_chance

FOLDER = "transfers"
DRAWS = 100
"""Random rankings that say what chance reaches."""


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """What is asked.

    Attributes:
        trial: the folder of a finished trial, with its weights.
        precision: of `PRECISIONS`; None is what the trial's network was trained at.
        scratch: begin with drawn weights, not with the trial's.
    """

    trial: Path
    people: People
    recipe: Recipe
    precision: str | None = None
    scratch: bool = False
    seed: int = 0

    @property
    def config(self) -> dict[str, Any]:
        """All that a result depends on beside the trial and the code."""
        return {
            "task": self.people.name,
            "fingerprint": self.people.fingerprint,
            "recipe": asdict(self.recipe),
            "precision": self.precision,
            "scratch": self.scratch,
            "seed": self.seed,
        }

    @property
    def id(self) -> str:
        digest = sha256(canonical(self.config).encode())[:8]
        return f"{self.people.name}-{self.trial.resolve().name}-{digest}"

    @property
    def file(self) -> Path:
        """Of the record."""
        return self.trial.resolve().parent.parent / FOLDER / f"{self.id}.json"


def transfer(
    asked: Transfer,
    plugin: Plugin | None = None,
    *,
    say: Callable[[str], Any] = lambda _: None,
    tell: Callable[[float], None] = lambda _: None,
) -> dict[str, Any]:
    """The record of a transfer, made now unless it is there.

    Args:
        plugin: the trial's space, where that is a file of one's own.
        say: is told of a checkpoint that cannot be used.
        tell: is told which part of the training is done.

    Raises:
        BadValue: if the trial has no network, its network takes no such images, or another process
            makes this transfer.
        Damaged: if its files are, or the record that is there.
        Diverged: if the training does.
    """
    if known := records.read(asked.file):
        return known
    network, shape, facts = rebuilt(asked.trial, plugin)
    people, rng = asked.people, generator(asked.seed, "transfer", asked.people.name)
    if shape[0] != people.shape[0]:
        raise BadValue(
            f"the network in '{asked.trial}' takes images of {shape[0]} channel(s) and {people.name} has "
            f"{people.shape[0]}: name a trial on images of as many"
        )
    device = people.train.images.device
    precision = asked.precision or saved(asked.trial).precision
    if asked.scratch:
        network = _drawn(asked, plugin)
    network.precision = Precision(precision)
    model = Embedding(network, last_channels(network, people.shape), people.identities, rng)
    cost = costs(ledger(_Found(model), people.shape))
    asked.file.parent.mkdir(parents=True, exist_ok=True)
    path = asked.file.with_name(f".{asked.id}")
    if (lock := claim(path.with_name(f"{path.name}.lock"), 0.0)) is None:
        raise BadValue(f"{asked.id} is being made by another process: wait until it has ended")
    with lock:
        began = time.perf_counter()
        checkpoint = Checkpoint(
            path.with_name(f"{path.name}{CHECKPOINT}"),
            identity=canonical(asked.config | {"harness": harness_digest(), "facts": facts}),
            say=say,
        )
        trained = train(model.to(device), people, asked.recipe, rng, checkpoint, tell)
        chance, bound = by_chance(
            people.query.seen, people.gallery.seen, generator(0, "transfer", "chance"), DRAWS
        )
        record = {
            "schema": records.SCHEMA,
            "id": asked.id,
            "trial": asked.trial.resolve().name,
            **asked.config,
            "precision": precision,
            **records.values(tested(model, people)),
            "chance": chance,
            "chance_bound": bound,
            "shape": list(people.shape),
            "identities": people.identities,
            **cost,
            "train_loss": trained.loss,
            "train_seconds": round(trained.seconds, 3),
            "log": trained.log,
            "seconds": round(time.perf_counter() - began, 3),
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
            **provenance.commit(),
            **provenance.versions(),
            **provenance.hardware(device),
            "harness_source": harness_digest(),
        }
        records.write(asked.file, record)
        checkpoint.remove()
    return record


class _Found(nn.Module):
    """What is computed to find someone: the model without its classifier."""

    def __init__(self, model: Embedding) -> None:
        super().__init__()
        self.backbone, self.neck = model.backbone, model.neck

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.neck(self.backbone.features(x).mean((2, 3)))


def _drawn(asked: Transfer, plugin: Plugin | None) -> Network:
    """The trial's network with weights that are drawn anew."""
    found = saved(asked.trial)
    space = recorded.space(found.space, found.space_options, plugin)
    arch = Architecture.from_json(found.built["architecture"])
    spec = NetworkSpec(**found.built["spec"] | {"shape": tuple(found.built["spec"]["shape"])})
    return space.network(arch, spec, generator(asked.seed, "transfer", "scratch"))
