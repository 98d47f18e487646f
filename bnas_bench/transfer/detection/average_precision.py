"""Average precision by the rules of VOC.

Everingham et al., "The PASCAL Visual Object Classes (VOC) Challenge", IJCV 2010, section 4.2:
detections of a class in the order of their scores; one is right if it overlaps an object of its picture
by at least half and no earlier one has found that object already; what is difficult counts neither way.
Until 2009 the precision is the mean over eleven recalls (`11-point`, of the test of 2007), since 2010
the area under the curve made monotonous (`area`).

Legend of array names: D detections, K objects.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bnas_bench.transfer.detection.objects import Found, Objects

RULES = ("11-point", "area")
OVERLAP = 0.5


def overlaps(boxes_D4: np.ndarray, boxes_K4: np.ndarray) -> np.ndarray:
    """Intersection over union of every pair, shape (D, K)."""
    low = np.maximum(boxes_D4[:, None, :2], boxes_K4[None, :, :2])
    high = np.minimum(boxes_D4[:, None, 2:], boxes_K4[None, :, 2:])
    common = (high - low).clip(0).prod(2)
    areas_D, areas_K = ((b[:, 2:] - b[:, :2]).prod(1) for b in (boxes_D4, boxes_K4))
    return common / np.maximum(areas_D[:, None] + areas_K - common, np.finfo(float).tiny)


def judged(found: Sequence[Found], truth: Sequence[Objects], label: int) -> tuple[np.ndarray, int]:
    """Of one class whether each detection is right, best score first, and how many objects there are.

    What lies best on a difficult object is left out of both.
    """
    scores, rights = [], []
    count = 0
    for given, there in zip(found, truth, strict=True):
        mine = there.labels == label
        difficult_K = there.difficult[mine]
        count += int((~difficult_K).sum())
        said = np.flatnonzero(given.labels == label)
        if not len(said):
            continue
        said = said[np.argsort(-given.scores[said], kind="stable")]
        overlap_DK = overlaps(given.boxes[said], there.boxes[mine])
        taken_K = np.zeros(len(difficult_K), bool)
        for place, overlap_K in zip(said, overlap_DK, strict=True):
            best = int(overlap_K.argmax()) if len(overlap_K) else -1
            hit = best >= 0 and overlap_K[best] >= OVERLAP
            if hit and difficult_K[best]:
                continue
            scores.append(given.scores[place])
            rights.append(hit and not taken_K[best])
            if hit:
                taken_K[best] = True
    order = np.argsort(-np.array(scores, float), kind="stable")
    return np.array(rights, bool)[order], count


def average_precision(right_D: np.ndarray, count: int, rule: str) -> float:
    """Of a class with `count` objects, from 0 to 1; NaN if there is none.

    Args:
        right_D: best score first.
        rule: one of `RULES`.
    """
    if not count:
        return float("nan")
    if not len(right_D):
        return 0.0
    hits_D = np.cumsum(right_D)
    precision_D = hits_D / np.arange(1, len(right_D) + 1)
    best_D = np.maximum.accumulate(precision_D[::-1])[::-1]
    if rule == "area":
        return float((best_D * right_D).sum() / count)
    reached = [np.flatnonzero(10 * hits_D >= tenth * count) for tenth in range(11)]
    return float(sum(best_D[places[0]] for places in reached if len(places)) / 11)


def by_voc(found: Sequence[Found], truth: Sequence[Objects], classes: int) -> dict[str, float]:
    """The mean over the classes that have an object, in %, by both rules."""
    judgements = [judged(found, truth, label) for label in range(classes)]
    return {
        rule: 100 * float(np.nanmean([average_precision(*one, rule) for one in judgements]))
        for rule in RULES
    }
