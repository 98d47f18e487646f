"""Convolutions of small maps and depthwise ones, where oneDNN is slow at them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function, forward_ad

from bnas_bench.nn.kernels.forms import derived, fast, forward_alone
from bnas_bench.nn.kernels.taps import spread, tap_sums


def convolve(
    x_BCHW: Tensor,
    weight: Tensor,
    bias: None,
    stride: int,
    padding: int,
    dilation: int,
    groups: int,
) -> Tensor:
    """torch's conv2d for square kernels of odd side, without the taps that no pixel reaches.

    Where a map is small and a kernel is dilated, whole rows and columns of it see nothing but padding:
    their products are zeros, and oneDNN takes ten times as long with them as without.
    """
    cut = _unreached(x_BCHW, weight.shape[-1], padding, dilation)
    if cut:
        side = weight.shape[-1]
        weight, padding = weight[:, :, cut : side - cut, cut : side - cut], padding - cut * dilation
    if weight.shape[-1] == 1 and stride > 1:
        # The pixels that are seen, side by side: on maps of few channels in this layout oneDNN's own
        # gradient of the weights writes beyond its memory, https://github.com/uxlfoundation/oneDNN/issues/6035
        x_BCHW = x_BCHW[:, :, ::stride, ::stride].contiguous(memory_format=torch.channels_last)
        stride = 1
    depthwise = len(weight) == groups == x_BCHW.shape[1] and weight.shape[-1] > 1
    differentiated = torch.is_grad_enabled() and (weight.requires_grad or x_BCHW.requires_grad)
    if depthwise and differentiated and fast(x_BCHW):
        return _Depthwise.apply(x_BCHW, weight, stride, padding, dilation)
    seen, tangent = forward_alone(x_BCHW, weight)
    made = F.conv2d(seen, weight, bias, stride, padding, dilation, groups)
    if tangent is None:
        return made
    # torch would convolve with the weights' tangent as well, which is zero.
    moved = F.conv2d(tangent, weight, bias, stride, padding, dilation, groups)
    return forward_ad.make_dual(made, moved)


def _unreached(x_BCHW: Tensor, side: int, padding: int, dilation: int) -> int:
    """Rings of a kernel that see padding alone, wherever the kernel stands on a map."""
    if side == 1 or padding != dilation * (side // 2):
        return 0
    return side // 2 - min(side // 2, (max(x_BCHW.shape[2:]) - 1) // dilation)


class _Depthwise(Function):
    """A convolution of one filter per channel."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, stride: int, padding: int, dilation: int
    ) -> Tensor:
        ctx.how = stride, padding, dilation
        ctx.save_for_backward(x, weight)
        return torch.conv2d(x, weight, None, stride, padding, dilation, len(weight))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        stride, padding, dilation = ctx.how
        if torch.is_grad_enabled():  # create_graph

            def form(x: Tensor, weight: Tensor) -> Tensor:
                return F.conv2d(x, weight, None, stride, padding, dilation, len(weight))

            found = derived(form, (x, weight), ctx.needs_input_grad[:2], grad)
            return *found, None, None, None
        of_x = of_weight = None
        if ctx.needs_input_grad[0]:
            of_x = _input_gradient(x, weight, grad, *ctx.how)
        if ctx.needs_input_grad[1]:
            of_weight = _weight_gradient(x, grad, weight.shape[-1], stride, padding, dilation)
        return of_x, of_weight, None, None, None


def _input_gradient(
    x_BCHW: Tensor, weight: Tensor, grad_BCHW: Tensor, stride: int, padding: int, dilation: int
) -> Tensor:
    """Shape (B, C, H, W)."""
    channels, side = len(weight), weight.shape[-1]
    if stride == 1:  # a convolution with the kernel turned around
        padding = dilation * (side - 1) - padding
        return torch.conv2d(grad_BCHW, weight.flip(2, 3), None, 1, padding, dilation, channels)
    grad = _channels_last(grad_BCHW)
    taps = np.tile(weight.detach().flatten(1).t().numpy(), (1, grad.shape[2]))
    made = torch.empty_like(x_BCHW, memory_format=torch.channels_last)
    spread(grad, taps, side, stride, padding, dilation, made.permute(0, 2, 3, 1).numpy())
    return made


def _channels_last(x_BCHW: Tensor) -> np.ndarray:
    """Shape (B, H, W, C), contiguous."""
    return x_BCHW.detach().permute(0, 2, 3, 1).contiguous().numpy()


def _weight_gradient(
    x_BCHW: Tensor, grad_BCHW: Tensor, side: int, stride: int, padding: int, dilation: int
) -> Tensor:
    """Shape (C, 1, side, side)."""
    sums = np.zeros((side * side, x_BCHW.shape[1]))
    x, grad = _channels_last(x_BCHW), _channels_last(grad_BCHW)
    tap_sums(x, grad, side, stride, padding, dilation, sums)
    return torch.from_numpy(sums.T.astype(np.float32)).view(-1, 1, side, side)
