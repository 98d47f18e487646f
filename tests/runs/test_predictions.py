"""Predictions beside a record: what is written is read, and what is foreign is refused without harm."""

from __future__ import annotations

import pickle
import struct

import numpy as np
import pytest
import safetensors.numpy

from bnas_bench.core.files import sha256
from bnas_bench.runs import store as store_module
from bnas_bench.runs.predictions import decode, encode
from bnas_bench.runs.store import PREDICTIONS, SHOWN, Store
from tests.helpers.records import done, put_predicted, trials

BYTE = np.uint8


@pytest.mark.parametrize(("classes", "width"), [(2, 1), (10, 1), (256, 1), (257, 2), (1000, 2)])
def test_what_is_written_is_read(classes: int, width: int) -> None:
    rng = np.random.default_rng(0)
    predicted, labels = rng.integers(classes, size=(3, 50)), rng.integers(classes, size=50)
    data = encode(predicted, labels, classes)
    found = decode(data, classes)
    assert np.array_equal(found.predicted, predicted)
    assert np.array_equal(found.labels, labels)
    assert np.array_equal(found.right, predicted == labels)
    assert found.predicted.dtype.itemsize == width
    assert len(data) < 4 * 50 * width + 300


def saved(predicted: np.ndarray, labels: np.ndarray) -> bytes:
    return safetensors.numpy.save({"predicted": predicted, "labels": labels})


HEADER = b'{"predicted":{"dtype":"U8","shape":[1,99999999999],"data_offsets":[0,99999999999]}}'


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no predictions"),
        (pickle.dumps([1, 2]), "no predictions"),
        (
            struct.pack("<Q", len(HEADER)) + HEADER,
            "no predictions",
        ),  # and takes no 100 GB to say so
        (safetensors.numpy.save({"other": np.zeros(3, BYTE)}), "no predictions"),
        (
            saved(np.zeros((1, 3), np.float32), np.zeros(3, np.float32)),
            "no predictions of 10 classes",
        ),
        (
            saved(np.zeros((1, 3), np.uint16), np.zeros(3, np.uint16)),
            "no predictions of 10 classes",
        ),
        (saved(np.zeros(3, BYTE), np.zeros(3, BYTE)), "no predictions of 10 classes"),
        (saved(np.zeros((1, 4), BYTE), np.zeros(3, BYTE)), "shape (1, 4) for 3 images"),
        (saved(np.zeros((1, 0), BYTE), np.zeros(0, BYTE)), "shape (1, 0) for 0 images"),
        (saved(np.full((1, 3), 10, BYTE), np.zeros(3, BYTE)), "a class beyond the 10"),
    ],
)
def test_what_holds_no_predictions_says_so(data: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said.replace("(", r"\(").replace(")", r"\)")):
        decode(data, 10)


def test_the_record_vouches_for_them(store: Store) -> None:
    (trial,) = trials("random")
    put_predicted(store, trial, np.ones((1, 40), bool))
    assert store.state(trial.id, SHOWN).word == "ok"
    file = store.folder(trial.id) / PREDICTIONS
    file.write_bytes(file.read_bytes()[:-1] + b"\1")
    assert "truncated or altered" in str(store.state(trial.id, SHOWN).reason)


def test_a_record_without_them_stays_what_it_was(store: Store) -> None:
    (trial,) = trials("random")
    store.write(trial.id, {}, done(trial, 91.5))
    (store.folder(trial.id) / PREDICTIONS).write_bytes(b"put there by others")
    assert store.state(trial.id, SHOWN).word == "ok"


def test_a_file_that_is_too_large_is_not_read(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(store_module.LIMITS, PREDICTIONS, 100)
    (trial,) = trials("random")
    data = bytes(101)
    store.write(trial.id, {PREDICTIONS: data}, done(trial, 91.5, predictions_sha256=sha256(data)))
    assert "is larger than 100 bytes" in str(store.state(trial.id, SHOWN).reason)
