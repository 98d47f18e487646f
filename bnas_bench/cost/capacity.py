"""Whether a network fits into this machine: it is weighed before anything of it is allocated."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bnas_bench.core.errors import BadValue
from bnas_bench.core.machine import MODEST, amount, memory

Shape = tuple[int, int, int]

REMEDY = "ask for fewer channels, cells or classes, or for smaller images"


def check_fits(who: str, make: Callable[[], nn.Module], shape: Shape, *others: Any) -> None:
    """Raise unless a network's weights, together with its largest map, fit into the machine's memory.

    Args:
        make: builds it; here on the meta device, where tensors have a shape and no content.
        shape: (C, H, W) of an image.
        others: what else a forward pass takes.

    Raises:
        BadValue: with the sizes.
    """
    room = memory()
    try:
        with torch.device("meta"):
            network = make()
        weights = sum(tensor.nbytes for tensor in (*network.parameters(), *network.buffers()))
        is_weighed = weights > room or prod(shape) <= prod(MODEST.shape)  # its maps are the less
        largest = 0 if is_weighed else _largest_map(network, shape, *others)
    except (RuntimeError, OverflowError) as error:  # more bytes than 64 bits count
        raise BadValue(f"{who} is beyond all sizes: {REMEDY}") from error
    if weights + largest > room:
        maps = f" and {amount(largest)} of its largest map" if largest else ""
        raise BadValue(
            f"{who} takes {amount(weights)} of weights{maps}, and this machine has {amount(room)}: "
            f"{REMEDY}"
        )


def training_bytes(module: nn.Module, shape: Shape, batch: int) -> int:
    """Bytes that a step of training keeps of a batch until its backward pass, about.

    What two layers keep counts twice, which makes it up to a third more. The module is not touched, and
    nothing is computed.
    """
    copied = deepcopy(module).to("meta").train()

    def kept(images: int) -> int:
        total = 0

        def keep(tensor: Tensor) -> Tensor:
            nonlocal total
            total += tensor.nbytes
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            copied(torch.empty(images, *shape, device="meta"))
        return total

    each = kept(3) - kept(2)
    return kept(2) + (batch - 2) * each


def _largest_map(network: nn.Module, shape: Shape, *others: Any) -> int:
    """Bytes of the largest tensor that one image makes."""
    found = _Largest()
    image = torch.empty(1, *shape, device="meta")
    # Images that a network cannot be shown are what `running` speaks of, when it is shown one.
    with torch.no_grad(), found, suppress(AssertionError, ValueError, RuntimeError):
        network.eval()(image, *others)
    return max(found.bytes, image.nbytes)


class _Largest(TorchDispatchMode):
    """Notes the largest tensor that is made while it is active."""

    bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        sizes = (leaf.nbytes for leaf in tree_leaves(made) if isinstance(leaf, Tensor))
        self.bytes = max(self.bytes, *sizes, 0)
        return made
