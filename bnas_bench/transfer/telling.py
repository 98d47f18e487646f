"""How the tasks' values are called, and what they were measured on, in words; none of it needs torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RANKINGS = {
    "mean_ap": "mAP (%)",
    "rank_1": "rank 1 (%)",
    "rank_5": "rank 5 (%)",
    "rank_10": "rank 10 (%)",
}
COCO = {
    "ap": "AP (%)",
    "ap_50": "AP50",
    "ap_75": "AP75",
    "ap_small": "APs",
    "ap_medium": "APm",
    "ap_large": "APl",
}
TITLES: Mapping[str, Mapping[str, str]] = {
    **dict.fromkeys(("identities", "market1501", "duke", "cuhk03"), RANKINGS),
    "scenes": {"map_area": "mAP (%)"} | COCO,
    "voc": {"map_11_point": "mAP (%)", "map_area": "mAP, area (%)"},
    "coco": COCO,
}
"""By task the values of a test as they are printed, the first the one that counts: their keys in a record and
the titles of their columns. Of detection `map_...` is by VOC's rules, the others by COCO's."""

COMPOSED = ("identities", "scenes")
"""Tasks whose images are composed from handwritten digits."""

DRAWS = 20
"""Drawings of labels that say what a detector by chance reaches."""


def caption(task: str, test: Mapping[str, Any]) -> str:
    """What the values of a test were measured on, in half a sentence, with what chance reaches.

    Args:
        test: as a record has it; what it lacks is a question mark.
    """

    def told(key: str, form: str) -> str:
        value = test.get(key)
        return "?" if value is None else f"{value:{form}}"

    composed = " composed from handwritten digits" * (task in COMPOSED)
    mean, bound = told("chance", ".2f"), told("chance_bound", ".2f")
    if TITLES.get(task) is RANKINGS:
        return (
            f"{told('queries', ',')} queries{composed}; random rankings reach an mAP of {mean} %, 99 % of "
            f"them at most {bound}"
        )
    lacks = "; AP needs pycocotools" if "ap" in test and test["ap"] is None else ""
    return (
        f"{told('pictures', ',')} pictures{composed}, with {told('objects', ',')} objects; their own boxes "
        f"with drawn labels reach an mAP of {mean} % by VOC's rules (area), {DRAWS} drawings at most "
        f"{bound}{lacks}"
    )
