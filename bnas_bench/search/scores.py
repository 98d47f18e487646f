"""What a search that only asks for scores is answered: `task.score(arch, epochs)`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bnas_bench.core.architecture import Architecture
from bnas_bench.core.seeds import generator
from bnas_bench.search.learning import ByAdam, accuracy, steps_per_epoch, train_briefly

if TYPE_CHECKING:
    from bnas_bench.data.datasets import Task
    from bnas_bench.search.space import SearchSpace


@dataclass(frozen=True)
class ByTraining:
    """Trains the network at the search's scale from scratch, as `train_briefly` does, and validates it once.

    An architecture that is asked for again has the same score, and is charged again.

    Args:
        root, purpose: what the weights and the order of the images are drawn from, beside the architecture.
    """

    space: SearchSpace
    task: Task
    root: int
    purpose: tuple[str | int, ...]

    longest = None

    def passes(self, epochs: int) -> float:
        batch = min(self.task.batch_size, len(self.task.train))
        return epochs * steps_per_epoch(self.task) * batch + len(self.task.valid) / 3

    def __call__(self, arch: Architecture, epochs: int) -> float:
        rng = generator(self.root, *self.purpose, "score", arch.id)
        network = self.space.network(arch, self.task.spec, rng).to(self.task.device)
        train_briefly(network, self.task, rng, ByAdam(), epochs)
        return accuracy(network, self.task.valid, self.task.batch_size)


def scored_by_training(task: Task, space: SearchSpace, root: int, *purpose: str | int) -> Task:
    """The task, which trains what it is asked for."""
    return replace(task, scorer=ByTraining(space, task, root, purpose))
