"""Passes through networks, and who is told of them.

A pass is a call of a network, or of one of its methods that take images, from outside of it; what that calls
in turn is part of it. So whatever a search asks a network for is told of, once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from inspect import isgeneratorfunction
from typing import Any, ClassVar, TypeAlias

import torch
from torch import Tensor, nn
from torch._C import _functorch
from torch._subclasses.fake_tensor import FakeTensor

from bnas_bench.nn.shared import shared

Hook: TypeAlias = Callable[[Tensor], None]
"""Is called with each gradient that comes back to a tensor of a pass."""

Listener: TypeAlias = Callable[[Tensor], "Hook | None"]
"""Is told of a pass, by its logits; by maps, where no logits were asked for."""

SHARED = ("logits_and_features", "both")
"""Methods whose images ranks share out among them, as they do at the call of a network."""

PASSES = (*SHARED, "forward", "features", "successive")
"""Methods that take images."""

_within: set[int] = set()
"""The networks that are within a pass."""


def is_within() -> bool:
    """Whether a network is within a pass."""
    return bool(_within)


def images_of(tensor: Tensor) -> int:
    """The rows of a tensor; where `torch.vmap` lays several side by side, those of all."""
    whole = tensor
    while _functorch.is_functorch_wrapped_tensor(whole):
        whole = _functorch.get_unwrapped(whole)
    if _functorch.is_legacy_batchedtensor(whole):  # of gradients: `is_grads_batched`
        whole = torch._remove_batch_dim(whole, 1, 1, 0)
    rows = int(tensor.shape[0])  # which a tracer gives as a tensor
    return rows if whole is tensor else rows * (whole.numel() // max(1, tensor.numel()))


def tell(found: tuple[Any, ...], times: int = 1) -> list[Hook]:
    """Tell the listeners what a pass found; their hooks for its gradients.

    Args:
        times: how many networks' work the pass was.
    """
    first = found[0]
    # A ledger's copies and tracers compute nothing.
    if not isinstance(first, Tensor) or first.is_meta or isinstance(first, FakeTensor):
        return []
    hooks = []
    for _ in range(times):
        Passes._told += images_of(first)
        hooks += [hook for listen in Passes.listeners if (hook := listen(first))]
    _watch(found, hooks)
    return hooks


def _pass(call: Callable[..., Any]) -> Callable[..., Any]:
    """A network's method that takes images, of which listeners are told."""

    @wraps(call)
    def passed(network: Passes, *args: Any, **further: Any) -> Any:
        if id(network) in _within:
            return call(network, *args, **further)
        with _inside(network):
            found = call(network, *args, **further)
        tell(found if isinstance(found, tuple) else (found,), network.networks)
        return found

    @wraps(call)
    def each_passed(network: Passes, *args: Any, **further: Any) -> Iterator[Tensor]:
        each = call(network, *args, **further)
        if id(network) in _within:
            yield from each
            return
        hooks: list[Hook] | None = None
        while True:
            with _inside(network):  # not while others have what it found
                maps = next(each, None)
            if maps is None:
                return
            if hooks is None:
                hooks = tell((maps,), network.networks)
            else:
                _watch((maps,), hooks)
            yield maps

    return each_passed if isgeneratorfunction(call) else passed


@contextmanager
def _inside(network: nn.Module) -> Iterator[None]:
    _within.add(id(network))
    try:
        yield
    finally:
        _within.discard(id(network))


def _watch(found: tuple[Any, ...], hooks: list[Hook]) -> None:
    for tensor in found:
        if isinstance(tensor, Tensor) and tensor.requires_grad:
            for hook in hooks:
                tensor.register_hook(hook)


class Passes(nn.Module):
    """A module whose passes are told of, and which several ranks may compute together."""

    listeners: ClassVar[list[Listener]] = []

    _told: ClassVar[int] = 0

    networks: int = 1
    """How many networks' work one pass is."""

    @staticmethod
    def told() -> int:
        """Images that have gone through networks in this process, whether or not anybody listened."""
        return Passes._told

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name in PASSES:
            if call := vars(cls).get(name):
                setattr(cls, name, _pass(shared(call) if name in SHARED else call))

    __call__ = _pass(shared(nn.Module.__call__))
