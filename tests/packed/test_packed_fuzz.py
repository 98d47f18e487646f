"""Packed files that are altered by chance, or on purpose: none may load as what it is not.

A corruption keeps its checksum, so that every one of them must be refused. A lie has a checksum that
is right: what loads is then a program that passes the check.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import pytest

from bnas_bench.packed.format.check import check
from bnas_bench.packed.format.file import BadFile, load, save
from tests.helpers.packed import DATA, container, forged, header_of, refused, same

Rng = np.random.Generator
Corrupt: TypeAlias = "Callable[[bytearray, int, Rng], None]"


def regions() -> dict[str, range]:
    """Every class of byte positions of the good file."""
    size = int.from_bytes(DATA[:8], "little")
    ours = DATA.index(b'"bnas_bench.packed":"') + 21
    end = DATA.index(b'"}', ours)
    starts = container()[0]
    found = {
        "length": range(8),
        "outer header before": range(8, ours),
        "checksum": range(ours, ours + 64),
        "our header": range(ours + 64, end),
        "outer header behind": range(end, 8 + len(DATA[8 : 8 + size].rstrip())),
        "padding": range(8 + len(DATA[8 : 8 + size].rstrip()), 8 + size),
    }
    for name, tensor in starts.items():
        if name != "__metadata__":
            first, last = tensor["data_offsets"]
            found[f"tensor {name}"] = range(8 + size + first, 8 + size + last)
    return found


REGIONS = regions()


def test_the_regions_are_the_whole_file() -> None:
    assert sorted(place for region in REGIONS.values() for place in region) == [*range(len(DATA))]
    assert "U64" in {t["dtype"] for n, t in container()[0].items() if n != "__metadata__"}


def flip(data: bytearray, at: int, rng: Rng) -> None:
    data[at] ^= 1 << int(rng.integers(8))


def overwrite(data: bytearray, at: int, rng: Rng) -> None:
    count = int(rng.integers(1, 64))
    data[at : at + count] = rng.bytes(min(count, len(data) - at))


def zero(data: bytearray, at: int, rng: Rng) -> None:
    count = min(int(rng.integers(1, 64)), len(data) - at)
    data[at : at + count] = bytes(count)


def insert(data: bytearray, at: int, rng: Rng) -> None:
    data[at:at] = rng.bytes(int(rng.integers(1, 64)))


def delete(data: bytearray, at: int, rng: Rng) -> None:
    del data[at : at + int(rng.integers(1, 64))]


def truncate(data: bytearray, at: int, rng: Rng) -> None:  # noqa: ARG001
    del data[at:]


def swap(data: bytearray, at: int, rng: Rng) -> None:
    other = int(rng.integers(len(data)))
    data[at], data[other] = data[other], data[at]


def copy(data: bytearray, at: int, rng: Rng) -> None:
    """A piece of the file itself, elsewhere: plausible, and in the wrong place."""
    start, count = int(rng.integers(len(data))), int(rng.integers(1, 200))
    piece = data[start : start + count]
    data[at : at + len(piece)] = piece


def digit(data: bytearray, at: int, rng: Rng) -> None:
    """Another digit, letter or sign of JSON, so that it may well parse."""
    data[at] = rng.choice(list(b'0123456789abcdef"[]{},: -'))


CORRUPTIONS: tuple[Corrupt, ...] = (
    *(flip, overwrite, zero, insert, delete, truncate, swap, copy, digit),
)


def corrupted(region: range, corrupt: Corrupt, rng: Rng) -> bytes:
    """The file with something done to it in that region; not what it was."""
    for _ in range(1000):
        data = bytearray(DATA)
        corrupt(data, int(rng.integers(region.start, region.stop)), rng)
        if data != DATA:
            return bytes(data)
    raise AssertionError(f"{corrupt} changes nothing in {region}")


def slowest_of(files: list[bytes]) -> float:
    """Seconds that the slowest file took until it was refused; none may load."""
    slowest = 0.0
    for data in files:
        began = time.process_time()
        refused(data)
        slowest = max(slowest, time.process_time() - began)
    return slowest


@pytest.mark.parametrize("corrupt", CORRUPTIONS)
def test_no_altered_byte_passes(corrupt: Corrupt) -> None:
    """Two of every class of byte positions."""
    rng = np.random.default_rng(0)
    files = [corrupted(region, corrupt, rng) for region in REGIONS.values() for _ in range(2)]
    assert slowest_of(files) < 5


def test_no_byte_may_come_behind() -> None:
    for more in (b"\0", b" ", b"\n", DATA):
        assert "is damaged" in refused(DATA + more)


def test_truncations_are_said_to_be_damage() -> None:
    for end in (9, 12, 100, 2000, len(DATA) // 2, len(DATA) - 1):
        assert "is damaged" in refused(DATA[:end])


@pytest.mark.slow
def test_fifty_thousand_random_corruptions() -> None:
    rng = np.random.default_rng(1)
    counts = dict.fromkeys(REGIONS, 0)
    slowest = 0.0
    while min(counts.values()) < 50_000 // len(REGIONS) + 1:
        for name, region in REGIONS.items():
            corrupt = CORRUPTIONS[rng.integers(len(CORRUPTIONS))]
            slowest = max(slowest, slowest_of([corrupted(region, corrupt, rng)]))
            counts[name] += 1
    total = sum(counts.values())
    print(f"{total} corruptions of {len(counts)} classes of bytes: {slowest:.3f} s at most")  # noqa: T201
    assert total >= 50_000
    assert slowest < 5


VALUES: tuple[Any, ...] = (
    *(0, 1, 2, 3, 5, 8, -1, 64, 2**24, 2**31, 2**63, 2**64, 10**30, 0.5, 1e300, True, False, None),
    *("", "input", "add_3", "conv", "f4", "\ud800", "a\nb", [], {}, [[]], ["input"], {"a": 1}),
)


def lie(header: Any, rng: Rng) -> None:
    """Replace, remove, double or rename one value somewhere in a header."""
    at, parent, key = header, None, None
    while isinstance(at, dict | list) and len(at) and (parent is None or rng.random() < 0.85):
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        parent, key = at, keys[rng.integers(len(keys))]
        at = parent[key]
    match rng.integers(5), parent:
        case 0, dict() | list():
            del parent[key]
        case 1, list():
            parent.insert(key, at)
        case 1, dict():
            parent[str(VALUES[rng.integers(len(VALUES))])] = parent.pop(key)
        case 2, _ if type(at) is int:
            parent[key] = at + int(rng.integers(-2, 3))
        case _:
            parent[key] = VALUES[rng.integers(len(VALUES))]


def signed_lie(rng: Rng) -> bytes:
    """A file with a few lies in its headers or wild bits in its tensors, and a right checksum."""
    outer, body = container()
    header = header_of()
    kind = rng.integers(4)
    for _ in range(rng.integers(1, 4)):
        if kind in (0, 3):
            lie(header, rng)
        if kind == 1:
            lie(outer, rng)
        if kind in (2, 3):
            numbers = bytearray(body)
            at = int(rng.integers(len(body)))
            numbers[at : at + 4] = rng.choice([b"\0\0\xc0\x7f", b"\0\0\x80\xff", rng.bytes(4)])
            body = bytes(numbers[: len(body)])
    return forged(header, {n: t for n, t in outer.items() if n != "__metadata__"}, body)


def outcomes(rng: Rng, count: int) -> dict[str, int]:
    """How many such files were refused, and how many were programs that pass the check."""
    found = {"refused": 0, "sound": 0}
    for _ in range(count):
        data = signed_lie(rng)
        began = time.process_time()
        try:
            program = load(data)
        except BadFile as error:
            found["refused"] += "\n" not in str(error)
        else:
            check(program)
            assert same(load(save(program)), program)
            found["sound"] += 1
        assert time.process_time() - began < 5
    assert sum(found.values()) == count
    return found


def test_lies_behind_a_right_checksum() -> None:
    found = outcomes(np.random.default_rng(0), 300)
    assert found["refused"] > 150
    assert found["sound"] > 10


@pytest.mark.slow
def test_ten_thousand_lies_behind_a_right_checksum() -> None:
    found = outcomes(np.random.default_rng(1), 10_000)
    print(f"10000 lies behind a right checksum: {found}")  # noqa: T201
    assert found["refused"] > 5000
    assert found["sound"] > 300
