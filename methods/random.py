"""Random search, the baseline that every strategy has to beat.

Not from a paper of its own; Yang et al., "NAS evaluation is frustratingly hard" (ICLR 2020),
https://arxiv.org/abs/1912.12522, argue why it must be there.

Two forms: `draw` takes one architecture at random and spends nothing; `search` trains as many
random candidates from scratch as the budget allows and keeps the best on the validation images.
DCP-NAS' "Random Search" (table 4) trains paths of a supernet instead and averages; this one shares
no weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bnas_bench.core import Architecture, SearchResult, SearchStrategy
from bnas_bench.errors import BadValue, UnknownName
from bnas_bench.learning import accuracy, train_briefly

if TYPE_CHECKING:
    import numpy as np

    from bnas_bench.core import SearchSpace
    from bnas_bench.data import Task
    from bnas_bench.meter import Meter

FORMS = ("search", "draw")


class Random(SearchStrategy):
    """Random architectures: one draw, or the best of as many as the budget trains.

    Args:
        form: `search` or `draw`.
        epochs: epochs over the search's training images that each candidate gets.
        lr, weight_decay, clip: of Adam and the gradient's norm, as in the final training (DCP-NAS
            section 4.1.3); the rate is annealed by a cosine over the candidate's epochs.
        candidates: how many, where the budget sets no limit (as many as DCP-NAS' epochs).
    """

    def __init__(
        self,
        *,
        form: str = "search",
        epochs: int = 4,
        lr: float = 0.0025,
        weight_decay: float = 1e-5,
        clip: float = 5.0,
        candidates: int = 105,
    ) -> None:
        self.form = form
        self.epochs = epochs
        self.lr = lr
        self.weight_decay = weight_decay
        self.clip = clip
        self.candidates = candidates

    def validate(self) -> None:
        if self.form not in FORMS:
            raise UnknownName("form of random", self.form, FORMS)
        if self.epochs < 1 or self.candidates < 1:
            raise BadValue("epochs and candidates of random must be at least 1")

    def search(
        self, space: SearchSpace, task: Task, meter: Meter, rng: np.random.Generator
    ) -> SearchResult:
        if self.form == "draw":
            return SearchResult(space.sample(rng))
        best: dict[str, Any] = {"valid": -1.0, "arch": None, "seen": 0}
        for _ in meter.epochs(state={"rng": rng, "best": best}, protocol=self.candidates):
            arch = space.sample(rng)
            network = space.network(arch, task.spec, rng).to(task.device)
            train_briefly(
                network,
                task,
                rng,
                epochs=self.epochs,
                lr=self.lr,
                weight_decay=self.weight_decay,
                clip=self.clip,
            )
            valid = accuracy(network, task.valid, task.batch_size)
            best["seen"] += 1
            if valid > best["valid"]:
                best.update(valid=valid, arch=arch.to_json())
                meter.incumbent(arch, valid=valid)
        return SearchResult(
            Architecture.from_json(best["arch"]), best["valid"], {"candidates": best["seen"]}
        )
