import hashlib
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

from bnas_bench.core.errors import BadValue
from bnas_bench.data.images import PLAIN, Augment, TensorImages, normalised, resized

CPU = torch.device("cpu")


def held(images: int = 23, shape: tuple[int, int, int] = (3, 8, 6)) -> TensorImages:
    rng = np.random.default_rng(0)
    pixels = torch.from_numpy(rng.integers(256, size=(images, *shape), dtype=np.uint8))
    return TensorImages(pixels, np.arange(images) % 4, CPU)


def test_normalised_maps_every_byte_to_its_place_in_minus_one_to_one() -> None:
    values = normalised(torch.arange(256, dtype=torch.uint8)).numpy()
    expected = np.arange(256, dtype=np.float32) / np.float32(127.5) - np.float32(1)
    assert values.tolist() == expected.tolist()
    assert (values[0], values[255]) == (-1.0, 1.0)


def bilinear(image: np.ndarray, side: int) -> np.ndarray:
    """Plain bilinear enlargement of a square image, pixel centres at half integers."""
    at = (np.arange(side) + 0.5) * len(image) / side - 0.5
    near = np.clip(at[:, None] - np.arange(-1, len(image) + 1)[None], -1, 1)
    weights = 1 - np.abs(near)
    weights[:, 1] += weights[:, 0]  # the border is repeated
    weights[:, -2] += weights[:, -1]
    weights = weights[:, 1:-1]
    return weights @ image @ weights.T


def test_enlarging_is_bilinear() -> None:
    small = np.random.default_rng(1).integers(256, size=(8, 8)).astype(np.float64)
    large = resized(torch.from_numpy(small).byte()[None, None], 32)
    assert large[0, 0].tolist() == np.rint(bilinear(small, 32)).astype(int).tolist()


def test_reducing_is_antialiased_as_pillow_does_it() -> None:
    large = np.random.default_rng(2).integers(256, size=(30, 30), dtype=np.uint8)
    ours = resized(torch.from_numpy(large)[None, None], 12)[0, 0].numpy().astype(int)
    pillow = np.asarray(Image.fromarray(large).resize((12, 12), Image.Resampling.BILINEAR))
    assert np.abs(ours - pillow.astype(int)).max() <= 1


def test_resizing_to_nothing_or_to_the_same_only_rounds() -> None:
    pixels = torch.tensor([[[[0.0, 15.9375], [239.0625, 255.0]]]])
    for side in (None, 2):
        assert resized(pixels, side).tolist() == [[[[0, 16], [239, 255]]]]
    assert resized(pixels, None).dtype == torch.uint8


def augmented(image: np.ndarray, augment: Augment, draws: np.ndarray) -> np.ndarray:
    """What `Augment.apply` is to do with one image, pixel by pixel."""
    top, left, mirrored, row, column = draws
    _, height, width = image.shape
    out = np.zeros_like(image)
    for r in range(height):
        for c in range(width):
            from_c = width - 1 - c if augment.flip and mirrored else c
            y = r + (top - augment.crop if augment.crop else 0)
            x = from_c + (left - augment.crop if augment.crop else 0)
            half = augment.cutout // 2
            in_rows = row - half <= r < row - half + augment.cutout
            in_columns = column - half <= c < column - half + augment.cutout
            if 0 <= y < height and 0 <= x < width and not (in_rows and in_columns):
                out[:, r, c] = image[:, y, x]
    return out


@pytest.mark.parametrize(
    "augment",
    [
        Augment(crop=2),
        Augment(flip=True),
        Augment(cutout=3),
        Augment(cutout=4),
        Augment(crop=4, flip=True, cutout=5),
    ],
)
def test_augment_moves_mirrors_and_blanks_each_image_by_its_draws(augment: Augment) -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(40, 2, 8, 6)).astype(np.float32)
    draws = augment.draw(40, 8, 6, rng)
    expected = [augmented(x[i], augment, draws[:, i].numpy()) for i in range(40)]
    assert np.array_equal(augment.apply(torch.from_numpy(x), draws).numpy(), np.stack(expected))


def test_augment_draws_every_place_about_equally_often() -> None:
    draws = Augment(crop=1, flip=True, cutout=2).draw(6000, 4, 5, np.random.default_rng(4))
    for row, places in zip(draws, (3, 3, 2, 4, 5), strict=True):
        counts = Counter(row.tolist())
        assert sorted(counts) == list(range(places))
        assert all(abs(n - 6000 / places) < 5 * (6000 / places) ** 0.5 for n in counts.values())


def test_without_a_generator_images_are_read_in_order() -> None:
    images = held()
    batches = list(images.batches(10))
    assert [len(y) for _, y in batches] == [10, 10, 3]
    assert torch.equal(torch.cat([x for x, _ in batches]), images.pixels.float() / 127.5 - 1)
    y = torch.cat([y for _, y in batches])
    assert (y.dtype, y.tolist()) == (torch.int64, [i % 4 for i in range(23)])


def test_with_a_generator_each_image_is_read_once_with_its_label() -> None:
    images = held()
    label = {x.numpy().tobytes(): y for x, y in zip(images.pixels, images.labels, strict=True)}
    seen = [
        (((x + 1) * 127.5).round().byte().numpy().tobytes(), int(y))
        for x_B, y_B in images.batches(10, np.random.default_rng(0))
        for x, y in zip(x_B, y_B, strict=True)
    ]
    assert sorted(seen) == sorted(label.items())
    assert seen != list(label.items())


@pytest.mark.parametrize(("size", "read"), [(10, 20), (23, 23), (64, 23)])
def test_drop_last_drops_a_small_batch_but_not_the_only_one(size: int, read: int) -> None:
    assert sum(len(y) for _, y in held().batches(size, drop_last=True)) == read


def test_all_randomness_comes_from_the_generator() -> None:
    def read(seed: int) -> list[torch.Tensor]:
        augment = Augment(crop=2, flip=True, cutout=3)
        return [x for x, _ in held().batches(10, np.random.default_rng(seed), augment)]

    first = read(5)
    torch.manual_seed(99)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    assert all(map(torch.equal, first, read(5)))
    assert not all(map(torch.equal, first, read(6)))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]


def test_the_generator_ends_the_same_however_many_batches_are_taken() -> None:
    none, one, all_of_them = (np.random.default_rng(0) for _ in range(3))
    images, augment = held(), Augment(crop=1)
    images.batches(4, none, augment)
    next(images.batches(4, one, augment))
    list(images.batches(4, all_of_them, augment))
    states = [rng.bit_generator.state for rng in (none, one, all_of_them)]
    assert states[0] == states[1] == states[2] != np.random.default_rng(0).bit_generator.state


def test_misuse_is_refused() -> None:
    with pytest.raises(ValueError, match="give batches\\(\\) an rng"):
        held().batches(4, None, Augment(flip=True))
    with pytest.raises(BadValue, match="batches of 0"):
        held().batches(0)


def test_reads_are_counted() -> None:
    images = held()
    assert images.reads == 0
    list(images.batches(4))
    list(images.batches(4, np.random.default_rng(0), PLAIN))
    assert images.reads == 2
    assert images.subset(np.arange(3)).reads == 0


def test_a_subset_is_a_copy_of_the_chosen_images() -> None:
    images = held()
    part = images.subset(np.array([7, 2]))
    assert torch.equal(part.pixels, images.pixels[[7, 2]])
    assert part.labels.tolist() == [3, 2]
    part.pixels.zero_()
    part.labels[:] = 0
    assert images.pixels[7].any()
    assert images.labels[7] == 3


def test_digest_is_of_the_shape_the_bytes_and_the_labels() -> None:
    images = held(2, (1, 2, 3))
    expected = hashlib.sha256(b"(2, 1, 2, 3)")
    expected.update(bytes(images.pixels.flatten().tolist()))
    expected.update(bytes([0] * 8 + [1] + [0] * 7))
    assert images.digest() == expected.digest()
