"""The sign with its straight-through estimators, and PReLU: twice and forward-differentiable."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd import Function

Estimator = Literal["clip", "polynomial"]

ONE = torch.ones((), device="cpu")
"""A number, which takes the type of what it meets; on the CPU also where another device is the default."""


def sign(x: Tensor) -> Tensor:
    """-1 below zero and +1 elsewhere, zero included; no derivative."""
    if torch.compiler.is_exporting():  # ONNX has no copysign
        return torch.where(x < 0, -1.0, 1.0).to(x.dtype)
    one = ONE if x.device.type == "cpu" else x.new_ones(())
    return torch.copysign(one, x.detach() + 0.0)  # vectorised; + 0.0: of two zeros the positive one


def clip_slope(x: Tensor) -> Tensor:
    """DCP-NAS Eq. (17): 1 where |x| <= 1, else 0."""
    return (x.abs() <= 1).to(x.dtype)


def polynomial_slope(x: Tensor) -> Tensor:
    """Bi-Real Net Eq. (5): 2 - 2|x| where |x| < 1, else 0."""
    return (2 - 2 * x.abs()).clamp(min=0)


def clipped(grad: Tensor, x: Tensor) -> Tensor:
    """grad * clip_slope(x) in one pass."""
    beyond = 1 + torch.finfo(x.dtype).eps  # hardtanh's gradient is zero at its ends, ours beyond 1
    return torch.ops.aten.hardtanh_backward(grad, x, -beyond, beyond)


class _StraightThrough(Function):
    """sign(x) forward; times the slope of a smooth stand-in backward, and in forward-mode products."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, estimator: Estimator) -> Tensor:
        ctx.estimator = estimator
        ctx.save_for_backward(x)
        ctx.save_for_forward(x)
        return sign(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return clipped(grad, x) if ctx.estimator == "clip" else grad * polynomial_slope(x), None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: None) -> Tensor:
        (x,) = ctx.saved_tensors
        return tangent * (clip_slope(x) if ctx.estimator == "clip" else polynomial_slope(x))


def ste_sign(x: Tensor, estimator: Estimator = "clip") -> Tensor:
    """sign(x) whose derivative is that of the estimator."""
    return _StraightThrough.apply(x, estimator)


class _PReLU(Function):
    """torch's PReLU with a gradient of vectorised operations."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: Tensor) -> Tensor:
        ctx.save_for_backward(x, slope)
        ctx.save_for_forward(x, slope)
        return torch.prelu(x, slope)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, slope = ctx.saved_tensors
        above = torch.ops.aten.threshold_backward(grad, x, 0)
        below = grad - above
        of_x = of_slope = None
        if ctx.needs_input_grad[0]:
            of_x = torch.addcmul(above, below, _per_channel(slope, x))
        if ctx.needs_input_grad[1]:
            of_slope = (below * x).sum([0, *range(2, x.dim())]).view_as(slope)
        return of_x, of_slope

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, of_slope: Tensor | None) -> Tensor:
        x, slope = ctx.saved_tensors
        product = torch.where(x > 0, tangent, tangent * _per_channel(slope, x))
        if of_slope is None:
            return product
        return product + x.clamp(max=0) * _per_channel(of_slope, x)


def _per_channel(slope: Tensor, x: Tensor) -> Tensor:
    return slope.view(1, -1, *(1 for _ in range(x.dim() - 2)))


def prelu(x: Tensor, slope: Tensor) -> Tensor:
    """x above zero, slope * x below, with one slope per channel, or one for all.

    Args:
        x: shape (B, C, ...).
        slope: shape (C,) or (1,).
    """
    return _PReLU.apply(x, slope) if len(slope) == x.shape[1] else torch.prelu(x, slope)
