"""What a layer computes within itself, operation by operation, as torch carries it out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from bnas_bench.cost.layers import COPIES


@dataclass
class Work:
    """What a layer has computed within itself so far."""

    macs: int = 0
    biases: int = 0
    elementwise: int = 0

    def add(self, func: Any, args: Any, kwargs: Any, result: Any) -> None:
        """Add an operation: products as torch's own counter has them, 1 per value of all others."""
        operation, values = name_of(func), sum(y.numel() for y in tensors(result))
        if count := flop_registry.get(func.overloadpacket):
            self.macs += count(*args, **kwargs, out_val=result) // 2
            self.biases += values if operation == "addmm" else 0
        elif operation == "add" and any(isinstance(x, nn.Parameter) for x in tensors(args)):
            self.biases += values  # of a product that torch could not add it to at once
        elif not func.is_view and operation not in COPIES:
            self.elementwise += values


def name_of(func: Any) -> str:
    """Torch's name of an operation, without the `_` of in-place."""
    return func.overloadpacket.__name__.removesuffix("_")


def tensors(values: Any) -> list[Tensor]:
    return [value for value in tree_leaves(values) if isinstance(value, Tensor)]
