"""A space of few architectures and a method that searches it in a second, for the run's tests.

Loaded by its path, as users' own plug-ins are.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bnas_bench.core.architecture import Architecture
from bnas_bench.core.budget import NetworkSpec, Recipe, Scale
from bnas_bench.data.datasets import Task
from bnas_bench.nn.network import Network, initialised_by
from bnas_bench.search.meter import Meter
from bnas_bench.search.space import SearchSpace
from bnas_bench.search.strategy import (
    Candidate,  # noqa: F401 - in `returns`
    SearchResult,
    SearchStrategy,
)
from tests.toys.space import ToyNetwork
from tests.toys.space import ToySpace as Blocks

DECISIONS = Blocks(stride=1).decisions
"""Shared by all spaces here, so that a search can alter them for the next."""


class DyingNetwork(ToyNetwork):
    """One that dies in the pack step, by the signal whose name is in the file `die`."""

    dies = ""

    def forward(self, x: Tensor) -> Tensor:
        results = Path(self.dies)
        if (
            self.dies
            and [*results.glob("trials/.*.work/*/packing.ckpt")]
            and (results / "die").exists()
        ):
            number = signal.Signals[(results / "die").read_text()]
            with suppress(OSError):  # of SIGKILL, to which nobody is deaf
                signal.signal(number, signal.SIG_DFL)  # what nohup starts is deaf to SIGHUP
            os.kill(os.getpid(), number)
            signal.pause()
        return super().forward(x)


class ToySpace(Blocks):
    """The space of the plug-ins' tests, with options of its own.

    Args:
        dies: the folder of results in whose pack step the process dies.
    """

    def __init__(self, *, rate: float = 0.01, label: str = "", dies: str = "") -> None:
        super().__init__(stride=1)
        self.decisions = DECISIONS
        self.rate = rate
        self.label = label
        self.dies = dies

    def network(self, arch: Architecture, spec: NetworkSpec, rng: np.random.Generator) -> Network:
        with initialised_by(rng):
            kernels = [int(kernel) for kernel in arch.choices.values()]
            network = DyingNetwork(kernels, spec, self.stride)
        network.dies = self.dies
        return network

    def spec(self, scale: Scale, *frame: Any, final: bool) -> NetworkSpec:  # noqa: ARG002
        return replace(super().spec(scale, *frame, final=False), channels=scale.channels or 4)

    def recipe(self, shape: tuple[int, int, int]) -> Recipe:  # noqa: ARG002
        return replace(Recipe(), epochs=5, lr=self.rate, batch_size=64, label_smoothing=0.1)


@dataclass(kw_only=True)
class ToyMethod(SearchStrategy):
    """Trains sampled paths and keeps the one that validates best; or goes wrong as it is told.

    Args:
        meddle: statements that the search runs, in the epoch `meddle_at` or, for -1, at its end.
        returns: an expression for what it returns.
    """

    fault: str = ""
    pause: float = 0.0
    tries: int = 4
    meddle: str = ""
    meddle_at: int = -1
    returns: str = ""

    def refuses(self, space: SearchSpace) -> str | None:  # noqa: ARG002
        return "it only plays" if self.fault == "refuse" else None

    def search(
        self, space: SearchSpace, task: Task, meter: Meter, rng: np.random.Generator
    ) -> SearchResult:
        supernet = space.supernet(task.spec, rng)
        optimiser = torch.optim.Adam(supernet.parameters(), lr=0.01)
        alpha = nn.Parameter(torch.zeros(2, 2))
        memory: dict[str, Any] = {"best": 0.0, "mix": None}
        history: list[Any] = []
        state = {
            "supernet": supernet,
            "optimiser": optimiser,
            "rng": rng,
            "alpha": alpha,
            "memory": memory,
            "history": history,
        }
        for epoch in meter.epochs(state=state, protocol=5):
            self._go_wrong(meter)
            if epoch == self.meddle_at:
                exec(self.meddle)
            self._leave_trace(epoch)
            mix = rng.integers(2, size=2).tolist()
            batches = task.train.batches(task.batch_size, rng, task.augment)
            for (x_BCHW, y_B), _ in zip(batches, range(self.tries), strict=False):
                optimiser.zero_grad()
                F.cross_entropy(supernet(x_BCHW, mix), y_B).backward()
                optimiser.step()
            (x_BCHW, y_B), *_ = task.valid.batches(64)
            with torch.no_grad():
                right = (supernet(x_BCHW, mix).argmax(1) == y_B).float().mean().item()
                alpha[[0, 1], mix] += right
            history.append((tuple(mix), right))
            if right >= memory["best"]:
                memory.update(best=right, mix=mix)
            meter.report(valid=right)
        best = space.derive(list(alpha.detach().numpy()))
        meter.incumbent(best, valid=memory["best"])
        if self.meddle_at == -1:
            exec(self.meddle)
        result = SearchResult(best, memory["best"], {"epochs": len(history)})
        return eval(self.returns) if self.returns else result

    def _leave_trace(self, epoch: int) -> None:
        if path := os.environ.get("TOY_TRACE"):
            with Path(path).open("a") as file:
                file.write(f"{os.getpid()} {epoch}\n")
        if os.environ.get("TOY_WAITS_AT") == str(epoch):
            signal.pause()

    def _go_wrong(self, meter: Meter) -> None:
        time.sleep(self.pause)
        match self.fault:
            case "raise":
                raise RuntimeError("no\nluck")
            case "nan":
                meter.report(loss=float("nan"))
            case "memory":
                bytearray(2**60)
            case "exit":
                os._exit(3)
            case "SIGSEGV" | "SIGKILL":
                os.kill(os.getpid(), signal.Signals[self.fault])
