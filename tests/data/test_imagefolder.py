import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import CenterCrop, RandomResizedCrop, Resize

from bnas_bench.core.budget import Budget, NetworkSpec
from bnas_bench.core.errors import BadValue, MissingData
from bnas_bench.data import imagefolder
from bnas_bench.data.datasets import Augment, Dataset, load, task
from bnas_bench.data.imagefolder import FileImages, random_box
from bnas_bench.data.images import TensorImages
from tests.helpers import several
from tests.helpers.fake_gpu import GPU, fake_gpu
from tests.helpers.ranks import by_all

SHARED = Path(__file__).parents[3] / "shared"


def picture(seed: int, width: int = 12, height: int = 12, channels: int = 3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(256, size=(height, width, channels), dtype=np.uint8).squeeze()


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two classes, four images each to train and two to test, and what does not belong."""
    for part, images in (("train", 4), ("test", 2)):
        for seed in range(2 * images):
            name = ("cat", "dog")[seed % 2]
            write(tmp_path / part / name / f"{seed}.png", picture(seed + len(part)))
        (tmp_path / part / "cat" / "notes.txt").write_text("no image")
        (tmp_path / part / "cat" / "._0.png").write_text("no image")
        (tmp_path / part / ".cache").mkdir()
        (tmp_path / part / "README").write_text("no class")
    return tmp_path


def loaded(root: Path, image: int | None = None, kind: str = "imagefolder") -> Dataset:
    return load(f"{kind}:{root}", image=image, device="cpu", folder=root, say=lambda _: None)


def refusal(root: Path, image: int | None = None) -> str:
    with pytest.raises((BadValue, MissingData)) as error:
        loaded(root, image)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_small_tree_is_held_in_the_order_of_its_paths(tree: Path) -> None:
    dataset = loaded(tree)
    assert isinstance(dataset.train, TensorImages)
    assert dataset.class_names == ("cat", "dog")
    assert (dataset.shape, dataset.flips, dataset.name) == (
        (3, 12, 12),
        True,
        f"imagefolder:{tree}",
    )
    assert dataset.train.labels.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    for place, seed in enumerate((0, 2, 4, 6, 1, 3, 5, 7)):
        pixels_HWC = dataset.train.pixels[place].permute(1, 2, 0)
        assert pixels_HWC.tolist() == picture(seed + len("train")).tolist()
    assert dataset.test.labels.tolist() == [0, 0, 1, 1]
    assert dataset.test.pixels[1].permute(1, 2, 0).tolist() == picture(2 + len("test")).tolist()


@pytest.mark.parametrize("name", ["val", "valid"])
def test_the_test_folder_has_three_names(tree: Path, name: str) -> None:
    expected = loaded(tree).fingerprint
    (tree / "test").rename(tree / name)
    assert loaded(tree).fingerprint == expected


def test_images_in_folders_below_their_class_count(tree: Path) -> None:
    write(tree / "train" / "dog" / "images" / "a.PNG", picture(99))
    train = loaded(tree).train
    assert train.labels.tolist() == [0] * 4 + [1] * 5
    assert train.pixels[8].permute(1, 2, 0).tolist() == picture(99).tolist()


def test_grey_images_become_rgb(tree: Path) -> None:
    grey = picture(50, channels=1)
    write(tree / "train" / "cat" / "a.png", grey)
    assert loaded(tree).train.pixels[4].tolist() == [grey.tolist()] * 3


def test_images_of_several_sizes_need_a_size(tree: Path) -> None:
    wide = tree / "train" / "dog" / "9.png"
    write(wide, picture(1, width=32, height=20))
    message = refusal(tree)
    assert f"{wide} is 32x20 and {tree / 'train' / 'cat' / '0.png'} is 12x12" in message
    assert "ask for an image size" in message
    train = loaded(tree, image=10).train
    assert train.shape == (3, 10, 10)
    smaller = Image.fromarray(picture(1, width=32, height=20)).resize(
        (16, 10), Image.Resampling.BILINEAR
    )
    expected = np.asarray(smaller)[:, 3:13]
    assert train.pixels[8].permute(1, 2, 0).tolist() == expected.tolist()


def test_what_is_missing_is_named(tree: Path) -> None:
    assert f"no folder {tree / 'none'};" in refusal(tree / "none")
    for path in (tree / "train" / "cat").glob("*.png"):
        path.unlink()
    assert f"{tree / 'train' / 'cat'} holds no image" in refusal(tree)
    (tree / "test" / "cat").rename(tree / "cat")
    assert f"class 'cat' is in {tree / 'train'} but not in {tree / 'test'}" in refusal(tree)
    (tree / "test" / "dog").rename(tree / "dog")
    (tree / "test" / "README").unlink()
    (tree / "test" / ".cache").rmdir()
    (tree / "test").rmdir()
    assert f"no test/, val/ or valid/ in {tree};" in refusal(tree)
    (tree / "train").rename(tree / "training")
    assert f"no train/ in {tree};" in refusal(tree)


def test_a_class_of_test_alone_is_named(tree: Path) -> None:
    write(tree / "test" / "eel" / "0.png", picture(0))
    assert f"class 'eel' is in {tree / 'test'} but not in {tree / 'train'}" in refusal(tree)


@pytest.mark.parametrize("damage", [b"", b"\x89PNG\r\n\x1a\n", None])
def test_a_damaged_image_is_named(tree: Path, damage: bytes | None) -> None:
    path = tree / "test" / "dog" / "1.png"
    path.write_bytes(path.read_bytes()[:200] if damage is None else damage)
    assert f"{path} cannot be read as an image (" in refusal(tree)


def test_a_streamed_tree_is_read_as_a_held_one(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = loaded(tree)
    monkeypatch.setattr(imagefolder, "HELD_BYTES", 100)
    streamed = loaded(tree)
    assert isinstance(streamed.train, FileImages)
    augment = Augment(crop=2, flip=True, cutout=3)
    for seed in (None, 7):
        both = []
        for images in (held.train, streamed.train.subset(np.arange(8))):
            rng = None if seed is None else np.random.default_rng(seed)
            batches = images.batches(3, rng, augment if rng else Augment())
            both.append([torch.cat(parts) for parts in zip(*batches, strict=True)])
        assert all(map(torch.equal, *both))
    assert streamed.train.subset(np.array([5, 0])).labels.tolist() == [1, 0]


def test_a_gpu_fetches_streamed_images_while_the_host_goes_on(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = loaded(tree).train.batches(3)
    monkeypatch.setattr(imagefolder, "HELD_BYTES", 0)
    with fake_gpu() as gpu:
        name, quiet = f"imagefolder:{tree}", {"say": lambda _: None}
        streamed = load(name, image=None, device=GPU, folder=tree, **quiet).train
        assert isinstance(streamed, FileImages)
        for (x, y), (expected_x, expected_y) in zip(streamed.batches(3), held, strict=True):
            assert (x.device, y.device) == (GPU, GPU)
            assert (x.tolist(), y.tolist()) == (expected_x.tolist(), expected_y.tolist())
    waits = [place for place in gpu.in_every_batch() if place.startswith("bnas_bench")]
    assert waits == []


def test_streaming_may_stop_early_and_reports_a_damaged_image(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imagefolder, "HELD_BYTES", 100)
    path = tree / "train" / "dog" / "7.png"
    path.write_bytes(b"")
    batches = loaded(tree).train.batches(1)
    assert [int(next(batches)[1]) for _ in range(7)] == [0, 0, 0, 0, 1, 1, 1]
    with pytest.raises(BadValue, match=f"{path} cannot be read"):
        next(batches)
    batches = loaded(tree).train.batches(1)
    next(batches)
    assert any(thread.name.startswith("ThreadPool") for thread in threading.enumerate())
    batches.close()
    assert not any(thread.name.startswith("ThreadPool") for thread in threading.enumerate())


def test_the_fingerprint_of_a_stream_is_of_paths_and_sizes(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imagefolder, "HELD_BYTES", 100)
    before = loaded(tree).fingerprint
    moved = tree.with_name("moved")
    tree.rename(moved)
    assert loaded(moved).fingerprint == before
    path = moved / "test" / "dog" / "1.png"
    path.write_bytes(path.read_bytes() + b"\0")
    longer = loaded(moved).fingerprint
    path.rename(path.with_name("1b.png"))
    assert len({before, longer, loaded(moved).fingerprint}) == 3


def test_imagenet_is_tested_on_the_centre_of_a_resized_image(tree: Path) -> None:
    ramp = np.add.outer(np.arange(300), np.arange(400)).astype(np.float32) * (255 / 698)
    smooth = np.repeat(np.rint(ramp).astype(np.uint8)[:, :, None], 3, axis=2)
    write(tree / "test" / "cat" / "0.png", smooth)
    test = loaded(tree, kind="imagenet").test
    assert test.shape == (3, 224, 224)
    x_BCHW, _ = next(test.batches(1))
    expected = np.asarray(CenterCrop(224)(Resize(256)(Image.fromarray(smooth)))).astype(float)
    ours = ((x_BCHW[0].permute(1, 2, 0) + 1) * 127.5).numpy()
    assert np.abs(ours - expected).max() <= 1.5


def test_imagenet_trains_on_random_resized_crops(tree: Path) -> None:
    """On an image whose columns count up and whose rows are alike, a crop shows where it lies."""
    for path in (tree / "train").glob("*/*.png"):
        write(path, np.tile(np.arange(0, 250, 5, np.uint8)[None, :, None], (50, 1, 3)))
    train = loaded(tree, image=16, kind="imagenet").train
    assert isinstance(train, FileImages)

    def read(seed: int, augment: Augment) -> torch.Tensor:
        batches = train.batches(3, np.random.default_rng(seed), augment)
        return torch.cat([x for x, _ in batches])

    x_BCHW = read(0, Augment(crop=2))
    assert torch.equal(x_BCHW, read(0, Augment(crop=2)))
    assert not torch.equal(x_BCHW, read(1, Augment(crop=2)))
    ramps = (x_BCHW[:, 0] + 1) * 127.5
    assert torch.equal(ramps, ramps[:, :1].expand(-1, 16, -1))
    assert bool((ramps.diff(dim=2) >= 0).all())
    widths = (ramps[:, 0, 14] - ramps[:, 0, 1]) / 5 * 16 / 13
    assert 0.08**0.5 * 50 * 0.8 < float(widths.min()) < float(widths.max()) < 51
    assert len(set(widths.tolist())) == 8
    (centre_CHW,) = next(train.batches(1))[0]
    centred = read(0, Augment(flip=True))
    mirrored = [torch.equal(x_CHW, centre_CHW.flip(2)) for x_CHW in centred]
    assert 0 < sum(mirrored) < 8
    for x_CHW, turned in zip(centred, mirrored, strict=True):
        assert turned or torch.equal(x_CHW, centre_CHW)


def test_imagenet_lies_under_the_data_folder(tree: Path) -> None:
    (tree / "imagenet").mkdir()
    for part in ("train", "test"):
        (tree / part).rename(tree / "imagenet" / part)
    dataset = load("imagenet", image=None, device="cpu", folder=str(tree), say=lambda _: None)
    assert (len(dataset.train), len(dataset.test)) == (8, 4)


def test_random_boxes_are_distributed_as_torchvisions() -> None:
    rng = np.random.default_rng(0)
    ours = np.array([random_box(200, 150, rng) for _ in range(4000)], dtype=float)
    image = Image.new("L", (200, 150))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        draw = RandomResizedCrop.get_params
        theirs = np.array(
            [draw(image, [0.08, 1], [3 / 4, 4 / 3]) for _ in range(4000)], dtype=float
        )
    theirs = theirs[:, [1, 0, 3, 2]]  # top, left, height, width
    assert np.abs(ours.mean(0) - theirs.mean(0)).max() < 3
    assert np.abs(ours.std(0) - theirs.std(0)).max() < 3
    assert (ours[:, :2] >= 0).all()
    assert (ours[:, :2] + ours[:, 2:] <= [200, 150]).all()
    area, ratio = ours[:, 2] * ours[:, 3] / 30000, ours[:, 2] / ours[:, 3]
    assert 0.078 < area.min() < 0.09
    assert 0.73 < ratio.min() < 0.76
    assert 1.31 < ratio.max() < 1.36


def test_a_box_that_fits_no_draw_is_the_centre() -> None:
    assert random_box(100, 3, np.random.default_rng(0)) == (48, 0, 4, 3)


def test_the_task_of_a_stream_knows_no_test_file(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imagefolder, "HELD_BYTES", 100)
    dataset = loaded(tree)
    spec = NetworkSpec(shape=dataset.shape, classes=2, cells=2, channels=4)
    budget = Budget(name="tiny", passes=1, batch_size=2, valid_fraction=0.25)
    made = task(dataset, spec, budget, np.random.default_rng(0))
    paths = [path for part in (made.train, made.valid) for path in part.files.paths]
    assert len(set(paths)) == 4 + 2
    assert all(path.startswith(str(tree / "train")) for path in paths)
    assert sorted(made.train.labels.tolist()) == [0, 0, 1, 1]
    assert sorted(made.valid.labels.tolist()) == [0, 1]
    for images in (made.train, made.valid):
        for path, label in zip(images.files.paths, images.labels, strict=True):
            assert Path(path).parent.name == ("cat", "dog")[label]


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared")
def test_the_jpeg_copy_of_cifar10(tmp_path: Path) -> None:
    tool = [sys.executable, str(SHARED / "tools" / "cifar10.py"), str(tmp_path)]
    limits = ["--per-class-train", "6", "--per-class-test", "2"]
    subprocess.run([*tool, *limits], check=True, capture_output=True)
    dataset = loaded(tmp_path)
    assert (len(dataset.train), len(dataset.test), dataset.shape) == (60, 20, (3, 32, 32))
    assert (dataset.classes, dataset.class_names[0]) == (10, "airplane")
    with Image.open(tmp_path / "train" / "automobile" / "0002.jpg") as image:
        assert dataset.train.pixels[8].permute(1, 2, 0).tolist() == np.asarray(image).tolist()
    assert loaded(tmp_path, image=16).shape == (3, 16, 16)


def test_several_ranks_decode_a_share_of_each_batch(tree: Path, tmp_path: Path) -> None:
    (mine, files, apart), (other, _, apart_there) = by_all(several.streamed, tmp_path, tree)
    assert files == 8
    assert len({*mine} & {*other}) == len({*mine} | {*other}) - files == 0
    assert abs(len(mine) - len(other)) <= 2
    assert apart == apart_there == 0
