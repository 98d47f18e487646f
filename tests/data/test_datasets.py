import gc
from collections import Counter
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from types import SimpleNamespace
from urllib.error import URLError

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from bnas_bench.core.budget import Budget, NetworkSpec
from bnas_bench.core.errors import BadValue, MissingData, UnknownName
from bnas_bench.data.datasets import Augment, Dataset, TensorImages, load, stratified, task

CPU = torch.device("cpu")
BUDGET = Budget(name="tiny", passes=100, batch_size=16)
NOWHERE = Path("/nonexistent")


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits", image=None, device="cpu", folder=NOWHERE)


def spec(dataset: Dataset) -> NetworkSpec:
    return NetworkSpec(shape=dataset.shape, classes=dataset.classes, cells=2, channels=4)


def test_digits_are_scikit_learns_images_scaled_to_bytes(digits: Dataset) -> None:
    bunch = load_digits()
    expected = Counter(
        (np.rint(image * 255 / 16).astype(np.uint8).tobytes(), int(label))
        for image, label in zip(bunch.images, bunch.target, strict=True)
    )
    loaded = Counter(
        (image.numpy().tobytes(), int(label))
        for part in (digits.train, digits.test)
        for image, label in zip(part.pixels, part.labels, strict=True)
    )
    assert loaded == expected
    assert digits.shape == (1, 8, 8)
    assert (digits.classes, digits.class_names[7], digits.flips) == (10, "7", False)


def test_the_split_of_digits_stays_as_it_is(digits: Dataset) -> None:
    """If this fails, results before and after the change cannot be compared."""
    assert (len(digits.train), len(digits.test)) == (1437, 360)
    assert digits.fingerprint == "ebf3bd4372727d94"
    assert load("digits", image=32, device="cpu", folder=NOWHERE).fingerprint == "b2ebb0b7994dcc16"


def test_the_test_digits_have_the_classes_proportions(digits: Dataset) -> None:
    train, test = np.bincount(digits.train.labels), np.bincount(digits.test.labels)
    assert np.abs(test - (train + test) * 360 / 1797).max() < 1


def test_the_usual_augmentation_scales_with_the_image(digits: Dataset) -> None:
    assert digits.augment() == Augment(crop=1, flip=False, cutout=0)
    larger = load("digits", image=32, device="cpu", folder=NOWHERE)
    assert larger.augment(cutout=0.5) == Augment(crop=4, flip=False, cutout=16)
    assert replace(larger, flips=True).augment().flip


def test_the_fingerprint_changes_with_a_label_and_between_train_and_test(digits: Dataset) -> None:
    labels = digits.test.labels.copy()
    labels[0] = (labels[0] + 1) % 10
    relabelled = replace(digits, test=TensorImages(digits.test.pixels, labels, CPU))
    swapped = replace(digits, train=digits.test, test=digits.train)
    assert len({d.fingerprint for d in (digits, relabelled, swapped)}) == 3


@pytest.mark.parametrize("sizes", [(718, 72), (360,), (719, 718), (10, 10, 10)])
def test_stratified_parts_are_disjoint_exact_in_size_and_proportionate(
    digits: Dataset, sizes: tuple[int, ...]
) -> None:
    labels = digits.train.labels
    parts = stratified(labels, sizes, np.random.default_rng(0).permutation(len(labels)))
    assert tuple(map(len, parts)) == sizes
    chosen = np.concatenate(parts)
    assert len(set(chosen.tolist())) == sum(sizes)
    for part, size in zip(parts, sizes, strict=True):
        exact = np.bincount(labels) * size / len(labels)
        assert np.abs(np.bincount(labels[part]) - exact).max() < 1.5


def test_cifar_sizes_split_exactly() -> None:
    labels = np.tile(np.arange(10), 5000)
    parts = stratified(labels, (25000, 2500), np.random.default_rng(0).permutation(50000))
    assert [set(np.bincount(labels[part])) for part in parts] == [{2500}, {250}]


def test_within_a_class_the_order_decides() -> None:
    parts = stratified(np.array([0, 0, 0, 1, 1, 1]), (2, 2), np.array([5, 2, 4, 0, 1, 3]))
    assert [part.tolist() for part in parts] == [[5, 2], [4, 0]]


def test_a_task_is_two_disjoint_parts_of_train(digits: Dataset) -> None:
    made = task(digits, spec(digits), BUDGET, np.random.default_rng(0))
    assert (len(made.train), len(made.valid)) == (718, 72)
    pool = Counter(image.numpy().tobytes() for image in digits.train.pixels)
    taken = Counter(i.numpy().tobytes() for p in (made.train, made.valid) for i in p.pixels)
    assert taken <= pool
    assert (made.shape, made.classes, made.batch_size) == ((1, 8, 8), 10, 16)
    assert made.augment == Augment(crop=1)
    again = task(digits, spec(digits), BUDGET, np.random.default_rng(0))
    other = task(digits, spec(digits), BUDGET, np.random.default_rng(1))
    assert made.train.digest() == again.train.digest() != other.train.digest()


def test_a_part_in_order_mixes_its_classes() -> None:
    """A supernet normalises by the batch: a batch of one class alone would validate nothing."""
    labels = np.repeat(np.arange(4), 250)
    parts = stratified(labels, (500, 100), np.random.default_rng(0).permutation(1000))
    for part in parts:
        for start in range(0, len(part), 50):
            assert len(set(labels[part[start : start + 50]])) == 4


def test_nothing_of_test_can_be_reached_from_a_task(digits: Dataset) -> None:
    made = task(digits, spec(digits), BUDGET, np.random.default_rng(0))
    with pytest.raises(FrozenInstanceError):
        made.train = digits.test  # type: ignore[misc]
    hidden = {id(digits), id(digits.test), id(digits.train)}
    held = {digits.test.pixels.data_ptr(), digits.train.pixels.data_ptr()}
    queue, seen = [made], {id(made)}
    while queue:
        thing = queue.pop()
        assert id(thing) not in hidden
        if isinstance(thing, torch.Tensor):
            assert thing.data_ptr() not in held
        for other in gc.get_referents(thing):
            if id(other) not in seen and not isinstance(other, type):
                seen.add(id(other))
                queue.append(other)
    assert {id(made.train.pixels), id(made.valid.pixels)} <= seen


def test_all_of_train_can_be_shared_out(digits: Dataset) -> None:
    budget = replace(BUDGET, search_fraction=0.7, valid_fraction=0.3)
    made = task(digits, spec(digits), budget, np.random.default_rng(0))
    assert len(made.train) + len(made.valid) == 1437


def test_fractions_that_leave_a_class_without_an_image_are_refused(digits: Dataset) -> None:
    budget = replace(BUDGET, valid_fraction=0.005)
    with pytest.raises(BadValue) as error:
        task(digits, spec(digits), budget, np.random.default_rng(0))
    assert "search_fraction 0.5 and valid_fraction 0.005 of the 1437" in str(error.value)
    assert "leave 718 and 8," in str(error.value)


@pytest.mark.parametrize(("search", "valid"), [(0.5, 0.6), (0.0, 0.5), (0.5, 0.0), (1.2, -0.3)])
def test_fractions_that_are_no_parts_are_refused(
    digits: Dataset, search: float, valid: float
) -> None:
    budget = replace(BUDGET, search_fraction=search, valid_fraction=valid)
    with pytest.raises(BadValue, match=f"search_fraction {search} and valid_fraction {valid}"):
        task(digits, spec(digits), budget, np.random.default_rng(0))


def idx(values: np.ndarray) -> bytes:
    """The file format of MNIST."""
    head = bytes([0, 0, 8, values.ndim])
    return head + np.array(values.shape, ">i4").tobytes() + values.astype(np.uint8).tobytes()


def test_fashion_mnist_is_read_where_torchvision_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision import datasets

    monkeypatch.setattr(datasets.FashionMNIST, "download", lambda _: pytest.fail("downloaded"))
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    rng = np.random.default_rng(0)
    pixels = {name: rng.integers(256, size=(n, 28, 28)) for name, n in (("train", 6), ("t10k", 4))}
    for name, values in pixels.items():
        (raw / f"{name}-images-idx3-ubyte").write_bytes(idx(values))
        (raw / f"{name}-labels-idx1-ubyte").write_bytes(idx(np.arange(len(values))))
    dataset = load("fashion-mnist", image=None, device="cpu", folder=tmp_path)
    assert dataset.train.pixels[:, 0].tolist() == pixels["train"].tolist()
    assert dataset.test.pixels[:, 0].tolist() == pixels["t10k"].tolist()
    assert dataset.test.labels.tolist() == [0, 1, 2, 3]
    assert (dataset.shape, dataset.flips) == ((1, 28, 28), True)
    assert dataset.class_names[9] == "Ankle boot"
    assert load("fashion-mnist", image=32, device="cpu", folder=tmp_path).shape == (1, 32, 32)


@pytest.mark.parametrize(("name", "kind"), [("cifar10", "CIFAR10"), ("cifar100", "CIFAR100")])
def test_cifar_images_become_channels_first(
    name: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision import datasets

    pixels = np.random.default_rng(0).integers(256, size=(3, 32, 32, 3), dtype=np.uint8)

    def fake(folder: Path, *, train: bool, download: bool = False) -> SimpleNamespace:
        assert (folder, download) == (NOWHERE, False)
        data = pixels if train else pixels[:1]
        return SimpleNamespace(data=data, targets=[1, 0, 1][: len(data)], classes=["a", "b"])

    monkeypatch.setattr(datasets, kind, fake)
    dataset = load(name, image=None, device="cpu", folder=NOWHERE)
    assert dataset.train.pixels[2, 1, 5].tolist() == pixels[2, 5, :, 1].tolist()
    assert dataset.train.labels.tolist() == [1, 0, 1]
    assert (len(dataset.test), dataset.shape, dataset.flips) == (1, (3, 32, 32), True)


def test_what_cannot_be_downloaded_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision import datasets

    def offline(_: object) -> None:
        raise URLError("no\nnetwork")

    monkeypatch.setattr(datasets.CIFAR10, "download", offline)
    with pytest.raises(MissingData) as error:
        load("cifar10", image=None, device="cpu", folder=tmp_path)
    message = str(error.value)
    assert f"cifar10 is not in {tmp_path}" in message
    assert "no network" in message
    assert "cifar-10-python.tar.gz" in message
    assert "\n" not in message


def test_names_that_are_none_are_refused() -> None:
    with pytest.raises(UnknownName, match="unknown dataset 'digit'; did you mean digits"):
        load("digit", image=None, device="cpu", folder=NOWHERE)
    with pytest.raises(BadValue, match="imagefolder:PATH"):
        load("imagefolder", image=None, device="cpu", folder=NOWHERE)
    with pytest.raises(BadValue, match="0 pixels"):
        load("digits", image=0, device="cpu", folder=NOWHERE)
