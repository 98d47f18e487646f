"""VOC and COCO from the folders in which they are handed out.

VOC: `VOCdevkit/VOC2007` and `VOC2012`, each with `Annotations`, `ImageSets/Main` and `JPEGImages`;
trained on both `trainval`, tested on `test` of 2007 (DCP-NAS, section 4.1.1). COCO:
`coco/annotations/instances_train2017.json` and `instances_val2017.json` beside `train2017` and
`val2017`, which are the papers' trainval35k and minival.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bnas_bench.core.errors import Damaged, MissingData
from bnas_bench.transfer.detection.frames import FRAMES
from bnas_bench.transfer.detection.objects import DetectionData, Objects, Pictures, digest_of

VOC_CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
    *("train", "tvmonitor"),
)
VOC_TRAIN = (("VOC2007", "trainval"), ("VOC2012", "trainval"))
VOC_TEST = (("VOC2007", "test"),)
COCO_TRAIN, COCO_TEST = "train2017", "val2017"


class Photographs(Pictures):
    """Pictures in files, read as they are asked for."""

    def __init__(self, files: list[Path], objects: list[Objects]) -> None:
        self.files, self.objects = files, objects

    def image(self, index: int) -> Tensor:
        try:
            with Image.open(self.files[index]) as image:
                return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
        except OSError as error:
            raise Damaged(
                f"{self.files[index]} cannot be read as a picture ({error}): fetch the dataset again"
            ) from error

    def digest(self) -> bytes:
        names = "\n".join("/".join(file.parts[-3:]) for file in self.files)
        return digest_of(self.objects, names.encode())


def voc(folder: Path) -> DetectionData:
    """PASCAL VOC.

    Args:
        folder: of all datasets, which has `VOCdevkit`.

    Raises:
        MissingData: if a part is not there.
        Damaged: if an annotation is none of VOC's.
    """
    root = folder / "VOCdevkit"
    train, test = (_voc_parts(root, parts) for parts in (VOC_TRAIN, VOC_TEST))
    return DetectionData(
        name="voc",
        frame=FRAMES["voc"],
        train=train,
        test=test,
        classes=VOC_CLASSES,
    )


def _voc_parts(root: Path, parts: tuple[tuple[str, str], ...]) -> Photographs:
    files: list[Path] = []
    objects: list[Objects] = []
    for year, part in parts:
        home = root / year
        listed = home / "ImageSets" / "Main" / f"{part}.txt"
        for path in (listed, home / "Annotations", home / "JPEGImages"):
            _there("voc", path, root)
        for name in _listed(listed):
            files.append(home / "JPEGImages" / f"{name}.jpg")
            _there("voc", files[-1], root)
            objects.append(voc_objects(home / "Annotations" / f"{name}.xml"))
    return Photographs(files, objects)


def _listed(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8").split()
    except UnicodeDecodeError as error:
        raise Damaged(f"{path} is no list of VOC's pictures ({error}): fetch it again") from error


def voc_objects(path: Path) -> Objects:
    """What one annotation of VOC says; its pixels are counted from 1, both ends included.

    Raises:
        MissingData, Damaged: if it is not there, or is none of VOC's.
    """
    boxes, labels, difficult = [], [], []
    try:
        for one in ElementTree.parse(path).getroot().iter("object"):
            x1, y1, x2, y2 = (
                float(one.findtext(f"bndbox/{name}", ""))
                for name in ("xmin", "ymin", "xmax", "ymax")
            )
            boxes.append((x1 - 1, y1 - 1, x2, y2))
            labels.append(VOC_CLASSES.index(one.findtext("name", "")))
            difficult.append(one.findtext("difficult", "0").strip() == "1")
    except FileNotFoundError as error:
        raise MissingData(f"{path} is not there: fetch VOC again") from error
    except (ElementTree.ParseError, ValueError) as error:
        raise Damaged(f"{path} is no annotation of VOC ({error}): fetch it again") from error
    return Objects.of(np.array(boxes), np.array(labels), difficult=np.array(difficult))


def coco(folder: Path) -> DetectionData:
    """COCO 2017.

    Args:
        folder: of all datasets, which has `coco`.

    Raises:
        MissingData: if a part is not there.
        Damaged: if an annotation file is none of COCO's.
    """
    root = folder / "coco"
    test, classes = coco_part(root, COCO_TEST)
    train, others = coco_part(root, COCO_TRAIN)
    if classes != others:
        raise Damaged(
            f"the classes of {COCO_TRAIN} and {COCO_TEST} in {root} differ: fetch COCO again"
        )
    return DetectionData(
        name="coco",
        frame=FRAMES["coco"],
        train=train,
        test=test,
        classes=classes,
    )


def coco_part(root: Path, part: str) -> tuple[Photographs, tuple[str, ...]]:
    """The pictures of a part, and the classes' names.

    Raises:
        MissingData, Damaged: as `coco`.
    """
    path = root / "annotations" / f"instances_{part}.json"
    for each in (path, root / part):
        _there("coco", each, root)
    try:
        said = json.loads(path.read_bytes())
        categories = sorted(said["categories"], key=lambda one: one["id"])
        places = {one["id"]: label for label, one in enumerate(categories)}
        by_image: dict[int, list[dict[str, Any]]] = {one["id"]: [] for one in said["images"]}
        for one in said["annotations"]:
            by_image[one["image_id"]].append(one)
        images = sorted(said["images"], key=lambda one: one["id"])
        objects = [_coco_objects(by_image[one["id"]], places) for one in images]
        files = [root / part / one["file_name"] for one in images]
        names = tuple(str(one["name"]) for one in categories)
    except (ValueError, LookupError, TypeError) as error:
        raise Damaged(
            f"{path} holds no instances of COCO ({type(error).__name__}: {error}): fetch it again"
        ) from error
    for file in files:
        _there("coco", file, root)
    return Photographs(files, objects), names


def _coco_objects(annotations: list[dict[str, Any]], places: dict[int, int]) -> Objects:
    corners = np.array([one["bbox"] for one in annotations], float).reshape(-1, 4)
    return Objects.of(
        np.concatenate([corners[:, :2], corners[:, :2] + corners[:, 2:]], 1),
        np.array([places[one["category_id"]] for one in annotations], np.int64),
        areas=np.array([one["area"] for one in annotations], float),
        crowd=np.array([one["iscrowd"] for one in annotations], bool),
    )


def _there(name: str, path: Path, root: Path) -> None:
    if not path.exists():
        raise MissingData(
            f"{name} is not in {root}: it has no {path.relative_to(root)}; give --data-folder in which "
            f"{root.name} lies"
        )
