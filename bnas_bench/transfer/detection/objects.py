"""What a detection task is made of: pictures, the objects on them, and what a detector finds there.

Boxes are (x1, y1, x2, y2) in pixels, from the left and upper edge of the first pixel to the right and
lower edge of the last. Legend of tensor names: K objects of a picture, D detections, C channels, H, W.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from bnas_bench.transfer.detection.frames import Frame


@dataclass(frozen=True)
class Objects:
    """What is to be found on one picture.

    Attributes:
        boxes: shape (K, 4).
        labels: classes counted from 0, shape (K,).
        areas: pixels of the objects themselves, shape (K,).
        difficult: whether VOC counts neither finding nor missing it, shape (K,).
        crowd: whether COCO's box holds several that nobody counted, shape (K,).
    """

    boxes: np.ndarray
    labels: np.ndarray
    areas: np.ndarray
    difficult: np.ndarray
    crowd: np.ndarray

    @classmethod
    def of(
        cls,
        boxes: ArrayLike,
        labels: ArrayLike,
        *,
        areas: ArrayLike | None = None,
        difficult: ArrayLike | None = None,
        crowd: ArrayLike | None = None,
    ) -> Objects:
        """Objects of which some things need not be said: the areas are those of the boxes, no flag is set."""
        boxes_K4 = np.asarray(boxes, np.float64).reshape(-1, 4)
        count = len(boxes_K4)
        sides_K2 = boxes_K4[:, 2:] - boxes_K4[:, :2]
        return cls(
            boxes_K4,
            np.asarray(labels, np.int64).reshape(count),
            sides_K2.prod(1) if areas is None else np.asarray(areas, np.float64).reshape(count),
            np.zeros(count, bool) if difficult is None else np.asarray(difficult, bool),
            np.zeros(count, bool) if crowd is None else np.asarray(crowd, bool),
        )

    def __len__(self) -> int:
        return len(self.labels)

    def bytes(self) -> bytes:
        """Of all that is said of them, for a digest."""
        parts = (self.boxes, self.labels, self.areas, self.difficult, self.crowd)
        return b"".join(np.ascontiguousarray(part).tobytes() for part in parts)


@dataclass(frozen=True)
class Found:
    """What a detector says of one picture: boxes (D, 4), labels from 0 (D,), scores (D,)."""

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray


class Pictures(ABC):
    """Pictures of several sizes, each with its objects."""

    objects: list[Objects]
    """Of each picture, in order."""

    def __len__(self) -> int:
        return len(self.objects)

    @abstractmethod
    def image(self, index: int) -> Tensor:
        """Bytes, shape (C, H, W)."""

    @abstractmethod
    def digest(self) -> bytes:
        """Of all pictures and objects; of files the names stand for the pictures."""


@dataclass(frozen=True, kw_only=True)
class DetectionData:
    """Pictures to train on, and others to be tested on.

    Attributes:
        classes: by name.
        areas: below the first a box is small, from the second on large, in pixels.
        flips: whether a mirrored picture still shows its classes.
    """

    name: str
    frame: Frame
    train: Pictures
    test: Pictures
    classes: tuple[str, ...]
    areas: tuple[int, int] = (32**2, 96**2)
    flips: bool = True

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits over all pictures and objects."""
        return sha256(self.train.digest() + self.test.digest()).hexdigest()[:16]


def digest_of(objects: list[Objects], pictures: bytes) -> bytes:
    """A digest of pictures, or of what stands for them, and of their objects."""
    sha = sha256(pictures)
    for one in objects:
        sha.update(one.bytes())
    return sha.digest()
