"""BARS and NAS-BNN as data: every value as printed, runs that can be made, counts that agree.

The tables below are lines of the papers' texts as they were extracted, so that a slip of the pen in
a TOML file shows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bnas_bench.core.architecture import Architecture
from bnas_bench.core.budget import Budget, Scale
from bnas_bench.data.datasets import load as load_data
from bnas_bench.data.datasets import task
from bnas_bench.papers.artefact import Artefact, Count, ids, load, number
from bnas_bench.papers.counted import architecture, counted
from bnas_bench.plugins.making import method, space
from bnas_bench.search.meter import Meter

BARS_1 = """
Macro-Level
Normal/Reduction Cell [17] Without Width Search Without Depth Search
91.70% 92.27% 91.92%
Micro-Level
Without Gumbel-Softmax Without Cell-Shortcut Without Ent-erg Without FLOPs-reg
Failed 52.83 % 92.56 % 92.44%
Derive
Without sample when derive
90.68%
92.97%
"""

BARS_2 = r"""
CIFAR-10 | ResNet-18 (XNOR) | 16M | 1094M | 50.2M | 11.17M | FP Downsample | 91.12%
ResNet-18 (Bireal) | 11M | 1123M | 46.1M | 11.34M | FP Downsample | 91.23%
ResNet-34 (XNOR) | 27M | 2302M | 98.9M | 21.81M | FP Downsample | 91.49%
WRN-40 (XNOR) | $\sim 27 M$ | $\sim 3000 M$ | 120.7M | - | FP Downsample | 91.58%
NiN (XNOR) | $\sim 27 M$ | $\sim 400 \mathrm{M}$ | 41.5M | - | $\checkmark$ | 86.28%
ResNet-18 (CBCN) | $\sim 27 M$ | $\sim 1000 M$ | 58.2M | - | FP Downsample | 91.9%
ResNet-18 (IRNet) | $\sim 27 M$ | $\sim 1000 M$ | 58.2M | - | FP Downsample | 91.5%
BNAS (XNOR) | 175M | 1393M | 218.53M | 5.57M | FP Cell Shortcut | 92.7%
BARS-A | 2M | 1027M | 34.1M | 2.77M | ✓ | 91.25%
BARS-B | 2M | 2096M | 67.5M | 6.07M | $\checkmark$ | 92.98%
BARS-C | 3M | 3747M | 119.5M | 10.76M | $\checkmark$ | 93.43%
ImageNet | ResNet-18 (ABC) | $\sim 100 M$ | ~4000M | 225.0M | - | <ul> <li>✓</li> </ul> | 42.7%
ResNet-18 (XNOR) | 138M | 3699M | 253.6M | 12.54M | $\checkmark$ | 48.3%
ResNet-18 (XNOR) | 167M | 3557M | 278.1M | 12.80M | FP Downsample | 53.1%
BiDenseNet (XNOR) | - | - | - | 13.56M | FP Downsample | 52.7%
ResNet-18 (Bireal) | $\sim \! 160 M$ | $\sim 4000 M$ | 285.0M | - | FP Downsample | 56.4%
ResNet-18 (PCNN) | $\sim \! 160 M$ | $\sim 4000 M$ | 285.0M | - | FP Downsample | 57.3%
BNAS (XNOR) | 195M | 6274M | 391.1M | 28.41M | FP Cell Shortcut | 57.6%
BARS-D | 129M | 1499M | 122.8M | 9.46M | ✓ | 52.5%
BARS-E | 194M | 2526M | 275.9M | 14.04M | $\checkmark$ | 56.1%
"""

NAS_BNN_1 = r"""
224 ×\times× 224 Conv2d 1 {24, 32, 48} 3 1 2
112 ×\times× 112 Separable Conv2d {2, 3} {48, 64, 96} 3 1 1
112 ×\times× 112 Separable Conv2d {2, 3} {96, 128, 192} {3, 5} {1, 2} 2
56 ×\times× 56 Separable Conv2d {2, 3} {192, 256, 384} {3, 5} {2, 4} 2
28 ×\times× 28 Separable Conv2d {8, 9} {384, 512, 768} {3, 5} {4, 8} 2
14 ×\times× 14 Separable Conv2d {2, 3} {768, 1024, 1536} {3, 5} {8, 16} 2
7 ×\times× 7 Avgpool2d 1 - - - -
1 ×\times× 1 Linear 1 k - - -
"""

NAS_BNN_2 = """
NAS-BNN-A auto 21 60.58 512 0 0 0
NAS-BNN-A #100 auto 21 60.80 512 100 1000 4000
Binary MobileNet-M3 [18] auto 33 51.06 64 256 2560 10240
MoBiNet-Mid (K=4) [5] manual 52 54.40 - 50 500 2000
NAS-BNN-B auto 57 66.46 512 0 0 0
NAS-BNN-B #100 auto 57 68.20 512 100 1000 4000
Binary MobileNet-M2 [18] auto 62 59.30 64 256 2560 10240
NAS-BNN-C auto 87 67.97 512 0 0 0
NAS-BNN-C #100 auto 87 69.49 512 100 1000 4000
ReActNet-A [6] manual 87 69.40 - 512 5120 20480
BATS [15] auto 99 60.40 25 75 750 3000
NAS-BNN-D auto 124 69.02 512 0 0 0
NAS-BNN-D #100 auto 124 70.26 512 100 1000 4000
BCNN P=1 [48] manual 131 69.00 - 130 1300 5200
MeliusNet-C [31] manual 150 64.10 - 120 1200 4800
Binary MobileNet-M1 [18] auto 154 60.90 64 256 2560 10240
BATS (2x-wider) [15] auto 155 66.10 25 75 750 3000
NAS-BNN-E auto 160 69.48 512 0 0 0
NAS-BNN-E #100 auto 160 70.69 512 100 1000 4000
MeliusNet-A [31] manual 162 63.40 - 120 1200 4800
Bi-RealNet-18 [3] manual 163 56.40 - 256 2560 10240
DA-BNN [9] manual 163 66.30 - 120 1200 4800
ReActNet-B [6] manual 163 70.10 - 512 5120 20480
BNAS-E [14] auto 163 58.76 50 250 2500 10000
XNOR-Net [12] manual 167 51.20 - 58 580 2320
NAS-BNN-F auto 180 69.54 512 0 0 0
NAS-BNN-F #100 auto 180 70.80 512 100 1000 4000
Real-to-Bin [30] manual 183 65.40 - 150 1500 6000
MeliusNet-B [31] manual 196 65.70 - 120 1200 4800
"""

NAS_BNN_3 = """
Faster R-CNN NAS-BNN-A 140 25.0
NAS-BNN-B 217 29.3
NAS-BNN-C 279 30.6
NAS-BNN-D 370 31.6
Bi-Real Net-18 [3] 376 17.4
BiDet-18 [8] 376 19.4
ReActNet-18 [6] 376 21.1
LWS-Det-18 [10] 376 26.9
Bi-Real Net-34 [3] 436 20.1
BiDet-34 [8] 436 21.7
ReActNet-34 [6] 436 23.4
LWS-Det-34 [10] 436 29.9
NAS-BNN-E 443 32.1
Bi-Real Net-50 [3] 459 22.9
ReActNet-50 [6] 459 26.1
LWS-Det-50 [10] 459 31.7
NAS-BNN-F 484 32.2
"""

NAS_BNN_4 = """
Bi-Real-MobileNetV2 [45] 97.48 60.84
Bi-Real-ResNet50 [27] 174.62 67.46
Bi-Real-MobileNetV1 [28] 86.20 75.80
"""

NAS_BNN_5 = r"""
Finetune epochs 0 25 50 75 100
Top-1 (%) 66.46 67.67 67.92 68.04 68.20
Δ(%)\Delta~{}(\%)roman_Δ ( % ) - +1.21 +1.46 +1.58 +1.74
"""

NAS_BNN_6 = r"""
Input Operator A (21M OPs) B (57M OPs) C (87M OPs) D (124M OPs) E (160M OPs) F (180M OPs)
224 ×\times× 224 Conv2d c24_k3_g1 c24_k3_g1 c24_k3_g1 c48_k3_g1 c48_k3_g1 c48_k3_g1
112 ×\times× 112 S1-L1 c48_k3_g1 c48_k3_g1 c48_k3_g1 c48_k3_g1 c48_k3_g1 c48_k3_g1
S1-L2 c48_k3_g1 c48_k3_g1 c64_k3_g1 c96_k3_g1 c96_k3_g1 c96_k3_g1
S1-L3 - - - - - c96_k3_g1
112 ×\times× 112 S2-L1 c96_k3_g2 c96_k3_g2 c96_k5_g2 c192_k5_g2 c192_k5_g2 c192_k3_g1
S2-L2 c96_k3_g2 c192_k3_g2 c192_k3_g1 c192_k3_g2 c192_k3_g2 c192_k3_g1
S2-L3 - - - - - -
56 ×\times× 56 S3-L1 c192_k3_g4 c192_k3_g2 c384_k3_g2 c384_k3_g2 c384_k3_g2 c384_k5_g2
S3-L2 c192_k3_g4 c384_k3_g2 c384_k3_g4 c384_k3_g4 c384_k3_g4 c384_k3_g2
S3-L3 - - c384_k3_g4 c384_k3_g4 c384_k3_g4 c384_k3_g2
28 ×\times× 28 S4-L1 c384_k3_g8 c384_k5_g8 c768_k5_g4 c768_k3_g4 c768_k3_g4 c768_k5_g4
S4-L2 c384_k3_g8 c768_k3_g8 c768_k3_g4 c768_k3_g4 c768_k3_g4 c768_k5_g4
S4-L3 c384_k3_g8 c768_k3_g8 c768_k3_g8 c768_k3_g4 c768_k3_g4 c768_k5_g4
S4-L4 c384_k3_g8 c768_k3_g8 c768_k3_g4 c768_k5_g8 c768_k5_g8 c768_k3_g4
S4-L5 c384_k3_g8 c768_k3_g8 c768_k3_g4 c768_k5_g4 c768_k5_g4 c768_k3_g4
S4-L6 c384_k3_g8 c768_k3_g4 c768_k3_g8 c768_k3_g4 c768_k3_g4 c768_k3_g4
S4-L7 c384_k3_g8 c768_k3_g4 c768_k5_g8 c768_k5_g4 c768_k5_g4 c768_k5_g4
S4-L8 c384_k3_g8 c768_k3_g8 c768_k3_g8 c768_k5_g8 c768_k5_g8 c768_k5_g4
S4-L9 - - c768_k3_g4 c768_k3_g4 c768_k3_g4 c768_k5_g4
14 ×\times× 14 S5-L1 c768_k3_g16 c1536_k5_g16 c1536_k3_g8 c1536_k5_g8 c1536_k5_g8 c1536_k3_g16
S5-L2 c768_k3_g16 c1536_k5_g16 c1536_k5_g16 c1536_k5_g8 c1536_k5_g8 c1536_k5_g8
S5-L3 - c1536_k3_g16 c1536_k3_g8 c1536_k3_g8 c1536_k3_g8 c1536_k3_g8
"""

NAMED_BY_US = {
    ("bars/table-1", "BARS"): "",
    ("bars/table-2", "ResNet-18 (XNOR), fully binarised"): "ResNet-18 (XNOR)",
}
"""What the papers print for names of rows that are ours; the rows of NAS-BNN's table 1 have none."""

MODELS = "ABCDEF"


def plain(raw: str) -> list[str]:
    """The words of printed lines, without references and what the extraction wrote around them."""
    text = re.sub(r" \[\d+\]", "", raw)
    text = re.sub(r"\$([^$]*)\$", lambda m: re.sub(r"\s|\\!", "", m[1]), text)
    marks = {r"\sim": "~", r"\mathrm{M}": "M", r"\checkmark": "✓", r"×\times×": "×", " | ": " "}
    for mark, sign in (marks | {"<ul> <li>✓</li> </ul>": "✓"}).items():
        text = text.replace(mark, sign)
    return text.split()


def names(artefact: Artefact, rows: list[Any]) -> list[str]:
    if artefact.id == "nas-bnn/table-1":
        return []
    return [NAMED_BY_US.get((artefact.id, row.name), row.name) for row in rows]


def values(artefact: Artefact, rows: list[Any]) -> list[str]:
    return [row.paper[c.key] for row in rows for c in artefact.columns if c.key in row.paper]


def words(artefact: Artefact, *, merged: bool = False) -> list[str]:
    """What a table's rows say, in the order of the print.

    Args:
        merged: whether the rows of a group share a line: first their names, then their values.
    """
    found: list[str] = []
    for group, members in groupby((row for row in artefact.rows if row.paper), lambda r: r.group):
        found.append(group)
        rows = list(members)
        for line in [rows] if merged else [[row] for row in rows]:
            found += names(artefact, line) + values(artefact, line)
    return " ".join(found).split()


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("bars/table-2", BARS_2),
        ("nas-bnn/table-1", NAS_BNN_1),
        ("nas-bnn/table-2", NAS_BNN_2),
        ("nas-bnn/table-3", NAS_BNN_3),
        ("nas-bnn/table-4", NAS_BNN_4),
    ],
)
def test_tables_say_what_is_printed(name: str, raw: str) -> None:
    assert words(load(name)) == plain(raw)


def test_bars_table_1_says_what_is_printed() -> None:
    assert words(load("bars/table-1"), merged=True) == plain(BARS_1)


def test_nas_bnn_table_5_says_what_is_printed() -> None:
    artefact = load("nas-bnn/table-5")
    epochs, top1, delta = (line.split()[-5:] for line in NAS_BNN_5.split("\n") if line)
    assert values(artefact, list(artefact.rows)) == top1 + delta
    titles = [re.findall(r"\d+(?= )", column.title) for column in artefact.columns]
    assert titles == [[n] for n in 2 * epochs]


def table_6() -> tuple[list[str], dict[str, list[str]]]:
    """The printed OPs, and of every operator its layers in A to F."""
    header, *lines = (line for line in NAS_BNN_6.split("\n") if line)
    return re.findall(r"\((\d+M) OPs\)", header), {
        operator: layers for operator, *layers in (plain(line)[-7:] for line in lines)
    }


def test_nas_bnn_table_6_says_what_is_printed() -> None:
    artefact = load("nas-bnn/table-6")
    ops, layers = table_6()
    assert [row.name for row in artefact.rows] == [f"NAS-BNN-{model}" for model in MODELS]
    assert [row.paper["ops"] for row in artefact.rows] == ops
    columns = {c.title.partition(" (")[0]: c.key for c in artefact.columns if not c.is_number}
    assert {
        operator: [row.paper[key] for row in artefact.rows] for operator, key in columns.items()
    } == layers
    assert all(len(row.paper) == len(artefact.columns) for row in artefact.rows)


def test_architectures_are_those_of_table_6() -> None:
    """Layers that are printed for a model, and no others; E's are D's."""
    _, layers = table_6()
    found, nas_bnn = {}, space("nas-bnn")
    for k, model in enumerate(MODELS):
        arch = published(Count(space="nas-bnn", arch=f"nas-bnn-{model.lower()}"))
        choices = dict(arch.choices)
        for operator, texts in layers.items():
            if texts[k] == "-":
                continue
            width, kernel, groups = (int(part[1:]) for part in texts[k].split("_"))
            if operator == "Conv2d":
                assert (choices.pop("stem.width"), kernel, groups) == (width, 3, 1)
                continue
            stage, layer = (int(part[1:]) for part in operator.split("-"))
            parts = (f"stage{stage}.layer{layer}.{part}" for part in ("width", "kernel", "groups"))
            assert [choices.pop(part) for part in parts] == [width, kernel, groups]
        for stage in range(1, 6):
            depth = sum(
                texts[k] != "-" for name, texts in layers.items() if name.startswith(f"S{stage}")
            )
            assert choices.pop(f"stage{stage}.depth") == depth
        assert not choices
        found[model] = arch
    assert found["E"] == found["D"]
    assert found["A"] == nas_bnn.smallest()
    assert published(Count(space="nas-bnn", arch="nas-bnn-largest")) == nas_bnn.largest()


def published(count: Count) -> Architecture:
    return space(count.space).parse(architecture(count))


def by_formula(count: Count) -> float:
    """M OPs by the space's formula."""
    where = space(count.space)
    scale = Scale(cells=count.cells, channels=count.channels)
    spec = where.spec(scale, count.input, count.classes, final=True)
    return where.ops(spec, "nas-bnn").of(where.path(published(count))) / 1e6


def test_the_layers_of_nas_bnn_are_run() -> None:
    """From scratch, in rows without a number of the paper's; E's layers are printed as D's."""
    table, found = load("nas-bnn/table-2"), {}
    for model in MODELS:
        row = table.row(f"NAS-BNN-{model}, from scratch")
        assert not row.paper
        for run in row.runs.values():
            given: Any = method(run.method)
            found[model] = given.search(space(table.space), None, None, None).best
    counts = {model: Count(space="nas-bnn", arch=f"nas-bnn-{model.lower()}") for model in "ABCDF"}
    assert found == {model: published(count) for model, count in counts.items()}


def test_counts_are_the_known_ones() -> None:
    """A, C, D and F by the published code; B and E by our formula, which is the ledger's count."""
    rows = load("nas-bnn/table-6").rows
    found = [round(by_formula(row.count), 2) for row in rows if row.count]
    assert found == [20.77, 56.83, 86.97, 124.31, 124.31, 179.83]


@pytest.mark.parametrize(
    ("name", "others"),
    [
        ("nas-bnn/table-2", {"NAS-BNN-E", "NAS-BNN-E #100", "XNOR-Net"}),
        ("nas-bnn/table-4", set()),
        ("nas-bnn/table-6", {"NAS-BNN-E"}),
    ],
)
def test_counts_are_the_printed_ones(name: str, others: set[str]) -> None:
    """To the last printed digit, rounded or cut off (Bi-Real Net), but for the rows named."""
    differ = set()
    for row in load(name).rows:
        if row.count:
            text = row.paper["ops"]
            last = 10 ** -len(text.partition(".")[2])
            if abs(by_formula(row.count) - (number(text) or 0)) >= last:
                differ.add(row.name)
    assert differ == others


def test_bars_counts_are_the_printed_ones() -> None:
    """On CIFAR-10 two operations a MAC, and a 32nd of the BiOps; of ImageNet's the real MACs once."""
    rows = [
        load("bars/table-2").row("ResNet-18 (XNOR)", group) for group in ("CIFAR-10", "ImageNet")
    ]
    cifar, imagenet = (counted(row.count) for row in rows if row.count)
    assert (cifar["macs"]["W32A32"] // 5e5, cifar["macs"]["W1A1"] // 5e5) == (16, 1094)
    assert round(cifar["parameters"] / 1e6, 2) == 11.17
    assert cifar["ops"]["bars-32"] / 1e6 == pytest.approx(50.2, abs=0.2)
    assert cifar["ops"]["bars-64"] / 1e6 == pytest.approx(16 + 1094 / 64, abs=0.2)
    assert round(imagenet["macs"]["W32A32"] / 1e6) == 138


def test_figure_1_of_bars_shows_table_2() -> None:
    figure, table = load("bars/figure-1"), load("bars/table-2")
    rows = [row for row in table.rows if row.group == "CIFAR-10"]
    assert [row.name for row in figure.rows] == [row.name for row in rows]
    for ours, theirs in zip(figure.rows, rows, strict=True):
        assert ours.paper == {key: theirs.paper[key] for key in ("equivalent", "accuracy")}
        assert ours.runs == theirs.runs


def test_figure_4_of_bars_shows_table_2() -> None:
    """What is printed and run there, of the CIFAR-10 rows whose three numbers are both."""
    figure, table = load("bars/figure-4"), load("bars/table-2")
    rows = [
        row
        for row in table.rows
        if row.group == "CIFAR-10" and row.runs and number(row.paper["params"])
    ]
    assert [row.name for row in figure.rows] == [row.name for row in rows]
    for ours, theirs in zip(figure.rows, rows, strict=True):
        assert ours.paper == {key: theirs.paper[key] for key in ("flops", "params")}
        assert (ours.runs, ours.count) == (theirs.runs, theirs.count)
    biops = figure.column("biops")
    assert biops.scale == 64 * table.column("biops").scale


def test_figure_3_of_nas_bnn_has_the_falls_of_the_text() -> None:
    """Sections 4.4.2 to 4.4.4: about 1.5 % without ND, WN and KD, about 2 % without the transformation."""
    printed = {
        (name[-1], row.name): row.paper["fall"]
        for name in ids()
        if name.startswith("nas-bnn/figure-3")
        for row in load(name).rows
        if row.paper
    }
    assert printed == {
        ("a", "w/o ND"): "~1.5%",
        ("b", "w/o Weight Normalization"): "~1.5%",
        ("b", "w/o Bi-Transformation"): "~2%",
        ("c", "w/ Bi-Teacher, w/o KD"): "~1.5%",
    }


def logged(method_text: str, space_text: str) -> Iterator[str]:
    """The fields that a very short search logs."""
    images = load_data("digits", image=8, device="cpu", folder=Path())
    budget = Budget("test", 200, 16, search_fraction=0.015, valid_fraction=0.01)
    where = space(space_text)
    spec = where.spec(where.fit(Scale(channels=4)), images.shape, images.classes, final=False)
    seen = task(images, spec, budget, np.random.default_rng(0))
    with (meter := Meter(budget.passes)):
        method(method_text).search(where, seen, meter, np.random.default_rng(0))
    for entry in meter.log:
        yield from entry


@pytest.mark.slow
@pytest.mark.parametrize(
    ("paper", "method_text", "space_text"),
    [("bars", "bars[samples=1]", "bars[depth=1]"), ("nas-bnn", "nasbnn[fewest=2]", "nas-bnn")],
)
def test_searches_log_what_the_figures_draw(paper: str, method_text: str, space_text: str) -> None:
    wanted = {
        field
        for name in ids()
        if name.startswith(f"{paper}/")
        and (figure := load(name).figure)
        and figure.form in ("curves", "distribution")
        for field in figure.y
    }
    assert wanted
    assert wanted <= set(logged(method_text, space_text))
