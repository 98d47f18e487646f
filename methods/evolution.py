"""Regularised evolution: a population that lets go of its oldest, not of its worst.

Esteban Real, Alok Aggarwal, Yanping Huang, Quoc V. Le. "Regularized Evolution for Image Classifier
Architecture Search", AAAI 2019, https://arxiv.org/abs/1802.01548. The scores on a supernet follow Guo
et al., "Single Path One-Shot Neural Architecture Search with Uniform Sampling", ECCV 2020,
https://arxiv.org/abs/1904.00420.

Deviations
    The score is a path's accuracy on a trained supernet, with the validation batches' own statistics in
    batch norm, or that of a short training; the paper trains each of its 20,000 models for 25 epochs.
    A population is at most half of the evaluations that the budget holds, and the samples shrink with
    it, so that some evolution is left.
    In a small budget a supernet's 1-bit weights take longer steps (`search.learning.stretch`).
    Every child is mutated, in one place of the space; the paper's identity mutation (5 %) is left out.

Open in the paper
    Ties in a sample go to the first that was drawn. How much of a budget trains the supernet is ours to
    say: three quarters, at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from torch.nn.functional import cross_entropy

from bnas_bench.core.architecture import Architecture
from bnas_bench.core.errors import BudgetExceeded, UnknownName
from bnas_bench.core.options import Between, Count
from bnas_bench.search.learning import (
    PAPER_EPOCH,
    ByAdam,
    Division,
    accuracy,
    cosine,
    descend,
    divide,
    set_lr,
    stretch,
)
from bnas_bench.search.strategy import SearchResult, SearchStrategy

if TYPE_CHECKING:
    import numpy as np
    from torch.optim import Optimizer

    from bnas_bench.data.datasets import Task
    from bnas_bench.nn.network import Supernet
    from bnas_bench.search.meter import Meter
    from bnas_bench.search.space import SearchSpace

SCORES = ("supernet", "training")

Member = tuple[dict[str, Any], float]
"""An architecture's JSON and its score."""


def tournament(population: Sequence[Member], sample: int, rng: np.random.Generator) -> Member:
    """Algorithm 1: the best of a sample of members, drawn evenly and with replacement."""
    drawn = [population[k] for k in rng.integers(len(population), size=sample)]
    return max(drawn, key=lambda member: member[1])


def aged(population: Sequence[Member], child: Member, size: int) -> list[Member]:
    """Algorithm 1: the population, oldest first, with a child; beyond `size` the oldest are gone."""
    return [*population, child][-size:]


@dataclass(kw_only=True)
class Evolution(ByAdam, SearchStrategy):
    """Mutations of the best of a sample replace the oldest of the population.

    Args:
        score: `supernet`: accuracy of a path of a supernet that is trained on paths drawn evenly;
            `training`: accuracy after a short training from scratch, or what a table says of it.
        population, sample: P and S of Algorithm 1 (section 4).
        candidates: evaluations, where the budget sets no limit (C of Algorithm 1).
        training_share: the part of a budget that trains the supernet.
        epochs: of the supernet's training, where the budget sets no limit (Guo et al., section 4).
        candidate_epochs: of a short training.
        lr, weight_decay, clip: of the supernet's training; a short one has the defaults, as for all who ask
            for scores.
    """

    score: str = "supernet"
    population: Count = 100
    sample: Count = 25
    candidates: Count = 20_000
    training_share: Between = 0.75
    epochs: Count = 120
    candidate_epochs: Count = 4

    def validate(self) -> None:
        if self.score not in SCORES:
            raise UnknownName("score of evolution", self.score, SCORES)

    def search(
        self, space: SearchSpace, task: Task, meter: Meter, rng: np.random.Generator
    ) -> SearchResult:
        plan = self.plan(task, meter)
        size = min(self.population, max(1, plan.evaluations // 2))
        sample = max(1, round(self.sample * size / self.population))
        population: list[Member] = []
        done: dict[str, Any] = {"trainings": 0, "candidates": 0, "best": None}
        state: dict[str, Any] = {"rng": rng, "population": population, "done": done}
        supernet = optimiser = None
        if self.score == "supernet":
            supernet = space.supernet(task.spec, rng).to(task.device)
            optimiser = self.optimiser(supernet)
            stretch(optimiser, self.epochs * PAPER_EPOCH / (plan.trainings * plan.steps))
            state |= {"supernet": supernet, "optimiser": optimiser}
        for _ in meter.epochs(state=state, protocol=plan.epochs):
            if supernet and optimiser and done["trainings"] < plan.trainings:
                loss = self.train(space, supernet, optimiser, plan, done["trainings"], task, rng)
                done["trainings"] += 1
                meter.report(loss=loss)
                continue
            for _ in range(min(plan.together, plan.evaluations - done["candidates"])):
                if len(population) < size:
                    arch = space.sample(rng)
                else:
                    parent, _ = tournament(population, sample, rng)
                    arch = space.mutate(Architecture.from_json(parent), rng)
                child = arch.to_json(), self.evaluate(space, supernet, arch, task)
                population[:] = aged(population, child, size)
                done["candidates"] += 1
                if done["best"] is None or child[1] > done["best"][1]:
                    done["best"] = child
                    meter.incumbent(arch, valid=child[1])
            if done["candidates"] == plan.evaluations:
                break
        best, valid = done["best"]
        notes = {"candidates": done["candidates"], "population": size}
        return SearchResult(Architecture.from_json(best), valid, notes)

    def plan(self, task: Task, meter: Meter) -> Division:
        """Training of the supernet, if there is one, then evaluations.

        Raises:
            BudgetExceeded: if the budget does not hold one evaluation.
        """
        if self.score == "supernet":
            return divide(
                meter.passes,
                task,
                step=3 * min(task.batch_size, len(task.train)),
                evaluation=len(task.valid),
                share=self.training_share,
                fewest=8,
                protocol=(self.epochs, self.candidates),
            )
        if meter.passes is None:
            return Division(0, 0, self.candidates, 1)
        each = task.passes_of(self.candidate_epochs)
        if each > meter.passes:
            raise BudgetExceeded(
                f"evolution takes {each:.0f} passes to train and score a candidate and the "
                f"budget is {meter.passes}; give it a larger budget or fewer candidate_epochs"
            )
        return Division(0, 0, 3 * meter.passes // round(3 * each), 1)

    def train(
        self,
        space: SearchSpace,
        supernet: Supernet,
        optimiser: Optimizer,
        plan: Division,
        epoch: int,
        task: Task,
        rng: np.random.Generator,
    ) -> float:
        """An epoch of paths that are drawn evenly (Guo et al., section 3.3); its last loss."""
        batches = task.train.batches(task.batch_size, rng, task.augment, drop_last=True)
        for step, (x, y) in enumerate(islice(batches, plan.steps)):
            set_lr(optimiser, cosine(self.lr, (epoch + step / plan.steps) / plan.trainings))
            loss = cross_entropy(supernet(x, space.path(space.sample(rng))), y)
            descend(supernet, optimiser, loss, self.clip, path=True)
        return loss.item()

    def evaluate(
        self,
        space: SearchSpace,
        supernet: Supernet | None,
        arch: Architecture,
        task: Task,
    ) -> float:
        """The score of one candidate: its accuracy on the validation images."""
        if supernet:
            return accuracy(supernet, task.valid, task.batch_size, space.path(arch))
        return task.score(arch, self.candidate_epochs)
