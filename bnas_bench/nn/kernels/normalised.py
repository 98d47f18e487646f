"""A batch normalisation by the batch's own statistics, and what follows it, in one pass over the map.

Legend: B batch, C channels, H, W.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function, forward_ad

from bnas_bench.nn.kernels import rows
from bnas_bench.nn.kernels.activations import Estimator, prelu, ste_sign
from bnas_bench.nn.kernels.forms import derived, fuses

LANES = 128
"""A row has at most so many, unless there are more channels: four vector registers of each kind, or more."""

Norm = nn.BatchNorm2d | None
"""None normalises without affine parameters and running statistics, as search networks do."""


def prelu_sign_of_norm(
    y_BCHW: Tensor, slope: Tensor, norm: Norm = None, estimator: Estimator = "clip"
) -> Tensor:
    """sign(prelu(norm(y))), the derivative that of the estimator; shape (B, C, H, W).

    Args:
        slope: the PReLU's, shape (C,).
        norm: one in training mode.
    """
    if estimator == "clip" and fuses(y_BCHW, slope, *_affine(norm)):
        return _apply(y_BCHW, None, slope, norm, 1.0)
    return ste_sign(_plain(y_BCHW, None, slope, norm), estimator)


def prelu_of_norm_sum(
    y_BCHW: Tensor, residual_BCHW: Tensor | None, slope: Tensor, norm: Norm = None
) -> Tensor:
    """prelu(norm(y) + residual); the rest is as in `prelu_sign_of_norm`."""
    constants = (slope, *_affine(norm))
    if fuses(y_BCHW, *constants) and (residual_BCHW is None or fuses(residual_BCHW)):
        return _apply(y_BCHW, residual_BCHW, slope, norm, None)
    return _plain(y_BCHW, residual_BCHW, slope, norm)


def normalise(y_BCHW: Tensor) -> Tensor:
    """Batch normalisation by the batch's own statistics, without affine parameters.

    torch's own is the faster one, but in forward mode.
    """
    if forward_ad._current_level >= 0 and fuses(y_BCHW):
        return _apply(y_BCHW, None, None, None, None)
    return F.batch_norm(y_BCHW, None, None, training=True)


def _plain(y: Tensor, residual: Tensor | None, slope: Tensor, norm: Norm) -> Tensor:
    u = F.batch_norm(y, None, None, training=True) if norm is None else norm(y)
    return prelu(u if residual is None else u + residual, slope)


def _apply(
    y: Tensor, residual: Tensor | None, slope: Tensor | None, norm: Norm, bound: float | None
) -> Tensor:
    weight, bias = _affine(norm)
    eps = 1e-5 if norm is None else norm.eps
    statistics = np.empty((2, y.shape[1]))
    out = _Fused.apply(y, residual, slope, weight, bias, eps, bound, statistics)
    if norm is not None and norm.track_running_stats:
        mean, variance = torch.from_numpy(statistics.astype(np.float32))
        _follow(norm, mean, variance, len(y) * y.shape[2] * y.shape[3])
    return out


def _affine(norm: Norm) -> tuple[Tensor | None, Tensor | None]:
    return (None, None) if norm is None else (norm.weight, norm.bias)


@torch.no_grad()
def _follow(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor, count: int) -> None:
    """Let the running statistics follow, as torch does; the running variance is the unbiased one."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    assert norm.momentum is not None
    norm.num_batches_tracked += 1
    norm.running_mean.lerp_(mean, norm.momentum)
    norm.running_var.lerp_(variance * (count / max(1, count - 1)), norm.momentum)


class _Fused(Function):
    """prelu(norm(y) + residual), or with a bound its sign; mean and variance go into `statistics`."""

    @staticmethod
    def forward(
        ctx: Any,
        y: Tensor,
        residual: Tensor | None,
        slope: Tensor | None,
        weight: Tensor | None,
        bias: Tensor | None,
        eps: float,
        bound: float | None,
        statistics: np.ndarray,
    ) -> Tensor:
        seen = _rows(y)
        kept = np.empty((5, seen.shape[1]), np.float32)
        limit = None if bound is None else np.float32(bound)
        out = torch.empty_like(y, memory_format=torch.channels_last)
        vectors = (None if v is None else v.detach().numpy() for v in (slope, weight, bias))
        rows.forward(seen, _rows_of(residual), *vectors, eps, limit, statistics, kept, _rows(out))
        ctx.save_for_backward(y, residual, slope, weight, bias)
        ctx.save_for_forward(y, residual)
        ctx.kept, ctx.eps, ctx.bound = kept, eps, limit
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        y, residual, slope, weight, bias = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        if torch.is_grad_enabled():  # create_graph

            def form(
                y: Tensor, residual: Tensor | None, slope: Tensor | None, *affine: Any
            ) -> Tensor:
                weight, bias = affine
                u = F.batch_norm(y, None, None, weight, bias, True, eps=ctx.eps)
                u = u if residual is None else u + residual
                z = u if slope is None else prelu(u, slope)
                return z if ctx.bound is None else ste_sign(z)

            inputs = (y, residual, slope, weight, bias)
            return *derived(form, inputs, wanted[:5], grad), None, None, None
        of_u = torch.empty_like(y, memory_format=torch.channels_last)
        of_y = None
        if wanted[0]:
            of_y = of_u if residual is None else torch.empty_like(of_u)
        sums = np.empty((3, y.shape[1]))
        maps = (_rows(grad), _rows(y), _rows_of(residual))
        rows.backward(*maps, ctx.kept, ctx.bound, sums, _rows(of_u), _rows_of(of_y))
        of_shift, of_gain, of_slope = torch.from_numpy(sums.astype(np.float32))
        vectors = (
            found if want else None
            for found, want in zip((of_slope, of_gain, of_shift), wanted[2:5], strict=True)
        )
        return of_y, of_u if wanted[1] else None, *vectors, None, None, None

    @staticmethod
    def jvp(ctx: Any, of_y: Tensor, of_residual: Tensor | None, *_: None) -> Tensor:
        y, residual = ctx.saved_tensors
        out = torch.empty_like(y, memory_format=torch.channels_last)
        tangents, maps = (_rows(of_y), _rows_of(of_residual)), (_rows(y), _rows_of(residual))
        rows.tangent(*tangents, *maps, ctx.kept, ctx.bound, y.shape[1], _rows(out))
        return out


def _rows_of(x_BCHW: Tensor | None) -> np.ndarray | None:
    return None if x_BCHW is None else _rows(x_BCHW)


def _rows(x_BCHW: Tensor) -> np.ndarray:
    """A map, or a copy of it in channels-last layout, as rows of lanes."""
    x = x_BCHW.detach().permute(0, 2, 3, 1).contiguous()
    channels, repeats = x.shape[3], 1
    pixels = x.numel() // max(1, channels)
    while channels * repeats * 2 <= LANES and pixels % (repeats * 2) == 0:
        repeats *= 2
    return x.view(pixels // repeats, channels * repeats).numpy()
