"""A trial's search: what it sees, what it finds, and what the record says of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bnas_bench.core import provenance, ranks
from bnas_bench.core.architecture import Architecture
from bnas_bench.core.files import canonical
from bnas_bench.core.searching import searching
from bnas_bench.core.seeds import generator
from bnas_bench.data.datasets import Dataset, Task, load, task
from bnas_bench.plugins.source import harness_digest
from bnas_bench.runs.heir import Heir, front_file
from bnas_bench.runs.judged import task_of
from bnas_bench.runs.steps import Steps, weights_of
from bnas_bench.runs.store import Record
from bnas_bench.search.lent import Lent
from bnas_bench.search.meter import Meter, check_paid
from bnas_bench.search.result import check_result, result_fields
from bnas_bench.search.scores import scored_by_training
from bnas_bench.search.space import SearchSpace
from bnas_bench.search.strategy import SearchStrategy
from bnas_bench.search.untouched import Watched, generators_put_back, untouched
from bnas_bench.tables.judge import ByTable, Judge

RANKED = 100
"""Architectures of a table by which a record says how each supernet ranks."""


class Finding(Steps):
    """The search of a trial, or of one that was killed what it had found."""

    def load(self, folder: Path | str) -> tuple[Dataset, Dataset]:
        """The dataset at the search's and at the final scale."""

        def at(image: int | None, say: Callable[[str], None]) -> Dataset:
            return load(self.trial.dataset, image=image, device=self.device, folder=folder, say=say)

        searched = dataset = at(self.budget.search.image, self.progress.say)
        if self.budget.final.image != self.budget.search.image:
            dataset = at(self.budget.final.image, lambda _: None)  # the same files
        self.record |= {
            "dataset_fingerprint": dataset.fingerprint,
            "evaluated": "training",
            "train_images": len(dataset.train),
            "test_images": len(dataset.test),
            "classes": dataset.classes,
            "shape": list(dataset.shape),
        }
        sources = [self.trial.method.source, self.trial.space.source, dataset.fingerprint]
        versions = provenance.versions().values()
        sources.append(harness_digest())
        machine: list[Any] = [self.device.type, torch.get_num_threads()]
        if group := ranks.here():
            self.record["devices"] = group.size
            if not group.synchronised:
                self.record["batch_norm"] = "own"
            machine += [group.size, group.synchronised]
        self.identity = canonical([self.trial.id, *sources, *versions, *machine])
        return searched, dataset

    def search(
        self,
        space: SearchSpace,
        lent: SearchSpace,
        method: SearchStrategy,
        dataset: Dataset,
        judge: Judge | None,
    ) -> Architecture:
        """Search, or read what a search that is over has found.

        Args:
            lent: the instance that the search gets; what it finds is to fit `space`.
        """
        spec = space.spec(
            space.fit(self.budget.search), dataset.shape, dataset.classes, final=False
        )
        if judge:
            seen = task_of(judge, dataset, spec, self.budget)
        else:  # one split for all seeds, wherever the images lie
            seen = task(dataset, spec, self.budget, generator(0, "split", dataset.fingerprint))
        self.record |= {"search_images": len(seen.train), "valid_images": len(seen.valid)}
        began, over = time.perf_counter(), self.checkpoint("found")
        weights: dict[str, Tensor] = {}
        if (found := over.load({"heir": weights})) is None:
            found = self.find(space, lent, method, seen, weights, judge)
            over.save({"heir": weights}, found, force=True)
        self.checkpoint("search").remove()
        self.log, front, (lr, epochs) = (found.pop(name) for name in ("log", "front", "finetune"))
        self.record |= found
        self.began -= found["search_seconds"] - (time.perf_counter() - began)
        arch = Architecture.from_json(found["architecture"])
        self.files["arch.json"] = f"{json.dumps(arch.to_json(), indent=2)}\n".encode()
        if front:
            self.files["front.json"] = front_file(front)
        if weights:
            self.heir = Heir(arch, spec, weights, lr, tuple(epochs))
        return arch

    def find(
        self,
        space: SearchSpace,
        lent: SearchSpace,
        method: SearchStrategy,
        seen: Task,
        weights: dict[str, Tensor],
        judge: Judge | None,
    ) -> dict[str, Any]:
        """Run the search; the fields that it adds to the record, its log and its front.

        Args:
            weights: takes those of the network that the search hands on, if it does.
        """
        whole = Lent(lent)
        told = judge.told if judge else 0

        def paid() -> None:
            check_paid(meter, judge.told - told if judge else 0)

        meter = Meter(self.budget.passes, Watched(self.checkpoint("search"), whole, paid))
        self.progress.enter("search", meter)
        purpose = (self.trial.dataset, self.trial.repetition)  # the same for all methods
        if judge:
            seen = replace(seen, scorer=ByTable(judge, meter, self.trial.root_seed, purpose))
        else:
            seen = scored_by_training(seen, lent, self.trial.root_seed, *purpose)
        try:
            with meter, searching(), generators_put_back(), untouched("the search", whole):
                rng = self.rng("search", self.trial.space.name, self.trial.method.name)
                result = check_result(method.search(lent, seen, meter, rng), space)
                paid()
        finally:
            self.log = [{"phase": "search", **entry} for entry in meter.log]
            self.record |= (spent := _spent(meter))
        if result.heir is not None:
            weights |= weights_of(result.heir)
        drawn = {}
        if judge:
            drawn = judge.truth.drawn(RANKED, self.rng("ranking", self.trial.dataset))
        learned = meter.learned.fields(space, result.best, seen, drawn) if meter.learned else {}
        fields = result_fields(result)
        if meter.unspent:
            fields["notes"] = {"unspent": meter.unspent, **fields["notes"]}
        return spent | fields | {"learned": learned, "log": self.log}


def _spent(meter: Meter) -> Record:
    return {
        "passes": round(meter.spent, 2),
        "search_seconds": round(meter.seconds, 3),
        "harness_seconds": round(meter.harness_seconds, 3),
        "search_step_mib": meter.step_bytes and round(meter.step_bytes / 2**20, 3),
    }
