"""The datasets' names, known without importing torch."""

from __future__ import annotations

from collections.abc import Mapping

from bnas_bench.errors import BadValue, UnknownName

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


def check_dataset(name: str) -> None:
    """Raise unless `name` is written as a known dataset; its images are not looked for.

    Raises:
        UnknownName: if nothing has that name.
        BadValue: if a path is missing, or is given to a dataset that takes none.
    """
    head, colon, path = name.partition(":")
    if head not in DATASETS:
        raise UnknownName("dataset", name, DATASETS)
    if head == "imagefolder" and not path:
        raise BadValue("dataset 'imagefolder' needs a folder: write imagefolder:PATH")
    if colon and head not in _TAKE_A_PATH:
        raise BadValue(f"dataset '{head}' takes no path, and '{path}' was given: write {head}")
    if colon and not path:
        raise BadValue(f"dataset '{name}' ends in a colon: write {head} or {head}:PATH")
