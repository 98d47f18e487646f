"""The embedded pictures: the same everywhere, digits in their boxes, and none of the test in training."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bnas_bench.data.datasets import load
from bnas_bench.transfer.detection import scenes as made
from bnas_bench.transfer.detection.average_precision import overlaps
from bnas_bench.transfer.detection.objects import DetectionData


@pytest.fixture(scope="module")
def data() -> DetectionData:
    return made.scenes()


def test_the_pictures_are_the_same_wherever_they_are_made(data: DetectionData) -> None:
    assert data.fingerprint == made.scenes().fingerprint
    assert (len(data.train), len(data.test), data.frame.shape) == (*made.PICTURES, (1, 48, 48))
    assert {*np.concatenate([one.labels for one in data.test.objects]).tolist()} == {*range(10)}


def test_boxes_enclose_a_digit_s_ink_and_overlap_little(data: DetectionData) -> None:
    several = 0
    for index, objects in enumerate(data.train.objects):
        boxes = objects.boxes
        assert (boxes >= 0).all()
        assert (boxes <= made.SIDE).all()
        sides = boxes[:, 2:] - boxes[:, :2]
        assert (sides > 3).all()
        assert (sides <= made.SIDES[1]).all()
        shared = overlaps(boxes, boxes) - np.eye(len(boxes))
        assert shared.max(initial=0) <= made.COMMON + 1e-9
        several += len(boxes) > 1
        picture = data.train.image(index)[0]
        for x1, y1, x2, y2 in boxes.astype(int):
            inside = picture[y1:y2, x1:x2]
            edges = (inside[0], inside[-1], inside[:, 0], inside[:, -1])
            assert all(int(edge.max()) >= made.INK for edge in edges)
    assert several > len(data.train) / 2


def test_no_digit_is_trained_on_and_tested(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part is made of its part of the digits: another's images change nothing in it."""
    whole, before = load("digits", image=None, device="cpu", folder="."), made.scenes()
    whole.test.pixels.zero_()  # type: ignore[attr-defined]
    monkeypatch.setattr(made, "load", lambda *_, **__: whole)
    after = made.scenes()
    assert after.train.digest() == before.train.digest()
    assert not any(map(len, after.test.objects))
    digits = {image.numpy().tobytes() for image in load_pixels("train")}
    assert not digits & {image.numpy().tobytes() for image in load_pixels("test")}


def load_pixels(part: str) -> torch.Tensor:
    whole = load("digits", image=None, device="cpu", folder=".")
    return getattr(whole, part).pixels
