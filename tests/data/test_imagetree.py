"""Trees of images as people have them: links, foreign files, and every kind of pixel."""

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bnas_bench.core.errors import BadValue, MissingData
from bnas_bench.data.datasets import load
from bnas_bench.data.imagefolder import as_found, decode
from bnas_bench.data.imagetree import Tree, find_files


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two classes, with two images each to train and one to test."""
    for part, images in (("train", 2), ("test", 1)):
        for name in ("cat", "dog"):
            (tmp_path / "tree" / part / name).mkdir(parents=True)
            for index in range(images):
                Image.new("RGB", (4, 4), (index, 0, 0)).save(
                    tmp_path / "tree" / part / name / f"{index}.png"
                )
    return tmp_path / "tree"


def names(found: Tree) -> list[str]:
    return [os.path.relpath(path, found.train.folder) for path in found.train.paths]


OWN = ["cat/0.png", "cat/1.png", "dog/0.png", "dog/1.png"]


@pytest.mark.parametrize("target", [".", "..", "../..", "../dog", "/", "../../test/cat", "link"])
def test_a_link_that_leads_back_multiplies_nothing(tree: Path, target: str) -> None:
    (tree / "train" / "cat" / "link").symlink_to(target)
    assert names(find_files(tree)) == OWN


def test_a_link_into_a_class_is_not_followed(tree: Path) -> None:
    (tree / "train" / "dog" / "more").mkdir()
    Image.new("RGB", (4, 4)).save(tree / "train" / "dog" / "more" / "2.png")
    (tree / "train" / "cat" / "link").symlink_to("../dog/more")
    assert names(find_files(tree)) == [*OWN, "dog/more/2.png"]


def test_of_test_and_val_it_is_test(tree: Path) -> None:
    (tree / "val" / "cat").mkdir(parents=True)
    assert find_files(tree).test.folder == tree / "test"


def test_one_class_is_none(tree: Path) -> None:
    for part in ("train", "test"):
        (tree / part / "dog").rename(tree / f"{part} dog")
    with pytest.raises(MissingData, match="holds 1 class folders and two are needed"):
        find_files(tree)


def test_a_loop_outside_of_the_tree_multiplies_nothing(tree: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    (store / "more").mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(store / "more" / "far.png")
    (store / "more" / "back").symlink_to(store)
    for link in ("train/cat/a", "train/cat/b", "train/dog/c", "test/dog/d"):
        (tree / link).symlink_to(store)
    (tree / "train" / "cat" / "e").symlink_to(store / "more")
    found = find_files(tree)
    assert names(found) == [*OWN[:2], "cat/e/far.png", *OWN[2:]]
    assert len(found.test.paths) == 2
    # store by a, b, c and d; more out of store; store out of more.
    assert "links to folders that are read anyway" in found.remark()


def test_classes_and_images_may_be_links(tree: Path, tmp_path: Path) -> None:
    (tree / "train" / "dog").rename(tmp_path / "dogs")
    (tree / "train" / "dog").symlink_to(tmp_path / "dogs")
    (tmp_path / "dogs" / "2.png").symlink_to(tmp_path / "dogs" / "1.png")
    assert names(find_files(tree)) == [*OWN, "dog/2.png"]
    assert find_files(tree).remark() == ""


def test_what_is_left_out_is_counted_in_one_line(tree: Path) -> None:
    cat = tree / "train" / "cat"
    foreign = "a.HEIC", "b.heic", "c.txt", "noending", "odd.a\nb", "._0.png"
    for name in (*foreign, ".DS_Store", "Thumbs.db"):
        (cat / name).touch()
    (cat / ".cache").mkdir()
    Image.new("RGB", (4, 4)).save(cat / ".cache" / "0.png")
    (cat / "gone.png").symlink_to("nowhere.png")
    (cat / "up").symlink_to("..")
    os.mkfifo(tree / "test" / "dog" / "pipe.png")
    (tree / "train" / "loose.png").touch()
    remark = find_files(tree).remark()
    assert remark.startswith(f"left out of {tree}: 2 .heic, 2 ")
    assert ", 1 more; read were 6 images (.jpg, .jpeg, .png, .gif, " in remark
    assert find_files(tree).left_out == {
        ".heic": 2,
        "without a known ending": 2,
        "that are no files (or links to none)": 2,
        ".txt": 1,
        "hidden": 1,
        "links to folders that are read anyway": 1,
        ".png outside of the class folders": 1,
    }
    said: list[str] = []
    load(f"imagefolder:{tree}", image=None, device="cpu", folder=tree, say=said.append)
    assert said == [remark]
    with pytest.warns(UserWarning, match="2 .heic") as warned:
        load(f"imagefolder:{tree}", image=None, device="cpu", folder=str(tree))
    assert [Path(warning.filename).name for warning in warned] == ["test_imagetree.py"]


def test_a_folder_called_as_an_image_is_a_folder(tree: Path) -> None:
    (tree / "train" / "cat" / "2.png").mkdir()
    Image.new("RGB", (4, 4)).save(tree / "train" / "cat" / "2.png" / "ÄÖ.PNG")
    assert names(find_files(tree)) == [*OWN[:2], "cat/2.png/ÄÖ.PNG", *OWN[2:]]


def test_names_that_are_no_unicode_are_read(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = os.fsdecode(b"caf\xe9")
    for part in ("train", "test"):
        (tree / part / "dog").rename(tree / part / odd)
    monkeypatch.setattr("bnas_bench.data.imagefolder.HELD_BYTES", 0)
    streamed = load(f"imagefolder:{tree}", image=None, device="cpu", folder=tree)
    assert len(streamed.fingerprint) == 16


@pytest.mark.parametrize("root", ["~nobody-of-this-name/tree", "x" * 5000])
def test_a_path_that_can_be_none_is_missing(root: str) -> None:
    with pytest.raises(MissingData, match="there is no folder"):
        load(f"imagefolder:{root}", image=None, device="cpu", folder="data")


def test_a_folder_that_cannot_be_read_is_named(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def denied(folder: str) -> object:
        if folder.endswith("dog"):
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", denied)
    place = tree / "train" / "dog"
    with pytest.raises(BadValue, match=f"folder {place} cannot be read \\(Permission denied\\)"):
        find_files(tree)


def test_a_file_that_goes_while_it_streams_is_named(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bnas_bench.data.imagefolder.HELD_BYTES", 0)
    streamed = load(f"imagefolder:{tree}", image=None, device="cpu", folder=tree)
    gone = tree / "test" / "dog" / "0.png"
    gone.unlink()
    with pytest.raises(BadValue, match=f"{gone} cannot be read"):
        _ = streamed.fingerprint


def read(path: Path) -> np.ndarray:
    """The image as (H, W, 3)."""
    return decode(str(path), lambda image, _: image).permute(1, 2, 0).numpy()


RGBA = np.random.default_rng(0).integers(256, size=(8, 8, 4), dtype=np.uint8)
ON_WHITE = RGBA[..., :3] * (RGBA[..., 3:] / 255) + 255 * (1 - RGBA[..., 3:] / 255)


@pytest.mark.parametrize("ending", ["png", "webp", "tif"])
def test_transparent_colours_lie_on_white(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    Image.fromarray(RGBA).save(path, lossless=True)
    assert np.abs(read(path) - ON_WHITE).max() <= 1


def test_an_opaque_alpha_changes_no_pixel(tmp_path: Path) -> None:
    opaque = RGBA.copy()
    opaque[..., 3] = 255
    Image.fromarray(opaque).save(tmp_path / "a.png")
    assert read(tmp_path / "a.png").tolist() == RGBA[..., :3].tolist()


def test_transparent_greys_lie_on_white(tmp_path: Path) -> None:
    Image.fromarray(RGBA[..., 2:], "LA").save(tmp_path / "a.png")
    expected = RGBA[..., 2] * (RGBA[..., 3] / 255) + 255 - RGBA[..., 3]
    assert np.abs(read(tmp_path / "a.png") - expected[..., None]).max() <= 1


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "P"])
@pytest.mark.parametrize("ending", ["png", "gif"])
def test_a_transparent_colour_is_white(tmp_path: Path, mode: str, ending: str) -> None:
    """PNG's tRNS and GIF's transparent index: black is none, and what is red or white stays."""
    image = Image.new(mode, (4, 4), 0)
    image.putpixel((1, 2), {"1": 1, "L": 255, "RGB": (255, 255, 255), "P": 2}[mode])
    if mode == "P":
        image.putpalette([0, 0, 0, 255, 0, 0, 255, 255, 255])
        image.putpixel((0, 0), 1)
    transparent = (0, 0, 0) if (mode, ending) == ("RGB", "png") else 0
    image.save(tmp_path / f"a.{ending}", transparency=transparent)
    pixels = read(tmp_path / f"a.{ending}")
    if mode == "P":
        assert pixels[0, 0].tolist() == [255, 0, 0]
        pixels[0, 0] = 255
    if (mode, ending) != ("RGB", "gif"):  # whose palette Pillow chooses
        assert pixels.tolist() == np.full((4, 4, 3), 255).tolist()


@pytest.mark.parametrize("ending", ["gif", "png", "webp", "tif"])
def test_of_an_animation_the_first_image_is_taken(tmp_path: Path, ending: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    path = tmp_path / f"a.{ending}"
    frames[0].save(path, save_all=True, append_images=frames[1:], lossless=True)
    with Image.open(path) as image:
        assert image.n_frames == 2
    assert read(path).tolist() == np.tile([255, 0, 0], (8, 8, 1)).tolist()


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_photograph_stands_upright(tmp_path: Path, turn: int) -> None:
    """The eight orientations of EXIF, by the side that its rows and columns begin at."""
    pixels = np.arange(0, 240, 10, np.uint8).reshape(4, 6)[..., None].repeat(3, 2)
    turned = {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.swapaxes(0, 1),
        6: np.rot90(pixels, -1),
        7: pixels[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(pixels),
    }[turn]
    exif = Image.Exif()
    exif[0x0112] = turn
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    assert read(tmp_path / "a.png").tolist() == turned.tolist()
    assert as_found(str(tmp_path / "a.png"))  # whose size is that of the turned image


def test_damaged_exif_turns_nothing(tmp_path: Path) -> None:
    Image.fromarray(RGBA[..., :3]).save(tmp_path / "a.png", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert read(tmp_path / "a.png").tolist() == RGBA[..., :3].tolist()


def png(depth: int, colours: int, row: bytes) -> bytes:
    """A PNG of 2x2 with that row twice, written by hand: Pillow writes no 16-bit colours."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", 2, 2, depth, colours, 0, 0, 0)
    data = zlib.compress((b"\0" + row) * 2)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("grey.png", png(16, 0, bytes(4))),
        ("rgb.png", png(16, 2, bytes(12))),
        ("la.png", png(16, 4, bytes(8))),
        ("rgba.png", png(16, 6, bytes(16))),
        ("grey.pgm", b"P5 2 2 65535\n" + bytes(8)),
        ("rgb.ppm", b"P6 2 2 1023\n" + bytes(24)),
        ("plain.ppm", b"P3 2 2 65535\n" + b"9 " * 12),
        ("plain.pgm", b"P2 2 2 65535\n" + b"9 " * 4),
    ],
)
def test_more_than_eight_bits_a_channel_are_refused(tmp_path: Path, name: str, data: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(BadValue, match=f"{path} has more than 8 bits per channel; convert it"):
        read(path)


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_deep_tiffs_are_refused(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (2, 2)).save(tmp_path / "a.tif")
    with pytest.raises(BadValue, match="has more than 8 bits"):
        read(tmp_path / "a.tif")


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (png(8, 2, bytes([7] * 6)), 7),
        (png(1, 0, b"\xff"), 255),
        (b"P6 2 2 255\n" + bytes([7] * 12), 7),
        (b"P6 2 2 127\n" + bytes([127] * 12), 255),
        (b"P3 2 2 255\n" + b"7 " * 12, 7),
    ],
)
def test_up_to_eight_bits_are_read(tmp_path: Path, data: bytes, value: int) -> None:
    (tmp_path / "a.png").write_bytes(data)
    assert read(tmp_path / "a.png").tolist() == np.full((2, 2, 3), value).tolist()


def test_sixteen_bits_for_three_colours_are_not_many(tmp_path: Path) -> None:
    """A bitmap with 5, 6 and 5 bits a channel, whose one pixel is all green."""
    head = struct.pack("<IiiHHIIiiII", 40, 1, 1, 1, 16, 3, 4, 0, 0, 0, 0)
    masks = struct.pack("<III", 0xF800, 0x07E0, 0x001F)
    size = 14 + len(head) + len(masks)
    start = struct.pack("<2sIHHI", b"BM", size + 4, 0, 0, size)
    (tmp_path / "a.bmp").write_bytes(start + head + masks + struct.pack("<HH", 0x07E0, 0))
    assert read(tmp_path / "a.bmp").tolist() == [[[0, 255, 0]]]


def test_printers_colours_become_rgb(tmp_path: Path) -> None:
    Image.new("CMYK", (2, 2), (0, 255, 255, 0)).save(tmp_path / "a.tif")
    assert read(tmp_path / "a.tif").tolist() == [[[255, 0, 0]] * 2] * 2


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"GIF89a",
        png(8, 2, bytes(6))[:-30],
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 2 2\n%%EndComments\n",
        b"P6 99999 99999 255\n",
    ],
)
def test_what_is_no_whole_image_is_named(tmp_path: Path, data: bytes) -> None:
    """A page of PostScript too: it is a program, which Pillow hands to an interpreter."""
    path = tmp_path / "a.png"
    path.write_bytes(data)
    with pytest.raises(BadValue, match=f"{path} cannot be read as an image \\(") as error:
        read(path)
    assert "\n" not in str(error.value)


def test_another_format_under_the_name_of_one_is_named(tmp_path: Path) -> None:
    """Only the decoders of the known endings see a file, so that no interpreter is ever started."""
    Image.new("RGB", (2, 2)).save(tmp_path / "a.png", format="TGA")
    with pytest.raises(BadValue, match=r"a\.png cannot be read as an image"):
        read(tmp_path / "a.png")


def test_the_tree_of_transparent_icons(tmp_path: Path) -> None:
    """Case 13: black shapes on nothing, some of them as GIF."""
    for part, images in (("train", 6), ("test", 2)):
        for name, box in (("bar", (0, 2, 8, 4)), ("dot", (2, 2, 4, 4))):
            folder = tmp_path / part / name
            folder.mkdir(parents=True)
            for index in range(images):
                icon = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
                icon.paste((0, 0, 0, 255), box)
                icon.save(folder / f"{index}.{'gif' if index % 2 else 'png'}")
    train = load(f"imagefolder:{tmp_path}", image=None, device="cpu", folder=tmp_path).train
    assert train.labels.tolist() == [0] * 6 + [1] * 6
    x_BCHW, _ = next(train.batches(12))
    dark = (x_BCHW == -1).sum(dim=(2, 3))
    assert torch.equal(dark, torch.tensor([[16] * 3] * 6 + [[4] * 3] * 6))
    assert torch.equal((x_BCHW == 1).sum(dim=(2, 3)), 64 - dark)
