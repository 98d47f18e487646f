"""Real handwritten digits as identities: each of the images is one, seen by two cameras.

Composed from the digits' images (`bnas_bench.data.datasets.digits`), and never anything but that: a camera is
a rendering of an 8x8 image onto 16x16 pixels. The first looks straight on; the second turned, squeezed,
darker and through a blur. A view differs from the next of the same camera by a small turn, shift and scale.
Identities to be found again are of the digits' test images, those to train on of the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bnas_bench.core.seeds import generator
from bnas_bench.data.datasets import load
from bnas_bench.data.images import TensorImages
from bnas_bench.transfer.people import People, Views
from bnas_bench.transfer.retrieval import Seen

SIDE = 16
TRAINED = 400
"""Identities to train on."""
VIEWS = 4
"""Of each identity by each camera."""


@dataclass(frozen=True)
class Camera:
    """How a camera sees.

    Attributes:
        turn: degrees.
        squeeze: of the width.
        light, dark: what white and black become.
        blur: whether neighbouring pixels run into each other.
    """

    turn: float
    squeeze: float
    light: float
    dark: float
    blur: bool


CAMERAS = (Camera(0, 1.0, 255, 0, False), Camera(15, 0.85, 180, 40, True))


def identities(device: torch.device) -> People:
    """The task, the same wherever it is made."""
    whole = load("digits", image=None, device="cpu", folder=".")
    assert isinstance(whole.train, TensorImages)
    assert isinstance(whole.test, TensorImages)
    order = generator(0, "identities", "train").permutation(len(whole.train))[:TRAINED]
    train = _views(whole.train.pixels[torch.from_numpy(order)], 0, device)
    test = _views(whole.test.pixels, TRAINED, device)
    # One view by the first camera asks; all others are there to be found.
    asks = np.arange(len(test)) % (VIEWS * len(CAMERAS)) == 0
    return People("identities", train, _those(test, asks), _those(test, ~asks), flips=False)


def _those(views: Views, which: np.ndarray) -> Views:
    places = np.flatnonzero(which)
    seen = Seen(views.seen.identities[places], views.seen.cameras[places])
    return Views(views.images.subset(places), seen)


def _views(pixels_N1HW: Tensor, first: int, device: torch.device) -> Views:
    """All views of these images by all cameras, identity by identity."""
    count, each = len(pixels_N1HW), VIEWS * len(CAMERAS)
    cameras_V = np.repeat(np.arange(len(CAMERAS)), VIEWS)
    views = [
        seen_by(CAMERAS[camera], pixels_N1HW, generator(0, "identities", first, view))
        for view, camera in enumerate(cameras_V)
    ]
    pixels_NV1HW = torch.stack(views, 1)
    labels = np.repeat(np.arange(first, first + count), each)
    images = TensorImages(pixels_NV1HW.flatten(0, 1), labels - first, device)
    return Views(images, Seen(labels, np.tile(cameras_V, count)))


def seen_by(camera: Camera, pixels_N1HW: Tensor, rng: np.random.Generator) -> Tensor:
    """One view of each image, bytes of shape (N, 1, SIDE, SIDE)."""
    count = len(pixels_N1HW)
    turn_N = np.radians(camera.turn + rng.normal(0, 6, count))
    scale_N = 1.15 * np.exp(rng.normal(0, 0.05, count))
    shift_N2 = rng.uniform(-0.12, 0.12, (count, 2))
    cos_N, sin_N = scale_N * np.cos(turn_N), scale_N * np.sin(turn_N)
    theta_N23 = np.stack(
        [
            np.stack([cos_N / camera.squeeze, -sin_N, shift_N2[:, 0]], 1),
            np.stack([sin_N / camera.squeeze, cos_N, shift_N2[:, 1]], 1),
        ],
        1,
    )
    grid = F.affine_grid(
        torch.from_numpy(theta_N23).float(), [count, 1, SIDE, SIDE], align_corners=False
    )
    found = F.grid_sample(pixels_N1HW.float(), grid, align_corners=False)
    if camera.blur:
        found = F.avg_pool2d(found, 3, 1, 1)
    found = camera.dark + found * (camera.light - camera.dark) / 255
    return found.round().clamp(0, 255).byte()
