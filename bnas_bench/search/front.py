"""An evolution towards the front of accuracy and OPs, on the inherited weights of a supernet.

NAS-BNN (Lin et al., 2024), https://arxiv.org/abs/2408.15484, section 4.1.2 and the published code: one
best candidate is kept in each part of a range of OPs, and they are the parents of the next ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from bnas_bench.core.architecture import Architecture
from bnas_bench.core.errors import BadValue
from bnas_bench.nn.binary import Precision
from bnas_bench.search.learning import accuracy, recalibrate
from bnas_bench.search.strategy import Candidate

if TYPE_CHECKING:
    import numpy as np

    from bnas_bench.data.datasets import Task
    from bnas_bench.nn.network import Network, Supernet
    from bnas_bench.search.space import SearchSpace

TRIES = 100
"""Draws per architecture that is looked for, before there are taken to be no more of them."""


def bin_of(ops: float, low: float, high: float, bins: int) -> int:
    """Which of so many equal parts of [low, high] holds `ops`; what lies beyond is at the end."""
    return min(bins - 1, max(0, int(bins * (ops - low) / (high - low)))) if high > low else 0


def pareto(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Those that nothing at most as dear is as accurate as, by rising OPs and accuracy."""
    front: list[Candidate] = []
    for candidate in sorted(candidates, key=lambda c: (c.ops, -c.valid)):
        if not front or candidate.valid > front[-1].valid:
            front.append(candidate)
    return front


def scaled(evaluations: int, population: int, rounds: int, children: int) -> tuple[int, int, int]:
    """Population, rounds and children a round of an evolution that has so many evaluations.

    With fewer than the paper's all three shrink alike, to one round at least; with more there are
    more rounds.
    """
    if not children:
        return min(evaluations, population), 0, 0
    if evaluations >= population + rounds * children:
        return population, (evaluations - population) // children, children
    for fewer in range(rounds, 0, -1):
        part = evaluations / (population + fewer * children)
        if part >= fewer / rounds:
            break
    start = max(1, int(part * population))
    return start, fewer, (evaluations - start) // fewer


def walk(
    space: SearchSpace, distance: Callable[[Architecture], float], rng: np.random.Generator
) -> Architecture:
    """From the nearer end of the space towards distance 0, by mutations that do not lead away."""
    arch = min((space.smallest(), space.largest()), key=distance)
    for _ in range(10 * TRIES):
        if distance(arch) == 0:
            break
        mutant = space.mutate(arch, rng)
        if distance(mutant) <= distance(arch):
            arch = mutant
    return arch


class FrontSearch:
    """The search for the Pareto front of accuracy and OPs among the subnets of a trained supernet.

    Its `state` is plain, so that a resumed search finds it again: the architectures that wait to be
    evaluated, the ids of all that ever did, per bin of OPs the best one as (JSON, accuracy, OPs), and
    the weights of the most accurate, recalibrated.

    Args:
        low, high: M OPs; None is no bound, and the bins reach to the smallest's or largest's.
        bins: parts of that range in each of which the best candidate is kept.
        crossed: the part of the children that two parents have.
        mutation: the probability with which a mutation changes a decision.
        recalibration: batches that batch norm's statistics are recomputed on, for each candidate.
    """

    def __init__(
        self,
        space: SearchSpace,
        task: Task,
        rng: np.random.Generator,
        *,
        low: float | None,
        high: float | None,
        bins: int,
        crossed: float,
        mutation: float,
        recalibration: int,
    ) -> None:
        self.space, self.task, self.rng = space, task, rng
        self.formula = space.ops(task.spec)
        self.low, self.high = (
            self.ops(end) if bound is None else 1e6 * bound
            for bound, end in ((low, space.smallest()), (high, space.largest()))
        )
        self.bounded = low is not None, high is not None
        self.bins, self.crossed, self.mutation = bins, crossed, mutation
        self.recalibration = recalibration
        self.state: dict[str, Any] = {
            "queue": [],
            "seen": {},
            "kept": {},
            "heir": {},
            "candidates": 0,
        }

    def ops(self, arch: Architecture) -> float:
        return self.formula.of(self.space.path(arch))

    def outside(self, arch: Architecture) -> float:
        """By how many OPs an architecture misses the range; 0 within it."""
        ops = self.ops(arch)
        below, above = (
            miss if bounded else 0.0
            for miss, bounded in zip((self.low - ops, ops - self.high), self.bounded, strict=True)
        )
        return max(below, above, 0.0)

    def populate(self, size: int) -> None:
        """Queue the first candidates: the smallest and the largest, then random ones, within the range.

        Raises:
            BadValue: if no architecture is found there.
        """
        ends = {arch.id: arch for arch in (self.space.smallest(), self.space.largest())}
        first = [arch for arch in ends.values() if not self.outside(arch)][:size]
        drawn = self.collect(lambda: self.space.sample(self.rng), size)
        first += [arch for arch in drawn if arch.id not in ends][: size - len(first)]
        if not first:
            near = walk(self.space, self.outside, self.rng)
            if self.outside(near):
                costs = [self.ops(arch) / 1e6 for arch in ends.values()]
                raise BadValue(
                    f"no architecture of {self.space.name} was found between {self.low / 1e6:.6g} and "
                    f"{self.high / 1e6:.6g} M OPs; at this scale it has some from {min(costs):.6g} to "
                    f"{max(costs):.6g}: give other values of low and high"
                )
            first = [near, *self.collect(lambda: self.mutant(near), size - 1)]
        self.queue(first)

    def breed(self, children: int) -> None:
        """Queue a round of children of the best candidates: by crossover and by mutation."""
        parents = [Architecture.from_json(kept[0]) for kept in self.state["kept"].values()]

        def parent() -> Architecture:
            return parents[int(self.rng.integers(len(parents)))]

        crossed = int(children * self.crossed)
        self.queue(
            self.collect(lambda: self.space.crossover(parent(), parent(), self.rng), crossed)
        )
        self.queue(self.collect(lambda: self.mutant(parent()), children - crossed))

    def mutant(self, arch: Architecture) -> Architecture:
        """`arch`, changed in as many places as decisions meet the probability of a mutation."""
        changes = self.rng.binomial(len(self.space.decisions), self.mutation)
        for _ in range(max(1, changes)):
            arch = self.space.mutate(arch, self.rng)
        return arch

    def collect(self, propose: Callable[[], Architecture], wanted: int) -> list[Architecture]:
        """So many architectures within the range that were never queued.

        They are fewer where `TRIES` proposals for each of them do not suffice.
        """
        new: dict[str, Architecture] = {}
        for _ in range(TRIES * wanted):
            if len(new) == wanted:
                break
            arch = propose()
            if arch.id not in self.state["seen"] and not self.outside(arch):
                new[arch.id] = arch
        return list(new.values())

    def queue(self, archs: Sequence[Architecture]) -> None:
        self.state["queue"] += [arch.to_json() for arch in archs]
        self.state["seen"] |= {arch.id: None for arch in archs}

    def evaluate(self, supernet: Supernet) -> tuple[Candidate, bool]:
        """Evaluate the next candidate; whether it is now the most accurate of all."""
        arch = Architecture.from_json(self.state["queue"].pop(0))
        network = self.network(arch)
        supernet.precision = Precision.W1A1
        supernet.bequeath(network)
        task = self.task
        recalibrate(network, task.train, task.batch_size, self.recalibration, self.rng)
        valid, ops = accuracy(network, task.valid, task.batch_size), self.ops(arch)
        self.state["candidates"] += 1
        candidate = Candidate(arch, valid, ops)

        place, kept = bin_of(ops, self.low, self.high, self.bins), self.state["kept"]
        _, best, cost = kept.get(place, (None, -1.0, 0.0))
        if (valid, -ops) <= (best, -cost):
            return candidate, False
        kept[place] = (arch.to_json(), valid, ops)
        if self.front()[-1].arch != arch:
            return candidate, False
        weights = network.state_dict()
        self.state["heir"] = {name: tensor.clone() for name, tensor in weights.items()}
        return candidate, True

    def front(self) -> list[Candidate]:
        return pareto(
            Candidate(Architecture.from_json(arch), valid, ops)
            for arch, valid, ops in self.state["kept"].values()
        )

    def heir(self) -> Network:
        """The most accurate candidate as it was evaluated."""
        network = self.network(self.front()[-1].arch)
        network.load_state_dict(self.state["heir"])
        return network.eval()

    def network(self, arch: Architecture) -> Network:
        return self.space.network(arch, self.task.spec, self.rng).to(self.task.device)
