"""Which of a function's two forms runs, and the second derivatives of the fast one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor
from torch.autograd import forward_ad

_plain = ContextVar("plain", default=False)
_beyond = ContextVar("beyond", default=False)


@contextmanager
def plain() -> Iterator[None]:
    """The plain forms run within the `with`: for gradients that are themselves differentiated."""
    token = _plain.set(True)
    try:
        yield
    finally:
        _plain.reset(token)


def is_plain() -> bool:
    """Whether the plain forms are to run."""
    return _plain.get()


@contextmanager
def norms_beyond() -> Iterator[None]:
    """Batch norm within the `with` knows more than a map here has: it is not fused with what follows."""
    token = _beyond.set(True)
    try:
        yield
    finally:
        _beyond.reset(token)


def fuses(x: Tensor, *constants: Tensor | None) -> bool:
    """Whether the batch normalisation of `x` may be one pass with what follows it; see `fast`."""
    return not _beyond.get() and fast(x, *constants)


def fast(x: Tensor, *constants: Tensor | None) -> bool:
    """Whether numba's loops may run on `x`: a float32 tensor on a CPU.

    In forward mode they may where nobody differentiates the product once more (no gradients are
    enabled) and the `constants`, a layer's parameters, have no tangents.
    """
    return (
        type(x) is Tensor
        and x.dtype == torch.float32
        and x.device.type == "cpu"
        and not _plain.get()
        and (forward_ad._current_level < 0 or _forward_alone(constants))
    )


def _forward_alone(constants: Sequence[Tensor | None]) -> bool:
    return not torch.is_grad_enabled() and all(
        forward_ad.unpack_dual(each).tangent is None for each in constants if each is not None
    )


def forward_alone(x: Tensor, constant: Tensor) -> tuple[Tensor, Tensor | None]:
    """`x` and its tangent, where a product in forward mode is all that is wanted; else `x` and None."""
    if forward_ad._current_level < 0 or not fast(x, constant):
        return x, None
    primal, tangent = forward_ad.unpack_dual(x)
    return primal, tangent


def derived(
    form: Callable[..., Tensor],
    inputs: Sequence[Tensor | None],
    wanted: Sequence[bool],
    grad: Tensor,
) -> tuple[Tensor | None, ...]:
    """The gradients of the plain `form` with respect to the inputs `wanted`, with a graph of their own."""
    with torch.enable_grad():
        # Views, as one input may be computed from another: each gradient is of its own place alone.
        views = [None if x is None else x.view_as(x) for x in inputs]
        sources = [x for x, want in zip(views, wanted, strict=True) if want and x is not None]
        found = iter(torch.autograd.grad(form(*views), sources, grad, create_graph=True))
    return tuple(
        next(found) if want and x is not None else None
        for x, want in zip(views, wanted, strict=True)
    )
