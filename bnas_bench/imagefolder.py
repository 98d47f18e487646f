"""Trees of image files, one folder per class: small ones are held as bytes, large ones streamed."""

from __future__ import annotations

import hashlib
import math
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bnas_bench.errors import BadValue, MissingData
from bnas_bench.images import Images, TensorImages

ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff")
TEST_FOLDERS = ("test", "val", "valid")
HELD_BYTES = 2**30
"""Trees up to this many bytes once decoded are held, larger ones streamed."""
BATCHES_AHEAD = 2

Reshape: TypeAlias = Callable[[Image.Image, np.random.Generator | None], Image.Image]
"""Brings an opened image to the size that is read; with a generator, by a random crop."""


@dataclass(frozen=True)
class Files:
    """The image files of one part of a tree, in the order of their paths, and their classes."""

    folder: Path
    paths: Sequence[str]
    labels: np.ndarray

    def subset(self, indices: np.ndarray) -> Files:
        return Files(self.folder, [self.paths[i] for i in indices], self.labels[indices])


def find_files(root: Path) -> tuple[Files, Files, tuple[str, ...]]:
    """The train files, the test files and the class names of a tree.

    The test files lie in the first of test/, val/, valid/ that there is. Hidden files and files
    without the ending of an image are passed over; classes may hold folders of their own.

    Raises:
        MissingData: if the tree, a part of it, or the images of a class are not there.
        BadValue: if the two parts do not have the same classes.
    """
    tree = "a tree of images holds train/ and test/ (or val/, or valid/) with one folder per class"
    if not root.is_dir():
        raise MissingData(f"there is no folder {root}; {tree}")
    tests = [root / name for name in TEST_FOLDERS if (root / name).is_dir()]
    if not (root / "train").is_dir() or not tests:
        missing = "test/, val/ or valid/" if (root / "train").is_dir() else "train/"
        raise MissingData(f"there is no {missing} in {root}; {tree}")
    train, test = root / "train", tests[0]
    classes = _folders(train)
    for here, there in ((train, test), (test, train)):
        if odd := sorted(set(_folders(here)) - set(_folders(there))):
            raise BadValue(
                f"class '{odd[0]}' is in {here} but not in {there}; both need the same folders"
            )
    if len(classes) < 2:
        raise MissingData(f"{train} holds {len(classes)} class folders and two are needed; {tree}")
    return _files(train, classes), _files(test, classes), tuple(classes)


def _folders(part: Path) -> list[str]:
    return sorted(f.name for f in part.iterdir() if f.is_dir() and not f.name.startswith("."))


def _files(part: Path, classes: Sequence[str]) -> Files:
    paths: list[str] = []
    counts: list[int] = []
    for name in classes:
        found = sorted(
            os.path.join(folder, file)  # noqa: PTH118 - a Path object for each of a million is slow
            for folder, _, files in os.walk(part / name, followlinks=True)
            for file in files
            if file.lower().endswith(ENDINGS) and not file.startswith(".")
        )
        if not found:
            raise MissingData(
                f"class folder {part / name} holds no image ({', '.join(ENDINGS)}); "
                "fill it, or remove the class from train and test"
            )
        paths += found
        counts.append(len(found))
    return Files(part, paths, np.repeat(np.arange(len(classes)), counts))


def as_found(first: str) -> Reshape:
    """Leaves images as they are, and refuses those of another size than the file `first`."""
    _, height, width = decode(first, lambda image, _: image).shape

    def reshape(image: Image.Image, _: np.random.Generator | None) -> Image.Image:
        if image.size != (width, height):
            raise BadValue(
                f"is {image.width}x{image.height} and {first} is {width}x{height}; "
                "ask for an image size, which brings all images to it"
            )
        return image

    return reshape


def to_side(side: int, margin: float = 1.0) -> Reshape:
    """Makes squares of `side` pixels out of images of any size.

    The centre is what remains when the shorter side is brought to margin * side and the borders are
    cut off; with a generator it is a random resized crop.
    """

    def reshape(image: Image.Image, rng: np.random.Generator | None) -> Image.Image:
        if rng is None:
            width = height = min(image.size) / margin
            left, top = (image.width - width) / 2, (image.height - height) / 2
        else:
            left, top, width, height = random_box(*image.size, rng)
        box = (left, top, left + width, top + height)
        return image.resize((side, side), Image.Resampling.BILINEAR, box)

    return reshape


def random_box(width: int, height: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Left, top, width and height of a random resized crop, in pixels, drawn as torchvision does.

    It has 8 to 100 % of the area and an aspect ratio of 3/4 to 4/3. After ten draws that do not fit
    it is the largest centred box of such a ratio.
    """
    for _ in range(10):
        area = width * height * rng.uniform(0.08, 1.0)
        ratio = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            return int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1)), w, h
    w, h = min(width, round(height * 4 / 3)), min(height, round(width * 4 / 3))
    return (width - w) // 2, (height - h) // 2, w, h


def decode(path: str, reshape: Reshape, rng: np.random.Generator | None = None) -> Tensor:
    """The RGB bytes of an image file, shape (3, H, W).

    Raises:
        BadValue: naming the file, if it is damaged, has over 8 bits a channel, or is refused by
            `reshape`.
    """
    try:
        with Image.open(path) as image:
            if image.mode[0] in "IF":  # Pillow would clip these to white without a word
                raise BadValue("has more than 8 bits per channel; convert it to 8")
            pixels_HWC = np.array(reshape(image.convert("RGB"), rng))
    except BadValue as error:
        raise BadValue(f"{path} {error}") from error
    except Exception as error:  # on damaged files Pillow's decoders raise almost anything
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise BadValue(
            f"{path} cannot be read as an image ({reason}); replace it, or take it out of the tree"
        ) from error
    return torch.from_numpy(pixels_HWC).permute(2, 0, 1)


class FileImages(Images):
    """Images that are decoded by threads as they are read, some batches ahead.

    Threads rather than worker processes: Pillow decodes and resizes without the interpreter's lock,
    they start at once, and they need neither shared memory nor pickles.

    Args:
        random_resized_crop: what a random crop is: cut out of the original, or, as for held images,
            out of a zero-padded one.
    """

    def __init__(
        self,
        files: Files,
        shape: tuple[int, int, int],
        reshape: Reshape,
        device: torch.device,
        *,
        random_resized_crop: bool,
    ) -> None:
        super().__init__(files.labels, shape, device)
        self.files = files
        self.reshape = reshape
        self.random_resized_crop = random_resized_crop

    def _fetch(
        self, order_N: np.ndarray, size: int, seeds_N: np.ndarray | None
    ) -> Iterator[Tensor]:
        pool = ThreadPoolExecutor(threads())
        ahead: deque[list[Future[Tensor]]] = deque()
        try:
            for start in range(0, len(order_N), size):
                places = range(start, min(start + size, len(order_N)))
                ahead.append([pool.submit(self._decode, i, order_N, seeds_N) for i in places])
                if len(ahead) > BATCHES_AHEAD:
                    yield self._collected(ahead.popleft())
            while ahead:
                yield self._collected(ahead.popleft())
        finally:
            pool.shutdown(cancel_futures=True)

    def _decode(self, place: int, order_N: np.ndarray, seeds_N: np.ndarray | None) -> Tensor:
        rng = None if seeds_N is None else np.random.default_rng(seeds_N[place])
        return decode(self.files.paths[order_N[place]], self.reshape, rng)

    def _collected(self, images: list[Future[Tensor]]) -> Tensor:
        return torch.stack([image.result() for image in images]).to(self.device)

    def held(self) -> TensorImages:
        """Decode all images and hold their bytes on the device."""
        pixels_NCHW = torch.empty((len(self), *self.shape), dtype=torch.uint8, device=self.device)
        filled = 0
        for pixels_BCHW in self._fetch(np.arange(len(self)), 256, None):
            pixels_NCHW[filled : filled + len(pixels_BCHW)] = pixels_BCHW
            filled += len(pixels_BCHW)
        return TensorImages(pixels_NCHW, self.labels, self.device)

    def subset(self, indices: np.ndarray) -> FileImages:
        return FileImages(
            self.files.subset(indices),
            self.shape,
            self.reshape,
            self.device,
            random_resized_crop=self.random_resized_crop,
        )

    def digest(self) -> bytes:
        """Of the files' paths within their folder and their sizes in bytes; they are not opened."""
        sha = hashlib.sha256()
        for path in self.files.paths:
            sha.update(f"{os.path.relpath(path, self.files.folder)}\0".encode())
            sha.update(f"{os.stat(path).st_size}\0".encode())  # noqa: PTH116
        return sha.digest()


def threads() -> int:
    """As many as there are processors for this process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load_tree(
    root: Path, side: int | None, device: torch.device, *, random_resized_crop: bool
) -> tuple[Images, Images, tuple[str, ...]]:
    """Train images, test images and class names of a tree, as RGB.

    Args:
        side: pixels a side; None keeps the size, which all images must then share.
        random_resized_crop: ImageNet's protocol: always streamed, trained on random resized crops,
            tested on the centre after a resize to 256/224 of the side.

    Raises:
        MissingData, BadValue: as `find_files` and `decode`.
    """
    *parts, classes = find_files(root)
    reshape = (
        as_found(parts[0].paths[0])
        if side is None
        else to_side(side, 256 / 224 if random_resized_crop else 1.0)
    )
    channels, height, width = decode(parts[0].paths[0], reshape).shape
    shape = channels, height, width
    train, test = (
        FileImages(files, shape, reshape, device, random_resized_crop=random_resized_crop)
        for files in parts
    )
    small = (len(train) + len(test)) * math.prod(shape) <= HELD_BYTES
    if small and not random_resized_crop:
        return train.held(), test.held(), classes
    return train, test, classes
