"""Stand-alone networks of 1-bit MobileNetV1 blocks, whose weights are normalised before their sign.

NAS-BNN (Lin et al., 2024), https://arxiv.org/abs/2408.15484: Eqs. (5) and (6), figure 1.
ReActNet (Liu et al., ECCV 2020), https://arxiv.org/abs/2003.03488: RSign, RPReLU and the block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
import torch.nn.functional as F
from torch import Tensor, cat, nn

from bnas_bench.core.budget import NetworkSpec
from bnas_bench.nn.binary import (
    BinaryConv2d,
    Filters,
    RPReLU,
    mean_magnitude,
    ste_sign,
)
from bnas_bench.nn.blocks import Head, channels_last, inference_layout
from bnas_bench.nn.nasbnn.stage import Layer
from bnas_bench.nn.network import ListOf, Network, last
from bnas_bench.nn.quantised import QuantConv2d

BRANCH = 0.1
"""Where the scale of a batch norm behind a 1-bit convolution starts: the branch beside its shortcut."""


def bi_transform(w: Tensor, theta: Tensor) -> Tensor:
    r"""NAS-BNN Eq. (5): W_b = Reshape_{k x k}(Flatten(W_r) \cdot \theta), for every filter's channel.

    Args:
        w: shape (out, in, k, k).
        theta: shape (k^2, k^2).
    """
    return (w.flatten(2) @ theta).view(w.shape)


def normalise_weight(w: Tensor) -> Tensor:
    r"""NAS-BNN Eq. (6): (W - \mu) / \sqrt{\sigma^2 + 1e-5}, over each output channel's weights."""
    return F.layer_norm(w, w.shape[1:], eps=1e-5)


def effective(w: Tensor, bits: int, *, normalised: bool = True) -> Tensor:
    r"""Weights as a convolution uses them: W' of Eq. (6), or mean|W'| * sign(W') per output channel.

    Args:
        normalised: whether W' is W of Eq. (6), or W itself.
    """
    w = normalise_weight(w) if normalised else w
    return w if bits == 32 else ste_sign(w) * mean_magnitude(w)


@dataclass(frozen=True)
class Treatment:
    """What weights pass on their way to the sign (figure 2); section 4.4.3 leaves out either.

    Attributes:
        transformed: whether by Bi-Transformation, Eq. (5).
        normalised: whether by weight normalisation, Eq. (6).
    """

    transformed: bool = True
    normalised: bool = True


FULL = Treatment()


def within_reach(w: Tensor, side: int) -> Tensor:
    """The middle of kernels: from no pixel of a map of this side does the rest reach another one."""
    margin = max(0, w.shape[-1] // 2 - (side - 1))
    return w[:, :, margin : w.shape[-2] - margin, margin : w.shape[-1] - margin]


def tile(x_BCHW: Tensor, channels: int) -> Tensor:
    """The channels over and over until there are `channels` of them (figure 1)."""
    times = -(-channels // x_BCHW.shape[1])
    return (cat([x_BCHW] * times, dim=1) if times > 1 else x_BCHW)[:, :channels]


class NormalisedConv2d(BinaryConv2d):
    """RSign and a 1-bit convolution whose weights pass Eqs. (5) and (6) on their way to the sign.

    The input is sign(x - threshold), or x - threshold where activations are real. Real weights pass
    Eq. (6) alone. A 1x1 kernel has no theta: a scalar would cancel in Eq. (6), or else in the batch
    norm behind. Inference needs neither theta nor the real weights, only their signs and one scale
    per output channel.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        groups: int = 1,
        treatment: Treatment = FULL,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=kernel_size // 2,
            groups=groups,
            scale="xnor",
            estimator="polynomial",
        )
        self.treatment = treatment
        self.threshold = nn.Parameter(torch.zeros(in_channels))
        transformed = treatment.transformed and kernel_size > 1
        self.theta = nn.Parameter(torch.eye(kernel_size**2)) if transformed else None

    def latent_weight(self) -> Tensor:
        """The weights before Eq. (6), of the real or of the binary domain as the layer runs now."""
        if self.precision.weight_bits == 32 or self.theta is None:
            return self.weight
        return bi_transform(self.weight, self.theta)

    def in_use(self, latent: Tensor, bits: int | None = None) -> Tensor:
        """What latent weights are in a convolution: of as many bits as the layer runs at, or `bits`."""
        bits = self.precision.weight_bits if bits is None else bits
        return effective(latent, bits, normalised=self.treatment.normalised)

    def effective_weight(self, part: slice | None = None) -> Tensor:
        weight = self.in_use(self.latent_weight())
        return weight if part is None else weight[part]

    def filters(self, part: slice | None = None) -> Filters:
        weight = self.in_use(self.latent_weight(), bits=32)
        weight = weight if part is None else weight[part]
        return weight, mean_magnitude(weight)

    def scale_factor(self, part: slice | None = None) -> Tensor:
        return self.filters(part)[1]

    def effective_input(self, x: Tensor) -> Tensor:
        return super().effective_input(x - self.threshold[: x.shape[1]].view(1, -1, 1, 1))

    def convolve(self, x_BCHW: Tensor, weight: Tensor, groups: int) -> Tensor:
        """Convolve with odd kernels of any size; the map keeps its side, but for the stride."""
        weight = within_reach(weight, max(x_BCHW.shape[-2:]))
        x_BCHW = self.effective_input(x_BCHW)
        padding = weight.shape[-1] // 2
        return F.conv2d(x_BCHW, weight, None, self.stride, padding, groups=groups)


class MobileBlock(nn.Module):
    """A layer of NAS-BNN: each of its two convolutions with RSign, BN, shortcut and RPReLU.

    The kxk convolution in groups keeps the width (its shortcut is pooled at stride 2), the 1x1
    convolution changes it (its shortcut is tiled).
    """

    def __init__(self, in_channels: int, layer: Layer, treatment: Treatment = FULL) -> None:
        super().__init__()
        self.spatial = NormalisedConv2d(
            in_channels,
            in_channels,
            layer.kernel,
            stride=layer.stride,
            groups=layer.groups,
            treatment=treatment,
        )
        self.spatial_norm = branch_norm(in_channels)
        self.pool = halving_pool() if layer.stride == 2 else nn.Identity()
        self.spatial_slope = RPReLU(in_channels)
        self.pointwise = NormalisedConv2d(in_channels, layer.width, 1, treatment=treatment)
        self.pointwise_norm = branch_norm(layer.width)
        self.pointwise_slope = RPReLU(layer.width)
        self.width = layer.width

    def forward(self, x_BCHW: Tensor) -> Tensor:
        y_BCHW = self.spatial_slope(self.spatial_norm(self.spatial(x_BCHW)) + self.pool(x_BCHW))
        z_BCHW = self.pointwise_norm(self.pointwise(y_BCHW)) + tile(y_BCHW, self.width)
        return self.pointwise_slope(z_BCHW)


def branch_norm(channels: int, *, running: bool = True) -> nn.BatchNorm2d:
    """Batch norm that starts small, so that the network starts close to its shortcuts.

    Args:
        running: whether it keeps running statistics.
    """
    norm = nn.BatchNorm2d(channels, track_running_stats=running)
    nn.init.constant_(norm.weight, BRANCH)
    return norm


def halving_pool() -> nn.AvgPool2d:
    """2x2 average pooling; on odd maps the last window is smaller, as a convolution's would be."""
    return nn.AvgPool2d(2, ceil_mode=True)


class MobileNetwork(Network):
    """An 8-bit stem, blocks, head.

    Args:
        stem: width and stride of the stem.
        stages: the layers of each.
        treatment: of the 1-bit weights.
    """

    head: Head

    def __init__(
        self,
        stem: tuple[int, int],
        stages: Sequence[Sequence[Layer]],
        spec: NetworkSpec,
        treatment: Treatment = FULL,
    ) -> None:
        super().__init__()
        self.depths = [len(layers) for layers in stages]
        width, stride = stem
        self.stem = QuantConv2d(spec.shape[0], width, 3, stride=stride, padding=1)
        self.stem_norm = nn.BatchNorm2d(width)
        self.stem_slope = RPReLU(width)
        self.blocks: ListOf[MobileBlock] = ListOf()
        for layer in chain.from_iterable(stages):
            self.blocks.append(MobileBlock(width, layer, treatment))
            width = layer.width
        self.head = Head(width, spec.classes)

    def features(self, x_BCHW: Tensor) -> Tensor:
        return last(self.successive(x_BCHW))

    def successive(self, x_BCHW: Tensor) -> Iterator[Tensor]:
        x_BCHW = self.stem(inference_layout(self, x_BCHW))
        yield (x_BCHW := self.stem_slope(self.stem_norm(channels_last(x_BCHW))))
        for block in self.blocks:
            yield (x_BCHW := block(x_BCHW))
