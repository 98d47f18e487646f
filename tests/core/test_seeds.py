"""Seeds: numbers that follow from the purpose alone."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from bnas_bench.core.seeds import generator


def test_a_generator_follows_from_the_hash_of_its_purpose() -> None:
    digest = hashlib.sha256(b'[7, "search", "darts-binary", "cpnas", 2]').digest()
    expected = np.random.Generator(np.random.PCG64(int.from_bytes(digest, "big")))
    drawn = generator(7, "search", "darts-binary", "cpnas", 2).integers(2**62, size=5)
    assert drawn.tolist() == expected.integers(2**62, size=5).tolist()


def test_the_numbers_are_the_same_for_ever() -> None:
    drawn = generator(0, "split", "digits", 0).integers(1000, size=6)
    assert drawn.tolist() == [253, 843, 107, 608, 381, 840]


@pytest.mark.parametrize(
    "other",
    [
        (1, "search", "cpnas", 0),
        (0, "train", "cpnas", 0),
        (0, "search", "cpnas", 1),
        (0, "search", "cpnas", "0"),
        (0, "searchcpnas", 0),
        (0, "search", "cpnas"),
    ],
)
def test_every_other_purpose_draws_other_numbers(other: tuple[int, str, str, int]) -> None:
    first = generator(0, "search", "cpnas", 0).integers(2**62, size=4)
    assert not set(first.tolist()) & set(generator(*other).integers(2**62, size=4).tolist())
