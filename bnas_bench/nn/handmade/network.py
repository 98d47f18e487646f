"""Hand-made 1-bit networks and their real-valued twins: planned, alone, and all of them side by side.

Legend of tensor names: B batch, C channels, H and W height and width, N classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, cat, nn

from bnas_bench.core.architecture import Mix
from bnas_bench.core.budget import NetworkSpec
from bnas_bench.nn.binary import BinaryConv2d, Filters
from bnas_bench.nn.blocks import Head, inference_layout
from bnas_bench.nn.darts.supernet import copy_matching
from bnas_bench.nn.handmade.residual import (
    BiRealBlock,
    Block,
    Kit,
    Place,
    PreactivationBlock,
    ReActBlock,
    ResNetBlock,
    Row,
    Side,
    norm_row,
    real_conv,
)
from bnas_bench.nn.handmade.tiled import (
    BottleneckBlock,
    MobileNetV1Block,
    MobileNetV2Block,
    PointwiseBlock,
)
from bnas_bench.nn.network import ListOf, Network, Supernet

FEWEST = 2
"""Maps of so many pixels a side are halved no more: batch norm needs more than one pixel."""

BLOCKS: dict[str, type[Block]] = {
    "resnet": ResNetBlock,
    "preactivation": PreactivationBlock,
    "bireal": BiRealBlock,
    "reactnet": ReActBlock,
    "mobilenetv1": MobileNetV1Block,
    "mobilenetv2": MobileNetV2Block,
    "bottleneck": BottleneckBlock,
    "pointwise": PointwiseBlock,
}


class StagePlan(NamedTuple):
    """Blocks of one kind and width.

    Attributes:
        depth: how many.
        outputs: channels that each of them ends with.
        halves: whether the first one halves the map.
    """

    block: type[Block]
    depth: int
    outputs: int
    halves: bool


@dataclass(frozen=True)
class Plan:
    """A network before it is built: what it is built and what its cost is counted from.

    Attributes:
        name: the model's.
        stages: in order; the first one's blocks say what stands before them, and behind the last.
        real: whether it is real-valued throughout.
    """

    name: str
    stages: tuple[StagePlan, ...]
    real: bool
    spec: NetworkSpec

    @property
    def block(self) -> type[Block]:
        """Of the first stage."""
        return self.stages[0].block

    @property
    def outputs(self) -> int:
        """Channels of the last maps."""
        return self.stages[-1].outputs

    @property
    def stem_kernel(self) -> int:
        return self.block.stem_kernel if self.spec.large else 3

    @property
    def pooled(self) -> bool:
        return self.block.pooled and self.spec.large

    @property
    def stem(self) -> Place:
        """Of the first convolution, which halves large images."""
        side = (self.spec.shape[1], self.spec.shape[2])
        after = _half(side) if self.spec.large else side
        return Place(self.spec.shape[0], self.spec.channels // self.block.narrowing, side, after)

    def blocks(self) -> Iterator[tuple[type[Block], Place]]:
        """The blocks, and where each stands.

        Small images are spared the first two halvings of large ones: those of the stem, or of the
        stem and the first stage that halves, where there is no pooling.
        """
        inputs, side = self.stem.outputs, self.stem.after
        if self.pooled:
            side = _half(side)
        spared = not (self.spec.large or self.block.pooled)
        for block, depth, outputs, halves in self.stages:
            for index in range(depth):
                after = side
                if halves and index == 0:
                    after = side if spared or min(side) <= FEWEST else _half(side)
                    spared = False
                yield block, Place(inputs, outputs, side, after)
                inputs, side = outputs, after

    def rows(self) -> Iterator[Row]:
        """The layers that cost something: all convolutions and normalisations, the classifier."""
        stem, bits = self.stem, 32 if self.real else 1
        yield Row(stem.inputs, stem.outputs, self.stem_kernel, stem.pixels)
        if self.block.stem_norm:
            yield norm_row(stem.outputs, stem.pixels)
        place = stem
        for block, place in self.blocks():
            yield from block.rows(place, bits)
        if self.block.last_norm:
            yield norm_row(place.outputs, place.pixels)
        yield Row(place.outputs, self.spec.classes, 1, 1, biased=True)


def _half(side: Side) -> Side:
    return -(-side[0] // 2), -(-side[1] // 2)


class Body(nn.Sequential):
    """From the image to the last maps: the real first convolution, the blocks."""

    def __init__(self, plan: Plan, *, tracked: bool) -> None:
        kit, stem, block = Kit(plan.real, tracked), plan.stem, plan.block
        layers: list[nn.Module] = [
            real_conv(stem.inputs, stem.outputs, plan.stem_kernel, stem.stride)
        ]
        if block.stem_norm:
            layers.append(kit.norm(stem.outputs))
        if block.stem_relu:
            layers.append(nn.ReLU())
        if plan.pooled:
            layers.append(nn.MaxPool2d(3, 2, padding=1))
        layers.extend(make(place, kit) for make, place in plan.blocks())
        if block.last_norm:
            layers.extend((kit.norm(plan.outputs), nn.ReLU()))
        super().__init__(*layers)


class HandcraftedNetwork(Network):
    """One hand-made network."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.name = plan.name
        self.body = Body(plan, tracked=True)
        self.head: Head = Head(plan.outputs, plan.spec.classes)

    def features(self, x_BCHW: Tensor) -> Tensor:
        return self.body(inference_layout(self, x_BCHW))

    def successive(self, x_BCHW: Tensor) -> Iterator[Tensor]:
        x_BCHW = inference_layout(self, x_BCHW)
        for layer in self.body:
            yield (x_BCHW := layer(x_BCHW))


class SharedHead(nn.Module):
    """Global average pooling and one real linear layer over the maps of all models, with one bias.

    Args:
        widths: channels of each model's last maps.
    """

    def __init__(self, widths: Sequence[int], classes: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(sum(widths), classes)
        starts = [sum(widths[:model]) for model in range(len(widths))]
        self.columns = [slice(a, a + n) for a, n in zip(starts, widths, strict=True)]

    def weight(self, model: int) -> Tensor:
        """The weights that one model's maps meet, shape (N, C)."""
        return self.linear.weight[:, self.columns[model]]

    def forward(self, x_BCHW: Tensor, model: int | None = None) -> Tensor:
        """Logits of all models' maps in a row, or of those of one model alone."""
        x_BC = self.pool(x_BCHW).flatten(1)
        if model is None:
            return self.linear(x_BC)
        return F.linear(x_BC, self.weight(model), self.linear.bias)


class HandcraftedSupernet(Supernet):
    """The models side by side: the mix weighs what each of them says.

    The features of a path are its model's maps. Those of a mix are every model's, averaged over
    their pixels, times its weight, one after the other along the channels.
    """

    def __init__(self, plans: Sequence[Plan]) -> None:
        super().__init__()
        self.names = tuple(plan.name for plan in plans)
        self.bodies = ListOf[Body](Body(plan, tracked=False) for plan in plans)
        self.head: SharedHead = SharedHead([p.outputs for p in plans], plans[0].spec.classes)

    def forward(self, x_BCHW: Tensor, mix: Mix) -> Tensor:
        return self.logits_and_features(x_BCHW, mix)[0]

    def logits_and_features(self, x_BCHW: Tensor, mix: Mix) -> tuple[Tensor, Tensor]:
        (entry,) = mix
        features = self.features(x_BCHW, mix)
        return self.head(features, None if isinstance(entry, Tensor) else int(entry)), features

    def features(self, x_BCHW: Tensor, mix: Mix) -> Tensor:
        (entry,) = mix
        if not isinstance(entry, Tensor):
            return self.bodies[int(entry)](x_BCHW)
        pooled = [body(x_BCHW).mean((2, 3), keepdim=True) for body in self.bodies]
        return cat([w * maps for w, maps in zip(entry, pooled, strict=True)], dim=1)

    def filters(self, path: Sequence[int]) -> Iterator[Filters]:
        (model,) = path
        for module in self.bodies[model].modules():
            if isinstance(module, BinaryConv2d):
                yield module.filters()

    def weight_norms(self) -> Tensor:
        """Squared 2-norm of all convolutions of all models, shape (1,)."""
        norms = []
        for module in self.bodies.modules():
            if isinstance(module, BinaryConv2d):
                norms.append(module.effective_weight().square().sum())
            elif isinstance(module, nn.Conv2d):
                norms.append(module.weight.square().sum())
        return torch.stack(norms).sum(0, keepdim=True)

    @torch.no_grad()
    def bequeath(self, network: Network) -> None:
        assert isinstance(network, HandcraftedNetwork)
        model = self.names.index(network.name)
        copy_matching(self.bodies[model], network.body)
        network.head.linear.weight.copy_(self.head.weight(model))
        network.head.linear.bias.copy_(self.head.linear.bias)
