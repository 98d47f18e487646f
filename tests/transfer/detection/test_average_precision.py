"""VOC's rules on cases counted by hand; COCO's against pycocotools fed from its own files."""

from __future__ import annotations

import io
import json
import math
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bnas_bench.core.errors import MissingData
from bnas_bench.transfer.detection import by_coco as coco
from bnas_bench.transfer.detection.average_precision import (
    average_precision,
    by_voc,
    judged,
    overlaps,
)
from bnas_bench.transfer.detection.objects import Found, Objects

LEFT, RIGHT = (0, 0, 10, 10), (20, 0, 30, 10)
NOWHERE = (50, 50, 60, 60)


def objects(*boxes: Any, labels: Any = None, **more: Any) -> Objects:
    return Objects.of(np.array(boxes), np.array(labels or [0] * len(boxes), int), **more)


def found(*said: tuple[Any, float], labels: Any = None) -> Found:
    boxes = np.array([box for box, _ in said], float).reshape(-1, 4)
    scores = np.array([score for _, score in said])
    return Found(boxes, np.array(labels or [0] * len(said), int), scores)


def both(said: Found, there: Objects, classes: int = 1) -> tuple[float, float]:
    values = by_voc([said], [there], classes)
    return values["11-point"] / 100, values["area"] / 100


def test_overlaps_by_hand() -> None:
    there = np.array([LEFT, RIGHT], float)
    given = np.array([(5, 0, 15, 10), LEFT, (0, 0, 10, 20)], float)
    assert overlaps(given, there) == pytest.approx(np.array([[1 / 3, 0], [1, 0], [1 / 2, 0]]))


def test_a_false_one_between_two_right_ones() -> None:
    """Precisions 1, 1/2, 2/3 at recalls 1/2, 1/2, 1: recalls 0 to .5 have 1, the other five 2/3."""
    points, area = both(found((LEFT, 0.9), (NOWHERE, 0.8), (RIGHT, 0.7)), objects(LEFT, RIGHT))
    assert points == pytest.approx((6 + 5 * 2 / 3) / 11)
    assert area == pytest.approx((1 + 2 / 3) / 2)


def test_duplicates_are_false_whichever_overlaps_more() -> None:
    """The better score finds the object, the other is false: precision 1 at recall 1/2, and no more."""
    near = (1, 0, 11, 10)
    right, count = judged([found((LEFT, 0.3), (near, 0.9))], [objects(LEFT, RIGHT)], 0)
    assert (right.tolist(), count) == ([True, False], 2)
    assert both(found((LEFT, 0.3), (near, 0.9)), objects(LEFT, RIGHT)) == pytest.approx(
        (6 / 11, 0.5)
    )


def test_a_duplicate_takes_no_other_object() -> None:
    """Both lie best on the first object, though the second also overlaps by half: VOC looks at the best."""
    wide = objects((0, 0, 10, 10), (0, 0, 10, 18))
    right, _ = judged([found((LEFT, 0.9), ((0, 0, 10, 10.5), 0.8))], [wide], 0)
    assert right.tolist() == [True, False]


def test_what_is_difficult_counts_neither_way() -> None:
    there = objects(LEFT, RIGHT, difficult=np.array([False, True]))
    said = found((RIGHT, 0.9), (RIGHT, 0.8), (LEFT, 0.7))
    right, count = judged([said], [there], 0)
    assert (right.tolist(), count) == ([True], 1)
    assert both(said, there) == pytest.approx((1, 1))


def test_half_an_overlap_is_enough() -> None:
    right, _ = judged([found(((0, 0, 10, 20), 0.9))], [objects(LEFT)], 0)
    assert right.tolist() == [True]
    right, _ = judged([found(((0, 0, 10, 20.1), 0.9))], [objects(LEFT)], 0)
    assert right.tolist() == [False]


def test_no_box_and_no_object() -> None:
    assert both(found(), objects(LEFT)) == (0, 0)
    assert math.isnan(average_precision(np.zeros(3, bool), 0, "area"))
    there = objects(LEFT, labels=[1])
    assert both(found((LEFT, 0.5), labels=[1]), there, classes=3) == pytest.approx((1, 1))


def test_recalls_are_met_exactly() -> None:
    """Three of ten reach a recall of 0.3, which floats do not say: 3 / 10 < 0.30000000000000004."""
    assert average_precision(np.ones(3, bool), 10, "11-point") == pytest.approx(4 / 11)


def test_the_best_score_over_all_pictures_comes_first() -> None:
    right, count = judged(
        [found((NOWHERE, 0.9)), found((LEFT, 0.95))], [objects(), objects(LEFT)], 0
    )
    assert (right.tolist(), count) == ([True, False], 1)


def test_a_measure_that_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coco, "find_spec", lambda _: None)
    with pytest.raises(MissingData, match=r"pip install 'bnas-bench\[detection\]'"):
        coco.needed("coco")


def drawn(seed: int) -> tuple[list[Found], list[Objects]]:
    """Twelve pictures of three classes, some of whose objects are found badly, twice, or not at all."""
    rng = np.random.default_rng(seed)
    said, there = [], []
    for picture in range(12):
        count = int(rng.integers(0, 6)) if picture else 0
        corners = rng.uniform(0, 300, (count, 2))
        boxes = np.concatenate([corners, corners + rng.uniform(5, 150, (count, 2))], 1)
        labels = rng.integers(0, 3, count)
        areas = (boxes[:, 2:] - boxes[:, :2]).prod(1) * rng.uniform(0.5, 1, count)
        there.append(Objects.of(boxes, labels, areas=areas, crowd=rng.random(count) < 0.2))
        times = rng.integers(0, 3, count)
        again = np.repeat(boxes, times, 0) + rng.normal(0, 6, (times.sum(), 4))
        others = rng.uniform(0, 200, (3, 2))
        boxes = np.concatenate([again, np.concatenate([others, others + 40], 1)])
        labels = np.concatenate([np.repeat(labels, times), rng.integers(0, 3, 3)])
        said.append(Found(boxes, labels, rng.random(len(boxes))))
    return said, there


@pytest.mark.parametrize("seed", range(3))
def test_coco_is_what_pycocotools_says_of_files(seed: int, tmp_path: Path) -> None:
    pytest.importorskip("pycocotools")
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    said, there = drawn(seed)

    def box(one: np.ndarray) -> list[float]:
        return [one[0], one[1], one[2] - one[0], one[3] - one[1]]

    rows = [(index, objects, k) for index, objects in enumerate(there) for k in range(len(objects))]
    annotations = [
        {
            "id": number,
            "image_id": index,
            "category_id": 10 + int(objects.labels[k]),
            "bbox": box(objects.boxes[k]),
            "area": objects.areas[k],
            "iscrowd": int(objects.crowd[k]),
        }
        for number, (index, objects, k) in enumerate(rows, 1)
    ]
    results = [
        {"image_id": index, "category_id": 10 + int(c), "bbox": box(b), "score": float(s)}
        for index, one in enumerate(said)
        for b, c, s in zip(one.boxes, one.labels, one.scores, strict=True)
    ]
    file = tmp_path / "instances.json"
    images = [{"id": index} for index in range(len(there))]
    categories = [{"id": 10 + label} for label in range(3)]
    file.write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )
    with redirect_stdout(io.StringIO()):
        truth = COCO(str(file))
        judge = COCOeval(truth, truth.loadRes(results), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    values = coco.by_coco(said, there, 3)
    for value, theirs in zip(values.values(), judge.stats[:6], strict=True):
        wanted = math.nan if theirs < 0 else 100 * theirs
        assert value == pytest.approx(wanted, abs=1e-6, nan_ok=True)
    assert 0 < judge.stats[0] < 1


def test_coco_forgives_what_lies_on_a_crowd() -> None:
    pytest.importorskip("pycocotools")
    there = objects(LEFT, (20, 0, 60, 10), crowd=np.array([False, True]))
    said = found((LEFT, 0.5), (RIGHT, 0.9), ((30, 0, 40, 10), 0.8))
    assert coco.by_coco([said], [there], 1)["ap"] == pytest.approx(100)
    sharp = objects(LEFT, (20, 0, 60, 10))
    assert coco.by_coco([said], [sharp], 1)["ap"] < 50


def test_coco_without_any_detection_is_zero() -> None:
    pytest.importorskip("pycocotools")
    values = coco.by_coco([found()], [objects(LEFT)], 2)
    assert (values["ap"], values["ap_small"]) == (0, 0)
    assert math.isnan(values["ap_large"])
