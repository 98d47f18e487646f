"""The datasets' names, known without importing torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bnas_bench.core.errors import BadValue, UnknownName, brief

DATASETS: Mapping[str, str] = {
    "digits": "1,797 real 8x8 images of handwritten digits, 10 classes; embedded, no download",
    "cifar10": "60,000 colour images of 32x32, 10 classes; downloaded by torchvision",
    "cifar100": "60,000 colour images of 32x32, 100 classes; downloaded by torchvision",
    "fashion-mnist": "70,000 grey images of 28x28, 10 classes; downloaded by torchvision",
    "imagefolder": "written imagefolder:PATH, any tree of train/CLASS/* and test/CLASS/* (or val/)",
    "imagenet": "written imagenet:PATH, such a tree of ImageNet at 224x224",
}
"""The known datasets, with one line on each."""

_TAKE_A_PATH = ("imagefolder", "imagenet")


@dataclass(frozen=True)
class Size:
    """How large a dataset is before it is read.

    Attributes:
        images: how many are held in memory; none where they are read from files as they are needed.
        shape: (channels, height, width) of an image.
    """

    images: int
    shape: tuple[int, int, int]
    classes: int


SIZES: Mapping[str, Size] = {
    "digits": Size(1_797, (1, 8, 8), 10),
    "cifar10": Size(60_000, (3, 32, 32), 10),
    "cifar100": Size(60_000, (3, 32, 32), 100),
    "fashion-mnist": Size(70_000, (1, 28, 28), 10),
    "imagefolder": Size(0, (3, 32, 32), 2),
    "imagenet": Size(0, (3, 224, 224), 1000),
}
"""Of a tree of files nobody knows: at least two classes, and a side that makes small networks."""


def split_datasets(text: str) -> list[str]:
    """The datasets of a list, split at its commas.

    One in the name of a folder is none of the list's: what follows it starts like no dataset, or the
    folder that it is part of exists.
    """
    names: list[str] = []
    for piece in text.split(","):
        whole = f"{names[-1]},{piece}" if names else piece
        head, _, path = whole.partition(":")
        starts_anew = piece.strip().partition(":")[0] in DATASETS
        if head.strip() in _TAKE_A_PATH and path and not (starts_anew and not _is_folder(path)):
            names[-1:] = [whole]
        else:
            names.append(piece)
    return [name.strip() for name in names]


def _is_folder(path: str) -> bool:
    try:
        return Path(path.strip()).expanduser().is_dir()
    except (OSError, ValueError, RuntimeError):  # too long, with a zero in it, of no such user
        return False


def check_dataset(name: str) -> None:
    """Raise unless `name` is written as a known dataset; its images are not looked for.

    Raises:
        UnknownName: if nothing has that name.
        BadValue: if a path is missing, or is given to a dataset that takes none.
    """
    head, colon, path = name.partition(":")
    if not name.isprintable():
        raise BadValue(f"dataset '{brief(name)}' has control characters in it: rename the folder")
    if head not in DATASETS:
        raise UnknownName("dataset", name, DATASETS)
    if head == "imagefolder" and not path:
        raise BadValue("dataset 'imagefolder' needs a folder: write imagefolder:PATH")
    if colon and head not in _TAKE_A_PATH:
        raise BadValue(f"dataset '{head}' takes no path, and '{path}' was given: write {head}")
    if colon and not path:
        raise BadValue(f"dataset '{name}' ends in a colon: write {head} or {head}:PATH")
