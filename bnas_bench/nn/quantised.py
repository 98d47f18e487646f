"""The 8-bit convolution that 1-bit networks take as their first layer.

LSQ: Learned Step Size Quantization (Esser et al., ICLR 2020), https://arxiv.org/abs/1902.08153.

Twice differentiable, with forward-mode derivatives, as `bnas_bench.nn.binary`.
"""

from __future__ import annotations

from math import pi, sqrt
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function

from bnas_bench.nn.binary import Precision


class _StraightRound(Function):
    """round(x) forward, the identity backward and in forward-mode products."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: ARG004
        return x.round()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # noqa: ARG004
        return grad

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:  # noqa: ARG004
        return tangent.clone()


def levels(bits: int) -> tuple[int, int]:
    """Q_N and Q_P of signed numbers: -Q_N is the lowest level, Q_P the highest."""
    return 2 ** (bits - 1), 2 ** (bits - 1) - 1


def quantise(x: Tensor, step: Tensor, bits: int) -> Tensor:
    r"""LSQ Eqs. (1) and (2): \hat{x} = s * round(clip(x / s, -Q_N, Q_P)).

    Its derivatives are Eqs. (3) and (5): with u = x / s, d\hat{x}/ds is round(u) - u within the
    levels, -Q_N at or below them, Q_P at or above; d\hat{x}/dx is 1 within and 0 elsewhere.

    Args:
        step: s, a positive scalar.
    """
    lowest, highest = levels(bits)
    u = x / step
    clipped = torch.where(
        u <= -lowest, -lowest, torch.where(u >= highest, highest, _StraightRound.apply(u))
    )
    return clipped * step


def scale_gradient(step: Tensor, values: int, bits: int) -> Tensor:
    """The step itself, its gradient scaled by 1 / sqrt(values * Q_P) (LSQ section 2.2)."""
    held = step.detach()
    return held + (step - held) / sqrt(values * levels(bits)[1])


def initial_step(mean_magnitude: float, bits: int) -> float:
    """2 <|v|> / sqrt(Q_P) (LSQ section 2.1)."""
    return 2 * mean_magnitude / sqrt(levels(bits)[1])


class QuantConv2d(nn.Module):
    """A convolution with weights and inputs of few bits, each with a learned step, without bias.

    Where the network runs with real weights, or real activations, so does this layer. Inputs are
    signed. Their first step is that of standard normal values, which images are after
    standardisation, where LSQ takes the first batch's: a network must not depend on which came first.

    Args:
        bits: of the weights and of the inputs.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int = 0,
        bits: int = 8,
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.kernel_size = (
            in_channels,
            out_channels,
            kernel_size,
        )
        self.stride, self.padding, self.groups, self.bits = stride, padding, 1, bits
        self.running = Precision.W1A1
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, kernel_size, kernel_size))
        nn.init.kaiming_normal_(self.weight)
        # On the meta device networks are weighed: no weight has a value there.
        magnitude = 1.0 if self.weight.is_meta else float(self.weight.detach().abs().mean())
        self.weight_step = nn.Parameter(torch.tensor(initial_step(magnitude, bits)))
        self.input_step = nn.Parameter(torch.tensor(initial_step(sqrt(2 / pi), bits)))

    @property
    def weight_bits(self) -> int:
        """Bits of the weights as this layer uses them now."""
        return self.bits if self.running.weight_bits == 1 else 32

    @property
    def activation_bits(self) -> int:
        """Bits of the inputs as this layer uses them now."""
        return self.bits if self.running.activation_bits == 1 else 32

    def effective_weight(self, part: slice = slice(None)) -> Tensor:
        """The weights of the output channels `part` as the convolution uses them."""
        weight = self.weight[part]
        if self.weight_bits == 32:
            return weight
        step = scale_gradient(self.weight_step.abs(), weight.numel(), self.bits)
        return quantise(weight, step, self.bits)

    def effective_input(self, x_BCHW: Tensor) -> Tensor:
        """The inputs as the convolution uses them."""
        if self.activation_bits == 32:
            return x_BCHW
        step = scale_gradient(self.input_step.abs(), x_BCHW[0].numel(), self.bits)
        return quantise(x_BCHW, step, self.bits)

    def forward(self, x_BCHW: Tensor, part: slice = slice(None)) -> Tensor:
        """Convolve, to the output channels `part` alone."""
        return F.conv2d(
            self.effective_input(x_BCHW),
            self.effective_weight(part),
            stride=self.stride,
            padding=self.padding,
        )

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {self.out_channels}, {self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding}, bits={self.bits}"
        )
