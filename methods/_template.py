"""Template: one line on the idea.

Whose idea it is: authors, venue, link, reference code. As it stands this method is not from a
paper: it trains random paths of a supernet and keeps the architecture that validates best.

Deviations
    What differs from the paper, and why.

Open in the paper
    What the paper does not say, and what is done here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch.nn.functional import cross_entropy

from bnas_bench.core.architecture import Architecture
from bnas_bench.core.options import Amount, Count
from bnas_bench.search.learning import (
    PAPER_EPOCH,
    accuracy,
    adam,
    cosine,
    groups,
    planned_steps,
    set_lr,
    steps_per_epoch,
    stretch,
)
from bnas_bench.search.strategy import SearchResult, SearchStrategy

if TYPE_CHECKING:
    import numpy as np

    from bnas_bench.data.datasets import Task
    from bnas_bench.search.meter import Meter
    from bnas_bench.search.space import SearchSpace


@dataclass(kw_only=True)
class Template(SearchStrategy):
    """Random paths of one supernet, the best on the validation images wins.

    Args:
        lr, weight_decay: of Adam.
        candidates: architectures that are scored after each epoch.
        epochs: of the search, where the budget sets no limit.
    """

    lr: Amount = 0.0025
    weight_decay: Amount = 1e-5
    candidates: Count = 4
    epochs: Count = 50

    def search(
        self, space: SearchSpace, task: Task, meter: Meter, rng: np.random.Generator
    ) -> SearchResult:
        supernet = space.supernet(task.spec, rng).to(task.device)
        optimiser = adam(groups(supernet), self.lr, self.weight_decay)
        # As in the other methods: where a budget has fewer steps, those of 1-bit weights are longer.
        valid = (self.candidates + 1) * len(task.valid) / 3
        epoch = steps_per_epoch(task) * min(task.batch_size, len(task.train)) + valid
        steps = planned_steps(task, meter.passes, self.epochs, epoch)
        stretch(optimiser, self.epochs * PAPER_EPOCH / steps)
        best: dict[str, Any] = {}
        # What the epochs change: after a kill the meter puts it back, and the search goes on.
        state = {"supernet": supernet, "optimiser": optimiser, "best": best, "rng": rng}
        # The meter counts every forward and backward pass, and ends when no more epoch fits.
        for _ in meter.epochs(state=state, protocol=self.epochs):
            set_lr(optimiser, cosine(self.lr, meter.progress))
            for x, y in task.train.batches(task.batch_size, rng, task.augment, drop_last=True):
                optimiser.zero_grad()
                cross_entropy(supernet(x, space.path(space.sample(rng))), y).backward()
                optimiser.step()
            candidates = [space.sample(rng) for _ in range(self.candidates)]
            if best:  # scored again: the weights have changed
                candidates.append(Architecture.from_json(best["arch"]))
            scores = [
                accuracy(supernet, task.valid, task.batch_size, space.path(arch))
                for arch in candidates
            ]
            valid = max(scores)
            arch = candidates[scores.index(valid)]
            best.update(arch=arch.to_json(), valid=valid)
            meter.incumbent(arch, valid=valid)
        return SearchResult(Architecture.from_json(best["arch"]), best["valid"])
