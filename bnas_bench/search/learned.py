"""Whether a search learned anything: what became of the supernets in its state.

A search ranks operations by weights that it trains. Where hardly a sign of the 1-bit weights has changed,
it has ranked them on random ones; where the path that it derives is at chance with the weights that it
inherits, its ranking says nothing. The signs at the start are those of the networks as they are first
seen; a resumed search builds the same ones anew before it takes up its state.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from bnas_bench.nn.binary import BinaryConv2d
from bnas_bench.nn.kernels.activations import sign
from bnas_bench.nn.network import Supernet
from bnas_bench.search.learning import accuracy

if TYPE_CHECKING:
    from bnas_bench.core.architecture import Architecture
    from bnas_bench.data.datasets import Task
    from bnas_bench.search.space import SearchSpace

CONFIDENCE = 0.99
"""Of the bound above which the accuracy of a path is better than chance."""


class Learned:
    """Watches the supernets and the optimisers of a search.

    Args:
        state: of `Meter.epochs`, before anything has changed.
    """

    def __init__(self, state: Mapping[str, Any]) -> None:
        self.supernets = {name: part for name, part in state.items() if isinstance(part, Supernet)}
        self.start = {name: _signs(net) for name, net in self.supernets.items()}
        self.steps: dict[str, int] = {}
        for name, part in state.items():
            if isinstance(part, Optimizer):
                self._count(name, part)

    def _count(self, name: str, optimiser: Optimizer) -> None:
        self.steps[name] = 0

        def stepped(*_: object) -> None:
            self.steps[name] += 1

        optimiser.register_step_post_hook(stepped)

    def fields(
        self,
        space: SearchSpace,
        arch: Architecture,
        task: Task,
        drawn: Mapping[Architecture, float] = MappingProxyType({}),
    ) -> dict[str, Any]:
        """What a record says of it, by supernet; percentages. The valid images are looked at once for
        every architecture.

        Args:
            arch: what the search found.
            drawn: other architectures, and what each reaches when it is trained by itself, in %: how a
                supernet ranks them is beside it.
        """

        def inherited(net: Supernet, path: Architecture) -> float:
            return accuracy(net, task.valid, task.batch_size, space.path(path))

        chance = 1 / task.spec.classes
        found = {}
        for name, net in self.supernets.items():
            right = round(inherited(net, arch) * len(task.valid))
            bound = at_least(right, len(task.valid))
            found[name] = {
                "precision": str(net.precision),
                **signs_changed(self.start[name], _signs(net)),
                "path_valid_accuracy": _percent(right / len(task.valid)),
                "path_valid_at_least": _percent(bound),
                "above_chance": bound > chance,
            }
            if drawn:
                found[name]["drawn_valid_accuracies"] = [_percent(inherited(net, a)) for a in drawn]
        fields = {"supernets": found, "chance": _percent(chance), "steps": dict(self.steps)}
        if found and drawn:
            fields["drawn_test_accuracies"] = [round(one, 6) for one in drawn.values()]
        return fields


def at_least(right: int, images: int) -> float:
    """What the accuracy is at least where so many of the images were right (Clopper and Pearson)."""
    from scipy.stats import binomtest

    test = binomtest(right, images, alternative="greater")
    return float(test.proportion_ci(CONFIDENCE, method="exact").low)


def signs_changed(
    start: Mapping[str, list[Tensor]], end: Mapping[str, list[Tensor]]
) -> dict[str, Any]:
    """How many 1-bit weights there are, and which share of them has another sign, in per cent.

    Args:
        start, end: signs by the kind of kernel.
    """
    changed = {
        kind: sum(int((a != b).sum()) for a, b in zip(start[kind], end[kind], strict=True))
        for kind in start
    }
    numbers = {kind: sum(part.numel() for part in parts) for kind, parts in start.items()}
    total = sum(numbers.values())
    return {
        "signs": total,
        "signs_changed": _percent(sum(changed.values()) / total) if total else None,
        "signs_changed_by_kernel": {
            kind: _percent(changed[kind] / numbers[kind]) for kind in sorted(numbers)
        },
    }


@torch.no_grad()
def _signs(net: Supernet) -> dict[str, list[Tensor]]:
    """Whether each 1-bit weight is positive, by the kind of kernel."""
    found: dict[str, list[Tensor]] = defaultdict(list)
    for module in net.modules():
        if isinstance(module, BinaryConv2d) and module.own.weight_bits == 1:
            found[_kind(module)].append(sign(module.weight) > 0)
    return found


def _kind(conv: BinaryConv2d) -> str:
    """Such as `3x3` or `5x5 dilated`."""
    side = f"{conv.kernel_size}x{conv.kernel_size}"
    return f"{side} dilated" if conv.dilation > 1 else side


def _percent(part: float) -> float:
    return round(100 * part, 6)
