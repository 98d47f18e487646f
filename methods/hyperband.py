"""Hyperband: many architectures for few epochs, the best of them for longer, again and again.

Lisha Li, Kevin Jamieson, Giulia DeSalvo, Afshin Rostamizadeh, Ameet Talwalkar. "Hyperband: A Novel
Bandit-Based Approach to Hyperparameter Optimization", JMLR 18(185), 2018, https://arxiv.org/abs/1603.06560,
Algorithm 1. A round of a bracket is one of SuccessiveHalving (Jamieson and Talwalkar, AISTATS 2016).

Deviations
    The resource is epochs. Each score is a training from scratch, or a table's answer, and is paid in full,
    as the paper counts it; nothing is gone on with.
    R shrinks by eta until the budget holds the first bracket; the brackets begin anew as long as the
    budget lasts, and the last one may not come to its end.

Open in the paper
    Ties among scores go to the one that was drawn first, in the result to the longer training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any, NamedTuple

from bnas_bench.core.architecture import Architecture
from bnas_bench.core.errors import BadValue
from bnas_bench.core.options import Count
from bnas_bench.search.strategy import SearchResult, SearchStrategy

if TYPE_CHECKING:
    import numpy as np

    from bnas_bench.data.datasets import Task
    from bnas_bench.search.meter import Meter
    from bnas_bench.search.space import SearchSpace


class Round(NamedTuple):
    """So many architectures for so many epochs: n_i and r_i of Algorithm 1."""

    architectures: int
    epochs: int


def most_halvings(longest: int, eta: int) -> int:
    """s_max: how often `longest` epochs can be divided by eta, to one at least."""
    halvings = 0
    while longest >= eta:
        longest, halvings = longest // eta, halvings + 1
    return halvings


def bracket(halvings: int, longest: int, eta: int) -> list[Round]:
    """Algorithm 1, lines 3 to 7: the rounds of the bracket s = `halvings`.

    n = ceil((s_max + 1) / (s + 1) * eta^s); n_i = floor(n eta^-i) for r_i = R eta^(i - s) epochs.
    """
    first = ceil((most_halvings(longest, eta) + 1) / (halvings + 1) * eta**halvings)
    return [
        Round(first // eta**i, max(1, longest * eta**i // eta**halvings))
        for i in range(halvings + 1)
    ]


def brackets(longest: int, eta: int) -> list[list[Round]]:
    """The loop of line 2: from the most halvings to none."""
    return [bracket(s, longest, eta) for s in range(most_halvings(longest, eta), -1, -1)]


def best_of(scores: Sequence[float], keep: int) -> list[int]:
    """top_k of line 9: the places of the `keep` highest scores, highest first."""
    return sorted(range(len(scores)), key=lambda k: -scores[k])[:keep]


@dataclass(kw_only=True)
class Hyperband(SearchStrategy):
    """Brackets of successive halving, from the most architectures to the longest trainings.

    Args:
        epochs: R, the most that an architecture is trained for; a table may know of fewer.
        eta: of a round's architectures one in eta goes on, for eta times as long (section 3).
    """

    epochs: Count = 27
    eta: Count = 3

    def validate(self) -> None:
        if self.eta < 2:
            raise BadValue(f"'eta' of hyperband is {self.eta}, which ends no round; give 2 or more")

    def search(
        self, space: SearchSpace, task: Task, meter: Meter, rng: np.random.Generator
    ) -> SearchResult:
        longest = self.longest(task, meter)
        rounds = [(one, i) for one in brackets(longest, self.eta) for i in range(len(one))]
        # Of the round in hand: its place in `rounds`, its architectures, and the scores so far.
        now: dict[str, Any] = {"round": 0, "archs": [], "scores": [], "best": None, "asked": 0}
        protocol = sum(one[i].architectures for one, i in rounds)
        for _ in meter.epochs(
            state={"rng": rng, "now": now}, protocol=protocol, dearest=task.passes_of(longest)
        ):
            one, i = rounds[now["round"] % len(rounds)]
            if len(now["archs"]) == len(now["scores"]):  # a new bracket draws one after the other
                now["archs"].append(space.sample(rng).to_json())
            arch = Architecture.from_json(now["archs"][len(now["scores"])])
            score = task.score(arch, one[i].epochs)
            now["scores"].append(score)
            now["asked"] += 1
            if now["best"] is None or (score, one[i].epochs) > tuple(now["best"][1:]):
                now["best"] = [arch.to_json(), score, one[i].epochs]
                meter.incumbent(arch, valid=score, epochs=one[i].epochs)
            if len(now["scores"]) == one[i].architectures:
                kept = best_of(now["scores"], one[i + 1].architectures) if i + 1 < len(one) else []
                now.update(round=now["round"] + 1, archs=[now["archs"][k] for k in kept], scores=[])
        best, valid, _ = now["best"]
        notes = {"candidates": now["asked"], "rounds": now["round"], "longest": longest}
        return SearchResult(Architecture.from_json(best), valid, notes)

    def longest(self, task: Task, meter: Meter) -> int:
        """R: as many epochs as the budget holds a whole first bracket of, and a table knows."""
        longest = min(self.epochs, task.longest or self.epochs)

        def cost() -> float:
            return sum(n * task.passes_of(r) for n, r in brackets(longest, self.eta)[0])

        while meter.passes is not None and longest > 1 and cost() > meter.passes:
            longest //= self.eta
        return max(1, longest)
