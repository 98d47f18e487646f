"""Re-identification datasets: images of people, or of anything, by identity and camera.

`market1501`, `duke` and `cuhk03` are read from the folders and file names in which they are handed out:
`bounding_box_train`, `query` and `bounding_box_test` with `0002_c1s1_000451_03.jpg` (identity, camera); of
CUHK03 that is `detected/` of CUHK03-NP. `identities` is embedded (`bnas_bench.transfer.identities`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from bnas_bench.core.errors import BadValue, MissingData
from bnas_bench.data.imagefolder import FileImages
from bnas_bench.data.images import Images
from bnas_bench.data.imagetree import Files
from bnas_bench.transfer.retrieval import JUNK, Seen

PARTS = ("bounding_box_train", "query", "bounding_box_test")
NAME = re.compile(r"(-?\d+)_c(\d+)")
PERSON = (256, 128)
"""Height and width to which people are brought; DCP-NAS does not say its own."""


@dataclass(frozen=True)
class Views:
    """Images, and who is to be seen on them."""

    images: Images
    seen: Seen

    def __len__(self) -> int:
        return len(self.seen)


@dataclass(frozen=True)
class People:
    """A re-identification task: identities to train on, and others to be found again.

    Attributes:
        train: its identities are counted from 0.
        query, gallery: of identities that are not trained on.
        flips: whether a mirrored image still shows who it is.
    """

    name: str
    train: Views
    query: Views
    gallery: Views
    flips: bool

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of an image."""
        return self.train.images.shape

    @property
    def identities(self) -> int:
        """That are trained on."""
        return int(self.train.seen.identities.max()) + 1

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits over all images, identities and cameras."""
        sha = sha256()
        for views in (self.train, self.query, self.gallery):
            sha.update(views.images.digest())
            for numbers in (views.seen.identities, views.seen.cameras):
                sha.update(numbers.astype("<i8").tobytes())
        return sha.hexdigest()[:16]


def from_folder(name: str, root: Path, device: torch.device) -> People:
    """A dataset in the form of Market-1501.

    Raises:
        MissingData: if a part is not there, or holds no image.
        BadValue: if a file's name tells no identity and camera.
    """
    train, query, gallery = (_part(name, root / part, device) for part in PARTS)
    return People(name, _counted(train), query, gallery, flips=True)


def _part(name: str, folder: Path, device: torch.device) -> Views:
    if not folder.is_dir():
        raise MissingData(
            f"{name} is not in {folder.parent}: it has no folder {folder.name}; put {', '.join(PARTS)} "
            "there, or give another --data-folder"
        )
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in (".jpg", ".png"))
    if not files:
        raise MissingData(f"{folder} holds no .jpg or .png: fetch {name} again")
    numbers = []
    for file in files:
        if not (found := NAME.match(file.name)):
            raise BadValue(
                f"{file} is not called IDENTITY_cCAMERA...: is {folder.parent} {name}? Take the file out, "
                "or name another folder"
            )
        numbers.append((int(found[1]), int(found[2])))
    identities_N, cameras_N = np.array(numbers, np.int64).T
    images = FileImages(
        Files(folder, [str(file) for file in files], np.zeros(len(files), np.int64)),
        (3, *PERSON),
        _resized,
        device,
        random_resized_crop=False,
    )
    return Views(images, Seen(identities_N, cameras_N))


def _resized(image: Image.Image, _: np.random.Generator | None) -> Image.Image:
    height, width = PERSON
    return image.resize((width, height), Image.Resampling.BILINEAR)


def _counted(views: Views) -> Views:
    """Without junk, and with identities counted from 0."""
    kept = np.flatnonzero(views.seen.identities != JUNK)
    _, identities_N = np.unique(views.seen.identities[kept], return_inverse=True)
    seen = Seen(identities_N, views.seen.cameras[kept])
    return Views(views.images.subset(kept), seen)
