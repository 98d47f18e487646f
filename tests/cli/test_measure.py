"""What `bnas-bench measure` prints: every convention with its unit, the layers, JSON and CSV."""

import csv
import io
import json
from typing import Any

import pytest

from bnas_bench.cost import MEMORY, OPS
from tests.cost.test_conventions import PUBLISHED
from tests.helpers.cli import fail, succeed

REACTNET = ("measure", "--space", "handcrafted", "reactnet-a", "--input", "3x32x32")
SMALL = (*REACTNET, "--channels", "8", "--classes", "10")


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    return json.loads(succeed(*SMALL, "--layers", "--json"))


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(succeed(*SMALL, "--csv"))))


def test_every_convention_stands_beside_the_input_with_its_unit(found: dict[str, Any]) -> None:
    lines = [line.split() for line in succeed(*SMALL).splitlines()]
    assert lines[0] == ["input", "3x32x32"]
    assert [(line[1], line[3:]) for line in lines if line[0] == "OPs"] == [
        (name, ["M"]) for name in OPS
    ]
    for line, (name, bits) in zip(
        (line for line in lines if line[0] == "memory"), found["memory"].items(), strict=True
    ):
        size = -(-bits // 8)
        mbit, mib = f"{bits / 1e6:.3f}", f"{size / 2**20:.3f}"
        assert line == ["memory", name, mbit, "Mbit", mib, "MiB", f"{size:,}", "bytes"]
    assert list(found["memory"]) == list(MEMORY)
    peaks = {line[1]: line for line in lines if line[0] == "maps"}
    for name, key in (
        ("simulated", "peak_activation_bytes"),
        ("packed", "peak_packed_activation_bytes"),
    ):
        assert peaks[name][6:] == [f"{found[key]:,}", "bytes", "at", "batch", "1"]


def test_numbers_stand_in_columns() -> None:
    """Units of one kind begin at one place of the line."""
    lines = succeed(*SMALL).splitlines()
    for unit in (" M", " Mbit ", " MiB ", " bytes"):
        assert len({line.index(unit) for line in lines if unit in f"{line}\n"}) == 1


def test_json_is_complete(found: dict[str, Any], rows: list[dict[str, str]]) -> None:
    assert found["input"] == [3, 32, 32]
    first = found["layers"][0]
    assert (first["name"], first["kind"], first["output"]) == ("body.0", "conv", [4, 32, 32])
    assert first["output_bytes"] == 4 * 4 * 32 * 32
    assert sum(layer["macs"] for layer in found["layers"]) == sum(found["macs"].values())
    packed = sum(layer["packed_bytes"] for layer in found["layers"])
    assert 8 * packed == found["memory"]["packed"]
    assert len(rows) == len(found["layers"])


def test_csv_has_a_row_for_each_layer(found: dict[str, Any], rows: list[dict[str, str]]) -> None:
    for row, layer in zip(rows, found["layers"], strict=True):
        assert (row["name"], row["kind"]) == (layer["name"], layer["kind"])
        assert row["input"] == "x".join(map(str, layer["input"]))
        assert row["output"] == "x".join(map(str, layer["output"]))
        for name in (
            *("weight_bits", "activation_bits", "macs", "constants", "biases", "elementwise"),
            *("packed_bytes", "folded", "output_bytes"),
        ):
            assert int(row[name]) == layer[name]
        parameters = {bits: int(row[f"parameters_{bits}_bit"]) for bits in ("1", "8", "32")}
        assert {bits: n for bits, n in parameters.items() if n} == layer["parameters"]


def test_layers_as_a_table() -> None:
    table = succeed(*SMALL, "--layers").partition("\n\n")[2].splitlines()
    assert table[0].split() == [
        *("layer", "kind", "input", "output", "bits", "MACs", "parameters", "output", "bytes")
    ]
    stem, norm, conv, add = table[1], table[2], table[4], table[7]
    assert stem.split() == [
        *("body.0", "conv", "3x32x32", "4x32x32", "W32A32", "110,592", "108", "x", "32", "bit"),
        "16,384",
    ]
    assert norm.split() == [
        *("body.1", "norm", "4x32x32", "4x32x32", "0", "8", "x", "32", "bit", "16,384")
    ]
    assert "W1A1  " in conv
    assert "144 x 1 bit" in conv
    assert add.split()[:2] == ["body.2.add", "add"]
    assert len({len(line) for line in table}) == 1


def test_two_forms_of_one_answer() -> None:
    line = fail(*SMALL, "--json", "--csv")
    assert line == "bnas-bench: --json and --csv are two forms of one answer: choose one of them"


def test_texts_that_are_longer_than_names_may_be() -> None:
    size = ("--channels", "4", "--cells", "2", "--input", "1x16x16", "--classes", "3")
    assert len(PUBLISHED) > 255
    assert json.loads(succeed("measure", PUBLISHED, *size, "--json"))["input"] == [1, 16, 16]
    assert "unknown file or torchvision network 'aaa" in fail("measure", "a" * 300)
    assert "File name too long" in fail("measure", "a" * 300 + ".json")
    assert "(300 characters)" in fail("measure", "a" * 300, "--space", "handcrafted")


@pytest.mark.parametrize(
    ("name", "gmacs", "million"),
    [("mobilenet_v2", 0.301, 3.505), ("vit_b_16", 17.564, 86.568), ("inception_v3", 2.838, 23.835)],
)
def test_torchvisions_networks_in_one_breath(name: str, gmacs: float, million: float) -> None:
    """MACs and parameters that torchvision publishes; inception's are of 224x224 and one head."""
    found = json.loads(succeed("measure", f"torchvision:{name}", "--json"))
    assert round(found["macs"]["W32A32"] / 1e9, 3) == gmacs
    assert round(found["parameters"] / 1e6, 3) == million


def test_what_torchvisions_networks_cannot_take() -> None:
    for name in ("alexnet", "torchvision:alexnet"):
        assert fail("measure", name, "--cells", "3").endswith(
            "has no space, width or depth to choose; leave out --space, --channels and --cells"
        )
        line = fail("measure", name, "--input", "3x8x8")
        assert line.startswith(f"bnas-bench: '{name}' does not run on images of 3x8x8 (Given input")
        assert line.endswith("too small); give another size with --input")
    assert "has no space" in fail("measure", "torchvision:alexnet", "--space", "handcrafted")


def test_the_help_says_at_which_size_a_trial_is_counted() -> None:
    assert "Of a trial only the architecture is taken" in " ".join(succeed("measure", "-h").split())
