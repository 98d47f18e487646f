"""The binary DARTS space of CP-NAS and DCP-NAS.

CP-NAS (Zhuo et al., IJCAI 2020), https://arxiv.org/abs/2005.00057, section 2.2.
DCP-NAS (Li et al., IJCV 2023), https://arxiv.org/abs/2306.15390, section 3.1; the layers are those
of the ImageNet network that its authors published.

Deviations
    Factorised reductions of odd maps pad the shifted input by one row and column, so that both
    halves have the same size.

Open in the paper
    The stem for 32x32-like images: DARTS' own, a real 3x3 convolution to three times the channels.
    Cells that reduce in search networks of other than 6 cells: (L - 1) // 3 and 2 (L - 1) // 3. Images
    of under 16 pixels a side are halved once, in cell L // 3, so that no cell sees a map of 2x2 pixels.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from bnas_bench.core.budget import NetworkSpec, Scale
from bnas_bench.core.errors import BadValue, UnknownName
from bnas_bench.nn.darts.topology import NONE
from bnas_bench.search.cell_space import CellSpace

if TYPE_CHECKING:
    from torch import nn

    from bnas_bench.nn.binary import Precision
    from bnas_bench.nn.darts.network import Parts

OPERATIONS = (
    NONE,
    "skip_connect",
    "max_pool_3x3",
    "avg_pool_3x3",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
BINARISABLE = ("preprocessing", "depthwise")


class DartsBinary(CellSpace):
    """Binary DARTS cells: separable 1-bit convolutions, pools and skips, two edges per node.

    Args:
        without: operations to leave out (DCP-NAS table 7).
        binarise: activations to binarise beside those of the pointwise convolutions:
            `preprocessing` of a cell's inputs, `depthwise` convolutions (DCP-NAS table 8).
        zeroise: whether a node may keep fewer than two live edges (BNAS).
    """

    def __init__(
        self,
        *,
        without: tuple[str, ...] = (),
        binarise: tuple[str, ...] = (),
        zeroise: bool = False,
    ) -> None:
        for name in without:
            if name not in OPERATIONS:
                raise UnknownName("operation of darts-binary", name, OPERATIONS)
            if name == NONE:
                raise BadValue("'none' cannot be left out: it marks the edges that are not there")
        for name in binarise:
            if name not in BINARISABLE:
                raise UnknownName("activation to binarise", name, BINARISABLE)
        super().__init__(tuple(op for op in OPERATIONS if op not in without), zeroise)
        if not self.live:
            raise BadValue("without=... leaves no operation but 'none'; keep at least one")
        self.without = without
        self.binarise = binarise

    def spec(
        self, scale: Scale, shape: tuple[int, int, int], classes: int, *, final: bool
    ) -> NetworkSpec:
        """DCP-NAS sections 4.1.2 (6 cells, 16 channels) and 4.1.3 (10 cells, 54 channels: S)."""
        if any(number is not None and number < 2 for number in (scale.cells, scale.channels)):
            raise BadValue(
                f"{scale.cells} cells of {scale.channels} channels build no network of darts-binary; "
                "it takes at least 2 of each"
            )
        cells, channels = (10, 54) if final else (6, 16)
        return NetworkSpec(shape, classes, scale.cells or cells, scale.channels or channels)

    def parts(self, *, partial: int = 1) -> Parts:  # noqa: ARG002
        from bnas_bench.nn.binary import Precision
        from bnas_bench.nn.blocks import FactorisedReduction, Preprocess
        from bnas_bench.nn.darts.bundled import Kernel, SeparableBundle
        from bnas_bench.nn.darts.bundles import Convolutions
        from bnas_bench.nn.darts.network import Parts

        def preprocess(in_channels: int, channels: int, *, reduce: bool, affine: bool) -> nn.Module:
            make = FactorisedReduction if reduce else Preprocess
            return make(
                in_channels, channels, precision=self._precision("preprocessing"), affine=affine
            )

        kernels = {
            "sep_conv_3x3": Kernel(size=3, dilation=1, repeats=2),
            "sep_conv_5x5": Kernel(size=5, dilation=1, repeats=2),
            "dil_conv_3x3": Kernel(size=3, dilation=2),
            "dil_conv_5x5": Kernel(size=5, dilation=2),
        }
        bundle = functools.partial(SeparableBundle, depthwise=self._precision("depthwise"))
        convolutions = Convolutions(kernels, bundle, Precision.W1A32)
        return Parts(self.operations, self.operation, preprocess, convolutions)

    def operation(self, name: str, channels: int, stride: int) -> nn.Module:
        """The module of one edge of a stand-alone network, as in the authors' ImageNet network."""
        from torch import nn

        from bnas_bench.nn.binary import Precision
        from bnas_bench.nn.blocks import SeparableBlock, plain_operation

        def block(stride: int, dilation: int) -> nn.Module:
            depthwise = self._precision("depthwise")
            return SeparableBlock(
                channels, int(name[-1]), stride=stride, dilation=dilation, depthwise=depthwise
            )

        if name.startswith("dil"):
            return block(stride, dilation=2)
        if name.startswith("sep"):
            return nn.Sequential(block(stride, dilation=1), block(1, dilation=1))
        return plain_operation(name, channels, stride, reduction=Precision.W1A32)

    def preprocess_bits(self) -> tuple[int, int]:
        return 1, self._activation_bits("preprocessing")

    def edge_ops(
        self, operation: str, channels: int, pixels: int, stride: int, convention: str
    ) -> float:
        from bnas_bench.cost.formula import convolution_ops

        def conv(kernel: int, groups: int, activation_bits: int) -> float:
            return convolution_ops(
                channels,
                channels,
                kernel,
                pixels,
                groups=groups,
                bits=(1, activation_bits),
                convention=convention,
            )

        if operation == "skip_connect":
            return conv(1, 1, 32) if stride == 2 else 0.0
        if operation.endswith("pool_3x3"):
            return 0.0
        block = conv(int(operation[-1]), channels, self._activation_bits("depthwise"))
        block += conv(1, 1, 1)
        return block if operation.startswith("dil") else 2 * block

    def _precision(self, what: str) -> Precision:
        from bnas_bench.nn.binary import Precision

        return Precision.W1A1 if what in self.binarise else Precision.W1A32

    def _activation_bits(self, what: str) -> int:
        return 1 if what in self.binarise else 32
