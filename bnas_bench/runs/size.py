"""How large a network is built that no trial has: as a person asks for it, if this machine has room."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bnas_bench.core.architecture import Architecture
from bnas_bench.core.budget import NetworkSpec, Scale
from bnas_bench.core.machine import is_modest
from bnas_bench.search.space import SearchSpace

if TYPE_CHECKING:
    from torch import nn

    from bnas_bench.nn.network import Network

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Size:
    """How large a network is built; None is the paper's, or ImageNet's.

    Attributes:
        channels, cells: width of the first cell and depth.
        asked_shape: (channels, height, width) of an image.
    """

    channels: int | None = None
    cells: int | None = None
    asked_shape: Shape | None = None
    asked_classes: int | None = None

    @property
    def is_asked(self) -> bool:
        """Whether any of it is given."""
        return self != Size()

    @property
    def shape(self) -> Shape:
        """(channels, height, width) of an image."""
        return self.asked_shape or (3, 224, 224)

    @property
    def classes(self) -> int:
        return self.asked_classes or 1000

    def spec(self, space: SearchSpace, arch: Architecture) -> NetworkSpec:
        """The frame that `arch` is built into.

        Raises:
            BadValue: if the space has no such network, or this machine no room for it.
        """
        spec = space.spec(Scale(self.cells, self.channels), self.shape, self.classes, final=True)
        if not is_modest(spec):
            rng = np.random.default_rng(0)
            self.check_room(space.name, lambda: space.network(arch, spec, rng))
        return spec

    def network(self, space: SearchSpace, arch: Architecture) -> Network:
        """The network of `arch`, whose weights are drawn, from the same seed each time.

        Raises:
            BadValue: as `spec`.
        """
        return space.network(arch, self.spec(space, arch), np.random.default_rng(0))

    def check_room(self, name: str, make: Callable[[], nn.Module]) -> None:
        """Raise BadValue unless the network of that name fits into this machine's memory."""
        from bnas_bench.cost.capacity import check_fits

        check_fits(f"a network of {name} of this size", make, self.shape)
