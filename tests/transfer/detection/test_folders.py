"""VOC and COCO out of small folders of their form, and what is said of others."""

from __future__ import annotations

from pathlib import Path

import pytest

from bnas_bench.core.errors import Damaged, MissingData
from bnas_bench.transfer.detection.folders import VOC_CLASSES, coco, voc
from tests.transfer.detection.conftest import DOG


def test_voc_counts_pixels_from_one(voc_folder: Path) -> None:
    data = voc(voc_folder)
    assert (len(data.train), len(data.test), len(data.classes)) == (4, 2, 20)
    objects = data.test.objects[0]
    assert objects.boxes.tolist() == [[0, 2, 10, 20], [20, 0, 30.5, 10]]
    assert [data.classes[label] for label in objects.labels] == ["dog", "car"]
    assert objects.difficult.tolist() == [False, True]
    assert data.test.image(0).shape == (3, 24, 32)
    again = voc(voc_folder)
    assert again.fingerprint == data.fingerprint
    xml = voc_folder / "VOCdevkit" / "VOC2007" / "Annotations" / "test_1.xml"
    xml.write_text(DOG.replace("<xmax>10<", "<xmax>11<"))
    assert voc(voc_folder).fingerprint != data.fingerprint


def test_a_folder_that_is_not_vocs(voc_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingData, match=r"it has no VOC2007.*--data-folder"):
        voc(tmp_path / "elsewhere")
    test = voc_folder / "VOCdevkit" / "VOC2007" / "ImageSets" / "Main" / "test.txt"
    test.write_text("test_1\nabsent\n")
    with pytest.raises(MissingData, match=r"absent\.jpg"):
        voc(voc_folder)
    test.write_bytes(b"test_1\n\xff")
    with pytest.raises(Damaged, match=r"test\.txt is no list of VOC's pictures"):
        voc(voc_folder)
    test.unlink()
    with pytest.raises(MissingData, match=r"test\.txt"):
        voc(voc_folder)


@pytest.mark.parametrize("text", ["<annotation>", DOG.replace("dog", "unicorn"), "no xml"])
def test_an_annotation_that_is_not_vocs(voc_folder: Path, text: str) -> None:
    (voc_folder / "VOCdevkit" / "VOC2012" / "Annotations" / "trainval_2.xml").write_text(text)
    with pytest.raises(Damaged, match=r"trainval_2\.xml is no annotation of VOC"):
        voc(voc_folder)


def test_a_picture_that_is_damaged(voc_folder: Path) -> None:
    data = voc(voc_folder)
    (voc_folder / "VOCdevkit" / "VOC2007" / "JPEGImages" / "test_2.jpg").write_bytes(b"no picture")
    with pytest.raises(Damaged, match=r"test_2\.jpg cannot be read"):
        data.test.image(1)


def test_coco_counts_classes_without_gaps(coco_folder: Path) -> None:
    data = coco(coco_folder)
    assert data.classes == ("dog", "toothbrush")
    assert [len(one) for one in data.test.objects] == [0, 2]
    objects = data.test.objects[1]
    assert objects.boxes.tolist() == [[1, 2, 4, 6], [0, 0, 8, 8]]
    assert (objects.labels.tolist(), objects.areas.tolist()) == ([1, 0], [9, 50])
    assert objects.crowd.tolist() == [True, False]
    assert data.test.image(1).shape == (3, 24, 32)


def test_a_folder_that_is_not_cocos(coco_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingData, match=r"instances_val2017\.json"):
        coco(tmp_path / "elsewhere")
    picture = coco_folder / "coco" / "train2017" / "000000000003.jpg"
    picture.rename(picture.with_suffix(".png"))
    with pytest.raises(MissingData, match=r"it has no train2017/000000000003\.jpg"):
        coco(coco_folder)
    path = coco_folder / "coco" / "annotations" / "instances_train2017.json"
    path.write_text('{"images": []}')
    with pytest.raises(Damaged, match="holds no instances of COCO"):
        coco(coco_folder)


def test_vocs_classes_are_twenty() -> None:
    assert len({*VOC_CLASSES}) == 20
