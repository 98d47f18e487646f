"""NAS-BNN: Neural Architecture Search for Binary Neural Networks.

Zhihao Lin, Yongtao Wang, Jinhe Zhang, Xiaojie Chu, Haibin Ling. Pattern Recognition 2025,
https://arxiv.org/abs/2408.15484; code https://github.com/VDIGPKU/NAS-BNN. A supernet is trained by
the sandwich rule with Bi-Teacher; then an evolution over the range of OPs finds the most accurate
subnets with inherited weights.

Deviations
    A budget is divided as the paper's GPU-days are, 220 to training and 20 to the evolution, whose
    population, rounds and children then shrink alike; `fewest` candidates are evaluated at least. The
    training goes over the images a part of a shuffled round at a time.
    In a small budget 1-bit weights take longer steps (`search.learning.stretch`); the teacher runs them
    real-valued.
    Without `low` and `high` the range of OPs is the whole space, not 20 to 180 M OPs: the paper's range
    means its own space at 224x224.
    An architecture is evaluated once, however often it comes up.
    Subnets are drawn with equal probability from the whole space, where the published code draws each
    decision among what the ones before leave, which favours wide ones: a mean of 100 and of 125 M OPs
    in the paper's space.

Open in the paper
    Direction of L_KL(y, y^_l): KL(y^_l || y), as in in-place distillation; the Bi-Teacher's prediction is
    a constant there. The initial learning rate is 5e-4 (section 4.1.2), 2.5e-3 in the published code.
    The teacher of "w/ Bi-Teacher, w/o KD" (section 4.4.4) runs as in FWBA; labels train the subnets.
    From the published code: labels smoothed by 0.1, decay for weights of convolutions and linear layers
    alone, a first population that holds the smallest and the largest subnet, and the evolution's
    constants. Parents are drawn evenly from the best of each bin. A mutation is as many of the space's
    own mutations, one after the other, as decisions meet a probability of `mutation`, at least one.
    The images that recalibrate batch norm: training images, not augmented.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div

from bnas_bench.core.budget import Protocol
from bnas_bench.core.errors import BadValue, UnknownName
from bnas_bench.core.options import Amount, Between, Count, Grid, Share, Whole
from bnas_bench.nn.binary import Precision
from bnas_bench.search.front import FrontSearch, scaled
from bnas_bench.search.learning import (
    PAPER_EPOCH,
    Division,
    adam,
    cosine,
    divide,
    groups,
    set_lr,
    step_of_paths,
    steps_per_epoch,
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

TEACHERS = {
    "FWBA": Precision.W32A1,
    "BWBA": Precision.W1A1,
    "FWFA": Precision.W32A32,
    "none": Precision.W32A1,
}
"""The precision of the largest subnet; with `none` it teaches nobody."""


def sandwich(
    y_l: Tensor,
    subnets: Iterable[Tensor],
    labels: Tensor,
    *,
    distil: bool = True,
    smoothing: float = 0.0,
) -> Iterator[Tensor]:
    """The terms of Eq. (4), one after the other; their sum is the loss.

    First the largest subnet's cross-entropy, then for every other subnet KL(y^_l || y), or without
    distillation its own cross-entropy. `subnets` is read lazily: a term that goes backward before
    the next is asked for leaves only one path's activations in memory.

    Args:
        y_l: logits of the Bi-Teacher, shape (B, N).
        subnets: logits of the smallest and of the random subnets, each of shape (B, N).
        labels: shape (B,).
        smoothing: of the labels that the largest subnet learns.
    """
    yield cross_entropy(y_l, labels, label_smoothing=smoothing)
    target = y_l.detach().softmax(1)
    for y in subnets:
        if distil:
            yield kl_div(y.log_softmax(1), target, reduction="batchmean")
        else:
            yield cross_entropy(y, labels)


def decaying(network: nn.Module, decay: float) -> list[dict[str, Any]]:
    """`groups` of the parameters, of which the weights of convolutions and of linear layers decay."""
    linear = {id(module.weight) for module in network.modules() if isinstance(module, nn.Linear)}
    found = []
    for group in groups(network):
        for is_weight in (True, False):
            part = [
                weight
                for weight in group["params"]
                if (weight.dim() == 4 or id(weight) in linear) == is_weight
            ]
            found.append({**group, "params": part, "weight_decay": decay * is_weight})
    return [group for group in found if group["params"]]


@dataclass(kw_only=True)
class NASBNN(SearchStrategy):
    """The sandwich rule with Bi-Teacher, then an evolution; a front, and inherited weights.

    Args:
        teacher: the largest subnet's weights and activations, full-precision or binary: `FWBA` (the
            Bi-Teacher), `BWBA`, `FWFA`; `none` trains all subnets by the labels (figure 3).
        random_subnets: trained in every step beside the largest and the smallest (section 3.3.1).
        lr, weight_decay: of Adam, the rate annealed by a cosine (section 4.1.2).
        smoothing: of the labels that the largest subnet learns.
        epochs: of training, where the budget sets no limit.
        training_share: the part of a budget that trains: 220 of 240 GPU-days (section 4.2).
        fewest: candidates that the evolution of a small budget evaluates at least.
        low, high: M OPs at the search's scale; None is the smallest's and the largest's.
        bins: parts of that range in each of which the best candidate is kept (2 M OPs each).
        population, rounds: first candidates, and how often children follow.
        crossovers, mutations: children of each kind in a round.
        mutation: the probability with which a mutation changes a decision.
        recalibration: batches that batch norm's statistics are recomputed on, for each candidate.
        finetune: numbers of epochs after which the harness tests the fine-tuned best candidate:
            pipeline 2 (the paper: 25, 50, 75, 100; table 5).
        finetune_lr: the initial learning rate of that.
    """

    protocol: ClassVar[Protocol] = Protocol(
        512, 0.96, 0.04
    )  # 50 images a class of ImageNet validate

    teacher: str = "FWBA"
    random_subnets: Whole = 2
    lr: Amount = 5e-4
    weight_decay: Amount = 5e-6
    smoothing: Share = 0.1
    epochs: Count = 512
    training_share: Between = 0.917
    fewest: Count = 8
    low: Amount | None = None
    high: Amount | None = None
    bins: Grid = 80
    population: Count = 512
    rounds: Count = 20
    crossovers: Whole = 128
    mutations: Whole = 128
    mutation: Share = 0.2
    recalibration: Count = 10
    finetune: tuple[Count, ...] = ()
    finetune_lr: Amount = 1e-5

    def validate(self) -> None:
        if self.teacher not in TEACHERS:
            raise UnknownName("teacher of nasbnn", self.teacher, TEACHERS)
        if self.low is not None and self.high is not None and self.low > self.high:
            raise BadValue(
                f"low of nasbnn is {self.low} and high is {self.high} M OPs; give them in rising order"
            )

    def search(
        self, space: SearchSpace, task: Task, meter: Meter, rng: np.random.Generator
    ) -> SearchResult:
        plan = self.plan(task, meter)
        size, rounds, children = scaled(
            plan.evaluations, self.population, self.rounds, self.crossovers + self.mutations
        )
        supernet = space.supernet(task.spec, rng).to(task.device)
        optimiser = adam(decaying(supernet, self.weight_decay), self.lr, 0.0)
        stretch(optimiser, self.epochs * PAPER_EPOCH / (plan.trainings * plan.steps))
        evolution = self.evolution(space, task, rng)
        evolution.populate(size)  # before the training, so that a range without members costs none
        done = {"trainings": 0, "rounds": 0}
        state = {
            "supernet": supernet,
            "optimiser": optimiser,
            "rng": rng,
            "done": done,
            "evolution": evolution.state,
        }
        for _ in meter.epochs(state=state, protocol=plan.epochs):
            if done["trainings"] < plan.trainings:
                learnt = self.train(space, supernet, optimiser, plan, done["trainings"], task, rng)
                done["trainings"] += 1
                meter.report(**learnt)
                continue
            for _ in range(plan.together):
                if not evolution.state["queue"] and done["rounds"] < rounds:
                    evolution.breed(children)
                    done["rounds"] += 1
                if not evolution.state["queue"]:
                    break
                candidate, best = evolution.evaluate(supernet)
                if not done["rounds"]:  # a random subnet (figure 3)
                    meter.report(subnet_valid=candidate.valid, ops=candidate.ops)
                if best:
                    meter.incumbent(candidate.arch, valid=candidate.valid, ops=candidate.ops)
            if not evolution.state["queue"] and done["rounds"] == rounds:
                break
        front = evolution.front()
        return SearchResult(
            front[-1].arch,
            front[-1].valid,
            {"candidates": evolution.state["candidates"], "rounds": done["rounds"]},
            front=front,
            heir=evolution.heir(),
            finetune=(self.finetune_lr, tuple(self.finetune)),
        )

    def evolution(self, space: SearchSpace, task: Task, rng: np.random.Generator) -> FrontSearch:
        return FrontSearch(
            space,
            task,
            rng,
            low=self.low,
            high=self.high,
            bins=self.bins,
            crossed=self.crossovers / max(1, self.crossovers + self.mutations),
            mutation=self.mutation,
            recalibration=self.recalibration,
        )

    def plan(self, task: Task, meter: Meter) -> Division:
        """Training by the sandwich rule, then evaluations of recalibrated candidates."""
        batch = min(task.batch_size, len(task.train))
        batches = min(self.recalibration, steps_per_epoch(task))
        children = self.crossovers + self.mutations
        return divide(
            meter.passes,
            task,
            step=3 * (2 + self.random_subnets) * batch,
            evaluation=batches * batch + len(task.valid),
            share=self.training_share,
            fewest=self.fewest,
            protocol=(self.epochs, self.population + self.rounds * children),
        )

    def train(
        self,
        space: SearchSpace,
        supernet: Supernet,
        optimiser: Optimizer,
        plan: Division,
        epoch: int,
        task: Task,
        rng: np.random.Generator,
    ) -> dict[str, float]:
        """An epoch of the sandwich rule, section 3.3.1.

        Returns:
            its last step's loss, Eq. (4), and the mean training accuracy of its random subnets
            (figure 3 d).
        """
        largest, smallest = space.path(space.largest()), space.path(space.smallest())
        batches = task.train.batches(task.batch_size, rng, task.augment, drop_last=True)
        right: list[Tensor] = []
        for step, (x, labels) in enumerate(islice(batches, plan.steps)):
            progress = (epoch + step / plan.steps) / plan.trainings
            set_lr(optimiser, cosine(self.lr, progress))
            optimiser.zero_grad()
            supernet.precision = TEACHERS[self.teacher]
            y_l = supernet(x, largest)
            supernet.precision = Precision.W1A1
            randoms = (space.path(space.sample(rng)) for _ in range(self.random_subnets))
            paths = chain([smallest], randoms)
            subnets = (self.watched(supernet(x, path), labels, right) for path in paths)
            loss = x.new_zeros(())
            distil = self.teacher != "none"
            for term in sandwich(y_l, subnets, labels, distil=distil, smoothing=self.smoothing):
                term.backward()
                loss += term.detach()
            step_of_paths(optimiser)
        learnt = {"loss": loss.item()}
        drawn = [part for k, part in enumerate(right) if k % (1 + self.random_subnets)]
        if drawn:
            learnt["subnet_accuracy"] = torch.stack(drawn).mean().item()
        return learnt

    @staticmethod
    def watched(y: Tensor, labels: Tensor, right: list[Tensor]) -> Tensor:
        """The logits as they are; their accuracy is added to `right`."""
        right.append((y.detach().argmax(1) == labels).float().mean())
        return y
