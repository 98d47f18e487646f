"""CP-NAS: Child-Parent Neural Architecture Search for 1-bit CNNs.

Li'an Zhuo, Baochang Zhang, Hanlin Chen, Linlin Yang, Chen Chen, Yanjun Zhu, David Doermann.
IJCAI 2020, https://arxiv.org/abs/2005.00057. No reference code was published.

Deviations
    The first term of Eq. (3), as printed the sum of the means of all filters, holds the Child's signs back;
    by default it is the mean over all weights (`reconstruction`, docs/findings.md).
    In a small budget the Child's 1-bit weights take longer steps (`search.learning.stretch`).
    The budget decides how long a sampled pair of networks trains: as many batches as let all
    samplings of Algorithm 1 fit (at the paper's budget, one epoch); where not even one batch fits,
    T shrinks first. Where a pair would train for longer than an epoch, T grows instead.
    The published networks keep two edges per node, Algorithm 1 leaves one operation on all 14. The
    last indicators rank the edges, and an edge whose survivor is `none` ranks behind the others.

Open in the paper
    lam of Eq. (3) has no value (`lam`). Its second term is averaged over images and elements, so that
    lam means the same at every batch size and width; the mean feature maps are the Parent's, per class
    within the batch. The filters are the sampled Child's.
    Gradients are clipped, at 5, in the evaluation stage of section 3.1 alone. Searches without it diverge on
    nas-bnn in small budgets; `clip` met one in twenty of the first steps on darts-binary (seen once).
    The abstract puts the kernel-level loss into "the training stage"; here it trains the Child while
    searching, and final networks where a budget asks for it (`recipe.teacher=parent`).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor
from typing import TYPE_CHECKING, Any

import numpy as np
from torch.nn.functional import cross_entropy

from bnas_bench.core.errors import BudgetExceeded, UnknownName
from bnas_bench.core.options import Amount, Few, Positive
from bnas_bench.nn.binary import RECONSTRUCTIONS, Precision
from bnas_bench.search.kernel_loss import compactness, filter_error
from bnas_bench.search.learning import (
    PAPER_EPOCH,
    BySGD,
    accuracy,
    cosine,
    cycle,
    descend,
    evenly,
    set_lr,
    steps_per_epoch,
    stretch,
)
from bnas_bench.search.strategy import SearchResult, SearchStrategy

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from bnas_bench.data.datasets import Task
    from bnas_bench.nn.network import Supernet
    from bnas_bench.search.meter import Meter
    from bnas_bench.search.space import SearchSpace


def indicator(child: float, parent: float, beta_p: float) -> float:
    """Eq. (1): z = A_C + beta_P (A_P - A_C), from both validation accuracies (0 to 1)."""
    return child + beta_p * (parent - child)


def evaluation(z: list[list[float]]) -> np.ndarray:
    """Eq. (2): softmax over an edge's K operations of their mean z; `z` lists each one's T values."""
    mean = np.array([np.mean(values) for values in z])
    e = np.exp(mean - mean.max())
    return e / e.sum()


@dataclass(kw_only=True)
class CPNAS(BySGD, SearchStrategy):
    """Drop the worst operation of every edge, judged by a 1-bit Child and its real-valued Parent.

    Args:
        beta_p: weight of the performance loss in Eq. (1); 0 gives the BNAS-dagger row of table 1.
        repeats: T of Algorithm 1; more in a budget in which a pair would else train for more than an epoch.
        kernel_loss: whether the Child trains with the kernel-level loss of Eqs. (3) and (4).
        reconstruction: how its first term adds up: `filter`, the sum of the filters' means that Eq. (3)
            prints; `weight`, the mean over all weights; or `sum`.
        lam: lambda of Eq. (3).
        weight_decay, clip: of SGD, which else is that of `BySGD` (section 3.1).
    """

    beta_p: Amount = 2.0
    repeats: Few = 3
    kernel_loss: bool = True
    reconstruction: str = "weight"
    lam: Amount = 0.1
    weight_decay: Amount = 5e-4
    clip: Positive | None = 20.0

    def validate(self) -> None:
        if self.reconstruction not in RECONSTRUCTIONS:
            raise UnknownName("reconstruction of cpnas", self.reconstruction, RECONSTRUCTIONS)

    def search(
        self, space: SearchSpace, task: Task, meter: Meter, rng: np.random.Generator
    ) -> SearchResult:
        """Algorithm 1. One epoch of the meter is one sampled Child and Parent (lines 4 and 5)."""
        options = [len(decision.options) for decision in space.decisions]
        steps, repeats = self.plan(max(options), task, meter)
        models = {
            name: space.supernet(task.spec, rng).to(task.device) for name in ("child", "parent")
        }
        models["child"].precision, models["parent"].precision = Precision.W1A1, Precision.W32A32
        optimisers = {name: self.optimiser(model) for name, model in models.items()}
        paper = CPNAS.repeats * PAPER_EPOCH * len(steps) / repeats
        stretch(optimisers["child"], paper / sum(steps))
        search: dict[str, Any] = {
            "alive": [list(range(n)) for n in options],
            "strengths": [[0.0] * n for n in options],
            "z": [[[] for _ in range(n)] for n in options],
            "queue": [],
            "valid": 0.0,
        }
        state = {
            **models,
            **{f"{k}_sgd": v for k, v in optimisers.items()},
            "rng": rng,
            "search": search,
        }
        for k in meter.epochs(state=state, protocol=len(steps)):
            alive = search["alive"]
            if not search["queue"]:
                search["queue"] = self.draw(alive, repeats, rng)
            path = search["queue"].pop(0)
            self.train(models, optimisers, path, steps[k], task, meter, rng)
            child, parent = (
                accuracy(models[name], task.valid, task.batch_size, path)
                for name in ("child", "parent")
            )
            for z, operation in zip(search["z"], path, strict=True):
                z[operation].append(indicator(child, parent, self.beta_p))
            search["valid"] = child
            if not search["queue"]:
                self.reduce(search)
                arch = space.derive([np.array(s) for s in search["strengths"]])
                meter.incumbent(
                    arch, child=child, parent=parent, operations=max(map(len, search["alive"]))
                )
            if max(map(len, search["alive"])) == 1:
                break
        arch = space.derive([np.array(s) for s in search["strengths"]])
        return SearchResult(
            arch, search["valid"], {"repeats": repeats, "batches_per_sampling": min(steps)}
        )

    def plan(self, options: int, task: Task, meter: Meter) -> tuple[list[int], int]:
        """Batches that each sampled pair trains for, and T, so that all samplings fill the budget."""
        whole = steps_per_epoch(task)
        samplings = max(1, sum(range(2, options + 1)))
        passes = meter.passes
        if passes is None:
            return [whole] * (samplings * self.repeats), self.repeats
        batch = min(task.batch_size, len(task.train))
        validation = 2 * len(task.valid) / 3

        def steps(repeats: int) -> int:
            return floor((passes - samplings * repeats * validation) / (2 * batch))

        repeats = self.repeats
        while steps(repeats) > samplings * repeats * whole:
            repeats += 1
        for fewer in range(repeats, 0, -1):
            if steps(fewer) >= samplings * fewer:
                return evenly(steps(fewer), samplings * fewer), fewer
        need = samplings * (2 * batch + validation)
        raise BudgetExceeded(
            f"cpnas needs {need:.0f} passes for one batch in each of its {samplings} samplings and "
            f"the budget is {passes}; give it a larger budget or a smaller batch_size"
        )

    @staticmethod
    def draw(alive: list[list[int]], repeats: int, rng: np.random.Generator) -> list[list[int]]:
        """Lines 2 to 4: T times, K paths that take every edge's operations without replacement."""
        count = max(map(len, alive))
        paths = []
        for _ in range(repeats):
            orders = [rng.permutation(operations).tolist() for operations in alive]
            paths += [[order[k % len(order)] for order in orders] for k in range(count)]
        return paths

    def train(
        self,
        models: dict[str, Supernet],
        optimisers: dict[str, Optimizer],
        path: list[int],
        steps: int,
        task: Task,
        meter: Meter,
        rng: np.random.Generator,
    ) -> None:
        """Line 5: train the Child and the Parent of one path side by side, on the same batches."""
        for optimiser in optimisers.values():
            set_lr(optimiser, cosine(self.lr, meter.progress))
        batches = cycle(task.train, task.batch_size, rng, task.augment)
        for _, (x, y) in zip(range(steps), batches, strict=False):
            maps, losses = {}, {}
            for name in ("parent", "child"):
                model, optimiser = models[name], optimisers[name]
                logits, maps[name] = model.logits_and_features(x, path)
                loss = cross_entropy(logits, y)
                if name == "child" and self.kernel_loss:
                    loss = loss + filter_error(model.filters(path), self.reconstruction)
                    loss = loss + self.lam * compactness(maps["child"], maps["parent"], y)
                descend(model, optimiser, loss, self.clip, path=True)
                losses[f"{name}_loss"] = loss.detach()
        meter.report(**{name: loss.item() for name, loss in losses.items()})

    @staticmethod
    def reduce(search: dict[str, Any]) -> None:
        """Lines 8 to 10: update e by Eq. (2) and drop the worst operation where most are left.

        An edge's strengths rank its operations: survivors by e (above 0), the dropped ones below 0
        by when they were dropped.
        """
        alive, most = search["alive"], max(map(len, search["alive"]))
        for operations, z, strengths in zip(alive, search["z"], search["strengths"], strict=True):
            e = evaluation([z[k] for k in operations])
            for k, value in zip(operations, e.tolist(), strict=True):
                strengths[k] = value
            if len(operations) == most > 1:
                worst = operations[int(e.argmin())]
                operations.remove(worst)
                strengths[worst] -= most
            for values in z:
                values.clear()
