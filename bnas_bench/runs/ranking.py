"""Whether cheap scores rank architectures as a table does: one-shot scores, proxies, short trainings.

Kaicheng Yu, Christian Sciuto, Martin Jaggi, Claudiu Musat, Mathieu Salzmann. "Evaluating the Search Phase of
Neural Architecture Search", ICLR 2020, https://arxiv.org/abs/1902.08142, ask it of weight sharing on
NAS-Bench-101.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bnas_bench.core.architecture import Architecture
from bnas_bench.core.budget import Budget
from bnas_bench.core.errors import BadValue
from bnas_bench.core.searching import searching
from bnas_bench.core.seeds import generator
from bnas_bench.nn.binary import Precision
from bnas_bench.nn.network import Supernet
from bnas_bench.plugins import making
from bnas_bench.plugins.making import Choice
from bnas_bench.runs.judged import task_of
from bnas_bench.search.learning import accuracy, recalibrate
from bnas_bench.search.lent import Lent
from bnas_bench.search.meter import Meter
from bnas_bench.search.space import SearchSpace
from bnas_bench.search.untouched import generators_put_back, untouched
from bnas_bench.tables.agreement import Estimate, bootstrapped, kendall_tau
from bnas_bench.tables.judge import PRECISION, ByTable, Judge

PROXIES = ("nwot", "jacov", "grad_norm", "snip", "synflow")
REAL_ONLY = ("synflow",)
"""Runs real-valued twins whatever the network's precision is."""

BATCH = 100
"""Images of a batch that recalibrates or validates."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Of the architectures that are ranked.

    Attributes:
        method: what gave them, as it is written in a grid.
        of: the supernet's name in the search's state, a proxy, or the epochs of a training.
        precision: at which the scored networks ran; None where that makes no difference.
        values: one per architecture; more is better.
        passes: spent before there were any scores, by the search.
        passes_each: by one score, on average.
        without: a seed of the table that the scores have seen, and the truth is to leave out.
    """

    method: str
    of: str
    precision: str | None
    values: Sequence[float]
    passes: float
    passes_each: float
    without: int | None = None


class Ranked:
    """The first architectures that a table holds at W1A1, a random sample of its space, and their task.

    Args:
        count: how many.
        budget: gives a search its scale and its passes, as a trial of it has.

    Raises:
        BadValue: if the table holds fewer than three.
    """

    def __init__(self, judge: Judge, count: int, budget: Budget) -> None:
        self.judge, self.budget = judge, budget
        self.truth, self.space = judge.truth, judge.truth.space
        frame = self.truth.frame()
        self.texts = list(frame["arch"][frame["precision"] == PRECISION].drop_duplicates()[:count])
        if len(self.texts) < 3:
            raise BadValue(
                f"the table {self.truth.name} holds {len(self.texts)} architecture(s), which have no order: "
                "bnas-bench tabulate trains more"
            )
        self.archs = [self.space.parse(text) for text in self.texts]
        dataset = judge.dataset
        scale = self.space.fit(budget.search)
        spec = self.space.spec(scale, dataset.shape, dataset.classes, final=False)
        self.task = task_of(judge, dataset, spec, budget)

    def supernets(self, choice: Choice, written: str, seed: int) -> Iterator[Scores]:
        """Search as the trial of that seed does, and score by every supernet that the search has trained."""
        plugin, options = choice
        method, lent = plugin.make(options), self.fresh()
        if reason := method.refuses(lent):
            raise BadValue(f"{written} does not run on {self.space.name}: {reason}; leave it out")
        budget = self.budget.under(method.protocol)
        meter = Meter(budget.passes)
        purpose = (self.truth.definition.dataset, seed)
        task = replace(self.task, scorer=ByTable(self.judge, meter, 0, purpose))
        whole = Lent(lent)
        with meter, searching(), generators_put_back(), untouched("the search", whole):
            rng = generator(0, "search", self.space.name, plugin.name, seed)
            method.search(lent, task, meter, rng)
        found = meter.learned.supernets if meter.learned else {}
        for name, supernet in found.items():
            passes = (self.recalibration + len(task.valid)) / 3
            yield Scores(
                method=written,
                of=name,
                precision=str(supernet.precision),
                values=[self.inherited(arch, supernet) for arch in self.archs],
                passes=round(meter.spent, 2),
                passes_each=round(passes, 2),
            )

    @property
    def recalibration(self) -> int:
        """Images that recalibrate."""
        size = min(BATCH, len(self.task.train))
        return len(self.task.train) // size * size

    def inherited(self, arch: Architecture, supernet: Supernet) -> float:
        """The validation accuracy of the stand-alone network with the supernet's weights.

        Batch norm's statistics are those of the training images; on a supernet of partial channels, whose
        weights fit no such network, those of the validation images.
        """
        task = self.task
        if getattr(supernet, "partial", 1) > 1:
            return accuracy(supernet, task.valid, BATCH, self.space.path(arch))
        rng = generator(0, "ranking", arch.id)
        network = self.space.network(arch, task.spec, rng).to(task.device)
        network.precision = supernet.precision
        supernet.bequeath(network)
        size = min(BATCH, len(task.train))
        recalibrate(network, task.train, size, self.recalibration // size, rng)
        return accuracy(network, task.valid, BATCH)

    def proxy(self, name: str, precision: str, seed: int) -> Scores:
        """The zero-cost proxy of networks at a precision, each with weights and a batch of its own."""
        proxy: Any = making.method(f"proxy[score={name}]")
        values = []
        with Meter(None) as meter:
            for arch in self.archs:
                rng = generator(0, "ranking", "proxy", seed, arch.id)
                network = self.space.network(arch, self.task.spec, rng).to(self.task.device)
                network.precision = Precision(precision)
                values.append(proxy.of(network, self.task, rng))
        return Scores(
            method=f"proxy[score={name}]",
            of=name,
            precision=precision,
            values=values,
            passes=0.0,
            passes_each=round(meter.spent / len(self.archs), 2),
        )

    def proxies(self, seed: int) -> Iterator[Scores]:
        """All of them, at the precisions that they tell apart; and what the networks cost."""
        for name in PROXIES:
            for precision in ("W32A32",) if name in REAL_ONLY else ("W1A1", "W32A32"):
                yield self.proxy(name, precision, seed)
        for name in ("ops", "parameters"):
            entries = [self.truth.query(arch, PRECISION) for arch in self.texts]
            values = [float(getattr(entry, name)) for entry in entries]
            yield Scores(
                method=f"proxy[score={name}]",
                of=name,
                precision=None,
                values=values,
                passes=0.0,
                passes_each=0.0,
            )

    def trainings(self, seed: int) -> Iterator[Scores]:
        """The yardstick: what the table itself says of one seed after one epoch, half of them, and all."""
        how = self.truth.definition
        scorer = ByTable(self.judge, Meter(None), 0, ())
        without = seed % how.seeds
        for epochs in sorted({1, -(-how.epochs // 2), how.epochs}):
            yield Scores(
                method="training",
                of=f"{epochs} epochs",
                precision=PRECISION,
                values=[
                    float(self.truth.query(arch, PRECISION).valid[without, epochs - 1])
                    for arch in self.texts
                ],
                passes=0.0,
                passes_each=round(scorer.passes(epochs), 2),
                without=without,
            )

    def fresh(self) -> SearchSpace:
        """A space that a search may have for itself."""
        return making.space(self.truth.definition.space)

    def taus(self, scores: Scores) -> dict[str, Estimate]:
        """Kendall's tau-b of the scores and the mean test accuracies, by the precision of these.

        With 95 % bootstrap intervals over architectures, of those that the table has at a precision.
        """
        found = {}
        for precision in self.truth.precisions:
            held = [k for k, arch in enumerate(self.texts) if self.truth.holds(arch, precision)]
            test_NS = np.array([self.truth.query(self.texts[k], precision).test for k in held])
            if scores.without is not None and test_NS.ndim == 2 and test_NS.shape[1] > 1:
                test_NS = np.delete(test_NS, scores.without, 1)
            if len(held) > 2:
                values = np.array([scores.values[k] for k in held])
                found[precision] = bootstrapped(kendall_tau, values, test_NS.mean(1).round(9))
        return found
