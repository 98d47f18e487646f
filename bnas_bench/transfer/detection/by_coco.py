"""Average precision by the rules of COCO, which pycocotools (extra `detection`) knows.

Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014;
https://cocodataset.org/#detection-eval.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from importlib.util import find_spec
from typing import Any

from bnas_bench.core.errors import MissingData
from bnas_bench.transfer.detection.objects import Found, Objects

MEASURES = ("ap", "ap_50", "ap_75", "ap_small", "ap_medium", "ap_large")
"""The mean over overlaps from .5 to .95, two of them, and by the size of the objects."""


def is_there() -> bool:
    return find_spec("pycocotools") is not None


def needed(task: str) -> None:
    """Raises MissingData if pycocotools is not installed."""
    if not is_there():
        raise MissingData(
            f"{task} is judged by pycocotools, which is not installed: pip install 'bnas-bench[detection]'"
        )


def by_coco(
    found: Sequence[Found],
    truth: Sequence[Objects],
    classes: int,
    areas: tuple[int, int] = (32**2, 96**2),
) -> dict[str, float]:
    """`MEASURES` in %; nan where no object is of that size.

    Args:
        areas: below the first, in pixels, an object is small, from the second on large.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def indexed(annotations: list[dict[str, Any]]) -> Any:
        coco = COCO()
        coco.dataset = {
            "images": [{"id": index} for index in range(len(truth))],
            "categories": [{"id": label} for label in range(classes)],
            "annotations": [one | {"id": number + 1} for number, one in enumerate(annotations)],
        }
        coco.createIndex()
        return coco

    with redirect_stdout(io.StringIO()):
        there = indexed([one for index, o in enumerate(truth) for one in _there(index, o)])
        said = indexed([one for index, f in enumerate(found) for one in _said(index, f)])
        judge = COCOeval(there, said, "bbox")
        small, large = areas
        judge.params.areaRng = [[0, 1e10], [0, small], [small, large], [large, 1e10]]
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return {
        name: float("nan") if value < 0 else 100 * float(value)
        for name, value in zip(MEASURES, judge.stats, strict=False)
    }


def _there(index: int, objects: Objects) -> list[dict[str, Any]]:
    return [
        {
            "image_id": index,
            "category_id": int(objects.labels[k]),
            "bbox": _cornered(objects.boxes[k]),
            "area": float(objects.areas[k]),
            "iscrowd": int(objects.crowd[k]),
        }
        for k in range(len(objects))
    ]


def _said(index: int, found: Found) -> list[dict[str, Any]]:
    return [
        {
            "image_id": index,
            "category_id": int(label),
            "bbox": _cornered(box),
            "area": float((box[2] - box[0]) * (box[3] - box[1])),
            "score": float(score),
            "iscrowd": 0,
        }
        for box, label, score in zip(found.boxes, found.labels, found.scores, strict=True)
    ]


def _cornered(box: Any) -> list[float]:
    x1, y1, x2, y2 = map(float, box)
    return [x1, y1, x2 - x1, y2 - y1]
