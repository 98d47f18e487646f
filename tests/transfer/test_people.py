"""The datasets of re-identification: folders as they are handed out, and the embedded one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bnas_bench.core.budgets import BUDGETS
from bnas_bench.core.errors import BadValue, MissingData, UnknownName
from bnas_bench.transfer.identities import identities
from bnas_bench.transfer.people import PARTS, from_folder
from bnas_bench.transfer.retrieval import JUNK
from bnas_bench.transfer.tasks import FOLDERS, task

CPU = torch.device("cpu")
NAMES = {
    "bounding_box_train": ("0002_c1s1_000451_03.jpg", "0007_c2s3_000451_01.jpg", "-1_c1s1_1.jpg"),
    "query": ("0003_c1s1_000451_00.jpg",),
    "bounding_box_test": ("0000_c3s1_1.jpg", "-1_c2s1_2.jpg", "0003_c2s1_9.jpg"),
}


@pytest.fixture
def market(tmp_path: Path) -> Path:
    root = tmp_path / "Market-1501-v15.09.15"
    for part, names in NAMES.items():
        (root / part).mkdir(parents=True)
        for k, name in enumerate(names):
            Image.new("RGB", (64, 128), (40 * k, 0, 0)).save(root / part / name)
        (root / part / "Thumbs.db").write_bytes(b"")
    return root


def test_market_is_read_by_its_file_names(market: Path) -> None:
    asked = task("market1501", market.parent, CPU, BUDGETS["paper"])
    assert (asked.recipe.epochs, asked.recipe.batch_size) == (120, 64)
    found = from_folder("market1501", market.parent / FOLDERS["market1501"], CPU)
    assert found.shape == (3, 256, 128)
    assert found.identities == 2
    assert found.train.seen.identities.tolist() == [0, 1]
    assert found.train.seen.cameras.tolist() == [1, 2]
    assert found.query.seen.identities.tolist() == [3]
    assert found.gallery.seen.identities.tolist() == [JUNK, 0, 3]
    assert found.gallery.seen.cameras.tolist() == [2, 3, 2]
    ((x_BCHW, _),) = found.gallery.images.batches(8)
    assert x_BCHW.shape == (3, 3, 256, 128)


@pytest.mark.parametrize(
    ("name", "file", "identity", "camera"),
    [
        ("duke", "0005_c2_f0046985.jpg", 5, 2),
        ("cuhk03", "0012_c1_6.png", 12, 1),
        ("market1501", "-1_c6s3_089542_05.jpg", -1, 6),
    ],
)
def test_each_dataset_s_file_names(
    name: str, file: str, identity: int, camera: int, tmp_path: Path
) -> None:
    root = tmp_path / FOLDERS[name]
    for part in PARTS:
        (root / part).mkdir(parents=True)
        Image.new("RGB", (60, 160)).save(root / part / "0001_c1_1.jpg")
    Image.new("RGB", (60, 160)).save(root / "bounding_box_test" / file)
    asked = task(name, tmp_path, CPU, BUDGETS["paper"])
    seen = asked.people.gallery.seen  # type: ignore[attr-defined]
    assert (identity, camera) in zip(seen.identities, seen.cameras, strict=True)


def test_what_is_missing_or_called_otherwise_is_said(market: Path) -> None:
    (market / "query" / "someone.jpg").write_bytes(b"")
    with pytest.raises(BadValue, match=r"someone\.jpg is not called IDENTITY_cCAMERA"):
        from_folder("market1501", market, CPU)
    for file in (market / "query").iterdir():
        file.unlink()
    with pytest.raises(MissingData, match=r"holds no \.jpg or \.png"):
        from_folder("market1501", market, CPU)
    (market / "query").rmdir()
    with pytest.raises(MissingData, match="it has no folder query"):
        from_folder("market1501", market, CPU)
    assert tuple(NAMES) == PARTS


def test_the_embedded_identities_are_the_same_everywhere() -> None:
    found = identities(CPU)
    assert found.fingerprint == "24ae82d293d2f1e5"
    assert (len(found.train), len(found.query), len(found.gallery)) == (3200, 360, 2520)
    assert not {*found.train.seen.identities} & {*found.query.seen.identities}
    assert {*found.query.seen.cameras} == {0}
    right = found.gallery.seen.identities == found.query.seen.identities[0]
    assert found.gallery.seen.cameras[right].tolist() == [0, 0, 0, 1, 1, 1, 1]


def test_an_unknown_task_is_said(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="did you mean identities"):
        task("identitys", tmp_path, CPU, BUDGETS["quick"])


def test_two_cameras_see_differently() -> None:
    """The second is darker: its brightest pixel is less bright, its black is not black."""
    found = identities(CPU)
    ((x_BCHW, _),) = found.train.images.batches(len(found.train))
    first, second = (x_BCHW[found.train.seen.cameras == camera] for camera in (0, 1))
    assert first.min() == -1
    assert np.isclose(float(second.min()), 40 / 127.5 - 1)
    assert second.max() < 180 / 127.5 - 1 + 1e-6 < first.max()
