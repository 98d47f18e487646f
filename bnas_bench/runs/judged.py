"""A trial whose search a table judges: what the search sees, and the record of what it found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bnas_bench.core.architecture import Architecture
from bnas_bench.core.budget import Budget, NetworkSpec
from bnas_bench.core.seeds import generator
from bnas_bench.cost import costs, ledger
from bnas_bench.data.datasets import Dataset, Task, load
from bnas_bench.nn.binary import Precision
from bnas_bench.packed.size import packed_bytes
from bnas_bench.search.space import SearchSpace
from bnas_bench.tables import parquet
from bnas_bench.tables.judge import PRECISION, Judge, Named
from bnas_bench.tables.truth import GroundTruth


def judge_of(table: Named, data: Path | str) -> Judge:
    """The judge that a trial names.

    Raises:
        BadValue, Damaged: if there is no such table, it is damaged, or its images are others.
        MissingData: if they are not there.
    """
    truth = GroundTruth(parquet.read(table.path), table.name)
    how = truth.definition
    return Judge(truth, load(how.dataset, image=how.image, device="cpu", folder=data))


def task_of(judge: Judge, dataset: Dataset, spec: NetworkSpec, budget: Budget) -> Task:
    """The task of a search: it trains and validates on what the table's networks do, at its own scale."""
    train, valid, _ = judge.parts(dataset)
    return Task(
        train=train,
        valid=valid,
        classes=dataset.classes,
        shape=dataset.shape,
        spec=spec,
        batch_size=budget.protocol.batch_size,
        device=train.device,
        augment=dataset.augment(),
    )


def judged(judge: Judge, space: SearchSpace, arch: Architecture) -> dict[str, Any]:
    """The fields of a record: accuracies as the table says, and what the table's network costs."""
    how, shape = judge.truth.definition, judge.dataset.shape
    spec = how.spec(space, judge.dataset)
    network = space.network(arch, spec, generator(0, "table", "costs"))
    network.precision = Precision(PRECISION)
    recipe = ("epochs", "batch_size", "lr", "momentum", "weight_decay")
    return {
        **costs(ledger(network, shape)),
        **judge.verdict(arch),
        "train_images": how.train_images,
        "test_images": how.test_images,
        "recipe": {name: getattr(how, name) for name in recipe} | {"precision": PRECISION},
        "train_seconds": 0.0,
        "packed_bytes": packed_bytes(network.eval(), shape),  # of this cell, as the other costs
        "packed_reason": "a table says nothing of how long it takes",
    }


def with_regrets(
    judge: Judge, space: SearchSpace, log: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """A search's log where each incumbent that the table holds has its `regret`, in points."""
    entries = []
    for entry in log:
        choices = entry.get("choices")
        regret = judge.regret(Architecture(space.name, choices)) if choices else None
        entries.append(dict(entry) if regret is None else {**entry, "regret": regret})
    return entries
