"""Labelled images and the augmented batches they are read in.

Tensor names carry their shape: N images in all, B in a batch, C channels, H x W pixels.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bnas_bench.core.errors import BadValue


@dataclass(frozen=True)
class Augment:
    """Random changes to the images of a batch; what they blank out is mid-grey, 0 of [-1, 1].

    Attributes:
        crop: zero padding in pixels, out of which a crop of the image's own size is taken.
        flip: mirror half of the images left to right.
        cutout: side in pixels of a square that is blanked out, its centre anywhere in the image
            (DeVries and Taylor, arXiv 1708.04552); 0 blanks nothing.
    """

    crop: int = 0
    flip: bool = False
    cutout: int = 0

    def draw(self, images: int, height: int, width: int, rng: np.random.Generator) -> Tensor:
        """What befalls each image, shape (5, images): top, left, mirrored, centre of the cutout."""
        shifts = 2 * self.crop + 1
        bounds = np.array([shifts, shifts, 2, height, width])
        return torch.from_numpy(rng.integers(bounds[:, None], size=(5, images)))

    def apply(self, x_BCHW: Tensor, draws_5B: Tensor) -> Tensor:
        """Crop, then mirror, then cut out, every image by its own draws."""
        top, left, mirrored, row, column = draws_5B
        height, width = x_BCHW.shape[2:]
        if self.crop:
            padded = F.pad(x_BCHW, (self.crop,) * 4)
            windows = padded.unfold(2, height, 1).unfold(3, width, 1)
            x_BCHW = windows[torch.arange(len(x_BCHW), device=x_BCHW.device), :, top, left]
        if self.flip:
            x_BCHW = torch.where(mirrored.bool().view(-1, 1, 1, 1), x_BCHW.flip(3), x_BCHW)
        if self.cutout:
            rows_BH, columns_BW = self._cut(row, height), self._cut(column, width)
            hole_BHW = rows_BH[:, :, None] & columns_BW[:, None, :]
            x_BCHW = x_BCHW.masked_fill(hole_BHW[:, None], 0.0)
        return x_BCHW

    def _cut(self, centre_B: Tensor, side: int) -> Tensor:
        offset = torch.arange(side, device=centre_B.device) - (centre_B - self.cutout // 2)[:, None]
        return (offset >= 0) & (offset < self.cutout)


PLAIN = Augment()
"""Changes nothing."""


def normalised(pixels_BCHW: Tensor) -> Tensor:
    """Bytes to floats of torch's default precision in [-1, 1] (CP-NAS, section 3.1)."""
    return pixels_BCHW.to(torch.get_default_dtype()).div_(127.5).sub_(1.0)


def resized(pixels_NCHW: Tensor, side: int | None) -> Tensor:
    """Bytes of shape (N, C, side, side), bilinear with antialiasing; None leaves the size alone.

    Args:
        pixels_NCHW: values of 0..255, bytes or floats.
    """
    if side is not None and pixels_NCHW.shape[2:] != (side, side):
        # In parts, because the floats of a whole dataset may not fit into memory.
        parts = [
            F.interpolate(part.float(), (side, side), mode="bilinear", antialias=True)
            .round_()
            .clamp_(0, 255)
            .byte()
            for part in pixels_NCHW.split(1024)
        ]
        return torch.cat(parts)
    return pixels_NCHW.round().byte() if pixels_NCHW.is_floating_point() else pixels_NCHW


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """The host's tensor on the device; a GPU fetches it while the host goes on."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


class Images(ABC):
    """Labelled images of one shape, read in batches.

    Args:
        labels_N: the images' classes, counted from 0.
        shape: (C, H, W) of an image as it is read.
        device: where the batches lie.

    Attributes:
        reads: how often `batches` was called: a run ends with 1 for the test images.
    """

    random_resized_crop = False
    """Whether a random crop is cut by `_fetch` out of the larger original instead of by padding."""

    def __init__(
        self, labels_N: np.ndarray, shape: tuple[int, int, int], device: torch.device
    ) -> None:
        self.labels = np.ascontiguousarray(labels_N, dtype=np.int64)
        self.shape = shape
        self.device = device
        self.reads = 0
        self._y_N = torch.from_numpy(self.labels).to(device)

    def __len__(self) -> int:
        return len(self.labels)

    def batches(
        self,
        size: int,
        rng: np.random.Generator | None = None,
        augment: Augment = PLAIN,
        *,
        drop_last: bool = False,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Read all images once: x (B, C, H, W) float32 in [-1, 1] and y (B,) int64.

        All that is random is drawn at once, by the call: the state of `rng` afterwards does not
        depend on how many of the batches are taken.

        Args:
            size: images in a batch; the last one may be smaller.
            rng: shuffles and augments; None reads in order.
            augment: what happens to the images; needs an `rng`.
            drop_last: leave a smaller last batch out, unless it is the only one.

        Raises:
            BadValue: if `size` is below 1.
        """
        if size < 1:
            raise BadValue(f"images cannot be read in batches of {size}; give 1 or more")
        if augment != PLAIN and rng is None:
            raise ValueError(f"{augment} is random: give batches() an rng")
        self.reads += 1
        images = len(self)
        order_N = np.arange(images) if rng is None else rng.permutation(images)
        seeds_N = draws_5N = None
        if rng is not None and augment.crop and self.random_resized_crop:
            seeds_N = rng.integers(2**63, size=images)
            augment = replace(augment, crop=0)
        if rng is not None and augment != PLAIN:
            draws_5N = augment.draw(images, *self.shape[1:], rng).to(self.device)
        if drop_last and images > size:
            order_N = order_N[: images - images % size]
        return self._batches(order_N, size, augment, draws_5N, seeds_N)

    def _batches(
        self,
        order_N: np.ndarray,
        size: int,
        augment: Augment,
        draws_5N: Tensor | None,
        seeds_N: np.ndarray | None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        y_N = self._y_N[torch.from_numpy(order_N).to(self.device)]
        start = 0
        for pixels_BCHW in self._fetch(order_N, size, seeds_N):
            x_BCHW, end = normalised(pixels_BCHW), start + len(pixels_BCHW)
            if draws_5N is not None:
                x_BCHW = augment.apply(x_BCHW, draws_5N[:, start:end])
            yield x_BCHW, y_N[start:end]
            start = end

    @abstractmethod
    def _fetch(
        self, order_N: np.ndarray, size: int, seeds_N: np.ndarray | None
    ) -> Iterator[Tensor]:
        """The images' bytes in that order, `size` at a time, on the device.

        Args:
            seeds_N: per place in the order, what a random resized crop draws from.
        """

    @abstractmethod
    def subset(self, indices: np.ndarray) -> Images:
        """These images alone, in this order; nothing else can be reached from them."""

    @abstractmethod
    def digest(self) -> bytes:
        """A SHA-256 digest of the images and labels."""


class TensorImages(Images):
    """Images held as bytes on the device: pixels_NCHW uint8, labels_N."""

    def __init__(self, pixels_NCHW: Tensor, labels_N: np.ndarray, device: torch.device) -> None:
        _, channels, height, width = pixels_NCHW.shape
        super().__init__(labels_N, (channels, height, width), device)
        self.pixels = pixels_NCHW.contiguous().to(device)

    def _fetch(
        self,
        order_N: np.ndarray,
        size: int,
        seeds_N: np.ndarray | None,  # noqa: ARG002
    ) -> Iterator[Tensor]:
        order = torch.from_numpy(order_N).to(self.device)
        for start in range(0, len(order), size):
            yield self.pixels[order[start : start + size]]

    def subset(self, indices: np.ndarray) -> TensorImages:
        chosen = self.pixels[torch.from_numpy(indices).to(self.device)]
        return TensorImages(chosen, self.labels[indices], self.device)

    def digest(self) -> bytes:
        sha = hashlib.sha256(repr((len(self), *self.shape)).encode())
        sha.update(self.pixels.cpu().numpy().data)
        sha.update(self.labels.astype("<i8").data)
        return sha.digest()
