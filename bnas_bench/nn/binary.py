"""1-bit layers: the sign and its straight-through estimators, scale factors, BinaryConv2d.

XNOR-Net (Rastegari et al., ECCV 2016), https://arxiv.org/abs/1603.05279: the channel-wise scale.
Bi-Real Net (Liu et al., ECCV 2018), https://arxiv.org/abs/1808.00278: the polynomial estimator.
ReActNet (Liu et al., ECCV 2020), https://arxiv.org/abs/2003.03488: RSign and RPReLU.
DCP-NAS (Li et al., IJCV 2023), https://arxiv.org/abs/2306.15390: Eqs. (6), (7) and (17).

Everything is twice differentiable and supports forward-mode derivatives.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bnas_bench.nn import kernels
from bnas_bench.nn.kernels import prelu, ste_sign
from bnas_bench.nn.kernels.activations import Estimator, sign

ScaleFactor = Literal["learned", "xnor", "layer", "none"]

Filters = tuple[Tensor, Tensor]
"""Weights of a 1-bit convolution, shape (out, in / groups, k, k), and scales, (out, 1, 1, 1)."""


class Precision(StrEnum):
    """Bits of weights (W) and activations (A)."""

    W32A32 = "W32A32"
    W32A1 = "W32A1"
    W1A32 = "W1A32"
    W1A1 = "W1A1"

    @property
    def weight_bits(self) -> int:
        return 1 if self in (Precision.W1A32, Precision.W1A1) else 32

    @property
    def activation_bits(self) -> int:
        return 1 if self in (Precision.W32A1, Precision.W1A1) else 32

    def finer(self, other: Precision) -> Precision:
        """The precision whose weights and activations are 1-bit only where both agree."""
        weight = max(self.weight_bits, other.weight_bits)
        activation = max(self.activation_bits, other.activation_bits)
        return Precision(f"W{weight}A{activation}")


def mean_magnitude(w: Tensor) -> Tensor:
    r"""XNOR-Net's scale per output channel, \alpha_c = mean |w_c|, shaped to multiply `w`."""
    return w.abs().mean(dim=tuple(range(1, w.dim())), keepdim=True)


def layer_magnitude(w: Tensor) -> Tensor:
    """BARS' scale, one per layer (section 3.1): mean |w|.

    Args:
        w: the weights of one or more layers, shape (..., out, in, k, k).

    Returns:
        shape (..., 1, 1, 1, 1).
    """
    return w.abs().flatten(-4).mean(-1)[..., None, None, None, None]


def reconstruction_error(w: Tensor, beta: Tensor) -> Tensor:
    r"""DCP-NAS Eq. (7): \|w - \beta \circ sign(w)\|_2^2 (beta shaped to multiply w), a scalar.

    Its gradient with respect to w takes sign(w) as a constant, as PCNN does.
    """
    return (w - beta * sign(w)).square().sum()


RECONSTRUCTIONS = ("sum", "filter", "weight")
"""How the errors of many layers become one number: the sum of their squares, `sum`; the sum of the filters'
means (CP-NAS Eq. 3), `filter`; the mean over all weights, `weight`."""


def reconstruction_of(filters: Iterable[Filters], per: str) -> Tensor:
    """`reconstruction_error` of some layers, a scalar; 0 of none.

    Args:
        per: one of `RECONSTRUCTIONS`.
    """
    errors, weights = [], 0
    for w, beta in filters:
        error = reconstruction_error(w, beta)
        errors.append(error / w[0].numel() if per == "filter" else error)
        weights += w.numel()
    if not errors:
        return torch.zeros(())
    total = torch.stack(errors).sum()
    return total / weights if per == "weight" else total


class BinaryConv2d(nn.Module):
    r"""A convolution of the kind \beta \circ (sign(a) \odot sign(w)), DCP-NAS Eq. (6), without bias.

    Args:
        precision: the layer's own: what is 1-bit when the network runs at W1A1.
        scale: `learned` (one positive parameter per output channel), `xnor` (mean magnitude of a
            channel's weights), `layer` (of all weights: one number) or `none`.
        estimator: the straight-through estimator of the activations; weights take `clip`, Eq. (17).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
        precision: Precision = Precision.W1A1,
        scale: ScaleFactor = "learned",
        estimator: Estimator = "clip",
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.kernel_size = (
            in_channels,
            out_channels,
            kernel_size,
        )
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        self.own = precision
        self.running = Precision.W1A1
        self.scale = scale if precision.weight_bits == 1 else "none"
        self.estimator: Estimator = estimator
        self.weight = nn.Parameter(
            torch.empty(out_channels, in_channels // groups, kernel_size, kernel_size)
        )
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)  # as nn.Conv2d, and so the published codes
        if self.scale == "learned":
            self.beta = nn.Parameter(mean_magnitude(self.weight.detach()).flatten())

    @property
    def precision(self) -> Precision:
        """What this layer runs at now."""
        return self.own.finer(self.running)

    def scale_factor(self, part: slice | None = None) -> Tensor:
        """Positive scale of the output channels `part` (None: all), shape (out, 1, 1, 1)."""
        match self.scale:
            case "learned":
                beta = self.beta if part is None else self.beta[part]
                return beta.abs().view(-1, 1, 1, 1)
            case "xnor":
                return mean_magnitude(self.weight if part is None else self.weight[part])
            case "layer":
                return layer_magnitude(self.weight)
        return self.weight.new_ones(1, 1, 1, 1)

    def effective_weight(self, part: slice | None = None) -> Tensor:
        """The weights as the convolution uses them: w itself, or beta * sign(w)."""
        weight = self.weight if part is None else self.weight[part]
        if self.precision.weight_bits == 32:
            return weight
        return ste_sign(weight) * self.scale_factor(part)

    def filters(self, part: slice | None = None) -> Filters:
        """The real-valued weights of the output channels `part`, and their scales."""
        return self.weight if part is None else self.weight[part], self.scale_factor(part)

    def effective_input(self, x: Tensor) -> Tensor:
        """The activations as the convolution uses them: x itself, or sign(x)."""
        return ste_sign(x, self.estimator) if self.precision.activation_bits == 1 else x

    def convolve(self, x_BCHW: Tensor, weight: Tensor, groups: int) -> Tensor:
        """Convolve with weights that `effective_weight` gave, arranged as the caller needs them."""
        return self.product(self.effective_input(x_BCHW), weight, groups)

    def product(self, x_BCHW: Tensor, weight: Tensor, groups: int) -> Tensor:
        """Convolve a map that is as `effective_input` gives it."""
        convolve = kernels.convolve if self.training else F.conv2d
        return convolve(x_BCHW, weight, None, self.stride, self.padding, self.dilation, groups)

    def activated(self, y_BCHW: Tensor, slope: Tensor, norm: kernels.Norm = None) -> Tensor:
        """`effective_input` of prelu(norm(y)), in one pass; shapes as in `prelu_sign_of_norm`."""
        if self.precision.activation_bits == 1:
            return kernels.prelu_sign_of_norm(y_BCHW, slope, norm, self.estimator)
        return kernels.prelu_of_norm_sum(y_BCHW, None, slope, norm)

    def convolve_signs(self, x_BCHW: Tensor, weight: Tensor, scale: Tensor | None = None) -> Tensor:
        """Convolve with all of a layer's real-valued weights, as its precision says.

        Sums of signs are whole numbers, exact in any order: the scale comes after them.

        Args:
            scale: shape (out, 1, 1, 1), or one number: `layer_magnitude` if there is none.
        """
        if self.precision.weight_bits == 32:
            return self.convolve(x_BCHW, weight, self.groups)
        scale = layer_magnitude(weight) if scale is None else scale
        return self.convolve(x_BCHW, ste_sign(weight), self.groups) * scale.view(-1, 1, 1)

    @property
    def scales_sums(self) -> bool:
        """Whether the scale comes after the sums: in inference wherever bits can do the same."""
        return self.scale == "layer" if self.training else self.precision == Precision.W1A1

    def forward(self, x_BCHW: Tensor) -> Tensor:
        if self.scales_sums:
            return self.convolve_signs(x_BCHW, *self.filters())
        return self.convolve(x_BCHW, self.effective_weight(), self.groups)

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {self.out_channels}, {self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding}, dilation={self.dilation}, groups={self.groups}, {self.own}"
        )


class PReLU(nn.PReLU):
    """torch's, one slope per channel, its gradient taken faster."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return prelu(x_BCHW, self.weight)


class RSign(nn.Module):
    """ReActNet Eq. (3): sign(x - t) with a learned threshold t per channel."""

    def __init__(self, channels: int, estimator: Estimator = "polynomial") -> None:
        super().__init__()
        self.threshold = nn.Parameter(torch.zeros(channels))
        self.estimator: Estimator = estimator

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return ste_sign(x_BCHW - self.threshold.view(1, -1, 1, 1), self.estimator)


class RPReLU(nn.Module):
    """ReActNet Eq. (4): PReLU(x - gamma) + zeta, all three learned per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(channels))
        self.zeta = nn.Parameter(torch.zeros(channels))
        self.prelu = PReLU(channels)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        shifted = self.prelu(x_BCHW - self.gamma.view(1, -1, 1, 1))
        return shifted + self.zeta.view(1, -1, 1, 1)
