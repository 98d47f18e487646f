"""The search space of BATS: binary DARTS cells of grouped convolutions.

BATS: Binary ArchitecTure Search. Adrian Bulat, Brais Martinez, Georgios Tzimiropoulos. ECCV 2020,
https://arxiv.org/abs/2003.01711, sections 3.1 and 3.2. A re-implementation from descriptions of it
(the paper's own text was not at hand): the operations, groups and shuffle as other papers and its
authors' networks have them.

Deviations
    Small scales: the number of groups is fixed, so the channels are a multiple of it.

Open in the paper
    Which layers beside stem and classifier stay real: the preprocessing, as BARS says of it (section
    2.2), and with it the 1x1 convolutions of factorised reductions, which do the same job.
    Final networks: 20 cells of 36 channels as in DARTS for small images, 14 of 48 for ImageNet's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import gcd, lcm
from typing import TYPE_CHECKING, Any

from bnas_bench.core.budget import IMAGENET_SIDE, NetworkSpec, Scale, next_multiple
from bnas_bench.core.errors import BadValue
from bnas_bench.core.options import Few
from bnas_bench.nn.darts.topology import NONE
from bnas_bench.search.cell_space import CellSpace

if TYPE_CHECKING:
    from torch import nn

    from bnas_bench.nn.darts.bundled import Bundle, Kernel
    from bnas_bench.nn.darts.network import Parts

KERNELS = {
    "group_conv_3x3": (3, 1),
    "group_conv_5x5": (5, 1),
    "dil_group_conv_3x3": (3, 2),
    "dil_group_conv_5x5": (5, 2),
}
"""Size and dilation of the convolutional operations."""

OPERATIONS = (NONE, "skip_connect", "max_pool_3x3", "avg_pool_3x3", *KERNELS)


class Bats(CellSpace):
    """Binary DARTS cells: grouped 1-bit convolutions with a channel shuffle, pools and skips.

    Args:
        groups: of the convolutions.
        shuffle: groups of the channel shuffle behind them.
        zeroise: whether a node may keep fewer than two live edges (BNAS).
    """

    def __init__(self, *, groups: Few = 12, shuffle: Few = 4, zeroise: bool = False) -> None:
        super().__init__(OPERATIONS, zeroise)
        self.groups = groups
        self.shuffle = shuffle

    def fit(self, scale: Scale) -> Scale:
        return replace(scale, channels=next_multiple(scale.channels, self._step()))

    def spec(
        self, scale: Scale, shape: tuple[int, int, int], classes: int, *, final: bool
    ) -> NetworkSpec:
        """Search networks of 8 cells and 24 channels, or as `final` says."""
        if self.fit(scale) != scale:
            raise BadValue(
                f"{scale.channels} channels cannot be divided among {self.groups} groups and shuffled in "
                f"{self.shuffle}; the next scale that works has {self.fit(scale).channels}"
            )
        if scale.cells is not None and scale.cells < 2:
            raise BadValue(f"{scale.cells} cells build no network of bats; it takes at least 2")
        large = min(shape[1:]) >= IMAGENET_SIDE
        cells, channels = (14, 48) if large else (20, 36)
        if not final:
            cells, channels = 8, 24
        return NetworkSpec(
            shape,
            classes,
            scale.cells or cells,
            scale.channels or next_multiple(channels, self._step()) or channels,
        )

    def _step(self) -> int:
        """What channels must be a multiple of."""
        return lcm(self.groups, self.shuffle)

    def parts(self, *, partial: int = 1) -> Parts:
        """Partial supernets keep the channels of a group: they have fewer groups."""
        from bnas_bench.nn.binary import Precision
        from bnas_bench.nn.blocks import FactorisedReduction, RealPreprocess
        from bnas_bench.nn.darts.bundled import GroupedBundle, Kernel
        from bnas_bench.nn.darts.bundles import Convolutions
        from bnas_bench.nn.darts.network import Parts

        def preprocess(in_channels: int, channels: int, *, reduce: bool, affine: bool) -> nn.Module:
            if reduce:
                return FactorisedReduction(
                    in_channels, channels, precision=Precision.W32A32, affine=affine
                )
            return RealPreprocess(in_channels, channels, affine=affine)

        def bundle(kernels: Sequence[Kernel], channels: int, *args: int, **options: Any) -> Bundle:
            return GroupedBundle(
                kernels,
                channels,
                *args,
                groups=gcd(max(1, self.groups // partial), channels),
                shuffled=gcd(self.shuffle, channels),
                **options,
            )

        kernels = {name: Kernel(size, dilation) for name, (size, dilation) in KERNELS.items()}
        convolutions = Convolutions(kernels, bundle, Precision.W32A32)
        return Parts(self.operations, self.operation, preprocess, convolutions)

    def operation(self, name: str, channels: int, stride: int) -> nn.Module:
        """The module of one edge of a stand-alone network."""
        from bnas_bench.nn.binary import Precision
        from bnas_bench.nn.blocks import GroupedBlock, plain_operation

        if name not in KERNELS:
            return plain_operation(name, channels, stride, reduction=Precision.W32A32)
        kernel_size, dilation = KERNELS[name]
        return GroupedBlock(
            channels,
            kernel_size,
            stride=stride,
            dilation=dilation,
            groups=self.groups,
            shuffled=self.shuffle,
        )

    def preprocess_bits(self) -> tuple[int, int]:
        return 32, 32

    def edge_ops(
        self, operation: str, channels: int, pixels: int, stride: int, convention: str
    ) -> float:
        from bnas_bench.cost.formula import convolution_ops

        if operation in KERNELS:
            kernel, _ = KERNELS[operation]
            return convolution_ops(
                channels, channels, kernel, pixels, groups=self.groups, convention=convention
            )
        if operation == "skip_connect" and stride == 2:
            bits = (32, 32)
            return convolution_ops(channels, channels, 1, pixels, bits=bits, convention=convention)
        return 0.0
