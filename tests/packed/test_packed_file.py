"""The packed file: what is written comes back, and what is no packed network is refused in a sentence."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch

from bnas_bench.core.files import Unwritable
from bnas_bench.packed.format.check import BadProgram
from bnas_bench.packed.format.file import KEY, BadFile, is_packed, load, payload, save, write
from bnas_bench.packed.format.program import Program
from tests.helpers.packed import DATA, GOOD, container, forged, header_of, refused, same
from tests.helpers.programs import altered, everything, single, with_tensors

SIZES = {"U64": 8, "F32": 4, "I8": 1}


@pytest.mark.parametrize(
    "program",
    [GOOD, everything(1), single((2, 5, 5), "relu"), replace(GOOD, about={})],
    ids=["everything", "another", "no tensors", "nothing about it"],
)
def test_what_is_written_comes_back(program: Program) -> None:
    assert same(load(save(program)), program)


def test_a_file_is_written_and_read(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "net.bnn"
    assert write(GOOD, path) == path.stat().st_size == len(DATA)
    assert path.read_bytes() == DATA
    assert [file.name for file in path.parent.iterdir()] == ["net.bnn"]
    assert same(load(path), GOOD)


def test_paths_may_be_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert write(GOOD, "net.bnn") == len(DATA)
    assert is_packed("net.bnn")
    assert same(load("net.bnn"), GOOD)
    with pytest.raises(BadFile, match=r"'none\.bnn' cannot be read: No such file"):
        load("none.bnn")


def test_a_file_has_so_many_bytes_at_the_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, size = tmp_path / "net.bnn", len(DATA)
    monkeypatch.setattr("bnas_bench.packed.format.file.FILE_LIMIT", size)
    assert write(GOOD, path) == size
    assert same(load(path), GOOD)
    monkeypatch.setattr("bnas_bench.packed.format.file.FILE_LIMIT", size - 1)
    with pytest.raises(BadFile, match=f"takes {size} bytes"):
        save(GOOD)
    with pytest.raises(BadFile, match=f"is larger than {size - 1} bytes"):
        load(path)


def test_a_link_is_replaced_and_what_it_leads_to_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("not ours")
    (tmp_path / "net.bnn").symlink_to("elsewhere")
    write(GOOD, tmp_path / "net.bnn")
    assert not (tmp_path / "net.bnn").is_symlink()
    assert (tmp_path / "elsewhere").read_text() == "not ours"


def test_a_folder_that_takes_no_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unwritable):
        write(GOOD, tmp_path / "file" / "net.bnn")


def test_equal_programs_give_equal_bytes() -> None:
    steps = tuple(
        replace(
            step,
            tensors=dict(reversed(step.tensors.items())),
            attributes=dict(reversed(step.attributes.items())),
        )
        for step in GOOD.steps
    )
    assert {save(GOOD) for _ in range(10)} == {DATA}
    assert save(replace(GOOD, steps=steps)) == DATA
    assert save(load(DATA)) == DATA


def test_the_checksum_is_of_the_whole_file() -> None:
    """By the format's own words: the SHA-256 of all bytes, with zeros where it stands."""
    digest = container()[0]["__metadata__"][KEY][:64]
    assert DATA.count(digest.encode()) == 1
    assert hashlib.sha256(DATA.replace(digest.encode(), b"0" * 64)).hexdigest() == digest
    assert same(load(forged(header_of())), GOOD)


def test_the_payload_is_the_size_of_all_tensors() -> None:
    expected = sum(
        np.prod(tensor["shape"], dtype=int) * SIZES[tensor["dtype"]]
        for name, tensor in container()[0].items()
        if name != "__metadata__"
    )
    assert payload(GOOD) == expected == len(container()[1])


def test_the_container_is_one_that_others_can_read() -> None:
    tensors = safetensors.numpy.load(DATA)
    assert np.array_equal(tensors["2.weight"], GOOD.steps[2].tensors["weight"])
    assert tensors["0.weight"].dtype == np.int8


def test_a_program_that_cannot_run_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(BadProgram, match="no operation 'gelu'"):
        write(altered(GOOD, "relu", op="gelu"), tmp_path / "net.bnn")
    assert not list(tmp_path.iterdir())


def test_a_program_whose_header_is_too_large_is_not_written() -> None:
    with pytest.raises(BadFile, match="of them for its header"):
        save(replace(GOOD, about={"story": "a" * 2**23}))


FOREIGN: dict[str, bytes] = {
    "text": b"a genotype, or something like it",
    "JSON": json.dumps({"space": "bars", "choices": {}}).encode(),
    "PNG": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + b"\0" * 99,
    "pickle of torch": b"PK\x03\x04\0\0\x08\x08\0\0\0\0\0\0\0\0" + b"\0" * 99,
    "pickle": b"\x80\x04\x95{\0\0\0\0\0\0\0}\x94.",
    "zeros": b"\0" * 1000,
    "ones": b"\xff" * 1000,
    "other tensors": safetensors.numpy.save({"a": np.zeros(3)}),
    "weights of a run": safetensors.numpy.save({"a": np.zeros(3)}, {"bnas_bench": "{}"}),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_foreign_files(what: str, tmp_path: Path) -> None:
    path = tmp_path / "foreign"
    path.write_bytes(FOREIGN[what])
    message = f"'{path}' is no packed network: `bnas-bench pack` writes them"
    assert refused(path) == message
    assert refused(FOREIGN[what]) == message.replace(f"'{path}'", "the packed network")
    assert not is_packed(path)


def test_an_entry_that_is_no_text() -> None:
    header = b'{"__metadata__":{"bnas_bench.packed":[]}}'
    assert "is no packed network" in refused(len(header).to_bytes(8, "little") + header)


def test_a_real_file_of_torch_is_foreign(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(3)}, tmp_path / "net.pt")
    assert "is no packed network" in refused(tmp_path / "net.pt")


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert refused(tmp_path / "none") == (
        f"'{tmp_path / 'none'}' cannot be read: No such file or directory"
    )
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/zero")):
        assert f"'{path}' is no file" in refused(path)
    assert "cannot be read" in refused(tmp_path / ("a" * 300))
    assert "cannot be read" in refused(Path("zero\0byte"))
    assert not is_packed(tmp_path)
    assert not is_packed(tmp_path / "none")


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert "is empty" in refused(tmp_path / "empty")


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.write(DATA)
        file.truncate(2**31 + 1)
    assert "is larger than 2147483648 bytes" in refused(tmp_path / "large")


def test_a_newer_version(tmp_path: Path) -> None:
    path = tmp_path / "net.bnn"
    path.write_bytes(forged({"format": 2, "whatever": "it holds"}))
    assert refused(path) == (
        f"'{path}' was written by a newer bnas-bench (format 2); this one reads 1: update it"
    )
    assert is_packed(path)


def change(**fields: Any) -> dict[str, Any]:
    return header_of() | fields


def step_change(index: int, **fields: Any) -> dict[str, Any]:
    """The good header with fields of one step replaced."""
    header = header_of()
    header["steps"][index] |= fields
    return header


FORGED: dict[str, tuple[Any, str]] = {
    "version 0": (change(format=0), "no such format"),
    "version of a bool": (change(format=True), "no such format"),
    "version of a text": (change(format="1"), "no such format"),
    "no version": ({}, "lacks a part"),
    "no object": ([1], "lacks a part"),
    "one part more": (change(more=1), "lacks a part, or has one too many"),
    "no JSON": ("{", "no sound JSON"),
    "a name twice": ('{"format":1,"format":1}', "no sound JSON"),
    "not a number": ('{"format":1,"shape":[NaN,1,1]}', "no sound JSON"),
    "a number too long": ('{"format":' + "9" * 5000 + "}", "no sound JSON"),
    "nested": ("[" * 100_000, "no sound JSON"),
    "nested and closed": ("[" * 100_000 + "]" * 100_000, "no sound JSON"),
    "shape of texts": (change(shape=["3", "11", "9"]), "lacks a part"),
    "shape of a bool": (
        change(shape=[True, 11, 9]),
        "cannot run: the program cannot run: an image",
    ),
    "another shape": (
        change(shape=[4, 11, 9]),
        "cannot run: step 1, .* takes 3 channels and gets 4",
    ),
    "about a number": (change(about={"a": 1}), "cannot run: .* under 'a'"),
    "steps of texts": (change(steps=["conv"]), "step 1 in its header lacks a part"),
    "a step of more": (step_change(0, more=1), "step 1 in its header lacks a part"),
    "inputs of numbers": (step_change(0, inputs=[0]), "step 1 in its header lacks a part"),
    "no steps": (change(steps=[]), "no step knows its tensor"),
    "a tensor unknown": (step_change(0, tensors={}), "no step knows its tensor '0."),
    "a tensor that is not there": (
        step_change(15, tensors={"slope": ["f4", [8]]}),
        "tensor 'slope' of step 16 disagree",
    ),
    "another type": (step_change(6, tensors={}), "no step knows"),
    "another tensor shape": (
        step_change(6, tensors={"threshold": ["f4", [2, 4]], "flips": ["u8", [1]]}),
        "tensor 'threshold' of step 7 disagree",
    ),
    "another tensor type": (
        step_change(6, tensors={"threshold": ["i4", [8]], "flips": ["u8", [1]]}),
        "tensor 'threshold' of step 7 disagree",
    ),
    "a forward reference": (
        step_change(15, inputs=["add_19"]),
        "cannot run: step 16, .* no earlier",
    ),
    "an attribute of depth": (
        step_change(22, attributes={"channels": json.loads("[" * 500 + "]" * 500)}),
        "cannot run: step 23, .* its channels is a list",
    ),
}


@pytest.mark.parametrize("case", FORGED)
def test_a_header_that_lies(case: str) -> None:
    header, expected = FORGED[case]
    with pytest.raises(BadFile, match=expected):
        load(forged(header))


def test_tensors_that_lie() -> None:
    """Types that NumPy does not know, overlaps, holes, sizes beyond all."""
    outer, body = container()
    for entry in (
        {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [3], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [0, 2**63], "data_offsets": [0, 0]},
        {"dtype": "F32", "shape": [1] * 100, "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]},
        {"dtype": "F32", "shape": [1], "data_offsets": [0, 2**63]},
        {"dtype": "F32"},
        [],
    ):
        for tensors in ({**outer, "3.more": entry}, {"0.weight": entry}):
            for data in (body, b"\0" * 4, b""):
                refused(forged(header_of(), tensors, data))


def test_a_header_that_claims_to_be_huge() -> None:
    for size in (2**23 + 1, 2**31, 2**63, 2**64 - 1):
        assert "is no packed network" in refused(size.to_bytes(8, "little") + DATA[8:])


def test_a_wild_tensor_behind_a_right_checksum() -> None:
    """What `save` would have refused."""
    good = GOOD.steps[2].tensors["weight"]
    wild = good.copy()
    wild.reshape(-1)[5] = np.nan
    with pytest.raises(BadProgram, match="no finite number"):
        save(with_tensors(GOOD, "conv", weight=wild))
    outer, body = container()
    at = body.index(good.tobytes())
    body = body[:at] + wild.tobytes() + body[at + good.nbytes :]
    assert "cannot run: step 3" in refused(forged(header_of(), outer, body))
