"""A batch normalisation by the batch's own statistics, and what follows it, in one pass over the map.

Legend: B batch, C channels, H, W.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function

from bnas_bench.nn.kernels import rows
from bnas_bench.nn.kernels.activations import Estimator, prelu, ste_sign
from bnas_bench.nn.kernels.forms import derived, fast

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
    if fast(y_BCHW) and estimator == "clip":
        return _apply(y_BCHW, None, slope, norm, 1.0)
    return ste_sign(_plain(y_BCHW, None, slope, norm), estimator)


def prelu_of_norm_sum(
    y_BCHW: Tensor, residual_BCHW: Tensor | None, slope: Tensor, norm: Norm = None
) -> Tensor:
    """prelu(norm(y) + residual); the rest is as in `prelu_sign_of_norm`."""
    if fast(y_BCHW) and (residual_BCHW is None or fast(residual_BCHW)):
        return _apply(y_BCHW, residual_BCHW, slope, norm, None)
    return _plain(y_BCHW, residual_BCHW, slope, norm)


def _plain(y: Tensor, residual: Tensor | None, slope: Tensor, norm: Norm) -> Tensor:
    u = F.batch_norm(y, None, None, training=True) if norm is None else norm(y)
    return prelu(u if residual is None else u + residual, slope)


def _apply(
    y: Tensor, residual: Tensor | None, slope: Tensor, norm: Norm, bound: float | None
) -> Tensor:
    weight, bias = (None, None) if norm is None else (norm.weight, norm.bias)
    eps = 1e-5 if norm is None else norm.eps
    out, mean, variance = _Fused.apply(y, residual, slope, weight, bias, eps, bound)
    if norm is not None and norm.track_running_stats:
        _follow(norm, mean, variance, len(y) * y.shape[2] * y.shape[3])
    return out


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
    """prelu(norm(y) + residual), or with a bound its sign; and the mean and the variance."""

    @staticmethod
    def forward(
        ctx: Any,
        y: Tensor,
        residual: Tensor | None,
        slope: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        eps: float,
        bound: float | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        channels = y.shape[1]
        seen, added = _rows(y), None if residual is None else _rows(residual)
        lanes = seen.shape[1]
        mean, variance = _moments(seen, channels)
        rate = 1 / np.sqrt(variance + eps)
        per_lane = [
            _repeat(each, lanes)
            for each in (
                mean,
                rate,
                np.ones(channels) if weight is None else weight.detach().numpy(),
                np.zeros(channels) if bias is None else bias.detach().numpy(),
                slope.detach().numpy(),
            )
        ]
        out = torch.empty_like(y, memory_format=torch.channels_last)
        limit = None if bound is None else np.float32(bound)
        rows.forward(seen, added, *per_lane, limit, _rows(out))
        ctx.save_for_backward(y, residual, slope, weight, bias)
        ctx.per_lane, ctx.eps, ctx.bound = per_lane, eps, limit
        statistics = [torch.from_numpy(each.astype(np.float32)) for each in (mean, variance)]
        ctx.mark_non_differentiable(*statistics)
        return out, statistics[0], statistics[1]

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        y, residual, slope, weight, bias = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        if torch.is_grad_enabled():  # create_graph

            def form(
                y: Tensor, residual: Tensor | None, slope: Tensor, weight: Tensor, bias: Tensor
            ) -> Tensor:
                u = F.batch_norm(y, None, None, weight, bias, training=True, eps=ctx.eps)
                z = prelu(u if residual is None else u + residual, slope)
                return z if ctx.bound is None else ste_sign(z)

            inputs = (y, residual, slope, weight, bias)
            return *derived(form, inputs, wanted[:5], grad), None, None
        channels = y.shape[1]
        seen, added = _rows(y), None if residual is None else _rows(residual)
        mean, rate, gain, *_others = ctx.per_lane
        lanes = seen.shape[1]
        du, sums = torch.empty_like(y, memory_format=torch.channels_last), np.zeros((3, lanes))
        rows.backward(_rows(grad), seen, added, *ctx.per_lane, ctx.bound, _rows(du), sums)
        of_shift, of_gain, of_slope = sums.reshape(3, -1, channels).sum(1)
        of_y = None
        if wanted[0]:
            of_y = du if residual is None else torch.empty_like(du)
            means = (_repeat(s * channels / y.numel(), lanes) for s in (of_shift, of_gain))
            rows.through_norm(_rows(du), seen, mean, rate, gain, *means, _rows(of_y))
        vectors = (
            torch.from_numpy(v.astype(np.float32)) if want else None
            for v, want in zip((of_slope, of_gain, of_shift), wanted[2:5], strict=True)
        )
        return of_y, du if wanted[1] else None, *vectors, None, None


def _rows(x_BCHW: Tensor) -> np.ndarray:
    """A map, or a copy of it in channels-last layout, as rows of lanes."""
    x = x_BCHW.detach().permute(0, 2, 3, 1).contiguous()
    channels, repeats = x.shape[3], 1
    pixels = x.numel() // max(1, channels)
    while channels * repeats * 2 <= LANES and pixels % (repeats * 2) == 0:
        repeats *= 2
    return x.view(pixels // repeats, channels * repeats).numpy()


def _repeat(per_channel: np.ndarray, lanes: int) -> np.ndarray:
    made = np.empty((lanes // len(per_channel), len(per_channel)), np.float32)
    made[:] = per_channel
    return made.reshape(lanes)


def _moments(seen: np.ndarray, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and (biased) variance per channel, float64."""
    lanes = seen.shape[1]
    near = _repeat(seen[0, :channels], lanes)
    sums = np.zeros((2, lanes))
    rows.moments(seen, near, sums)
    total, squares = sums.reshape(2, -1, channels).sum(1) * channels / seen.size
    return total + near[:channels], np.maximum(squares - total * total, 0)
