"""Datasets, and the Task that a search is given of one: train and valid, never test."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from bnas_bench.core.errors import BadValue, MissingData
from bnas_bench.core.searching import shut_to_searches
from bnas_bench.data.imagefolder import load_tree
from bnas_bench.data.images import PLAIN, Augment, Images, TensorImages, resized
from bnas_bench.data.names import check_dataset

if TYPE_CHECKING:
    from bnas_bench.core.architecture import Architecture
    from bnas_bench.core.budget import Budget, NetworkSpec

__all__ = ["PLAIN", "Augment", "Dataset", "Images", "Task", "TensorImages", "load", "task"]

DIGITS_TEST = 360
DOWNLOADS = {
    "cifar10": ("CIFAR10", "cifar-10-python.tar.gz from www.cs.toronto.edu/~kriz/cifar.html"),
    "cifar100": ("CIFAR100", "cifar-100-python.tar.gz from www.cs.toronto.edu/~kriz/cifar.html"),
    "fashion-mnist": (
        "FashionMNIST",
        "the four .gz files of github.com/zalandoresearch/fashion-mnist in FashionMNIST/raw",
    ),
}
"""torchvision's class, and the files that it finds without a network."""


@dataclass(frozen=True)
class Dataset:
    """Labelled images in the two parts that everybody uses: train, and test for the harness alone.

    Attributes:
        flips: whether a mirrored image still shows its class (not so for digits).
    """

    name: str
    train: Images
    test: Images
    class_names: tuple[str, ...]
    flips: bool

    @property
    def classes(self) -> int:
        return len(self.class_names)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of an image."""
        return self.train.shape

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits over all images and labels, as they are read.

        Streamed files count with their paths and sizes.
        """
        return hashlib.sha256(self.train.digest() + self.test.digest()).hexdigest()[:16]

    def augment(self, cutout: float = 0.0) -> Augment:
        """The usual random crop (4 pixels of 32) and, where it may be, flip.

        Args:
            cutout: side of the blanked-out square as a part of the image's side.
        """
        side = min(self.shape[1:])
        return Augment(crop=max(1, side // 8), flip=self.flips, cutout=round(cutout * side))


class Scorer(Protocol):
    """Answers `Task.score`: by training, or from a table.

    Attributes:
        longest: the most epochs that it may be asked for; None sets no limit.
    """

    @property
    def longest(self) -> int | None: ...

    def passes(self, epochs: int) -> float: ...

    def __call__(self, arch: Architecture, epochs: int) -> float: ...


@dataclass(frozen=True)
class Task:
    """What a search may see. The test images cannot be reached from it.

    Attributes:
        train: the images that train weights.
        valid: other images, which validate.
        shape: (channels, height, width) of an image.
        spec: the frame of the search's networks.
        augment: what to do to the images that train weights.
        scorer: answers `score`; whoever lends the task to a search says who does.
    """

    train: Images
    valid: Images
    classes: int
    shape: tuple[int, int, int]
    spec: NetworkSpec
    batch_size: int
    device: torch.device
    augment: Augment
    scorer: Scorer | None = None

    def score(self, arch: Architecture, epochs: int) -> float:
        """What an architecture reaches on validation images after so many epochs, from 0 to 1.

        It is trained, or looked up where the space has a table; either way the meter is charged
        `passes_of(epochs)`. Asked again it is the same, in the same trial.

        Raises:
            BadValue: if nobody answers, or not for so many epochs.
            BudgetExceeded: if the budget does not hold the passes.
        """
        return self._scorer()(arch, epochs)

    def passes_of(self, epochs: int) -> float:
        """What `score` costs: training for so many epochs, and one validation.

        Raises:
            BadValue: if nobody answers.
        """
        return self._scorer().passes(epochs)

    @property
    def longest(self) -> int | None:
        """The most epochs that `score` may be asked for; None if it takes any number."""
        return self._scorer().longest

    def _scorer(self) -> Scorer:
        if self.scorer is None:
            raise BadValue(
                "nobody gives scores for this task: make it with search.scores.scored_by_training"
            )
        return self.scorer


def task(dataset: Dataset, spec: NetworkSpec, budget: Budget, rng: np.random.Generator) -> Task:
    """Split the training images for a search, each class in proportion, as `rng` draws it.

    Raises:
        BadValue: if the budget's fractions are not parts of one whole, or leave a class without an
            image to train on or to validate on.
    """
    how, images = budget.protocol, len(dataset.train)
    search, valid = how.search_fraction, how.valid_fraction
    if not (0 < search < 1 and 0 < valid < 1 and search + valid <= 1 + 1e-9):
        raise BadValue(
            f"search_fraction {search} and valid_fraction {valid} are to be two parts of the "
            "training images: give both more than 0, and 1 at most together"
        )
    end = min(images, round((search + valid) * images))
    sizes = (round(search * images), end - round(search * images))
    labels = dataset.train.labels
    parts = stratified(labels, sizes, rng.permutation(images))
    for name, part in zip(("train", "validate"), parts, strict=True):
        if (left := np.bincount(labels[part], minlength=dataset.classes)).min() == 0:
            raise BadValue(
                f"search_fraction {search} and valid_fraction {valid} of the {images} training "
                f"images of {dataset.name} leave {sizes[0]} and {sizes[1]}, with no image of class "
                f"'{dataset.class_names[left.argmin()]}' to {name} on; give larger fractions"
            )
    return Task(
        train=dataset.train.subset(parts[0]),
        valid=dataset.train.subset(parts[1]),
        classes=dataset.classes,
        shape=dataset.shape,
        spec=spec,
        batch_size=how.batch_size,
        device=dataset.train.device,
        augment=dataset.augment(),
    )


def together(dataset: Dataset) -> TensorImages:
    """All images of a dataset, those of its training part first.

    Raises:
        BadValue: if they are files that are read as they are wanted.
    """
    train, test = dataset.train, dataset.test
    if not (isinstance(train, TensorImages) and isinstance(test, TensorImages)):
        raise BadValue(
            f"the images of {dataset.name} do not fit into memory, where its two parts could be mixed: "
            "take fewer, or leave the parts as they are"
        )
    labels = np.concatenate([train.labels, test.labels])
    return TensorImages(torch.cat([train.pixels, test.pixels]), labels, train.device)


def stratified(labels: np.ndarray, sizes: Sequence[int], order: np.ndarray) -> list[np.ndarray]:
    """Disjoint sets of indices, of the given sizes and with the classes' proportions.

    The seats of a set are shared out among the classes by the largest remainder.

    Args:
        order: a permutation of the indices. Within a class, the first come into the first set; each
            set keeps this order, so that a batch in order does not hold one class alone.
    """
    left = [order[labels[order] == label] for label in np.unique(labels)]
    parts = []
    for size in sizes:
        counts = np.array([len(indices) for indices in left])
        exact = counts * size / max(1, counts.sum())
        shares = np.floor(exact).astype(int)
        shares[np.argsort(shares - exact, kind="stable")[: size - shares.sum()]] += 1
        chosen = [indices[:share] for indices, share in zip(left, shares, strict=True)]
        left = [indices[share:] for indices, share in zip(left, shares, strict=True)]
        parts.append(order[np.isin(order, np.concatenate(chosen))])
    return parts


def load(
    name: str,
    *,
    image: int | None,
    device: torch.device | str,
    folder: Path | str,
    say: Callable[[str], None] | None = None,
) -> Dataset:
    """Load a dataset by its name.

    Args:
        name: `digits` (embedded), `cifar10`, `cifar100`, `fashion-mnist` (downloaded into `folder`
            when they are not there), `imagefolder:PATH` (train/ and test/, one folder per class),
            `imagenet:PATH` (such a tree, at 224; without a path, the tree `folder`/imagenet).
        image: pixels a side that images are brought to; None leaves them as they are.
        folder: where datasets lie.
        say: takes a sentence on the files of a tree that are left out, if any are; None warns.

    Raises:
        UnknownName, BadValue: as `names.check_dataset`.
        MissingData: if it is not there and cannot be fetched.
        BadValue: if the images are damaged or do not fit together, or `image` is below 1.
        Shut: if a search is under way.
    """
    check_dataset(name)
    shut_to_searches(f"the dataset {name}")
    if image is not None and image < 1:
        raise BadValue(f"images cannot be brought to {image} pixels a side; give 1 or more")
    device, folder = torch.device(device), Path(folder)
    kind, _, path = name.partition(":")
    if kind == "digits":
        return _digits(image, device)
    if kind in DOWNLOADS:
        return _downloaded(name, image, device, folder)
    imagenet = kind == "imagenet"
    # Path.expanduser raises where there is no such user.
    root = Path(os.path.expanduser(path)) if path else folder / "imagenet"  # noqa: PTH111
    side = image or 224 if imagenet else image
    train, test, classes = load_tree(
        root, side, device, random_resized_crop=imagenet, say=say or _warn
    )
    return Dataset(name, train, test, classes, flips=True)


def _warn(remark: str) -> None:
    """A warning that points to the call of `load`."""
    warnings.warn(remark, stacklevel=4)


@cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's 1,797 images of 8x8 in 17 greys, shape (1797, 8, 8), and labels; both read-only."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    for array in (bunch.images, bunch.target):
        array.flags.writeable = False
    return bunch.images, bunch.target


def _digits(image: int | None, device: torch.device) -> Dataset:
    """The digits; 360 of them, the same for ever, are test."""
    images, labels = digits()
    pixels_NCHW = resized(torch.from_numpy(images.astype(np.float32))[:, None] * (255 / 16), image)
    # RandomState, because its streams are frozen and a Generator's may change with NumPy.
    order = np.random.RandomState(0).permutation(len(labels))
    (test,) = stratified(labels, [DIGITS_TEST], order)
    train = np.setdiff1d(order, test)
    return Dataset(
        "digits",
        TensorImages(pixels_NCHW[train], labels[train], device),
        TensorImages(pixels_NCHW[test], labels[test], device),
        tuple("0123456789"),
        flips=False,
    )


def _downloaded(name: str, image: int | None, device: torch.device, folder: Path) -> Dataset:
    """CIFAR's files are pickles: torchvision opens them only if their MD5 sums are right."""
    parts = [_torchvision(name, folder, train=train) for train in (True, False)]
    train, test = (
        TensorImages(
            resized(_channels_first(part.data), image),
            torch.as_tensor(part.targets).numpy(),
            device,
        )
        for part in parts
    )
    return Dataset(name, train, test, tuple(parts[0].classes), flips=True)


def _torchvision(name: str, folder: Path, *, train: bool) -> Any:
    from torchvision import datasets

    kind, files = DOWNLOADS[name]
    make = getattr(datasets, kind)
    # What torchvision raises depends on the file and on the network; the reason is passed on.
    with suppress(Exception):
        return make(folder, train=train)
    try:
        return make(folder, train=train, download=True)
    except Exception as error:
        reason = " ".join(str(error).split())
        raise MissingData(
            f"{name} is not in {folder.resolve()}, or not whole, and could not be downloaded "
            f"({reason}); run once with a network, or put there {files}"
        ) from error


def _channels_first(pixels: np.ndarray | Tensor) -> Tensor:
    tensor = torch.as_tensor(pixels)
    return tensor[:, None] if tensor.dim() == 3 else tensor.permute(0, 3, 1, 2)
