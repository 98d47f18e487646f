"""A space of four architectures and a method that searches it in a second, for the run's tests.

Loaded by its path, as users' own plug-ins are.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bnas_bench.core.architecture import Architecture, Decision, Mix
from bnas_bench.core.budget import NetworkSpec, Recipe, Scale
from bnas_bench.cost.formula import OpsFormula
from bnas_bench.data.datasets import Task
from bnas_bench.nn.binary import BinaryConv2d
from bnas_bench.nn.network import Network, Supernet, initialised_by
from bnas_bench.search.meter import Meter
from bnas_bench.search.space import SearchSpace
from bnas_bench.search.strategy import (
    Candidate,  # noqa: F401 - in `returns`
    SearchResult,
    SearchStrategy,
)

DECISIONS = (Decision("first", (1, 3)), Decision("second", (1, 3)))


def layer(channels: int, kernel: int) -> nn.Module:
    conv = BinaryConv2d(channels, channels, kernel, padding=kernel // 2)
    return nn.Sequential(conv, nn.BatchNorm2d(channels), nn.PReLU(channels))


class ToyNetwork(Network):
    def __init__(self, spec: NetworkSpec, kernels: Sequence[int], dies: str) -> None:
        super().__init__()
        self.dies = dies
        self.stem = nn.Conv2d(spec.shape[0], spec.channels, 3, padding=1)
        self.layers = nn.ModuleList(layer(spec.channels, kernel) for kernel in kernels)
        self.pool, self.flatten = nn.AdaptiveAvgPool2d(1), nn.Flatten()
        self.head = nn.Linear(spec.channels, spec.classes)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        self._die()
        x_BCHW = self.stem(x_BCHW)
        for block in self.layers:
            x_BCHW = x_BCHW + block(x_BCHW)
        return self.head(self.flatten(self.pool(x_BCHW)))

    def _die(self) -> None:
        """Die in the pack step, by the signal whose name is in the file `die`."""
        results = Path(self.dies)
        if self.dies and [*results.glob("trials/*/packing.ckpt")] and (results / "die").exists():
            os.kill(os.getpid(), signal.Signals[(results / "die").read_text()])
            signal.pause()


class ToySupernet(Supernet):
    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.stem = nn.Conv2d(spec.shape[0], spec.channels, 3, padding=1)
        self.choices = nn.ModuleList(
            nn.ModuleList(layer(spec.channels, int(option)) for option in decision.options)
            for decision in DECISIONS
        )
        self.head = nn.Linear(spec.channels, spec.classes)

    def forward(self, x_BCHW: Tensor, mix: Mix) -> Tensor:
        x_BCHW = self.stem(x_BCHW)
        for choice, path in zip(self.choices, mix, strict=True):
            x_BCHW = x_BCHW + choice[int(path)](x_BCHW)
        return self.head(x_BCHW.mean((2, 3)))


class ToySpace(SearchSpace):
    """Two layers, each with a kernel of 1 or 3.

    Args:
        dies: the folder of results in whose pack step the process dies.
    """

    def __init__(self, *, rate: float = 0.01, label: str = "", dies: str = "") -> None:
        self.rate = rate
        self.label = label
        self.dies = dies
        self.decisions = DECISIONS

    def size(self) -> int:
        return 4

    def sample(self, rng: np.random.Generator) -> Architecture:
        return self._at(rng.integers(2, size=2))

    def mutate(self, arch: Architecture, rng: np.random.Generator) -> Architecture:
        raise NotImplementedError

    def crossover(
        self, first: Architecture, second: Architecture, rng: np.random.Generator
    ) -> Architecture:
        raise NotImplementedError

    def derive(self, strengths: Sequence[np.ndarray]) -> Architecture:
        return self._at(np.array([s.argmax() for s in strengths]))

    def check(self, arch: Architecture) -> None:
        self.check_choices(arch)

    def parse(self, text: str) -> Architecture:
        return Architecture.from_json(json.loads(text))

    def network(self, arch: Architecture, spec: NetworkSpec, rng: np.random.Generator) -> Network:
        with initialised_by(rng):
            kernels = [int(kernel) for kernel in arch.choices.values()]
            return ToyNetwork(spec, kernels, self.dies)

    def supernet(
        self,
        spec: NetworkSpec,
        rng: np.random.Generator,
        *,
        partial: int = 1,  # noqa: ARG002
    ) -> Supernet:
        with initialised_by(rng):
            return ToySupernet(spec)

    def largest(self) -> Architecture:
        return self._at(np.array([1, 1]))

    def smallest(self) -> Architecture:
        return self._at(np.array([0, 0]))

    def ops(self, spec: NetworkSpec, convention: str = "nas-bnn") -> OpsFormula:
        raise NotImplementedError

    def draw(self, arch: Architecture, path: Path) -> None:
        raise NotImplementedError

    def spec(
        self,
        scale: Scale,
        shape: tuple[int, int, int],
        classes: int,
        *,
        final: bool,  # noqa: ARG002
    ) -> NetworkSpec:
        return NetworkSpec(shape, classes, cells=2, channels=scale.channels or 4)

    def recipe(self, shape: tuple[int, int, int]) -> Recipe:  # noqa: ARG002
        return replace(Recipe(), epochs=5, lr=self.rate, batch_size=64, label_smoothing=0.1)

    def _at(self, indices: np.ndarray) -> Architecture:
        choices = {
            decision.name: decision.options[index]
            for decision, index in zip(DECISIONS, indices, strict=True)
        }
        return Architecture(self.name, choices)


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
