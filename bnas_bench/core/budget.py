"""Budget, Scale, Recipe, NetworkSpec: what a trial may spend, and how large its networks are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from bnas_bench.core.errors import BadValue
from bnas_bench.core.options import (
    Amount,
    Batch,
    BelowOne,
    Between,
    Count,
    Few,
    Passes,
    Share,
    Width,
)

PRECISIONS = ("W32A32", "W32A1", "W1A32", "W1A1")
"""Bits of weights (W) and activations (A) that a network can run at."""

OPTIMISERS = ("adam", "sgd")
"""What a network is trained by, with momentum: DCP-NAS' choice and CP-NAS'."""

TEACHERS = ("none", "twin", "parent")
"""What a network learns from beside labels: nothing; in their place the distribution of its real-valued twin,
trained by the same recipe; or such a twin as CP-NAS' Parent, by the kernel-level loss. Only networks of 1-bit
weights learn from one."""

IMAGENET_SIDE = 64
"""Images of at least this many pixels a side are large: they take the papers' ImageNet stems."""


@dataclass(frozen=True)
class NetworkSpec:
    """The frame that a network or supernet is built into: what comes in, what goes out, how large.

    Attributes:
        shape: (channels, height, width) of an input image.
        classes: how many logits come out.
        cells: depth, in the space's own unit (cells, blocks).
        channels: width of the first cell.
        auxiliary: whether to build the training-only auxiliary head, where the space has one.
    """

    shape: tuple[int, int, int]
    classes: int
    cells: int
    channels: int
    auxiliary: bool = False

    @property
    def large(self) -> bool:
        """Whether the images are ImageNet's rather than CIFAR's in size."""
        return min(self.shape[1:]) >= IMAGENET_SIDE


@dataclass(frozen=True)
class Recipe:
    """How a derived network is trained from scratch: the same for every method.

    The defaults are DCP-NAS' section 4.1.3 for CIFAR-10, `imagenet` its own for ImageNet. The rate goes
    to zero along a cosine.
    """

    epochs: Count = 600
    batch_size: Batch = 96
    lr: Amount = 0.0025
    momentum: BelowOne = 0.9
    weight_decay: Amount = 1e-5
    clip: Amount = 5.0
    cutout: Share = 0.5
    """Side of the square that is blanked out, as a part of the image's side (16 of 32 pixels)."""
    label_smoothing: BelowOne = 0.0
    auxiliary: Amount = 0.0
    """Weight of the auxiliary head's loss; 0 builds none."""
    precision: str = "W1A1"
    """One of `PRECISIONS`: what the network is trained, tested and measured at."""
    optimiser: str = "adam"
    """One of `OPTIMISERS`."""
    first: str = "none"
    """A precision (W32A1, say) for two steps, as the authors of ReActNet and DCP-NAS train: one at it leaves
    the weights that the training itself starts from, which then has no weight decay."""
    teacher: str = "none"
    """One of `TEACHERS`: `twin` as in ReActNet, `parent` as in CP-NAS."""

    @classmethod
    def imagenet(cls) -> Recipe:
        return cls(
            epochs=512,
            batch_size=512,
            lr=0.001,
            weight_decay=3e-5,
            clip=0.0,
            cutout=0.0,
            label_smoothing=0.1,
        )


@dataclass(frozen=True)
class Scale:
    """The size of the networks at one stage of a run.

    Attributes:
        cells: depth; None is the paper's for the space.
        channels: width of the first cell; None is the paper's for the space.
        image: images are resized to this many pixels a side; None leaves them as they are.
    """

    cells: Few | None = None
    channels: Width | None = None
    image: Width | None = None


@dataclass(frozen=True)
class Protocol:
    """How a method's paper searches CIFAR-10, so far as its budget `paper` leaves that open.

    The defaults are those of CP-NAS and DCP-NAS (section 4.1.2).

    Attributes: those of `Budget`.
    """

    batch_size: int = 512
    search_fraction: float = 0.5
    valid_fraction: float = 0.05


@dataclass(frozen=True)
class Budget:
    """What a trial of the comparison may spend, and at which scale; the same for every method.

    Attributes:
        passes: one image through one network forward and backward is 1, forward only 1/3. None leaves
            each method its own paper's number of epochs.
        batch_size: of the search; None, here and in the next two, is that of the method's `Protocol`.
        search_fraction: the part of the training images that trains weights during the search.
        valid_fraction: the part of the training images, disjoint from it, that validates.
        search, final: the scale of the supernets and of the derived network.
        epochs: of the final training; None is the recipe's own.
        train_batch: batch size of the final training; None is the recipe's own.
        train_seeds: trainings of what a search finds, each from a seed of its own; the trial's accuracy is
            their mean, so that however many they are, it stays one search.
    """

    name: str
    passes: Passes | None
    batch_size: Batch | None
    search_fraction: Between | None = 0.5
    valid_fraction: Between | None = 0.05
    search: Scale = Scale()
    final: Scale = Scale()
    epochs: Count | None = None
    train_batch: Batch | None = None
    train_seeds: Few = 1
    recipe: Mapping[str, float | str] = field(default_factory=dict)
    """Further fields of the space's recipe that the budget replaces (DCP-NAS table 9)."""

    def config(self) -> dict[str, Any]:
        """As plain values; one training is not said, as the first records do not."""
        values = asdict(self)
        if self.train_seeds == 1:
            del values["train_seeds"]
        return values

    def under(self, protocol: Protocol) -> Budget:
        """The budget with what it leaves open as a method's paper has it."""
        left = {key: value for key, value in vars(protocol).items() if getattr(self, key) is None}
        return replace(self, **left)

    @property
    def protocol(self) -> Protocol:
        """Batch and split of the search.

        Raises:
            BadValue: if they are left to the method.
        """
        batch, search, valid = self.batch_size, self.search_fraction, self.valid_fraction
        if batch is None or search is None or valid is None:
            raise BadValue(
                f"budget {self.name} leaves batch and split to the method: ask `under` its protocol first"
            )
        return Protocol(batch, search, valid)


def next_multiple(number: int | None, step: int) -> int | None:
    """The smallest positive multiple of `step` from `number` on; None stays None."""
    return None if number is None else step * max(1, -(-number // step))
