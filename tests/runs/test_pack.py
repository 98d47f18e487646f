"""`bnas-bench pack`, and the network of a finished trial that it and others rebuild."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch

from bnas_bench.core.errors import BadValue, Damaged
from bnas_bench.core.files import sha256
from bnas_bench.packed.format.file import load, payload
from bnas_bench.runs.network import float_bytes, rebuilt
from bnas_bench.runs.record import decode, encode
from tests.helpers.cli import fail, invoke, succeed
from tests.helpers.trained import SHAPE, finished


@pytest.fixture
def trial(tmp_path: Path) -> Path:
    return tmp_path / "results" / "trials" / "the-trial"


def test_a_trials_network_comes_back(trial: Path) -> None:
    network = finished(trial)
    again, shape, about = rebuilt(trial)
    images = torch.randn(5, *SHAPE, generator=torch.Generator().manual_seed(0))
    assert not again.training
    assert shape == SHAPE
    with torch.no_grad():
        assert torch.equal(again(images), network(images))
    state = again.state_dict()
    assert all(torch.equal(state[name], value) for name, value in network.state_dict().items())
    assert about["space"] == ("darts-binary[without=sep_conv_5x5,binarise=depthwise,zeroise=false]")
    assert (about["weights"], about["trial"], about["dataset"]) == (
        "trained",
        "the-trial",
        "digits",
    )
    assert about["test_accuracy"] == "91.5"
    assert json.loads(about["architecture"])["space"] == "darts-binary"


def test_float_bytes_leave_out_what_only_training_needs(trial: Path) -> None:
    network = finished(trial)
    kept = [v for name, v in network.named_parameters() if not name.startswith("auxiliary")]
    kept += [v for name, v in network.named_buffers() if name.endswith(("mean", "var"))]
    auxiliary = sum(
        4 * v.numel() for name, v in network.named_buffers() if "auxiliary" in name and v.ndim
    )
    assert auxiliary > 0
    assert float_bytes(network) == sum(4 * value.numel() for value in kept) - auxiliary


def test_a_trial_is_packed(trial: Path, tmp_path: Path) -> None:
    network = finished(trial)
    out = tmp_path / "net.bnn"
    lines = succeed("pack", trial, "-o", out).splitlines()
    size, program = out.stat().st_size, load(out)
    assert program.shape == SHAPE
    assert program.about["weights"] == "trained"
    assert lines[0] == f"wrote {out}, {size:,} bytes ({size / 2**10:,.2f} KiB); trained weights"
    counts = {line[2:18].strip(): int(line[18:].split()[0].replace(",", "")) for line in lines[1:5]}
    assert list(counts) == ["1-bit words", "float32", "int8", "header"]
    assert counts.pop("header") == size - payload(program)
    assert sum(counts.values()) == payload(program)
    assert counts["1-bit words"] > 0
    whole = float_bytes(network)
    assert lines[5] == (
        f"the same network as float32: {whole:,} bytes ({whole / 2**10:,.2f} KiB), "
        f"{whole / size:.1f} times as much"
    )


def test_a_packed_trial_is_packed_anew_to_the_byte(trial: Path, tmp_path: Path) -> None:
    finished(trial)
    out = tmp_path / "net.bnn"
    succeed("pack", trial, "-o", out)
    data = out.read_bytes()
    out.write_bytes(data[:-1])  # damaged, but one of ours
    succeed("pack", trial, "-o", out)
    assert out.read_bytes() == data


def test_an_architecture_is_packed_untrained(trial: Path, tmp_path: Path) -> None:
    finished(trial)
    out = tmp_path / "net.bnn"
    size = ("--channels", 8, "--cells", 3, "--input", "1x20x20", "--classes", 7)
    first = succeed("pack", trial / "arch.json", "-o", out, *size).splitlines()[0]
    assert first.endswith("; untrained weights")
    program = load(out)
    assert (program.shape, program.about["weights"]) == ((1, 20, 20), "untrained")
    assert program.steps[-1].attributes["outputs"] == 7
    assert "without=sep_conv_5x5" in program.about["space"]
    assert json.loads(program.about["spec"])["channels"] == 8


def test_the_text_of_an_architecture_is_packed(trial: Path, tmp_path: Path) -> None:
    """It is longer than the name of a file may be."""
    finished(trial)
    text, out = (trial / "arch.json").read_text(), tmp_path / "net.bnn"
    assert len(text) > 255
    succeed("pack", text, "-o", out, "--channels", 8, "--cells", 3, "--input", "3x16x16")
    assert load(out).about["space"] == "darts-binary[without=,binarise=,zeroise=false]"


def test_a_file_that_is_something_else_is_not_overwritten(trial: Path, tmp_path: Path) -> None:
    finished(trial)
    out = tmp_path / "thesis.txt"
    out.write_text("years of work")
    line = fail("pack", trial, "-o", out)
    assert (
        line == f"bnas-bench: '{out}' is there and no packed network; choose another name with -o"
    )
    assert out.read_text() == "years of work"


@pytest.mark.parametrize("name", ["a" * 300, "a" * 250])
def test_a_file_whose_name_is_too_long(trial: Path, tmp_path: Path, name: str) -> None:
    finished(trial)
    line = fail("pack", trial, "-o", tmp_path / name)
    assert "cannot" in line
    assert "File name too long" in line
    assert not list(tmp_path.glob("*a*.tmp"))


def test_what_is_no_architecture(tmp_path: Path) -> None:
    out = tmp_path / "net.bnn"
    assert "File name too long" in fail("pack", "a" * 300, "-o", out)
    assert "'/dev/null' is there and no packed network" in fail("pack", "{}", "-o", "/dev/null")


def test_a_packed_file_is_no_architecture(trial: Path, tmp_path: Path) -> None:
    finished(trial)
    out = tmp_path / "net.bnn"
    succeed("pack", trial, "-o", out)
    for arguments in (("measure", out), ("show", out), ("pack", out, "-o", tmp_path / "b")):
        assert fail(*arguments) == (
            f"bnas-bench: '{out}' is a packed network, not an architecture: `latency` reads it"
        )


def test_a_size_that_cannot_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def small(*_: object) -> None:
        raise RuntimeError("Output size\nis too small.")

    monkeypatch.setattr("bnas_bench.packed.lowering.lower.lower", small)
    arguments = ("--space", "handcrafted", "--channels", 8, "--input", "3x8x8")
    assert fail("pack", "resnet18", *arguments, "-o", tmp_path / "net.bnn") == (
        "bnas-bench: 'resnet18' does not run on images of 3x8x8 (Output size is too small); "
        "give another size with --input"
    )


def test_a_folder_has_its_own_size(trial: Path, tmp_path: Path) -> None:
    finished(trial)
    assert "leave out --channels" in fail("pack", trial, "-o", tmp_path / "a", "--channels", 8)
    assert not (tmp_path / "a").exists()


def test_without_a_name_for_the_file(trial: Path) -> None:
    result = invoke("pack", trial)
    assert result.exit_code == 2
    assert "Missing option '-o'" in result.stderr


def refusal(folder: Path, error: type[Exception]) -> str:
    with pytest.raises(error) as caught:
        rebuilt(folder)
    assert str(folder) in str(caught.value)
    return str(caught.value)


def test_folders_that_are_no_trials(trial: Path, tmp_path: Path) -> None:
    assert "is not there" in refusal(tmp_path / "none", BadValue)
    assert "it has no record" in refusal(tmp_path, BadValue)
    (tmp_path / "record.json").write_text("{")
    assert "cannot be read" in refusal(tmp_path, Damaged)
    (tmp_path / "record.json").write_text("[]")
    assert "is no record" in refusal(tmp_path, Damaged)
    finished(trial, status="failed", reason="Diverged: the loss is nan")
    assert "it failed, Diverged: the loss is nan" in refusal(trial, BadValue)


def test_weights_that_cannot_be_trusted(trial: Path) -> None:
    finished(trial)
    file = trial / "weights.safetensors"
    data = file.read_bytes()
    file.write_bytes(data[:-1])
    assert "is truncated or altered" in refusal(trial, Damaged)
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert "is truncated or altered" in refusal(trial, Damaged)
    finished(trial.with_name("foreign"), weights_sha256=sha256(b"weights"))
    (trial.with_name("foreign") / "weights.safetensors").write_bytes(b"weights")
    assert "is foreign" in refusal(trial.with_name("foreign"), Damaged)
    file.unlink()
    assert "--rerun trains them again" in refusal(trial, BadValue)


def test_weights_of_another_network(trial: Path) -> None:
    finished(trial)
    file = trial / "weights.safetensors"
    weights = safetensors.torch.load(file.read_bytes())
    size = int.from_bytes(file.read_bytes()[:8], "little")
    metadata = json.loads(file.read_bytes()[8 : 8 + size])["__metadata__"]
    del weights["head.linear.bias"]
    data = safetensors.torch.save(weights, metadata)
    record = decode((trial / "record.json").read_bytes()) | {"weights_sha256": sha256(data)}
    file.write_bytes(data)
    (trial / "record.json").write_bytes(encode(record))
    assert "do not fit the network that they are said to be of" in refusal(trial, Damaged)
