"""Hand-made 1-bit networks and their real-valued twins, alone and all of them side by side.

Legend of tensor names: B batch, C channels, H and W height and width, N classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, cat, nn

from bnas_bench.core import Mix
from bnas_bench.nn.binary import BinaryConv2d, Filters
from bnas_bench.nn.blocks import Head, inference_layout
from bnas_bench.nn.network import ListOf, Network, Supernet
from bnas_bench.nn.residual import Kit, Plan, real_conv
from bnas_bench.nn.supernet import copy_matching


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
        layers.extend(block(place, kit) for place in plan.places())
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
