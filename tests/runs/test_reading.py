"""What ARCH may be: files of any name and encoding, FILE:NAME, trials whose files are whole."""

import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bnas_bench.core.errors import BadValue, Damaged, InvalidArchitecture
from bnas_bench.core.files import sha256
from bnas_bench.runs.reading import LARGEST, read_architecture
from bnas_bench.runs.record import encode
from tests.helpers.cli import fail, succeed
from tests.helpers.records import done, trials
from tests.search.test_cell_space import make
from tests.search.test_genotype import FLAT, LISTED, NESTED, OTHER

ARCH = make().parse(FLAT)
JSON = json.dumps(ARCH.to_json())


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "name",
    [
        "Genotype(1).txt",
        "{a}.json",
        "[1].txt",
        "a:b",
        "Genotype(normal=[])",
        "arch.json",
        "räksmörgås",
    ],
)
def test_a_file_is_read_whatever_its_name(name: str) -> None:
    for content in (FLAT, JSON, NESTED):
        Path(name).write_text(content)
        assert read_architecture(name, None)[1] == ARCH
        assert read_architecture(str(Path(name).absolute()), None)[1] == ARCH


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings(encoding: str) -> None:
    for content in (FLAT, JSON, f"# é\n{NESTED}\r\n"):
        Path("a.txt").write_text(content, encoding)
        assert read_architecture("a.txt", None)[1] == ARCH


@pytest.mark.parametrize("command", ["show", "measure"])
def test_one_of_many_in_a_file(command: str) -> None:
    Path("genotypes.py").write_text(LISTED)
    Path("one.txt").write_text(OTHER)
    small = ("--input", "3x8x8", "--cells", "2", "--channels", "4") * (command == "measure")
    wanted = succeed(command, "one.txt", *small)
    assert succeed(command, "genotypes.py:SECOND", *small) == wanted
    many = fail(command, "genotypes.py")
    assert "genotypes.py: there are 4 genotypes, FIRST, SECOND, third, fourth;" in many
    misspelt = fail(command, "genotypes.py:FRIST")
    assert "genotypes.py: unknown genotype 'FRIST'; did you mean FIRST?" in misspelt


def test_one_of_many_is_packed() -> None:
    Path("genotypes.py").write_text(LISTED)
    size = ("--input", "3x8x8", "--cells", "2", "--channels", "4")
    assert "wrote net.bnn" in succeed("pack", "genotypes.py:FIRST", "-o", "net.bnn", *size)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "x: this is empty"),
        (b"\xff\xfe\x00", "x: this is no text"),
        (b"\x80", "x: this is no text"),
        (b"\0" * (LARGEST + 1), f"'x' goes on beyond {LARGEST:,} bytes"),
        (b'{"space": "darts-binary", "choices": {}}', "x: decision 'normal.edge(0,2)' is missing"),
        (b'{"space": "darts-binary", "choices": {"a": NaN}}', "x: the JSON holds NaN"),
        (b'{"space": "darts-binary", "choices": {"a": [1]}}', "x: decision 'a' holds a list"),
        (b'{"space": "darts-binary", "choices": {"a": 1, "a": 2}}', "x: the JSON says 'a' twice"),
        (
            b'{"space": "x.py", "choices": {}}',
            "is code in a file, and nothing that came with results",
        ),
        (b"[" * 10**6, "x: this is no JSON and no Genotype"),
        (b'{"choices": ' + b"9" * 5000 + b"}", "x: the JSON holds a number of 5,000 digits"),
    ],
)
def test_files_that_are_none(content: bytes, message: str) -> None:
    Path("x").write_bytes(content)
    assert message in fail("show", "./x" if message.startswith("'x'") else "x")


def test_a_cell_of_nas_bench_201_is_of_bnas_201() -> None:
    text = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|nor_conv_1x1~1|none~2|"
    Path("cell.txt").write_text(f"{text}\n")
    for arch in (text, "cell.txt"):
        space, found = read_architecture(arch, None)
        assert space.name == found.space == "bnas-201"
        assert found.choices["edge(1,3)"] == "nor_conv_1x1"
    assert text in succeed("show", text)
    message = fail("show", text.replace("none", "zeroise"))
    assert "the text: 'zeroise' from node 0 into node 2 is no operation" in message


def test_what_is_not_there() -> None:
    for name in ("gone{1}.json", "Genotype(1).txt", "gone.py:NAME", "a\0b"):
        with pytest.raises(BadValue, match="cannot read an architecture from"):
            read_architecture(name, None)
    Path("folder").mkdir()
    with pytest.raises(BadValue, match=r"'folder/arch\.json': No such file"):
        read_architecture("folder", None)
    os.mkfifo("folder/arch.json")
    with pytest.raises(BadValue, match="is a pipe or a device"):
        read_architecture("folder", None)


def test_a_pipe_that_is_named_is_read() -> None:
    os.mkfifo("pipe")
    writer = threading.Thread(target=Path("pipe").write_text, args=(FLAT,))
    writer.start()
    assert read_architecture("pipe", None)[1] == ARCH
    writer.join()
    command = [
        sys.executable,
        "-c",
        "from bnas_bench.cli import main; main()",
        "show",
        "/dev/stdin",
    ]
    piped = subprocess.run(command, input=JSON, capture_output=True, text=True, timeout=60)
    assert piped.stdout.startswith(f"architecture {ARCH.id} of darts-binary")


def trial(arch: str, **fields: object) -> Path:
    """A finished trial's folder, whose record vouches for its architecture."""
    record = done(trials("random")[0], 90.0) | {"arch_sha256": sha256(arch.encode())} | fields
    folder = Path("results") / record["id"]
    folder.mkdir(parents=True)
    (folder / "arch.json").write_text(arch)
    (folder / "record.json").write_bytes(encode(record))
    return folder


def test_a_trials_architecture_is_the_one_of_its_record() -> None:
    folder = trial(JSON)
    for name in (folder, folder / "arch.json"):
        assert read_architecture(str(name), None)[1] == ARCH
    (folder / "arch.json").write_text(JSON.replace("sep_conv_5x5", "sep_conv_3x3", 1))
    for command, name in (("show", folder), ("measure", folder), ("show", folder / "arch.json")):
        assert f"{folder}/arch.json is truncated or altered" in fail(command, name)


def test_a_damaged_record_vouches_for_nothing() -> None:
    folder = trial(JSON)
    record = folder / "record.json"
    record.write_bytes(record.read_bytes().replace(b"90.0", b"99.0"))
    with pytest.raises(Damaged, match=r"record\.json is truncated or altered"):
        read_architecture(str(folder), None)
    (folder / "mine.json").write_text(JSON)  # another file beside it is no part of the trial
    assert read_architecture(str(folder / "mine.json"), None)[1] == ARCH


OWN = """
from pathlib import Path
from bnas_bench.spaces.darts_binary import DartsBinary

Path("ran").touch()


class Mine(DartsBinary):
    def __init__(self, *, zeroise: bool = False) -> None:
        super().__init__(zeroise=zeroise)
"""


def test_a_trial_of_ones_own_space() -> None:
    """Its record names code, which runs where a person names it, and takes the record's options."""
    Path("mine.py").write_text(OWN)
    name = "mine.py:Mine"
    choices = {**ARCH.choices, "normal.edge(0,2)": "none"}  # one edge less than without zeroise
    arch = json.dumps({"space": name, "choices": choices})
    folder = trial(arch, space=name, space_options={"zeroise": True})
    assert "is code in a file" in fail("show", folder)
    assert not Path("ran").exists()
    assert f" of {name}\n" in succeed("show", str(folder), "--space", name)
    with pytest.raises(InvalidArchitecture, match="has 1 live edges"):
        read_architecture(str(folder), f"{name}[zeroise=false]")


def test_drawings_that_cannot_be_written(here: Path) -> None:
    Path("closed").mkdir()
    Path("closed").chmod(0o500)
    Path("file").touch()
    os.mkfifo("pipe.svg")
    Path("full.png").symlink_to("/dev/full")
    for out, message in (
        ("file/a.svg", "cannot write file/a.svg"),
        ("/proc/a.svg", "cannot write /proc/a.svg"),
        ("a.docx", "give it one of the endings png, svg, pdf"),
        ("/dev/full", "is a pipe or a device"),
        ("pipe.svg", "is a pipe or a device"),
        ("full.png", "is a pipe or a device"),
        ("x" * 300 + ".svg", "File name too long"),
        *([] if os.geteuid() == 0 else [("closed/a.svg", "cannot write closed/a.svg")]),
    ):
        before = sorted(here.rglob("*"))
        assert message in fail("show", FLAT, "-o", out)
        assert sorted(here.rglob("*")) == before
    assert stat.S_ISCHR(Path("/dev/full").stat().st_mode)


def test_a_drawing_that_fails_leaves_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    assert succeed("show", FLAT, "-o", "new/a.svg") == "wrote new/a.svg\n"
    before = Path("new/a.svg").read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    said = fail("show", OTHER, "-o", "new/a.svg")
    assert "cannot write new/a.svg: No space left on device" in said
    assert Path("new/a.svg").read_bytes() == before
    assert [file.name for file in Path("new").iterdir()] == ["a.svg"]
