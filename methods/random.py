"""Random search, the baseline that every strategy has to beat.

Not from a paper of its own; Yang et al., "NAS evaluation is frustratingly hard" (ICLR 2020),
https://arxiv.org/abs/1912.12522, argue why it must be there.

Three forms: `draw` takes one architecture at random and spends nothing; `search` asks for the scores of
as many random candidates as the budget allows, trained from scratch or looked up in a table, and keeps the
best on the validation images; `supernet` is the "Random Search" of DCP-NAS (Li et al., IJCV 2023), https://arxiv.org/abs/2306.15390,
section 4.2.1: a random path of a 1-bit supernet trains in each epoch, and every option is worth the mean
validation accuracy of the paths that it took part in.

Open in the paper
    What an option that no path took is worth: 0. The optimiser: that of the other forms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from torch.nn.functional import cross_entropy

from bnas_bench.core.architecture import Architecture
from bnas_bench.core.errors import UnknownName
from bnas_bench.core.options import Count
from bnas_bench.search.learning import (
    PAPER_EPOCH,
    ByAdam,
    accuracy,
    cosine,
    descend,
    planned_steps,
    set_lr,
    steps_per_epoch,
    stretch,
)
from bnas_bench.search.strategy import SearchResult, SearchStrategy

if TYPE_CHECKING:
    from bnas_bench.data.datasets import Task
    from bnas_bench.search.meter import Meter
    from bnas_bench.search.space import SearchSpace

FORMS = ("search", "draw", "supernet")


@dataclass(kw_only=True)
class Random(ByAdam, SearchStrategy):
    """Random architectures: one draw, the best of as many as the budget trains, or paths' means.

    Args:
        form: `search`, `draw` or `supernet`.
        epochs: epochs over the search's training images that each candidate of `search` gets.
        candidates: how many, where the budget sets no limit (as many as DCP-NAS' epochs).
        lr, weight_decay, clip: of the supernet's training; candidates of `search` train by the defaults, as
            for all who ask for scores.
    """

    form: str = "search"
    epochs: Count = 4
    candidates: Count = 105

    def validate(self) -> None:
        if self.form not in FORMS:
            raise UnknownName("form of random", self.form, FORMS)

    def search(
        self, space: SearchSpace, task: Task, meter: Meter, rng: np.random.Generator
    ) -> SearchResult:
        if self.form == "draw":
            return SearchResult(space.sample(rng))
        if self.form == "supernet":
            return self.average(space, task, meter, rng)
        best: dict[str, Any] = {"valid": -1.0, "arch": None, "seen": 0}
        for _ in meter.epochs(state={"rng": rng, "best": best}, protocol=self.candidates):
            arch = space.sample(rng)
            valid = task.score(arch, self.epochs)
            best["seen"] += 1
            if valid > best["valid"]:
                best.update(valid=valid, arch=arch.to_json())
                meter.incumbent(arch, valid=valid)
        return SearchResult(
            Architecture.from_json(best["arch"]), best["valid"], {"candidates": best["seen"]}
        )

    def average(
        self, space: SearchSpace, task: Task, meter: Meter, rng: np.random.Generator
    ) -> SearchResult:
        """DCP-NAS' random search: the architecture of the options with the best mean performance."""
        supernet = space.supernet(task.spec, rng).to(task.device)
        optimiser = self.optimiser(supernet)
        batch = min(task.batch_size, len(task.train))
        epoch = steps_per_epoch(task) * batch + len(task.valid) / 3
        steps = planned_steps(task, meter.passes, self.candidates, epoch)
        stretch(optimiser, self.candidates * PAPER_EPOCH / steps)
        options = [len(decision.options) for decision in space.decisions]
        found: dict[str, Any] = {
            "sums": [[0.0] * n for n in options],
            "paths": [[0] * n for n in options],
            "valid": 0.0,
        }
        state = {"supernet": supernet, "optimiser": optimiser, "rng": rng, "found": found}

        def best() -> Architecture:
            pairs = zip(found["sums"], found["paths"], strict=True)
            return space.derive([expectation(sums, paths) for sums, paths in pairs])

        for _ in meter.epochs(state=state, protocol=self.candidates):
            path = space.path(space.sample(rng))
            set_lr(optimiser, cosine(self.lr, meter.progress))
            for x, y in task.train.batches(task.batch_size, rng, task.augment, drop_last=True):
                loss = cross_entropy(supernet(x, path), y)
                descend(supernet, optimiser, loss, self.clip, path=True)
            found["valid"] = accuracy(supernet, task.valid, task.batch_size, path)
            for sums, paths, option in zip(found["sums"], found["paths"], path, strict=True):
                sums[option] += found["valid"]
                paths[option] += 1
            meter.incumbent(best(), path_valid=found["valid"])
        return SearchResult(best())


def expectation(sums: list[float], paths: list[int]) -> np.ndarray:
    """The mean performance of each option over the paths that took it; 0 for one that none did."""
    return np.array(sums) / np.maximum(paths, 1)
