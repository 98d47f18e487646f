"""Two blocks in a row, eight architectures: a space that the tests can count. Not from a paper."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from bnas_bench.core.architecture import Architecture, Decision, Mix
from bnas_bench.core.budget import NetworkSpec, Recipe, Scale
from bnas_bench.core.errors import InvalidArchitecture
from bnas_bench.cost.formula import OpsFormula, Term, convolution_ops, linear_ops
from bnas_bench.nn.binary import BinaryConv2d
from bnas_bench.nn.network import Network, Supernet, initialised_by
from bnas_bench.search.space import SearchSpace

KERNELS = (1, 3, 5)


class Block(nn.Module):
    """A 1-bit convolution of one kernel size and batch normalisation."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.conv = BinaryConv2d(channels, channels, kernel, padding=kernel // 2)
        self.norm = nn.BatchNorm2d(channels, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)) + x


class ToyNetwork(Network):
    def __init__(self, kernels: list[int], spec: NetworkSpec, stride: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(spec.shape[0], spec.channels, 3, stride, bias=False)
        self.blocks = nn.Sequential(*(Block(spec.channels, kernel) for kernel in kernels))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(spec.channels, spec.classes)

    def features(self, x: Tensor) -> Tensor:
        return self.blocks(self.stem(x))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pool(self.features(x)).flatten(1))


class ToySupernet(Supernet):
    def __init__(self, spec: NetworkSpec, stride: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(spec.shape[0], spec.channels, 3, stride, bias=False)
        self.choices = nn.ModuleList(
            nn.ModuleList(Block(spec.channels, kernel) for kernel in KERNELS) for _ in range(2)
        )
        self.head = nn.Linear(spec.channels, spec.classes)

    def features(self, x: Tensor, mix: Mix) -> Tensor:
        x = self.stem(x)
        for blocks, chosen in zip(self.choices, mix, strict=True):
            if isinstance(chosen, Tensor):
                x = sum(w * block(x) for w, block in zip(chosen, blocks, strict=True))
            else:
                x = blocks[chosen](x)
        return x

    def forward(self, x: Tensor, mix: Mix) -> Tensor:
        return self.head(self.features(x, mix).flatten(2).mean(2))

    def weight_norms(self) -> Tensor:
        return torch.stack(
            [
                torch.stack([b.conv.effective_weight().square().sum() for b in blocks]).sum()
                for blocks in self.choices
            ]
        )

    @torch.no_grad()
    def bequeath(self, network: ToyNetwork) -> None:
        network.stem.load_state_dict(self.stem.state_dict())
        network.head.load_state_dict(self.head.state_dict())
        for blocks, heir in zip(self.choices, network.blocks, strict=True):
            block = blocks[KERNELS.index(heir.conv.kernel_size)]
            heir.load_state_dict(block.state_dict())


class ToySpace(SearchSpace):
    """Two 1-bit blocks of kernel size 1, 3 or 5; no 1 after a 5."""

    def __init__(self, *, stride: int = 2) -> None:
        self.stride = stride
        self.decisions = (Decision("first", KERNELS), Decision("second", KERNELS))

    def size(self) -> int:
        return 8

    def check(self, arch: Architecture) -> None:
        self.check_choices(arch)
        if arch.choices == {"first": 5, "second": 1}:
            raise InvalidArchitecture("a kernel of 1 does not follow one of 5")

    def sample(self, rng: np.random.Generator) -> Architecture:
        while True:
            first, second = (int(kernel) for kernel in rng.choice(KERNELS, 2))
            if (first, second) != (5, 1):
                return Architecture(self.name, {"first": first, "second": second})

    def mutate(self, arch: Architecture, rng: np.random.Generator) -> Architecture:
        while (mutant := self.sample(rng)) == arch:
            pass
        return mutant

    def crossover(
        self, first: Architecture, second: Architecture, rng: np.random.Generator
    ) -> Architecture:
        parents = (first, second)
        return parents[int(rng.integers(2))]

    def derive(self, strengths: Sequence[np.ndarray]) -> Architecture:
        first, second = (KERNELS[int(np.argmax(strength))] for strength in strengths)
        if (first, second) == (5, 1):
            second = 3
        return Architecture(self.name, {"first": first, "second": second})

    def parse(self, text: str) -> Architecture:
        try:
            arch = Architecture.from_json(json.loads(text))
        except json.JSONDecodeError as error:
            raise InvalidArchitecture(f"this is no JSON: {error.msg}") from None
        self.check(arch)
        return arch

    def network(self, arch: Architecture, spec: NetworkSpec, rng: np.random.Generator) -> Network:
        with initialised_by(rng):
            return ToyNetwork(
                [int(arch.choices[d.name]) for d in self.decisions], spec, self.stride
            )

    def supernet(
        self, spec: NetworkSpec, rng: np.random.Generator, *, partial: int = 1
    ) -> Supernet:
        assert partial == 1
        with initialised_by(rng):
            return ToySupernet(spec, self.stride)

    def largest(self) -> Architecture:
        return Architecture(self.name, {"first": 5, "second": 5})

    def smallest(self) -> Architecture:
        return Architecture(self.name, {"first": 1, "second": 1})

    def ops(self, spec: NetworkSpec, convention: str = "nas-bnn") -> OpsFormula:
        image, c = spec.shape[0], spec.channels
        area = prod((side - 3) // self.stride + 1 for side in spec.shape[1:])
        fixed = convolution_ops(image, c, 3, area, bits=(32, 32), convention=convention)
        fixed += linear_ops(c, spec.classes, convention=convention)
        table = np.array([convolution_ops(c, c, k, area, convention=convention) for k in KERNELS])
        return OpsFormula([Term((), np.array(fixed)), Term((0,), table), Term((1,), table)])

    def draw(self, arch: Architecture, path: Path) -> None:
        path.write_text(str(arch))

    def spec(
        self, scale: Scale, shape: tuple[int, int, int], classes: int, *, final: bool
    ) -> NetworkSpec:
        return NetworkSpec(shape, classes, 2, scale.channels or (16 if final else 8))

    def recipe(self, shape: tuple[int, int, int]) -> Recipe:  # noqa: ARG002
        return Recipe(epochs=1)
