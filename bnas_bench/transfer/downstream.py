"""A downstream task: what every one of them says, so that one harness carries any backbone to any of them.

A task has data, builds its model around a backbone, says what a batch's loss is, and tests a trained model
once. Training, precisions, checkpoints, costs and records are the harness' (`bnas_bench.transfer.training`,
`bnas_bench.runs.transferring`). A new task is one file with a subclass, and a line in
`bnas_bench.transfer.tasks` and one in `bnas_bench.transfer.telling`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from bnas_bench.core.errors import BadValue
from bnas_bench.core.options import Amount, Batch, BelowOne, Count
from bnas_bench.cost.ledger import Ledger, ledger
from bnas_bench.nn.network import Network
from bnas_bench.search.learning import cosine
from bnas_bench.transfer.telling import TITLES

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How every backbone is trained for a task: SGD with momentum. A task may add fields of its own.

    Attributes:
        clip: of the gradient's norm; 0 clips nothing.
    """

    epochs: Count
    batch_size: Batch
    lr: Amount
    momentum: BelowOne = 0.9
    weight_decay: Amount = 1e-4
    clip: Amount = 0.0


class Downstream(ABC, Generic[M]):
    """A task with its data, on one device; `M` is the model that it builds.

    Attributes:
        name: as on the command line.
        recipe: how backbones are trained for it.
        device: of its batches, and of the model.
        shape: (channels, height, width) of an image: backbones are built, and costs counted, for it.
        titles: of the task in `bnas_bench.transfer.telling`.
    """

    def __init__(
        self, name: str, recipe: Recipe, device: torch.device, shape: tuple[int, int, int]
    ) -> None:
        self.name, self.recipe, self.device, self.shape = name, recipe, device, shape
        self.titles = TITLES[name]

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits over all data, that to test on included."""

    @abstractmethod
    def model(self, backbone: Network, rng: np.random.Generator) -> M:
        """The backbone and all that the task puts behind it; `backbone.stages` gives its maps.

        All of its 1-bit layers take their precision from the harness, those behind the backbone too.

        Args:
            rng: draws the weights of what is behind the backbone.

        Raises:
            BadValue: if the backbone takes no such images, or lacks maps that the task needs.
        """

    @abstractmethod
    def used(self, model: M) -> nn.Module:
        """What of the model an image runs through when it is used; what trains only is left out."""

    def ledger(self, model: M) -> Ledger:
        """What one image of `shape` costs."""
        return ledger(self.used(model), self.shape)

    @property
    @abstractmethod
    def steps(self) -> int:
        """Batches of an epoch."""

    @abstractmethod
    def batches(self, rng: np.random.Generator) -> Iterator[Any]:
        """The batches of one epoch, on the device; all that is random comes from `rng`."""

    @abstractmethod
    def loss(self, model: M, batch: Any) -> Tensor:
        """What a step makes smaller, a scalar; the model is in training mode."""

    def rate(self, progress: float) -> float:
        """The learning rate at a progress from 0 to 1: along a cosine, unless the task has another."""
        return cosine(self.recipe.lr, progress)

    @abstractmethod
    def test(self, model: M) -> Mapping[str, float]:
        """The trained model's values, asked for once: by the keys of `titles`, and of the caption's.

        All are numbers, of which one that does not exist is nan.
        """


def maps_of(backbone: Network, shape: tuple[int, int, int]) -> list[Tensor]:
    """The maps of a backbone's stages for one image of a shape (C, H, W), a grey one.

    Raises:
        BadValue: if the backbone takes no such images.
    """
    first = next(backbone.parameters())
    try:
        with torch.no_grad():
            return backbone.eval().stages(torch.zeros(1, *shape).to(first))
    except RuntimeError as error:
        raise BadValue(
            f"the backbone takes no images of {'x'.join(map(str, shape))} ({' '.join(str(error).split())}): "
            "one that was trained on images of as many channels does"
        ) from error
