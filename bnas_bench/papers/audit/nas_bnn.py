"""The numbers of NAS-BNN (Lin et al., 2024), recomputed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise

from bnas_bench.papers.audit.check import Check
from bnas_bench.papers.audit.counts import handmade, mbits, mops, nas_bnn, nas_bnn_layers
from bnas_bench.papers.audit.places import Section, Table
from bnas_bench.papers.audit.terms import Term, exactly, largest, smallest
from bnas_bench.plugins.registry import find

MODELS = tuple(f"NAS-BNN-{letter}" for letter in "ABCDEF")


def checks() -> Iterator[Check]:
    """All checks of the paper, in its order."""
    results, detectors = Table("nas-bnn/table-2"), Table("nas-bnn/table-3")
    yield from _abstract(results, detectors)
    yield from _space()
    yield from _table_2(results)
    yield from _section_4_2(results)
    yield from _cost(results)
    yield _outperforms_automatic(results)
    yield from _detectors(detectors)
    yield from _templates()
    yield from _finetuning(results)
    yield from _mixed_precision(results)
    yield from _layers(results)


def _abstract(results: Table, detectors: Table) -> Iterator[Check]:
    here = Section("nas-bnn", "abstract")
    said = here("we achieve 68.20% top-1 accuracy on ImageNet with only 57M OPs")
    yield said.same("top1", "68.20", results("NAS-BNN-B #100", "top1"))
    yield said.same("ops", "57", results("NAS-BNN-B #100", "ops"))
    said = here("31.6% mAP with 370M OPs, on MS COCO dataset")
    yield said.same("map", "31.6", detectors("NAS-BNN-D", "map"))
    yield said.same("detector-ops", "370", detectors("NAS-BNN-D", "ops"))
    yield here(
        "Our discovered binary model family outperforms previous BNNs for a wide range of "
        "operations (OPs) from 20M to 200M"
    ).check(
        "outperforms",
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

    def options(row: str, column: str) -> list[int]:
        """The numbers of a cell such as {96, 128, 192}."""
        return [int(number) for number in re.findall(r"\d+", table(row, column).printed)]

    stages = [f"stage {number}" for number in range(1, 6)]
    per_group = smallest(
        exactly(Fraction(min(options(stage, "width")), max(groups)))
        for stage in stages
        if len(groups := options(stage, "groups")) > 1
    )
    words = "smallest channel width / largest number of groups, the smallest of Table 1's stages"
    said = here("ensuring that each group contains at least 48 dependent channels")
    yield said.check("groups", "48", words, per_group)
    for before, row in pairwise(["stem", *stages, "pooling"]):
        (side, *_), (stride, *_) = options(before, "input"), options(before, "stride")
        words = f"side of the input of {before} / its stride"
        yield table(row, "input").check(words, exactly(side) / stride)
    words = "smallest depth of stage 4 / smallest depth of stage 3, Table 1"
    depths = Fraction(*(min(options(stage, "depth")) for stage in ("stage 4", "stage 3")))
    said = here("with similar depth ratio (i.e., 1:1:4:1)")
    yield said.check("depths", "4", words, exactly(depths))
    words = "product over the stages of the sum over depths of options^depth"
    said = here("that search space contains approximately 4.0 × 10^21 candidate architectures")
    yield said.check("size", "4.0", words, exactly(Fraction(whole, 10**21)), unit="10^21")
    words, size = (
        "the same with widths that never decrease within a stage",
        Fraction(narrow, 10**17),
    )
    said = here("a total of 3.3 × 10^17 subnets")
    yield said.check("size-non-decreasing", "3.3", words, exactly(size), unit="10^17")
    words = "100 x size with the Non-Decreasing constraint / size without it"
    said = here("the size of the search space is reduced to 0.01% of the original one")
    yield said.check("share", "0.01", words, exactly(Fraction(100 * narrow, whole)), unit="%")


def _table_2(results: Table) -> Iterator[Check]:
    for model in MODELS:
        words = "OPs of the layers of Table 6, rule of section 4.1.2"
        yield results(model, "ops").check(words, mops(nas_bnn(model), "nas-bnn"))
    for model, row in (
        ("reactnet-a", "ReActNet-A"),
        ("birealnet18", "Bi-RealNet-18"),
        ("xnor-resnet18", "XNOR-Net"),
    ):
        book = handmade(model)
        yield results(row, "ops").check(
            "real MACs + binary MACs / 64 of the counted layers",
            mops(book, "bireal"),
            otherwise={"real MACs + binary MACs / 58": mops(book, "cp-nas")},
        )
    epochs = {"unit": "epochs"}
    for row in results.rows("n1"):
        one = results(row, "n1")
        if not one.value:
            continue
        for column, scenarios in (("n10", 10), ("n40", 40)):
            value = scenarios * exactly(one.value, one.text)
            yield results(row, column).check(f"{scenarios} x epochs at N=1", value, **epochs)
        if row.endswith("#100"):
            yield one.check("finetuning of 100 epochs, section 4.2", exactly(100), **epochs)
    for model in MODELS:
        words = "as in section 4.1.2, of the supernet"
        yield results(model, "search").check(words, exactly(512), repeated=True, **epochs)


def _section_4_2(results: Table) -> Iterator[Check]:
    here = Section("nas-bnn", "4.2")
    said = here("it significantly enhances the top-1 accuracy by more than 1%")
    for model in MODELS:
        gain = results(f"{model} #100", "top1") - results(model, "top1")
        words = f"Top-1 of {model} #100 - Top-1 of {model}, Table 2"
        key = f"finetuning-{model[-1].lower()}"
        yield said.check(key, "more than 1", words, gain, relation=">", unit="%")
    said = here(
        "We finetune each model with 100 epochs, which is only about 1/5 of the training cost for "
        "ReActNet"
    )
    words = "finetune epochs / epochs of ReActNet-A at N=1, Table 2"
    share = exactly(100) / exactly(results("ReActNet-A", "n1").value)
    yield said.check("training-cost", "1/5", words, share)
    for key, row, number, ops in (
        ("f", "NAS-BNN-F", "69.54", "180"),
        ("c-100", "NAS-BNN-C #100", "69.49", "87"),
        ("f-100", "NAS-BNN-F #100", "70.80", "180"),
    ):
        said = here(f"{row} achieves {number}% top-1 accuracy with {ops}M OPs")
        yield said.same(key, number, results(row, "top1"))
        yield said.same(f"{key}-ops", ops, results(row, "ops"))
    said = here(
        "Our total search cost on ImageNet is 240 GPU days (220 GPU days for supernet training, and "
        "20 GPU days for searching)"
    )
    words = "supernet training + searching"
    yield said.check("gpu-days", "240", words, exactly(220) + 20, unit="GPU days")


def _cost(results: Table) -> Iterator[Check]:
    """Whether search and training together take fewer epochs than each other model's."""
    said = Section("nas-bnn", "4.2")(
        "the total cost of our method is significantly lower than that of other methods"
    )

    def cost(row: str, column: str) -> Term:
        search = results(row, "search").value if results.has(row, "search") else Fraction(0)
        return exactly(search + results(row, column).value)

    for pipeline, row in (("1", "NAS-BNN-F"), ("2", "NAS-BNN-F #100")):
        for scenarios in (1, 10, 40):
            costs = {other: cost(other, f"n{scenarios}") for other in _others(results)}
            cheapest = min(costs, key=lambda other: costs[other].value)
            yield said.check(
                f"total-cost-pipeline-{pipeline}-n{scenarios}",
                "lower",
                f"search + train/finetune epochs of {row} at N={scenarios}, Table 2, against the "
                f"lowest of others, {cheapest} with {costs[cheapest].text}",
                cost(row, f"n{scenarios}"),
                relation="<",
                claimed=costs[cheapest],
                unit="epochs",
            )


def _outperforms_automatic(results: Table) -> Check:
    automatic = [
        row for row in _others(results) if results.artefact.row(row).paper["design"] == "auto"
    ]
    return Section("nas-bnn", "4.2")(
        "our methods outperform all automatically designed (i.e., NAS-based) models"
    ).check(
        "outperforms",
        "outperform",
        "Top-1 of NAS-BNN-A to -F with at most the OPs of the row - Top-1 of the row, the smallest "
        "over the other rows of Table 2 of design type auto",
        _margin(results, automatic, ""),
        relation=">",
        claimed=exactly(0),
        unit="%",
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


def _detectors(table: Table) -> Iterator[Check]:
    here = Section("nas-bnn", "4.3")
    for limit, model, also, number in ((436, "D", "", "31.6"), (459, "E", "also ", "32.1")):
        said = here(
            f"with less than {limit}M OPs, our model NAS-BNN-{model} {also}achieves the highest mAP "
            f"of {number}%"
        )
        within = [row for row in table.rows("map") if table(row, "ops").value < limit]
        best = largest(table(row, "map") for row in within)
        words = f"highest mAP of the rows of Table 3 with less than {limit} M OPs"
        yield said.check(model.lower(), number, words, best, unit="%")
    said = here("an extremely small model with 140M OPs and a larger model with 484M OPs")
    yield said.same("a", "140", table("NAS-BNN-A", "ops"))
    yield said.same("f", "484", table("NAS-BNN-F", "ops"))


def _templates() -> Iterator[Check]:
    table = Table("nas-bnn/table-4")
    for row in table.rows("ops"):
        book = handmade(row.lower().replace("bi-real", "bireal"), classes=100)
        yield table(row, "ops").check(
            "OPs of the counted layers with 100 classes, rule of section 4.1.2",
            mops(book, "nas-bnn"),
            otherwise={"with a real first convolution": mops(book, "bireal")},
        )


def _finetuning(results: Table) -> Iterator[Check]:
    table, row = Table("nas-bnn/table-5"), "NAS-BNN-B"
    for epochs in (25, 50, 75, 100):
        words = f"Top-1 after {epochs} epochs - Top-1 after 0 epochs"
        gain = table(row, f"e{epochs}") - table(row, "e0")
        yield table(row, f"d{epochs}").check(words, gain)
    yield table(row, "e0").same(results(row, "top1"))
    yield table(row, "e100").same(results(f"{row} #100", "top1"))
    said = Section("nas-bnn", "4.4.5")("even with only 25 epochs (↑1.20%)")
    yield said.same("25-epochs", "1.20", table(row, "d25"))


def _mixed_precision(results: Table) -> Iterator[Check]:
    said = Section("nas-bnn", "4.5")(
        "NAS-BNN-F #100 achieves 70.8% top-1 accuracy on ImageNet-1K with only 180M OPs "
        "(equivalent to 11.5G BitOPs) and a size of 9.3 MB"
    )
    yield said.same("top1", "70.8", results("NAS-BNN-F #100", "top1"))
    words = "64 x OPs of NAS-BNN-F in Table 2, in G"
    yield said.check("bitops", "11.5", words, 64 * results("NAS-BNN-F", "ops") / 1000, unit="G")
    book = nas_bnn("NAS-BNN-F")
    size = mbits(book, "nas-bnn").value / 8
    halves = sum(min(bits, 16) * number for bits, number in book.parameters.items())
    yield said.check(
        "size",
        "9.3",
        "each parameter of the layers of Table 6 at its bits, in 10^6 bytes",
        exactly(size),
        otherwise={
            "in 2^20 bytes": exactly(size * 10**6 / 2**20),
            "with 16 bits for each real-valued parameter, in 10^6 bytes": exactly(
                Fraction(halves, 8 * 10**6)
            ),
        },
        unit="MB",
    )


def _layers(results: Table) -> Iterator[Check]:
    table, here = Table("nas-bnn/table-6"), Section("nas-bnn", "5.1")
    layers = {model: nas_bnn_layers(model) for model in MODELS}
    for model in MODELS:
        alike = [m for m in MODELS if m != model and layers[m] == layers[model]]
        words = "OPs of the column's layers, rule of section 4.1.2"
        if alike:
            words += f" (they are printed as those of {', '.join(alike)})"
        ops = table(model, "ops")
        yield ops.check(words, mops(nas_bnn(model), "nas-bnn"))
        yield ops.same(results(model, "ops"))

    def share(model: str, stages: str, part: int, option: int) -> Term:
        chosen = [layer for name, layer in layers[model].items() if name[1] in stages]
        return exactly(sum(layer[part] == option for layer in chosen)) / len(chosen)

    said = here(
        "in NAS-BNN-F, the proportion of convolution with a kernel size of 5 is 1/5 in 2-nd and "
        "3-rd stages, but it rises to 2/3 in the 4-th stage"
    )
    for key, number, stages in (("kernels-2-3", "1/5", "23"), ("kernels-4", "2/3", "4")):
        words = f"layers of stage {' and '.join(stages)} with k5 / all of them, Table 6"
        yield said.check(key, number, words, share("NAS-BNN-F", stages, 1, 5))
    yield here("in the 4-th stage of NAS-BNN-B, the number of groups is predominantly 8").check(
        "groups-4",
        "predominantly",
        "layers of stage 4 with g8 / all of them, Table 6",
        share("NAS-BNN-B", "4", 2, 8),
        relation=">",
        claimed=exactly(Fraction(1, 2)),
    )
