"""Rankings of which every precision is counted by hand, and some judged by a published evaluator."""

from __future__ import annotations

import json
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bnas_bench.transfer.retrieval import JUNK, RANKS, Retrieval, Seen, by_chance, retrieval

PUBLISHED = json.loads(Path(__file__).with_name("torchreid.json").read_text("utf-8"))
"""Small cases and what torchreid's evaluator makes of them; the file says how it was asked."""


def seen(*pairs: tuple[int, int]) -> Seen:
    identities, cameras = np.array(pairs).reshape(-1, 2).T
    return Seen(identities, cameras)


def test_a_ranking_by_hand() -> None:
    """Right images at places 1, 3 and 6 of six: (1/1 + 2/3 + 3/6) / 3."""
    gallery = seen((7, 1), (8, 1), (7, 2), (9, 1), (9, 2), (7, 1))
    found = retrieval(np.arange(6.0)[None], seen((7, 0)), gallery)
    assert found.mean_ap == pytest.approx(100 * (1 + 2 / 3 + 1 / 2) / 3)
    assert found.ranks == {1: 100.0, 5: 100.0, 10: 100.0}
    assert (found.queries, found.unmatched) == (1, 0)


def test_the_query_s_own_camera_and_junk_do_not_count() -> None:
    """The two nearest are of the own camera and junk; then a wrong one; the right one is second of two."""
    gallery = seen((7, 0), (JUNK, 1), (8, 0), (7, 1))
    found = retrieval(np.array([[0.0, 0.1, 0.2, 0.3]]), seen((7, 0)), gallery)
    assert found.mean_ap == 50.0
    assert found.ranks == {1: 0.0, 5: 100.0, 10: 100.0}


def test_distractors_of_the_query_s_camera_count() -> None:
    found = retrieval(np.array([[0.0, 1.0]]), seen((7, 0)), seen((0, 0), (7, 1)))
    assert found.mean_ap == 50.0


def test_queries_without_a_match_are_counted_apart() -> None:
    queries, gallery = seen((7, 0), (5, 0), (6, 1), (JUNK, 0)), seen((7, 1), (6, 1), (8, 0))
    found = retrieval(np.zeros((4, 3)), queries, gallery)
    assert (found.queries, found.unmatched) == (1, 3)
    assert found.mean_ap == 100.0


def test_the_mean_is_over_queries_not_images() -> None:
    queries, gallery = seen((1, 0), (2, 0)), seen((1, 1), (1, 1), (1, 1), (2, 1))
    distances = np.array([[0, 1, 2, 3], [0, 1, 2, 3]])
    found = retrieval(distances, queries, gallery)
    assert found.mean_ap == pytest.approx(100 * (1 + 1 / 4) / 2)
    assert found.ranks[1] == 50.0


def test_equal_distances_keep_the_gallery_s_order() -> None:
    assert retrieval(np.zeros((1, 2)), seen((1, 0)), seen((2, 1), (1, 1))).mean_ap == 50.0


def test_no_query_at_all() -> None:
    found = retrieval(np.zeros((0, 2)), seen(), seen((2, 1), (1, 1)))
    assert isnan(found.mean_ap)
    assert isnan(found.ranks[1])


def test_chance_is_what_random_rankings_reach() -> None:
    """One right image among two: average precision 1 or 1/2, with equal chances."""
    mean, bound = by_chance(
        seen(*[(1, 0)] * 50), seen((1, 1), (2, 1)), np.random.default_rng(0), draws=100
    )
    assert mean == pytest.approx(75, abs=2)
    assert mean < bound < 90


@pytest.mark.parametrize("case", PUBLISHED["cases"], ids=lambda case: case["case"])
def test_a_published_evaluator_says_the_same(case: dict[str, Any]) -> None:
    """Also of each query alone; one without a match has no average precision there, and is left out."""
    gallery = seen(*map(tuple, case["gallery"]))
    distances = np.argsort(case["nearest_first"], axis=1) / 10

    def judged(queries: slice) -> Retrieval:
        return retrieval(distances[queries], seen(*map(tuple, case["queries"][queries])), gallery)

    found = judged(slice(None))
    assert found.mean_ap == pytest.approx(100 * case["mean_ap"], abs=1e-9)
    assert found.ranks == pytest.approx({k: 100 * case["cmc"][k - 1] for k in RANKS}, abs=1e-4)
    for place, precision in enumerate(case["average_precisions"]):
        alone = judged(slice(place, place + 1))
        if precision is None:
            assert (alone.queries, alone.unmatched) == (0, 1)
        else:
            assert alone.mean_ap == pytest.approx(100 * precision, abs=1e-9)
    assert found.unmatched == case["average_precisions"].count(None)
