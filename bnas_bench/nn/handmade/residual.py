"""What hand-made 1-bit networks and their real-valued twins are made of: residual blocks.

ResNet (He et al., CVPR 2016), https://arxiv.org/abs/1512.03385.
Wide ResNet (Zagoruyko and Komodakis, BMVC 2016), https://arxiv.org/abs/1605.07146.
XNOR-Net (Rastegari et al., ECCV 2016), https://arxiv.org/abs/1603.05279.
Bi-Real Net (Liu et al., ECCV 2018), https://arxiv.org/abs/1808.00278.
ReActNet (Liu et al., ECCV 2020), https://arxiv.org/abs/2003.03488.

Legend of tensor names: B batch, C channels, H and W height and width.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import ClassVar, NamedTuple

from torch import Tensor, cat, nn

from bnas_bench.nn.binary import BinaryConv2d, Estimator, RPReLU, RSign

Side = tuple[int, int]


@dataclass(frozen=True)
class Place:
    """Where a block stands in a network.

    Attributes:
        inputs, outputs: channels.
        before, after: height and width of the maps.
    """

    inputs: int
    outputs: int
    before: Side
    after: Side

    @property
    def stride(self) -> int:
        return 1 if self.before == self.after else 2

    @property
    def pixels(self) -> int:
        """Of the block's output, and of all its convolutions'."""
        return prod(self.after)


@dataclass(frozen=True)
class Kit:
    """The layers of one network: 1-bit or real-valued ones, with running statistics or without."""

    real: bool
    tracked: bool

    def norm(self, channels: int) -> nn.BatchNorm2d:
        return nn.BatchNorm2d(channels, track_running_stats=self.tracked)

    def conv(
        self,
        inputs: int,
        outputs: int,
        kernel_size: int = 3,
        stride: int = 1,
        estimator: Estimator = "clip",
    ) -> nn.Module:
        """A convolution of a block's main path, with XNOR-Net's scale where it is 1-bit."""
        if self.real:
            return real_conv(inputs, outputs, kernel_size, stride)
        return BinaryConv2d(
            inputs,
            outputs,
            kernel_size,
            stride=stride,
            padding=kernel_size // 2,
            scale="xnor",
            estimator=estimator,
        )


def real_conv(inputs: int, outputs: int, kernel_size: int, stride: int = 1) -> nn.Conv2d:
    """A real convolution without bias, initialised as the 1-bit ones are."""
    conv = nn.Conv2d(inputs, outputs, kernel_size, stride, padding=kernel_size // 2, bias=False)
    nn.init.kaiming_normal_(conv.weight)
    return conv


def halve(stride: int) -> nn.Module:
    """2x2 average pooling, where the block halves; maps of odd sides are rounded up."""
    if stride == 1:
        return nn.Identity()
    return nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False)


class Row(NamedTuple):
    """A layer that some convention charges for: a convolution, or a normalisation (kernel 0).

    Attributes:
        pixels: of its output.
        bits: of its operands.
        biased: whether a bias is added, as the classifier does.
    """

    inputs: int
    outputs: int
    kernel_size: int
    pixels: int
    bits: int = 32
    biased: bool = False


def norm_row(channels: int, pixels: int) -> Row:
    return Row(channels, channels, 0, pixels)


class Block(nn.Module):
    """A residual block, and what is particular to the networks that are made of it.

    Args:
        place: where it stands.
        kit: makes its layers.
    """

    kernels: ClassVar[str]
    """The kernels of its main path, in words."""

    stem_kernel: ClassVar[int] = 7
    """Side of the first convolution's kernel on large images; it is 3 on small ones."""

    stem_norm: ClassVar[bool] = True
    stem_relu: ClassVar[bool] = False
    last_norm: ClassVar[bool] = False
    """Whether the last maps are normalised and rectified."""

    pooled: ClassVar[bool] = True
    """Whether large images are max-pooled after the first convolution."""

    narrowing: ClassVar[int] = 1
    """How many times narrower than the first stage the first convolution is."""

    def __init__(self, place: Place, kit: Kit) -> None:  # noqa: ARG002
        super().__init__()

    @staticmethod
    def rows(place: Place, bits: int) -> Iterator[Row]:
        """The block's convolutions and normalisations.

        Args:
            bits: of the operands of the main path's convolutions.
        """
        raise NotImplementedError


class ResNetBlock(Block):
    """conv, BN, ReLU, conv, BN, plus the shortcut, ReLU: He et al.'s, and torchvision's."""

    kernels = "3x3, 3x3"
    stem_relu = True

    def __init__(self, place: Place, kit: Kit) -> None:
        super().__init__(place, kit)
        self.body = nn.Sequential(
            kit.conv(place.inputs, place.outputs, stride=place.stride),
            kit.norm(place.outputs),
            nn.ReLU(),
            kit.conv(place.outputs, place.outputs),
            kit.norm(place.outputs),
        )
        self.shortcut: nn.Module = nn.Identity()
        if place.inputs != place.outputs:
            self.shortcut = nn.Sequential(
                real_conv(place.inputs, place.outputs, 1, place.stride), kit.norm(place.outputs)
            )
        self.relu = nn.ReLU()

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.relu(self.body(x_BCHW) + self.shortcut(x_BCHW))

    @staticmethod
    def rows(place: Place, bits: int) -> Iterator[Row]:
        for inputs in (place.inputs, place.outputs):
            yield Row(inputs, place.outputs, 3, place.pixels, bits)
            yield norm_row(place.outputs, place.pixels)
        if place.inputs != place.outputs:
            yield Row(place.inputs, place.outputs, 1, place.pixels)
            yield norm_row(place.outputs, place.pixels)


class PreactivationBlock(Block):
    """Twice BN, activation, conv; plus the shortcut: Wide ResNet's order, and XNOR-Net's.

    The activation is ReLU, or, since the sign of what ReLU lets through is always +1, the clip to
    [-1, 1] before a 1-bit convolution: that changes neither the sign nor its gradient, and it is
    what stands in for the sign where the activations are real.
    """

    kernels = "3x3, 3x3"
    stem_norm = False
    last_norm = True

    def __init__(self, place: Place, kit: Kit) -> None:
        super().__init__(place, kit)
        activation = nn.ReLU if kit.real else nn.Hardtanh
        self.body = nn.Sequential(
            kit.norm(place.inputs),
            activation(),
            kit.conv(place.inputs, place.outputs, stride=place.stride),
            kit.norm(place.outputs),
            activation(),
            kit.conv(place.outputs, place.outputs),
        )
        self.shortcut: nn.Module = nn.Identity()
        if place.inputs != place.outputs:
            self.shortcut = real_conv(place.inputs, place.outputs, 1, place.stride)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.body(x_BCHW) + self.shortcut(x_BCHW)

    @staticmethod
    def rows(place: Place, bits: int) -> Iterator[Row]:
        yield norm_row(place.inputs, prod(place.before))
        yield Row(place.inputs, place.outputs, 3, place.pixels, bits)
        yield norm_row(place.outputs, place.pixels)
        yield Row(place.outputs, place.outputs, 3, place.pixels, bits)
        if place.inputs != place.outputs:
            yield Row(place.inputs, place.outputs, 1, place.pixels)


class BiRealBlock(Block):
    """clip, conv, BN, plus the shortcut: one around every convolution.

    The clip to [-1, 1] is what the paper's real-valued network has in place of the sign. Before the
    sign it changes nothing, as the estimator's slope is zero beyond [-1, 1].
    """

    kernels = "3x3"

    def __init__(self, place: Place, kit: Kit) -> None:
        super().__init__(place, kit)
        self.body = nn.Sequential(
            nn.Hardtanh(),
            kit.conv(place.inputs, place.outputs, stride=place.stride, estimator="polynomial"),
            kit.norm(place.outputs),
        )
        self.shortcut: nn.Module = nn.Identity()
        if place.inputs != place.outputs:
            self.shortcut = nn.Sequential(
                halve(place.stride),
                real_conv(place.inputs, place.outputs, 1),
                kit.norm(place.outputs),
            )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.body(x_BCHW) + self.shortcut(x_BCHW)

    @staticmethod
    def rows(place: Place, bits: int) -> Iterator[Row]:
        yield Row(place.inputs, place.outputs, 3, place.pixels, bits)
        yield norm_row(place.outputs, place.pixels)
        if place.inputs != place.outputs:
            yield Row(place.inputs, place.outputs, 1, place.pixels)
            yield norm_row(place.outputs, place.pixels)


class ReActConvs(nn.Module):
    """RSign, and behind it convolutions side by side, each with BN: a tuple of maps.

    Where the activations are real, they pass RSign by.

    Args:
        number: of convolutions.
    """

    def __init__(
        self, channels: int, kernel_size: int, stride: int, kit: Kit, number: int = 1
    ) -> None:
        super().__init__()
        self.sign = None if kit.real else RSign(channels)
        self.convs = nn.ModuleList(
            kit.conv(channels, channels, kernel_size, stride) for _ in range(number)
        )
        self.norms = nn.ModuleList(kit.norm(channels) for _ in range(number))

    def forward(self, x_BCHW: Tensor) -> tuple[Tensor, ...]:
        if self.sign is not None and self.binary:
            x_BCHW = self.sign(x_BCHW)
        pairs = zip(self.convs, self.norms, strict=True)
        return tuple(norm(conv(x_BCHW)) for conv, norm in pairs)

    @property
    def binary(self) -> bool:
        conv = self.convs[0]
        return isinstance(conv, BinaryConv2d) and conv.precision.activation_bits == 1


class ReActBlock(Block):
    """3x3 and then 1x1, each with its shortcut and RPReLU.

    A block that doubles the channels has the 1x1 part twice, on the same input behind one RSign, and
    concatenates the two; one that halves the map averages 2x2 pixels on its first shortcut.
    """

    kernels = "3x3, 1x1"
    stem_kernel = 3
    pooled = False
    narrowing = 2

    def __init__(self, place: Place, kit: Kit) -> None:
        super().__init__(place, kit)
        channels = place.inputs
        self.spatial = ReActConvs(channels, 3, place.stride, kit)
        self.shortcut = halve(place.stride)
        self.activation = RPReLU(channels)
        self.pointwise = ReActConvs(channels, 1, 1, kit, place.outputs // channels)
        self.last_activation = RPReLU(place.outputs)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        (y_BCHW,) = self.spatial(x_BCHW)
        x_BCHW = self.activation(y_BCHW + self.shortcut(x_BCHW))
        parts = [y_BCHW + x_BCHW for y_BCHW in self.pointwise(x_BCHW)]
        return self.last_activation(cat(parts, dim=1))

    @staticmethod
    def rows(place: Place, bits: int) -> Iterator[Row]:
        kernel_sizes = (3, *(1 for _ in range(place.outputs // place.inputs)))
        for kernel_size in kernel_sizes:
            yield Row(place.inputs, place.inputs, kernel_size, place.pixels, bits)
            yield norm_row(place.inputs, place.pixels)
