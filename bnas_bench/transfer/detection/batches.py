"""Pictures as a detector takes them: brought to a size, side by side in a batch, with what teaches on each.

Legend of tensor names: B batch, C channels, H, W, K objects.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bnas_bench.data.images import normalised
from bnas_bench.transfer.detection.objects import DetectionData, Objects, Pictures


@dataclass(frozen=True)
class Batch:
    """Pictures in the upper left corners of a batch, what lies beyond being mid-grey.

    Attributes:
        x_BCHW: values in [-1, 1].
        sizes: height and width of each.
        scales: how much each was enlarged, across and down.
        targets: `boxes` (K, 4) and `labels` (K,), counted from 1, of what teaches; none when testing.
    """

    x_BCHW: Tensor  # noqa: N815
    sizes: list[tuple[int, int]]
    scales: list[tuple[float, float]]
    targets: list[dict[str, Tensor]]


def side_by_side(pictures: Sequence[Tensor], data: DetectionData, device: torch.device) -> Batch:
    """A batch of pictures, bytes of shape (C, H, W) each, as `data.frame` says."""
    made, sizes, scales = [], [], []
    for picture in pictures:
        height, width = picture.shape[1:]
        factor = min(data.frame.side / min(height, width), data.frame.longest / max(height, width))
        after = (max(1, round(height * factor)), max(1, round(width * factor)))
        x_1CHW = normalised(picture[None].to(device))
        if after != (height, width):
            x_1CHW = F.interpolate(x_1CHW, after, mode="bilinear", align_corners=False)
        made.append(x_1CHW[0])
        sizes.append(after)
        scales.append((after[1] / width, after[0] / height))
    high, wide = (
        data.frame.multiple * -(-max(size[k] for size in sizes) // data.frame.multiple)
        for k in (0, 1)
    )
    x_BCHW = torch.stack([F.pad(x, (0, wide - x.shape[2], 0, high - x.shape[1])) for x in made])
    return Batch(x_BCHW, sizes, scales, [])


def teaches(objects: Objects) -> np.ndarray:
    """Which objects are trained on, shape (K,): neither difficult ones nor crowds, nor boxes without an area.

    COCO has a few of those, whose regression targets are infinite.
    """
    has_area_K = (objects.boxes[:, 2:] > objects.boxes[:, :2]).all(1)
    return has_area_K & ~(objects.difficult | objects.crowd)


def teaching(pictures: Pictures) -> np.ndarray:
    """The places of the pictures that are trained on: those with an object that teaches."""
    return np.flatnonzero([bool(teaches(one).any()) for one in pictures.objects])


def of_epoch(
    data: DetectionData,
    places: np.ndarray,
    size: int,
    rng: np.random.Generator,
    device: torch.device,
) -> Iterator[Batch]:
    """The pictures at some places, each once; what is left of a last batch is dropped.

    Args:
        size: of a batch.
    """
    order = rng.permutation(places)
    mirrors = (rng.random(len(order)) < 0.5) & data.flips
    for start in range(0, len(order) - size + 1, size):
        pairs = [
            _mirrored(data.train, place) if mirror else _plain(data.train, place)
            for place, mirror in zip(order[start:][:size], mirrors[start:][:size], strict=True)
        ]
        pictures, objects = zip(*pairs, strict=True)
        batch = side_by_side(pictures, data, device)
        targets = [_target(o, s, device) for o, s in zip(objects, batch.scales, strict=True)]
        yield replace(batch, targets=targets)


def _plain(pictures: Pictures, place: int) -> tuple[Tensor, Objects]:
    return pictures.image(int(place)), pictures.objects[place]


def _mirrored(pictures: Pictures, place: int) -> tuple[Tensor, Objects]:
    picture, objects = _plain(pictures, place)
    boxes = objects.boxes.copy()
    boxes[:, [0, 2]] = picture.shape[2] - boxes[:, [2, 0]]
    return picture.flip(2), replace(objects, boxes=boxes)


def _target(
    objects: Objects, scale: tuple[float, float], device: torch.device
) -> dict[str, Tensor]:
    kept = teaches(objects)
    boxes = objects.boxes[kept] * np.array([*scale, *scale])
    return {
        "boxes": torch.from_numpy(boxes).float().to(device),
        "labels": torch.from_numpy(objects.labels[kept] + 1).to(device),
    }
