"""Trees of image files, one folder per class: small ones are held as bytes, large ones streamed."""

from __future__ import annotations

import hashlib
import math
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from PIL import Image, ImageFile, ImageOps
from torch import Tensor

from bnas_bench.core import ranks
from bnas_bench.core.errors import BadValue
from bnas_bench.data.images import Images, TensorImages, sent
from bnas_bench.data.imagetree import Files, find_files

HELD_BYTES = 2**30
"""Trees up to this many bytes once decoded are held, larger ones streamed."""
BATCHES_AHEAD = 2
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "PPM", "TIFF")
"""What is opened, whatever a file is called: of EPS, Pillow would start an interpreter."""

Reshape: TypeAlias = Callable[[Image.Image, np.random.Generator | None], Image.Image]
"""Brings an opened image to the size that is read; with a generator, by a random crop."""


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

    What is transparent lies on white, a photograph stands upright, of an animation or of several
    pages the first is taken.

    Raises:
        BadValue: naming the file, if it is damaged, has over 8 bits a channel, or is refused by
            `reshape`.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            if _is_deep(image):  # Pillow would clip these to white, or drop bits, without a word
                raise BadValue("has more than 8 bits per channel; convert it to 8")
            image.load()
            with suppress(Exception):  # a damaged EXIF tag turns nothing
                ImageOps.exif_transpose(image, in_place=True)
            pixels_HWC = np.array(reshape(_rgb(image), rng))
    except BadValue as error:
        raise BadValue(f"{path} {error}") from error
    except Exception as error:  # on damaged files Pillow's decoders raise almost anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BadValue(
            f"{path} cannot be read as an image ({reason}); replace it, or take it out of the tree"
        ) from error
    return torch.from_numpy(pixels_HWC).permute(2, 0, 1)


def _is_deep(image: ImageFile.ImageFile) -> bool:
    """Whether an image that is opened, but not loaded, has more than 8 bits a channel in its file."""
    if image.mode[0] in "IF":
        return True
    # Of colours only the decoder is told so: as `RGB;16B`, in PPM by the largest value there is.
    for tile in image.tile:
        mode, *rest = tile.args if isinstance(tile.args, tuple) else (tile.args,)
        if tile.codec_name in ("ppm", "ppm_plain") and rest[0] > 255:
            return True
        # BGR;16 are 16 bits for all three channels.
        if ";16" in str(mode) and mode != "BGR;16":
            return True
    return False


def _rgb(image: Image.Image) -> Image.Image:
    """In three channels, what is transparent laid on white."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")


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
        ahead: deque[tuple[int, list[Future[Tensor]]]] = deque()
        group = ranks.here()
        try:
            for start in range(0, len(order_N), size):
                places = range(start, min(start + size, len(order_N)))
                count = len(places)
                if group and count >= group.size:  # each decodes its share, and all get all
                    places = places[slice(*group.bounds(count))]
                ahead.append(
                    (count, [pool.submit(self._decode, i, order_N, seeds_N) for i in places])
                )
                if len(ahead) > BATCHES_AHEAD:
                    yield self._collected(*ahead.popleft())
            while ahead:
                yield self._collected(*ahead.popleft())
        finally:
            pool.shutdown(cancel_futures=True)

    def _decode(self, place: int, order_N: np.ndarray, seeds_N: np.ndarray | None) -> Tensor:
        rng = None if seeds_N is None else np.random.default_rng(seeds_N[place])
        return decode(self.files.paths[order_N[place]], self.reshape, rng)

    def _collected(self, count: int, images: list[Future[Tensor]]) -> Tensor:
        """A batch of so many images, of which these are decoded here."""
        mine = sent(torch.stack([image.result() for image in images]), self.device)
        return mine if len(images) == count else ranks.bytes_of_all(mine, count)

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
        """Of the files' paths within their folder and their sizes in bytes; they are not opened.

        Raises:
            BadValue: if a file is gone.
        """
        sha = hashlib.sha256()
        for path in self.files.paths:
            try:
                size = os.stat(path).st_size  # noqa: PTH116
            except OSError as error:
                raise BadValue(f"{path} cannot be read ({error.strerror}); start again") from error
            sha.update(os.fsencode(f"{os.path.relpath(path, self.files.folder)}\0{size}\0"))
        return sha.digest()


def threads() -> int:
    """As many as there are processors for this process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load_tree(
    root: Path,
    side: int | None,
    device: torch.device,
    *,
    random_resized_crop: bool,
    say: Callable[[str], None],
) -> tuple[Images, Images, tuple[str, ...]]:
    """Train images, test images and class names of a tree, as RGB.

    Args:
        side: pixels a side; None keeps the size, which all images must then share.
        random_resized_crop: ImageNet's protocol: always streamed, trained on random resized crops,
            tested on the centre after a resize to 256/224 of the side.
        say: takes a sentence on what is left out, if anything is.

    Raises:
        MissingData, BadValue: as `find_files` and `decode`.
    """
    tree = find_files(root)
    if remark := tree.remark():
        say(remark)
    first = tree.train.paths[0]
    reshape = (
        as_found(first)
        if side is None
        else to_side(side, 256 / 224 if random_resized_crop else 1.0)
    )
    channels, height, width = decode(first, reshape).shape
    shape = channels, height, width
    train, test = (
        FileImages(files, shape, reshape, device, random_resized_crop=random_resized_crop)
        for files in (tree.train, tree.test)
    )
    small = (len(train) + len(test)) * math.prod(shape) <= HELD_BYTES
    if small and not random_resized_crop:
        return train.held(), test.held(), tree.classes
    return train, test, tree.classes
