"""Real handwritten digits placed on canvases: a detection task that is embedded.

Composed from the digits' images (`bnas_bench.data.datasets.digits`), and never anything but that: one
to three of them, 12 to 24 pixels high, squeezed or stretched by up to a fifth, on a canvas of 48x48
pixels whose grey slopes and is noisy. Boxes may overlap by up to a fifth of their union. Pictures to be
tested on show the digits' test images, those to train on the others; a digit's box encloses what of it
is brighter than `INK`.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bnas_bench.core.seeds import generator
from bnas_bench.data.datasets import load
from bnas_bench.data.images import TensorImages
from bnas_bench.transfer.detection.average_precision import overlaps
from bnas_bench.transfer.detection.frames import FRAMES
from bnas_bench.transfer.detection.objects import DetectionData, Objects, Pictures, digest_of

SIDE = FRAMES["scenes"].side
PICTURES = (800, 200)
"""To train on, and to be tested on."""
MOST = 3
SIDES = (12, 24)
INK = 64
COMMON = 0.2
"""The most that two boxes may share of their union."""
TRIES = 20


class Drawn(Pictures):
    """Pictures in memory, bytes of shape (N, C, H, W)."""

    def __init__(self, pixels_NCHW: Tensor, objects: list[Objects]) -> None:
        self.pixels, self.objects = pixels_NCHW, objects

    def image(self, index: int) -> Tensor:
        return self.pixels[index]

    def digest(self) -> bytes:
        return digest_of(self.objects, self.pixels.numpy().tobytes())


def scenes() -> DetectionData:
    """The task, the same wherever it is made."""
    whole = load("digits", image=None, device="cpu", folder=".")
    assert isinstance(whole.train, TensorImages)
    assert isinstance(whole.test, TensorImages)
    train, test = (
        _drawn(images, count, generator(0, "scenes", part))
        for part, images, count in zip(
            ("train", "test"), (whole.train, whole.test), PICTURES, strict=True
        )
    )
    return DetectionData(
        name="scenes",
        frame=FRAMES["scenes"],
        train=train,
        test=test,
        classes=whole.class_names,
        areas=(12**2, 16**2),
        flips=False,
    )


def _drawn(digits: TensorImages, count: int, rng: np.random.Generator) -> Drawn:
    labels = np.asarray(digits.labels)
    pictures = [scene(digits.pixels, labels, rng) for _ in range(count)]
    pixels, objects = zip(*pictures, strict=True)
    return Drawn(torch.stack(pixels), list(objects))


def scene(
    digits_N1HW: Tensor, labels_N: np.ndarray, rng: np.random.Generator
) -> tuple[Tensor, Objects]:
    """One picture, bytes of shape (1, SIDE, SIDE), and what is on it."""
    canvas_HW = _ground(rng)
    boxes, labels = np.zeros((0, 4)), []
    for _ in range(int(rng.integers(1, MOST + 1))):
        which = int(rng.integers(len(labels_N)))
        ink_HW = _sized(digits_N1HW[which : which + 1], rng)
        height, width = ink_HW.shape
        rows, columns = (np.flatnonzero((ink_HW > INK).any(axis)) for axis in (1, 0))
        if not len(rows):
            continue
        inner = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], float)
        for _ in range(TRIES):
            left, top = rng.integers(SIDE - width + 1), rng.integers(SIDE - height + 1)
            box = inner + np.array([left, top, left, top])
            if not len(boxes) or overlaps(box[None], boxes).max() <= COMMON:
                part = canvas_HW[top : top + height, left : left + width]
                np.maximum(part, ink_HW, out=part)
                boxes = np.concatenate([boxes, box[None]])
                labels.append(int(labels_N[which]))
                break
    pixels = torch.from_numpy(canvas_HW.round().clip(0, 255).astype(np.uint8))
    return pixels[None], Objects.of(boxes, np.array(labels, np.int64))


def _ground(rng: np.random.Generator) -> np.ndarray:
    """What the digits lie on: darker than their ink, floats of shape (SIDE, SIDE)."""
    slope = rng.uniform(-0.5, 0.5, 2)
    row, column = np.meshgrid(*[np.linspace(-1, 1, SIDE)] * 2, indexing="ij")
    grey = rng.uniform(20, 60) * (1 + slope[0] * row + slope[1] * column)
    return (grey + rng.normal(0, 8, (SIDE, SIDE))).clip(0, 255)


def _sized(digit_11HW: Tensor, rng: np.random.Generator) -> np.ndarray:
    """A digit's ink, floats of 0..255, its height and width drawn."""
    low, high = SIDES
    height = round(float(np.exp(rng.uniform(np.log(low), np.log(high)))))
    width = int(np.clip(round(height * rng.uniform(0.8, 1.2)), low, high))
    sized = F.interpolate(digit_11HW.float(), (height, width), mode="bilinear", align_corners=False)
    return sized[0, 0].numpy()
