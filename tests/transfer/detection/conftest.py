"""Small folders of the form of VOC and of COCO."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

DOG = """<annotation><object><name>dog</name><difficult>0</difficult>
<bndbox><xmin>1</xmin><ymin>3</ymin><xmax>10</xmax><ymax>20</ymax></bndbox>
<part><name>head</name><bndbox><xmin>1</xmin><ymin>3</ymin><xmax>4</xmax><ymax>5</ymax></bndbox></part>
</object><object><name>car</name><difficult>1</difficult>
<bndbox><xmax>30.5</xmax><xmin>21</xmin><ymin>1</ymin><ymax>10</ymax></bndbox></object></annotation>"""


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((24, 32, 3), 200, np.uint8)).save(path)


@pytest.fixture
def voc_folder(tmp_path: Path) -> Path:
    for year, parts in (("VOC2007", ("trainval", "test")), ("VOC2012", ("trainval",))):
        home = tmp_path / "VOCdevkit" / year
        (home / "ImageSets" / "Main").mkdir(parents=True)
        (home / "Annotations").mkdir()
        for part in parts:
            (home / "ImageSets" / "Main" / f"{part}.txt").write_text(f"{part}_1\n{part}_2\n")
            for number in (1, 2):
                (home / "Annotations" / f"{part}_{number}.xml").write_text(DOG)
                picture(home / "JPEGImages" / f"{part}_{number}.jpg")
    return tmp_path


@pytest.fixture
def coco_folder(tmp_path: Path) -> Path:
    root = tmp_path / "coco"
    (root / "annotations").mkdir(parents=True)
    for part in ("train2017", "val2017"):
        picture(root / part / "000000000007.jpg")
        picture(root / part / "000000000003.jpg")
        said = {
            "images": [
                {"id": 7, "file_name": "000000000007.jpg"},
                {"id": 3, "file_name": "000000000003.jpg"},
            ],
            "categories": [{"id": 90, "name": "toothbrush"}, {"id": 18, "name": "dog"}],
            "annotations": [
                {"image_id": 7, "category_id": 90, "bbox": [1, 2, 3, 4], "area": 9, "iscrowd": 1},
                {"image_id": 7, "category_id": 18, "bbox": [0, 0, 8, 8], "area": 50, "iscrowd": 0},
            ],
        }
        (root / "annotations" / f"instances_{part}.json").write_text(json.dumps(said))
    return tmp_path
