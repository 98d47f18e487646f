"""The networks of the planted spaces: looks at an image's channels, side by side.

An option is a way to look at one channel: a 1-bit convolution, batch norm, a rectifier. Every decision
fills its own maps of the last layer, so that what an option shows of the class adds to what the other
decisions' options show.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bnas_bench.core.architecture import Mix
from bnas_bench.core.budget import NetworkSpec
from bnas_bench.nn.binary import BinaryConv2d, Filters
from bnas_bench.nn.network import Network, Supernet

WIDER = 4
"""What is given has so many times the maps of a decision, so that seeing it again shows nothing new."""


@dataclass(frozen=True)
class Look:
    """A way to look at an image.

    Attributes:
        channels: which of the image's channels the option sees in each decision.
        kernel, dilation: of its convolution.
    """

    channels: tuple[int, ...]
    kernel: int = 3
    dilation: int = 1


class Sight(nn.Module):
    """One look in several decisions at once, whose filters have nothing in common.

    Args:
        parts: the decisions.
        width: maps of each.
        shared: whether batch norm takes the batch's own statistics, as in a supernet.
    """

    def __init__(self, look: Look, parts: Sequence[int], width: int, *, shared: bool) -> None:
        super().__init__()
        self.channels = torch.tensor([look.channels[part] for part in parts])
        self.conv = BinaryConv2d(
            len(parts),
            len(parts) * width,
            look.kernel,
            padding=look.dilation * (look.kernel // 2),
            dilation=look.dilation,
            groups=len(parts),
        )
        self.norm = nn.BatchNorm2d(len(parts) * width, affine=False, track_running_stats=not shared)
        self.act = nn.ReLU()
        self.width = width

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.act(self.norm(self.conv(x_BCHW[:, self.channels])))

    def rows(self, places: Sequence[int]) -> Tensor:
        """The output channels of some of its decisions, by their places among them."""
        return (torch.tensor(places)[:, None] * self.width + torch.arange(self.width)).flatten()

    def filters(self, places: Sequence[int]) -> Filters:
        rows = self.rows(places)
        return self.conv.weight[rows], self.conv.scale_factor()[rows]

    def some(self, x_BCHW: Tensor, places: Sequence[int]) -> Tensor:
        """What it shows in some of its decisions alone."""
        if len(places) == len(self.channels):
            return self(x_BCHW)
        weight = self.conv.effective_weight()[self.rows(places)]
        y_BCHW = self.conv.convolve(x_BCHW[:, self.channels[places]], weight, len(places))
        return F.relu(F.batch_norm(y_BCHW, None, None, training=True))


class PlantedNetwork(Network):
    """A stand-alone network.

    Args:
        sights: per look the decisions that take it; those in none see nothing.
    """

    def __init__(
        self,
        looks: Mapping[str, Look],
        sights: Mapping[str, list[int]],
        given: Look,
        spec: NetworkSpec,
    ) -> None:
        super().__init__()
        width, self.taken = spec.channels, sights
        self.sights = nn.ModuleDict(
            {name: Sight(looks[name], sights[name], width, shared=False) for name in sights}
        )
        self.given = Sight(given, [0], WIDER * width, shared=False)
        parts = [part for taken in sights.values() for part in taken]
        self.blind = [part for part in range(spec.cells) if part not in parts]
        self.order = torch.tensor([*parts, *self.blind]).argsort()
        self.width = width
        self.head = head(spec)

    def features(self, x_BCHW: Tensor) -> Tensor:
        B, _, H, W = x_BCHW.shape
        maps = [sight(x_BCHW) for sight in self.sights.values()]
        nothing = x_BCHW.new_zeros(B, len(self.blind) * self.width, H, W)
        y_BPFHW = torch.cat([*maps, nothing], dim=1).unflatten(1, (-1, self.width))
        return torch.cat([y_BPFHW[:, self.order].flatten(1, 2), self.given(x_BCHW)], dim=1)


class PlantedSupernet(Supernet):
    """All options of all decisions.

    Args:
        places: per look the index of its option in every decision.
        options: how many a decision has.
        partial: K of PC-DARTS: of a decision's maps one in K is an option's, the others are the
            image's own channel of the decision's number.
    """

    def __init__(
        self,
        looks: Mapping[str, Look],
        places: Mapping[str, list[int]],
        options: int,
        given: Look,
        spec: NetworkSpec,
        partial: int,
    ) -> None:
        super().__init__()
        self.parts, self.width, self.few = spec.cells, spec.channels, spec.channels // partial
        self.places, self.options = places, options
        self.places_PL = torch.tensor(list(places.values())).T
        self.sights = nn.ModuleDict(
            {
                name: Sight(look, range(self.parts), self.few, shared=True)
                for name, look in looks.items()
            }
        )
        self.given = Sight(given, [0], WIDER * self.width, shared=True)
        self.head = head(spec)

    def sight(self, name: str) -> Sight:
        return cast(Sight, self.sights[name])

    def takers(self, name: str, path: Sequence[int]) -> list[int]:
        """The decisions that take a look."""
        pairs = zip(self.places[name], path, strict=True)
        return [part for part, (place, taken) in enumerate(pairs) if taken == place]

    def features(self, x_BCHW: Tensor, mix: Mix) -> Tensor:
        if not any(isinstance(taken, Tensor) for taken in mix):
            maps = self.path(x_BCHW, cast(Sequence[int], mix))
            shares_P = x_BCHW.new_ones(self.parts)
        else:
            one_hot = torch.eye(self.options, dtype=x_BCHW.dtype)
            weights_PO = torch.stack([w if isinstance(w, Tensor) else one_hot[w] for w in mix])
            maps, shares_P = self.mixed(x_BCHW, weights_PO), weights_PO.sum(1)
        if self.few < self.width:
            own = x_BCHW[:, : self.parts] * shares_P[:, None, None]
            passing = own[:, :, None].expand(-1, -1, self.width - self.few, -1, -1)
            maps = torch.cat([maps, passing], dim=2)
        return torch.cat([maps.flatten(1, 2), self.given(x_BCHW)], dim=1)

    def mixed(self, x_BCHW: Tensor, weights_PO: Tensor) -> Tensor:
        """The decisions' maps (B, P, F, H, W) where their options have weights (P, options)."""
        weights_LP = weights_PO.gather(1, self.places_PL).T[..., None, None, None]
        seen = [self.sight(name)(x_BCHW).unflatten(1, (-1, self.few)) for name in self.places]
        maps = seen[0] * weights_LP[0]
        for y_BPFHW, w in zip(seen[1:], weights_LP[1:], strict=True):
            maps = torch.addcmul(maps, y_BPFHW, w)
        return maps

    def path(self, x_BCHW: Tensor, path: Sequence[int]) -> Tensor:
        """The same where each decision takes one option."""
        B, _, H, W = x_BCHW.shape
        takers = {name: parts for name in self.places if (parts := self.takers(name, path))}
        maps = [self.sight(name).some(x_BCHW, parts) for name, parts in takers.items()]
        seeing = [part for parts in takers.values() for part in parts]
        blind = [part for part in range(self.parts) if part not in seeing]
        maps.append(x_BCHW.new_zeros(B, len(blind) * self.few, H, W))
        order = torch.tensor([*seeing, *blind]).argsort()
        return torch.cat(maps, dim=1).unflatten(1, (-1, self.few))[:, order]

    def filters(self, path: Sequence[int]) -> Iterator[Filters]:
        for name in self.places:
            if parts := self.takers(name, path):
                yield self.sight(name).filters(parts)
        yield self.given.filters([0])

    def weight_norms(self) -> Tensor:
        norms = [
            self.sight(name).conv.effective_weight().square().unflatten(0, (self.parts, -1))
            for name in self.places
        ]
        return torch.stack([norm.flatten(1).sum(1) for norm in norms]).sum(0)

    @torch.no_grad()
    def bequeath(self, network: Network) -> None:
        assert isinstance(network, PlantedNetwork)
        for name, heir in network.sights.items():
            sight = self.sight(name)
            rows = sight.rows(network.taken[name])
            cast(Sight, heir).conv.weight.copy_(sight.conv.weight[rows])
            cast(Sight, heir).conv.beta.copy_(sight.conv.beta[rows])
        network.given.conv.load_state_dict(self.given.conv.state_dict())
        network.head.load_state_dict(self.head.state_dict())


def head(spec: NetworkSpec) -> nn.Module:
    maps = (spec.cells + WIDER) * spec.channels
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(maps, spec.classes))
