"""MobileNetV1, MobileNetV2 and ResNet-50 of Bi-Real modules whose shortcuts have no weights.

NAS-BNN (Lin et al., 2024), https://arxiv.org/abs/2408.15484: figure 1, section 4.4.1 and table 4.
Bi-Real Net (Liu et al., ECCV 2018), https://arxiv.org/abs/1808.00278: the module.
MobileNet (Howard et al., 2017), https://arxiv.org/abs/1704.04861.
MobileNetV2 (Sandler et al., CVPR 2018), https://arxiv.org/abs/1801.04381.
ResNet (He et al., CVPR 2016), https://arxiv.org/abs/1512.03385.

Legend of tensor names: B batch, C channels, H and W height and width.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import ClassVar

from torch import Tensor, nn

from bnas_bench.nn.handmade.residual import Block, Kit, Place, Row, halve, norm_row
from bnas_bench.nn.nasbnn.network import tile


class BiRealModule(nn.Module):
    """clip, conv, BN, plus the shortcut, in which 2x2 pixels are averaged where the map halves.

    To a wider map the shortcut's channels are tiled, to a narrower one it carries the leading ones
    alone: the slashed part of NAS-BNN's figure 1 (c) is lost.
    """

    def __init__(self, place: Place, kernel_size: int, kit: Kit) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Hardtanh(),
            kit.conv(place.inputs, place.outputs, kernel_size, place.stride, "polynomial"),
            kit.norm(place.outputs),
        )
        self.pool = halve(place.stride)
        self.outputs = place.outputs

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.body(x_BCHW) + tile(self.pool(x_BCHW), self.outputs)


class TiledBlock(Block):
    """Bi-Real modules one behind the other; the 3x3 one has the stride."""

    kernel_sizes: ClassVar[tuple[int, ...]]

    def __init__(self, place: Place, kit: Kit) -> None:
        super().__init__(place, kit)
        self.body = nn.Sequential(
            *(BiRealModule(inner, size, kit) for size, inner in self.convolutions(place))
        )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.body(x_BCHW)

    @staticmethod
    def inner(place: Place) -> tuple[int, ...]:
        """Channels between the convolutions."""
        raise NotImplementedError

    @classmethod
    def convolutions(cls, place: Place) -> Iterator[tuple[int, Place]]:
        """Kernel size of each convolution, and where it stands."""
        widths, side = (place.inputs, *cls.inner(place), place.outputs), place.before
        for size, (inputs, outputs) in zip(cls.kernel_sizes, pairwise(widths), strict=True):
            after = place.after if size > 1 else side
            yield size, Place(inputs, outputs, side, after)
            side = after

    @classmethod
    def rows(cls, place: Place, bits: int) -> Iterator[Row]:
        for size, inner in cls.convolutions(place):
            yield Row(inner.inputs, inner.outputs, size, inner.pixels, bits)
            yield norm_row(inner.outputs, inner.pixels)


class MobileNetV1Block(TiledBlock):
    """3x3 at the input's width, in place of MobileNetV1's depthwise convolution, and 1x1."""

    kernels = "3x3, 1x1"
    kernel_sizes = (3, 1)
    stem_kernel = 3
    pooled = False
    narrowing = 2

    @staticmethod
    def inner(place: Place) -> tuple[int, ...]:
        return (place.inputs,)


class MobileNetV2Block(TiledBlock):
    """1x1 to six times the width, 3x3 in place of the depthwise convolution, 1x1 back."""

    kernels = "1x1, 3x3, 1x1"
    kernel_sizes = (1, 3, 1)

    @staticmethod
    def inner(place: Place) -> tuple[int, ...]:
        return (6 * place.inputs,) * 2


class BottleneckBlock(TiledBlock):
    """1x1 to a quarter of the output's width, 3x3, 1x1: ResNet-50's, with the stride in the 3x3."""

    kernels = "1x1, 3x3, 1x1"
    kernel_sizes = (1, 3, 1)

    @staticmethod
    def inner(place: Place) -> tuple[int, ...]:
        return (place.outputs // 4,) * 2


class PointwiseBlock(TiledBlock):
    """1x1: what MobileNetV2 ends with."""

    kernels = "1x1"
    kernel_sizes = (1,)

    @staticmethod
    def inner(place: Place) -> tuple[int, ...]:  # noqa: ARG004
        return ()
