"""The building blocks of DARTS-like 1-bit cells, for one path and for bundles of paths at once.

Legend of tensor names: B batch, C channels, H and W height and width.
"""

from __future__ import annotations

import torch
from torch import Tensor, cat, nn
from torch.nn.functional import pad

from bnas_bench.nn.binary import BinaryConv2d, Precision, PReLU
from bnas_bench.nn.kernels import prelu_of_norm_sum


def channels_last(x: Tensor) -> Tensor:
    """The layout in which depthwise convolutions are several times faster on a CPU."""
    return x.contiguous(memory_format=torch.channels_last)


def inference_layout(network: nn.Module, x_BCHW: Tensor) -> Tensor:
    """A map for a network in evaluation mode: channels last, as packed networks have it.

    The strides say so also where one channel leaves that open: with other strides torch takes
    other kernels, whose last digits differ. In training the map stays as it is. The weight
    gradients of strided 1x1 convolutions of few channels are not to be had in this layout: there
    oneDNN writes beyond its memory, https://github.com/uxlfoundation/oneDNN/issues/6035.
    """
    return x_BCHW if network.training else x_BCHW.clone(memory_format=torch.channels_last)


class Preprocess(nn.Sequential):
    """BN, 1x1 convolution with 1-bit weights, BN, PReLU: what a cell does to each of its inputs."""

    def __init__(
        self, in_channels: int, channels: int, *, precision: Precision, affine: bool = True
    ) -> None:
        super().__init__(
            nn.BatchNorm2d(in_channels, affine=affine, track_running_stats=affine),
            BinaryConv2d(in_channels, channels, 1, precision=precision),
            nn.BatchNorm2d(channels, affine=affine, track_running_stats=affine),
            PReLU(channels),
        )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x_BCHW)
        norm_in, conv, norm, prelu = self
        assert isinstance(norm, nn.BatchNorm2d)
        assert isinstance(prelu, PReLU)
        return prelu_of_norm_sum(conv(norm_in(x_BCHW)), None, prelu.weight, norm)


class RealPreprocess(nn.Sequential):
    """BN, real 1x1 convolution, PReLU: the preprocessing of BATS."""

    def __init__(self, in_channels: int, channels: int, *, affine: bool = True) -> None:
        super().__init__(
            nn.BatchNorm2d(in_channels, affine=affine, track_running_stats=affine),
            nn.Conv2d(in_channels, channels, 1, bias=False),
            PReLU(channels),
        )


def halves(channels: int) -> tuple[int, int]:
    """How a factorised reduction shares its output channels between its two convolutions."""
    return channels // 2, channels - channels // 2


def shift(x_BCHW: Tensor) -> Tensor:
    """The map without its first row and column, as large as stride 2 needs it to be."""
    height, width = x_BCHW.shape[-2:]
    if height % 2 or width % 2:
        x_BCHW = pad(x_BCHW, (0, width % 2, 0, height % 2))
    return x_BCHW[:, :, 1:, 1:]


class FactorisedReduction(nn.Module):
    """BN, two 1x1 convolutions of stride 2, the second on the shifted input, concatenated, BN, PReLU."""

    def __init__(
        self, in_channels: int, channels: int, *, precision: Precision, affine: bool = True
    ) -> None:
        super().__init__()
        first, second = halves(channels)
        self.norm_in = nn.BatchNorm2d(in_channels, affine=affine, track_running_stats=affine)
        self.even = BinaryConv2d(in_channels, first, 1, stride=2, precision=precision)
        self.odd = BinaryConv2d(in_channels, second, 1, stride=2, precision=precision)
        self.norm_out = nn.BatchNorm2d(channels, affine=affine, track_running_stats=affine)
        self.prelu = PReLU(channels)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BCHW = self.norm_in(x_BCHW)
        y_BCHW = cat([self.even(x_BCHW), self.odd(shift(x_BCHW))], dim=1)
        if self.training:
            return prelu_of_norm_sum(y_BCHW, None, self.prelu.weight, self.norm_out)
        return self.prelu(self.norm_out(y_BCHW))


class SeparableBlock(nn.Module):
    """BN, kxk depthwise, BN, PReLU, 1x1 pointwise, BN, identity shortcut at stride 1, PReLU.

    The depthwise convolution has 1-bit weights (real activations unless `depthwise` says
    otherwise), the pointwise one 1-bit weights and activations.
    """

    def __init__(
        self, channels: int, kernel_size: int, *, stride: int, dilation: int, depthwise: Precision
    ) -> None:
        super().__init__()
        self.norm_in = nn.BatchNorm2d(channels)
        self.depthwise = BinaryConv2d(
            channels,
            channels,
            kernel_size,
            stride=stride,
            padding=dilation * (kernel_size - 1) // 2,
            dilation=dilation,
            groups=channels,
            precision=depthwise,
        )
        self.norm_mid = nn.BatchNorm2d(channels)
        self.prelu_mid = PReLU(channels)
        self.pointwise = BinaryConv2d(channels, channels, 1)
        self.norm_out = nn.BatchNorm2d(channels)
        self.prelu_out = PReLU(channels)
        self.stride = stride

    def forward(self, x_BCHW: Tensor) -> Tensor:
        y_BCHW = self.depthwise(self.norm_in(x_BCHW))
        if self.training:
            return self.trained(x_BCHW, y_BCHW)
        y_BCHW = self.prelu_mid(self.norm_mid(y_BCHW))
        y_BCHW = self.norm_out(self.pointwise(y_BCHW))
        return self.prelu_out(y_BCHW + x_BCHW if self.stride == 1 else y_BCHW)

    def trained(self, x_BCHW: Tensor, y_BCHW: Tensor) -> Tensor:
        """What follows the depthwise convolution, each normalisation in one pass with what follows it."""
        conv, residual = self.pointwise, x_BCHW if self.stride == 1 else None
        y_BCHW = conv.activated(y_BCHW, self.prelu_mid.weight, self.norm_mid)
        y_BCHW = conv.product(y_BCHW, conv.effective_weight(), 1)
        return prelu_of_norm_sum(y_BCHW, residual, self.prelu_out.weight, self.norm_out)


def plain_operation(name: str, channels: int, stride: int, *, reduction: Precision) -> nn.Module:
    """An edge's identity, factorised reduction or pool with batch normalisation."""
    match name:
        case "skip_connect" if stride == 1:
            return nn.Identity()
        case "skip_connect":
            return FactorisedReduction(channels, channels, precision=reduction)
        case "max_pool_3x3":
            return nn.Sequential(nn.MaxPool2d(3, stride, padding=1), nn.BatchNorm2d(channels))
        case "avg_pool_3x3":
            pool = nn.AvgPool2d(3, stride, padding=1, count_include_pad=False)
            return nn.Sequential(pool, nn.BatchNorm2d(channels))
    raise ValueError(f"no operation '{name}'")


def shuffle(x_BCHW: Tensor, groups: int, edges: int = 1) -> Tensor:
    """ShuffleNet's channel shuffle: channel i of group g moves to i * groups + g.

    Zhang et al., CVPR 2018, https://arxiv.org/abs/1707.01083. The channels of each of so many edges
    are shuffled among themselves.
    """
    x_BHWEGC = x_BCHW.permute(0, 2, 3, 1).unflatten(3, (edges, groups, -1))
    return x_BHWEGC.transpose(4, 5).flatten(3).permute(0, 3, 1, 2)


def zeros_after(x_BCHW: Tensor, stride: int, channels: int) -> Tensor:
    """An empty map of so many channels, as large as `x_BCHW` is after a layer of this stride."""
    height, width = (-(-side // stride) for side in x_BCHW.shape[-2:])
    return x_BCHW.new_zeros(len(x_BCHW), channels, height, width)


class GroupedBlock(nn.Module):
    """BN, kxk 1-bit convolution in groups, PReLU, identity shortcut at stride 1, channel shuffle."""

    def __init__(
        self,
        channels: int,
        kernel_size: int,
        *,
        stride: int,
        dilation: int,
        groups: int,
        shuffled: int,
    ) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.conv = BinaryConv2d(
            channels,
            channels,
            kernel_size,
            stride=stride,
            padding=dilation * (kernel_size - 1) // 2,
            dilation=dilation,
            groups=groups,
        )
        self.prelu = PReLU(channels)
        self.stride, self.shuffled = stride, shuffled

    def forward(self, x_BCHW: Tensor) -> Tensor:
        y_BCHW = self.prelu(self.conv(self.norm(x_BCHW)))
        return shuffle(y_BCHW + x_BCHW if self.stride == 1 else y_BCHW, self.shuffled)


class SmallStem(nn.Module):
    """DARTS' stem for 32x32-like images: a real 3x3 convolution to three times the channels, BN."""

    reduced = False
    """Whether the second map has half the size of the first."""

    def __init__(self, in_channels: int, channels: int, *, affine: bool = True) -> None:
        super().__init__()
        self.out_channels = (3 * channels, 3 * channels)
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, 3 * channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(3 * channels, affine=affine, track_running_stats=affine),
        )

    def forward(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        y_BCHW = self.layers(x_BCHW)
        return y_BCHW, y_BCHW


class ImageNetStem(nn.Module):
    """DARTS' stem for ImageNet: three real 3x3 convolutions of stride 2; the first cell sees the
    maps after two and after three of them."""

    reduced = True

    def __init__(self, in_channels: int, channels: int, *, affine: bool = True) -> None:
        super().__init__()
        self.out_channels = (channels, channels)

        def conv(before: int, after: int) -> list[nn.Module]:
            return [
                nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(after, affine=affine, track_running_stats=affine),
            ]

        self.first = nn.Sequential(
            *conv(in_channels, channels // 2), nn.ReLU(), *conv(channels // 2, channels)
        )
        self.second = nn.Sequential(nn.ReLU(), *conv(channels, channels))

    def forward(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        y_BCHW = self.first(x_BCHW)
        return y_BCHW, self.second(y_BCHW)


class Head(nn.Module):
    """Global average pooling and a real linear layer with bias."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(channels, classes)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.linear(self.pool(x_BCHW).flatten(1))


class AuxiliaryHead(nn.Sequential):
    """DARTS' auxiliary classifier (real-valued, training only), on any map of at least 2x2 pixels."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__(
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Conv2d(channels, 128, 1, bias=False),
            nn.BatchNorm2d(128),
            nn.ReLU(),
            nn.Conv2d(128, 768, 2, bias=False),
            nn.BatchNorm2d(768),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(768, classes),
        )
