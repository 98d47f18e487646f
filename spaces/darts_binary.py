"""The binary DARTS space of CP-NAS and DCP-NAS.

CP-NAS (Zhuo et al., IJCAI 2020), https://arxiv.org/abs/2005.00057, section 2.2.
DCP-NAS (Li et al., IJCV 2023), https://arxiv.org/abs/2306.15390, section 3.1; the layers are those
of the ImageNet network that its authors published.

Deviations
    Factorised reductions of odd maps pad the shifted input by one row and column, so that both
    halves have the same size.

Open in the paper
    The stem for 32x32-like images: DARTS' own, a real 3x3 convolution to three times the channels.
    Cells that reduce in search networks of other than 6 cells: (L - 1) // 3 and 2 (L - 1) // 3.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bnas_bench.core import Architecture, NetworkSpec, Recipe, Scale
from bnas_bench.errors import BadValue, UnknownName
from bnas_bench.topology import CELLS, NODES, NONE, CellSpace

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from bnas_bench.nn.binary import Precision
    from bnas_bench.nn.cells import CellNetwork
    from bnas_bench.nn.supernet import CellSupernet

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
    """

    def __init__(self, *, without: tuple[str, ...] = (), binarise: tuple[str, ...] = ()) -> None:
        for name in without:
            if name not in OPERATIONS:
                raise UnknownName("operation of darts-binary", name, OPERATIONS)
            if name == NONE:
                raise BadValue("'none' cannot be left out: it marks the edges that are not there")
        for name in binarise:
            if name not in BINARISABLE:
                raise UnknownName("activation to binarise", name, BINARISABLE)
        super().__init__(tuple(op for op in OPERATIONS if op not in without))
        if not self.live:
            raise BadValue("without=... leaves no operation but 'none'; keep at least one")
        self.without = without
        self.binarise = binarise

    def spec(
        self, scale: Scale, shape: tuple[int, int, int], classes: int, *, final: bool
    ) -> NetworkSpec:
        """DCP-NAS sections 4.1.2 (6 cells, 16 channels) and 4.1.3 (10 cells, 54 channels: S)."""
        if (scale.cells or 2) < 2 or (scale.channels or 2) < 2:
            raise BadValue(
                f"{scale.cells} cells of {scale.channels} channels build no network of darts-binary; "
                "it takes at least 2 of each"
            )
        cells, channels = (10, 54) if final else (6, 16)
        return NetworkSpec(shape, classes, scale.cells or cells, scale.channels or channels)

    def recipe(self, shape: tuple[int, int, int]) -> Recipe:
        """DCP-NAS section 4.1.3, for CIFAR-like and for ImageNet-like images."""
        from bnas_bench.nn.cells import IMAGENET_SIDE

        if min(shape[1:]) < IMAGENET_SIDE:
            return Recipe()
        return Recipe(
            epochs=512,
            batch_size=512,
            lr=0.001,
            weight_decay=3e-5,
            clip=0.0,
            cutout=0.0,
            label_smoothing=0.1,
            auxiliary=0.4,
        )

    def network(
        self, arch: Architecture, spec: NetworkSpec, rng: np.random.Generator
    ) -> CellNetwork:
        from bnas_bench.nn.cells import CellNetwork
        from bnas_bench.nn.network import initialised_by

        self.check(arch)
        pairs = {cell: {j: self.pairs(arch, cell, j) for j in NODES} for cell in CELLS}
        with initialised_by(rng):
            return CellNetwork(pairs, spec, self.operation, self._precision("preprocessing"))

    def supernet(self, spec: NetworkSpec, rng: np.random.Generator) -> CellSupernet:
        from bnas_bench.nn.bundles import Separable
        from bnas_bench.nn.network import initialised_by
        from bnas_bench.nn.supernet import CellSupernet

        separable = {
            "sep_conv_3x3": Separable(kernel_size=3, dilation=1, repeats=2),
            "sep_conv_5x5": Separable(kernel_size=5, dilation=1, repeats=2),
            "dil_conv_3x3": Separable(kernel_size=3, dilation=2, repeats=1),
            "dil_conv_5x5": Separable(kernel_size=5, dilation=2, repeats=1),
        }
        with initialised_by(rng):
            return CellSupernet(
                self.operations,
                separable,
                spec,
                preprocessing=self._precision("preprocessing"),
                depthwise=self._precision("depthwise"),
            )

    def operation(self, name: str, channels: int, stride: int) -> nn.Module:
        """The module of one edge of a stand-alone network, as in the authors' ImageNet network."""
        from torch import nn

        from bnas_bench.nn.binary import Precision
        from bnas_bench.nn.blocks import FactorisedReduction, SeparableBlock

        def block(kernel_size: int, stride: int, dilation: int) -> nn.Module:
            depthwise = self._precision("depthwise")
            return SeparableBlock(
                channels, kernel_size, stride=stride, dilation=dilation, depthwise=depthwise
            )

        match name:
            case "skip_connect" if stride == 1:
                return nn.Identity()
            case "skip_connect":
                return FactorisedReduction(channels, channels, precision=Precision.W1A32)
            case "max_pool_3x3":
                return nn.Sequential(nn.MaxPool2d(3, stride, padding=1), nn.BatchNorm2d(channels))
            case "avg_pool_3x3":
                pool = nn.AvgPool2d(3, stride, padding=1, count_include_pad=False)
                return nn.Sequential(pool, nn.BatchNorm2d(channels))
        kernel_size = int(name[-1])
        if name.startswith("dil"):
            return block(kernel_size, stride, dilation=2)
        return nn.Sequential(block(kernel_size, stride, 1), block(kernel_size, 1, 1))

    def draw(self, arch: Architecture, path: Path) -> None:
        from bnas_bench.drawing import draw_cells

        titles = {"normal": "normal cell", "reduce": "reduction cell"}
        draw_cells(
            {titles[cell]: {j: self.pairs(arch, cell, j) for j in NODES} for cell in CELLS}, path
        )

    def _precision(self, what: str) -> Precision:
        from bnas_bench.nn.binary import Precision

        return Precision.W1A1 if what in self.binarise else Precision.W1A32
