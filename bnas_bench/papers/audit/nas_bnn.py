"""The numbers of NAS-BNN (Lin et al., 2024), recomputed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise

from bnas_bench.cost import Ledger
from bnas_bench.papers.audit.check import Check
from bnas_bench.papers.audit.counts import (
    handmade,
    mbits,
    mops,
    nas_bnn,
    nas_bnn_layers,
)
from bnas_bench.papers.audit.places import Section, Table
from bnas_bench.papers.audit.terms import Term, exactly, largest, smallest
from bnas_bench.plugins.registry import find

MODELS = tuple(f"NAS-BNN-{letter}" for letter in "ABCDEF")


def checks() -> Iterator[Check]:
    """All checks of the paper, in its order."""
    results = Table("nas-bnn/table-2")
    yield from _abstract(results)
    yield from _space()
    yield from _table_2(results)
    yield from _section_4_2(results)
    yield from _detectors()
    yield from _templates()
    yield from _finetuning(results)
    yield from _mixed_precision(results)
    yield from _layers(results)


def _abstract(results: Table) -> Iterator[Check]:
    here, detectors = Section("nas-bnn", "abstract"), Table("nas-bnn/table-3")
    text = "we achieve 68.20% top-1 accuracy on ImageNet with only 57M OPs"
    yield here.same("top1", text, "68.20", results, "NAS-BNN-B #100", "top1", unit="%")
    yield here.same("ops", text, "57", results, "NAS-BNN-B #100", "ops", unit="M")
    text = "31.6% mAP with 370M OPs, on MS COCO dataset"
    yield here.same("map", text, "31.6", detectors, "NAS-BNN-D", "map", unit="%")
    yield here.same("detector-ops", text, "370", detectors, "NAS-BNN-D", "ops", unit="M")
    yield here.check(
        "outperforms",
        "Our discovered binary model family outperforms previous BNNs for a wide range of "
        "operations (OPs) from 20M to 200M",
        "outperforms",
        "Top-1 of NAS-BNN-A #100 to -F #100 with at most the OPs of the row - Top-1 of the row, the "
        "smallest over the other rows of Table 2",
        _margin(results, _others(results), " #100"),
        relation=">",
        claimed=exactly(0),
        unit="%",
    )


def _space() -> Iterator[Check]:
    table, here = Table("nas-bnn/table-1"), Section("nas-bnn", "3.2")
    plugin = find("space", "nas-bnn")
    whole = plugin.make(dict(plugin.defaults) | {"non_decreasing": False}).size()
    narrow = plugin.make(dict(plugin.defaults)).size()
    stages = [f"stage {number}" for number in range(1, 6)]
    per_group = [
        exactly(Fraction(min(_options(table, stage, "width")), max(groups)))
        for stage in stages
        if len(groups := _options(table, stage, "groups")) > 1
    ]
    yield here.check(
        "groups",
        "ensuring that each group contains at least 48 dependent channels",
        "48",
        "smallest channel width / largest number of groups, the smallest of Table 1's stages",
        smallest(per_group),
    )
    rows = ["stem", *stages, "pooling"]
    for before, row in pairwise(rows):
        side, stride = _options(table, before, "input")[0], _options(table, before, "stride")[0]
        words = f"side of the input of {before} / its stride"
        yield table.check(row, "input", words, exactly(side) / stride)
    depths = {stage: min(_options(table, stage, "depth")) for stage in stages}
    yield here.check(
        "depths",
        "with similar depth ratio (i.e., 1:1:4:1)",
        "4",
        "smallest depth of stage 4 / smallest depth of stage 3, Table 1",
        exactly(Fraction(depths["stage 4"], depths["stage 3"])),
    )
    yield here.check(
        "size",
        "that search space contains approximately 4.0 × 10^21 candidate architectures",
        "4.0",
        "product over the stages of the sum over depths of options^depth",
        exactly(Fraction(whole, 10**21)),
        unit="10^21",
    )
    yield here.check(
        "size-non-decreasing",
        "a total of 3.3 × 10^17 subnets",
        "3.3",
        "the same with widths that never decrease within a stage",
        exactly(Fraction(narrow, 10**17)),
        unit="10^17",
    )
    yield here.check(
        "share",
        "the size of the search space is reduced to 0.01% of the original one",
        "0.01",
        "100 x size with the Non-Decreasing constraint / size without it",
        exactly(Fraction(100 * narrow, whole)),
        unit="%",
    )


def _options(table: Table, row: str, column: str) -> list[int]:
    """The numbers of a cell such as {96, 128, 192}."""
    return [int(number) for number in re.findall(r"\d+", table.text(row, column))]


def _table_2(results: Table) -> Iterator[Check]:
    counts = {
        "reactnet-a": "ReActNet-A",
        "birealnet18": "Bi-RealNet-18",
        "xnor-resnet18": "XNOR-Net",
    }
    for model in MODELS:
        yield results.check(
            *(model, "ops", "OPs of the layers of Table 6, rule of section 4.1.2"),
            mops(nas_bnn(model), "nas-bnn"),
            unit="M",
        )
    for model, row in counts.items():
        book = handmade(model)
        yield results.check(
            *(row, "ops", "real MACs + binary MACs / 64 of the counted layers"),
            mops(book, "bireal"),
            otherwise={"real MACs + binary MACs / 58": mops(book, "cp-nas")},
            unit="M",
        )
    for row in results.rows("n1"):
        one = results(row, "n1")
        if not one.value:
            continue
        for column, scenarios in (("n10", 10), ("n40", 40)):
            words = f"{scenarios} x epochs at N=1"
            value = scenarios * exactly(one.value, one.text)
            yield results.check(row, column, words, value, unit="epochs")
        if row.endswith("#100"):
            words = "finetuning of 100 epochs, section 4.2"
            yield results.check(row, "n1", words, exactly(100), unit="epochs")
    for model in MODELS:
        words = "as in section 4.1.2, of the supernet"
        yield results.check(model, "search", words, exactly(512), repeated=True, unit="epochs")


def _section_4_2(results: Table) -> Iterator[Check]:
    here = Section("nas-bnn", "4.2")
    text = "it significantly enhances the top-1 accuracy by more than 1%"
    for model in MODELS:
        gain = results(f"{model} #100", "top1") - results(model, "top1")
        words = f"Top-1 of {model} #100 - Top-1 of {model}, Table 2"
        key = f"finetuning-{model[-1].lower()}"
        yield here.check(key, text, "more than 1", words, gain, relation=">", unit="%")
    text = (
        "We finetune each model with 100 epochs, which is only about 1/5 of the training cost for "
        "ReActNet"
    )
    yield here.check(
        *("training-cost", text, "1/5", "finetune epochs / epochs of ReActNet-A at N=1, Table 2"),
        exactly(100) / exactly(results("ReActNet-A", "n1").value),
    )
    for key, row, number, ops in (
        ("f", "NAS-BNN-F", "69.54", "180"),
        ("c-100", "NAS-BNN-C #100", "69.49", "87"),
        ("f-100", "NAS-BNN-F #100", "70.80", "180"),
    ):
        text = f"{row} achieves {number}% top-1 accuracy with {ops}M OPs"
        yield here.same(key, text, number, results, row, "top1", unit="%")
        yield here.same(f"{key}-ops", text, ops, results, row, "ops", unit="M")
    yield here.check(
        "gpu-days",
        "Our total search cost on ImageNet is 240 GPU days (220 GPU days for supernet training, and "
        "20 GPU days for searching)",
        "240",
        "supernet training + searching",
        exactly(220) + 20,
        unit="GPU days",
    )
    yield from _cost(results, here)
    yield here.check(
        "outperforms",
        "our methods outperform all automatically designed (i.e., NAS-based) models",
        "outperform",
        "Top-1 of NAS-BNN-A to -F with at most the OPs of the row - Top-1 of the row, the smallest "
        "over the other rows of Table 2 of design type auto",
        _margin(results, [r for r in _others(results) if results.text(r, "design") == "auto"], ""),
        relation=">",
        claimed=exactly(0),
        unit="%",
    )


def _cost(results: Table, here: Section) -> Iterator[Check]:
    """Whether search and training together take fewer epochs than each other model's."""
    text = "the total cost of our method is significantly lower than that of other methods"
    others = _others(results)

    def cost(row: str, column: str) -> Term:
        search = results(row, "search").value if results.has(row, "search") else Fraction(0)
        return exactly(search + results(row, column).value)

    for pipeline, row in (("1", "NAS-BNN-F"), ("2", "NAS-BNN-F #100")):
        for scenarios in (1, 10, 40):
            costs = {other: cost(other, f"n{scenarios}") for other in others}
            cheapest = min(costs, key=lambda other: costs[other].value)
            yield here.check(
                f"total-cost-pipeline-{pipeline}-n{scenarios}",
                text,
                "lower",
                f"search + train/finetune epochs of {row} at N={scenarios}, Table 2, against the "
                f"lowest of others, {cheapest} with {costs[cheapest].text}",
                cost(row, f"n{scenarios}"),
                relation="<",
                claimed=costs[cheapest],
                unit="epochs",
            )


def _margin(results: Table, rows: list[str], own: str) -> Term:
    """The smallest lead over the rows of the most accurate NAS-BNN with no more OPs than each.

    Args:
        own: ends the names of its rows: `` or ` #100`.
    """

    def lead(row: str) -> Term:
        limit = results(row, "ops").value
        fitting = [model + own for model in MODELS if results(model, "ops").value <= limit]
        return largest(results(model, "top1") for model in fitting) - results(row, "top1")

    return smallest(map(lead, rows))


def _others(results: Table) -> list[str]:
    return [row for row in results.rows("top1") if not row.startswith("NAS-BNN")]


def _detectors() -> Iterator[Check]:
    table, here = Table("nas-bnn/table-3"), Section("nas-bnn", "4.3")
    for limit, model, number in ((436, "NAS-BNN-D", "31.6"), (459, "NAS-BNN-E", "32.1")):
        text = f"with less than {limit}M OPs, our model {model}"
        text += f" {'also ' * (limit == 459)}achieves the highest mAP of {number}%"
        within = [row for row in table.rows("map") if table(row, "ops").value < limit]
        best = largest(table(row, "map") for row in within)
        words = f"highest mAP of the rows of Table 3 with less than {limit} M OPs"
        yield here.check(model[-1].lower(), text, number, words, best, unit="%")
    text = "an extremely small model with 140M OPs and a larger model with 484M OPs"
    yield here.same("a", text, "140", table, "NAS-BNN-A", "ops", unit="M")
    yield here.same("f", text, "484", table, "NAS-BNN-F", "ops", unit="M")


def _templates() -> Iterator[Check]:
    table = Table("nas-bnn/table-4")
    for row in table.rows("ops"):
        book = handmade(row.lower().replace("bi-real", "bireal"), classes=100)
        yield table.check(
            *(row, "ops", "OPs of the counted layers with 100 classes, rule of section 4.1.2"),
            mops(book, "nas-bnn"),
            otherwise={"with a real first convolution": mops(book, "bireal")},
            unit="M",
        )


def _finetuning(results: Table) -> Iterator[Check]:
    table, here, row = Table("nas-bnn/table-5"), Section("nas-bnn", "4.4.5"), "NAS-BNN-B"
    for epochs in (25, 50, 75, 100):
        gain = table(row, f"e{epochs}") - table(row, "e0")
        words = f"Top-1 after {epochs} epochs - Top-1 after 0 epochs"
        yield table.check(row, f"d{epochs}", words, gain, unit="%")
    yield table.same(row, "e0", results, row, "top1", unit="%")
    yield table.same(row, "e100", results, f"{row} #100", "top1", unit="%")
    text = "even with only 25 epochs (↑1.20%)"
    yield here.same("25-epochs", text, "1.20", table, row, "d25", unit="%")


def _mixed_precision(results: Table) -> Iterator[Check]:
    here, book = Section("nas-bnn", "4.5"), nas_bnn("NAS-BNN-F")
    text = (
        "NAS-BNN-F #100 achieves 70.8% top-1 accuracy on ImageNet-1K with only 180M OPs "
        "(equivalent to 11.5G BitOPs) and a size of 9.3 MB"
    )
    yield here.same("top1", text, "70.8", results, "NAS-BNN-F #100", "top1", unit="%")
    yield here.check(
        *("bitops", text, "11.5", "64 x OPs of NAS-BNN-F in Table 2, in G"),
        64 * results("NAS-BNN-F", "ops") / 1000,
        unit="G",
    )
    yield here.check(
        *(
            "size",
            text,
            "9.3",
            "each parameter of the layers of Table 6 at its bits, in 10^6 bytes",
        ),
        exactly(mbits(book, "nas-bnn").value / 8),
        otherwise={
            "in 2^20 bytes": exactly(mbits(book, "nas-bnn").value * 10**6 / 8 / 2**20),
            "with 16 bits for each real-valued parameter, in 10^6 bytes": _halves(book),
        },
        unit="MB",
    )


def _halves(book: Ledger) -> Term:
    """Megabytes of a network whose real-valued parameters have 16 bits."""
    bits = sum(min(bits, 16) * number for bits, number in book.parameters.items())
    return exactly(Fraction(bits, 8 * 10**6))


def _layers(results: Table) -> Iterator[Check]:
    table, here = Table("nas-bnn/table-6"), Section("nas-bnn", "5.1")
    layers = {model: nas_bnn_layers(model) for model in MODELS}
    for model in MODELS:
        alike = [m for m in MODELS if m != model and layers[m] == layers[model]]
        words = "OPs of the column's layers, rule of section 4.1.2"
        if alike:
            words += f" (they are printed as those of {', '.join(alike)})"
        yield table.check(model, "ops", words, mops(nas_bnn(model), "nas-bnn"), unit="M")
        yield table.same(model, "ops", results, unit="M")

    def share(model: str, stages: str, part: int, option: int) -> Term:
        chosen = [layer for name, layer in layers[model].items() if name[1] in stages]
        return exactly(sum(layer[part] == option for layer in chosen)) / len(chosen)

    text = (
        "in NAS-BNN-F, the proportion of convolution with a kernel size of 5 is 1/5 in 2-nd and "
        "3-rd stages, but it rises to 2/3 in the 4-th stage"
    )
    for key, number, stages in (("kernels-2-3", "1/5", "23"), ("kernels-4", "2/3", "4")):
        words = f"layers of stage {' and '.join(stages)} with k5 / all of them, Table 6"
        yield here.check(key, text, number, words, share("NAS-BNN-F", stages, 1, 5))
    yield here.check(
        "groups-4",
        "in the 4-th stage of NAS-BNN-B, the number of groups is predominantly 8",
        "predominantly",
        "layers of stage 4 with g8 / all of them, Table 6",
        share("NAS-BNN-B", "4", 2, 8),
        relation=">",
        claimed=exactly(Fraction(1, 2)),
    )
