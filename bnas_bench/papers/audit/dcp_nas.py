"""The numbers of DCP-NAS (Li et al., IJCV 2023), recomputed: sections 1 to 4.2.

Those of section 4.3 are in `dcp_nas_results`, those of 4.4 to 4.6 in `dcp_nas_transfer`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bnas_bench.papers.audit import dcp_nas_results, dcp_nas_transfer
from bnas_bench.papers.audit.check import Check
from bnas_bench.papers.audit.counts import dcp_nas, mops, mparameters
from bnas_bench.papers.audit.places import Section, Table
from bnas_bench.papers.audit.terms import exactly, largest, printed, smallest, total

SIZES = {"S": ("Small", "1-bit, small", 54), "M": ("Medium", "1-bit, medium", 72)} | {
    "L": ("Large", "1-bit, large", 108)
}
"""By the letter of a size: its name in Table 7, its group in Tables 10 and 11, its channels."""

NORMAL, NO_SKIP = "Normal search space", "w/o skip connection"
COLUMNS = ("memory", "ops", "top1", "top5", "cost")


def checks() -> Iterator[Check]:
    """All checks of the paper, in its order."""
    yield from _table_1()
    yield from _setting()
    yield from _table_3()
    yield from _table_4()
    yield from _tables_5_and_6()
    yield from _table_7()
    yield from _table_8()
    yield from _table_9()
    yield from dcp_nas_results.checks()
    yield from dcp_nas_transfer.checks()


def _main() -> Table:
    return Table("dcp-nas/table-11")


def _table_1() -> Iterator[Check]:
    table, main, here = Table("dcp-nas/table-1"), _main(), Section("dcp-nas", "1")
    gaps = {row: table(row, "one") - table(row, "real") for row in table.rows("gap")}
    for row, gap in gaps.items():
        yield table.check(row, "gap", "1-bit accuracy - 32-bit accuracy", gap, unit="%")
    where = {
        "BNAS1": ("BNAS1", "1-bit, medium"),
        "BNAS2": ("BNAS2-C", ""),
        "CP-NAS": ("CP-NAS-L", ""),
        "DCP-NAS": ("DCP-NAS-L", ""),
    }
    group = "real-valued"
    yield table.same("ResNet-18", "real", main, its_column="top1", its_group=group, unit="%")
    yield table.same("ResNet-18", "one", main, "ResNet-18 (ReActNet)", "top1", unit="%")
    for row, (name, its_group) in where.items():
        yield table.same(row, "one", main, name, "top1", its_group=its_group, unit="%")
    yield table.same("ReActNet-A", "one", Table("nas-bnn/table-2"), "ReActNet-A", "top1", unit="%")
    hand = "a significant gap (about 3% ∼ 4%) between 1-bit hand-crafted models and real-valued"
    direct = "a performance gap about 3% ∼ 4% compared with the real-valued counterparts"
    for key, group, text in (("hand", "Hand-crafted", hand), ("direct", "Direct BNAS", direct)):
        of_group = [
            table(row, "real") - table(row, "one") for row in table.rows("gap", group=group)
        ]
        words = "gap of Table 1's " + group
        yield here.check(
            f"{key}-least", text, "3", f"smallest {words}", smallest(of_group), unit="%"
        )
        yield here.check(f"{key}-most", text, "4", f"largest {words}", largest(of_group), unit="%")


def _setting() -> Iterator[Check]:
    yield Section("dcp-nas", "1").check(
        "memory",
        "compress real-valued weights and activations (32-bit) of CNNs into a single bit and "
        "directly decrease the memory consumption by 32×",
        "32",
        "bits of a real-valued weight / bits of a binary one",
        exactly(32) / 1,
        unit="×",
    )
    yield Section("dcp-nas", "figure 5").check(
        "edges",
        "One cell includes 2 input nodes, 4 intermediate nodes and 14 edges",
        "14",
        "each intermediate node has an edge from each node before it",
        total(map(exactly, (2, 3, 4, 5))),
    )
    data = Section("dcp-nas", "4.1.1")
    market = (
        "a training dataset consisting of 12,936 images with 751 identities and a test dataset "
        "containing 19,732 images with 750 identities"
    )
    boxes = f"32,668 labeled bounding boxes of 1,501 identities [...] {market}"
    words = "training images + test images"
    yield data.check("boxes", boxes, "32,668", words, exactly(12_936) + 19_732)
    words = "identities of the training dataset + identities of the test dataset"
    yield data.check("identities", boxes, "1,501", words, exactly(751) + 750)
    yield Section("dcp-nas", "4.1.2").check(
        "epochs",
        "the number of search epochs is set as 105 (same as CP-NAS [80])",
        "105",
        "as in CP-NAS, section 3.1",
        total(exactly(k) for k in range(8, 1, -1)) * 3,
        repeated=True,
    )
    training = Section("dcp-nas", "4.1.3")
    yield training.check(
        "cells",
        "10 cells (8 normal cells and 2 reduction cells)",
        "10",
        "normal cells + reduction cells",
        exactly(8) + 2,
    )
    yield training.check(
        "resolution",
        "three convolutional layers with s stride of 2 to reduce the input image resolution from "
        "224 × 224 to 28 × 28",
        "28",
        "224 halved three times",
        exactly(224) / 8,
    )


def _table_3() -> Iterator[Check]:
    table, here = Table("dcp-nas/table-3"), Section("dcp-nas", "4.2.1")
    yield here.check(
        "lambda",
        "we first set λ to 5e-3 and µ to 0.2, if they are used",
        "5e-3",
        "as in section 4.1.2, for searches on ImageNet",
        printed("1e-3"),
        repeated=True,
    )
    text = "When applied together, the Top-1 accuracy reaches the highest value of 72.4%"
    yield here.same("both", text, "72.4", table, "both", "top1", unit="%")
    for column in ("top1", "top5"):
        for other, row, group in (
            (Table("dcp-nas/table-7"), "Large", NORMAL),
            (Table("dcp-nas/table-8"), "DCP-NAS-L", ""),
            (_main(), "DCP-NAS-L", ""),
        ):
            yield table.same("both", column, other, row, its_group=group, unit="%")


def _table_4() -> Iterator[Check]:
    table, main, here = Table("dcp-nas/table-4"), _main(), Section("dcp-nas", "4.2.1")
    whole = "DCP-NAS-L (T.P., GGN, D.O.)"
    where = {
        "PNAS": ("PNAS", ""),
        "DARTS": ("DARTS", ""),
        "PC-DARTS": ("PC-DARTS", ""),
        "BNAS1": ("BNAS1", "1-bit, medium"),
        "BNAS2-H": ("BNAS2-H", ""),
        "CP-NAS (Baseline)": ("CP-NAS-L", ""),
        whole: ("DCP-NAS-L", ""),
    }
    weights = main("BNAS1", "cost", "1-bit weights")
    for row, (name, group) in where.items():
        for column, unit in (("top1", "%"), ("cost", "GPU days")):
            if not table.has(row, column):
                continue
            more: dict[str, Any] = {}
            if (row, column) == ("BNAS1", "cost"):
                place = main.place("BNAS1", "cost", "1-bit weights")
                more["otherwise"] = {f"that of {place}": weights}
            yield table.same(row, column, main, name, its_group=group, unit=unit, **more)
    before, after = table("DCP-NAS-L (T.P., D.O.)", "cost"), table(whole, "cost")
    yield here.check(
        *("ggn", "reduces the search cost to nearly 10%", "10"),
        *("100 x search cost with GGN / without it, Table 4", 100 * after / before),
        unit="%",
    )
    text = "our method reduces the search cost from 29 to 2.9, which is more efficient than DARTS"
    row = "DCP-NAS-L (T.P., D.O.)"
    yield here.same("without-ggn", text, "29", table, row, "cost", unit="GPU days")
    yield here.same("with-ggn", text, "2.9", table, whole, "cost", unit="GPU days")
    yield here.check(
        *("darts", text, "more efficient than DARTS", "search cost in Table 4", after),
        relation="<",
        claimed=table("DARTS", "cost"),
        unit="GPU days",
    )


def _tables_5_and_6() -> Iterator[Check]:
    distances, real, main = Table("dcp-nas/table-5"), Table("dcp-nas/table-6"), _main()
    units = {"memory": "MBits", "ops": "M", "top1": "%", "top5": "%", "cost": "GPU days"}
    for column in ("top1", "top5", "memory", "cost"):
        yield distances.same("F-norm", column, main, "DCP-NAS-S", unit=units[column])
    for row in ("DARTS", "PC-DARTS"):
        for column in ("top1", "top5", "memory", "cost"):
            yield real.same(row, column, main, unit=units[column])
    here = Section("dcp-nas", "4.2.2")
    text = (
        "our decoupled optimization method further boosts the performance by 0.7% and 0.8% with "
        "no extra search cost"
    )
    for row, number in (("DARTS", "0.7"), ("PC-DARTS", "0.8")):
        with_it = f"{row} + D.O."
        words = f"Top-1 of {with_it} - Top-1 of {row}, Table 6"
        gain = real(with_it, "top1") - real(row, "top1")
        yield here.check(row.lower(), text, number, words, gain, unit="%")
        yield real.check(
            *(with_it, "cost", f"no extra search cost (section 4.2.2): that of {row}"),
            real(row, "cost"),
            unit="GPU days",
        )


def _table_7() -> Iterator[Check]:
    table, here = Table("dcp-nas/table-7"), Section("dcp-nas", "4.2.3")
    for size, (name, _, _) in SIZES.items():
        for column, unit in (("memory", "MBits"), ("top1", "%"), ("top5", "%")):
            for other in (Table("dcp-nas/table-8"), _main()):
                row = f"DCP-NAS-{size}"
                more: dict[str, Any] = {}
                if (size, column) == ("L", "memory"):
                    medium = table("Medium", column, NORMAL)
                    more["otherwise"] = {f"that of {table.place('Medium', column, NORMAL)}": medium}
                yield table.same(name, column, other, row, group=NORMAL, unit=unit, **more)
    text = (
        "increasing the memory usage to over 1.3× than the network obtained from the normal "
        "search space"
    )
    for name, _, _ in SIZES.values():
        ratio = table(name, "memory", NO_SKIP) / table(name, "memory", NORMAL)
        words = f"memory of {name} {NO_SKIP} / in the {NORMAL.lower()}, Table 7"
        key = f"memory-{name.lower()}"
        yield here.check(key, text, "over 1.3", words, ratio, relation=">", unit="×")
    text = "the performance of small models drop to only 58.9% Top-1 accuracy"
    group = "w/o pooling layer + w/o skip connection"
    yield here.same("small", text, "58.9", table, "Small", "top1", group, unit="%")


def _table_8() -> Iterator[Check]:
    table, main, here = Table("dcp-nas/table-8"), _main(), Section("dcp-nas", "4.2.4")
    units = {"memory": "MBits", "ops": "M", "top1": "%", "top5": "%"}
    for row in ("DCP-NAS-S", "DCP-NAS-M", "CP-NAS-L", "DCP-NAS-L"):
        for column in units:
            yield table.same(row, column, main, unit=units[column])
    for size, (_, _, channels) in SIZES.items():
        for mark, what in (("♯", "preprocessing"), ("§", "depthwise")):
            book, row = dcp_nas(channels, what), f"DCP-NAS-{size}{mark}"
            words = (
                "parameters of the published genotype, which binary activations leave as they are"
            )
            yield table.check(row, "memory", words, mparameters(book), unit="MBits")
            words = f"real MACs of the published genotype with binary {what} + binary MACs / 64"
            yield table.check(
                *(row, "ops", words, mops(book, "bireal")),
                otherwise={"all MACs with 1-bit weights / 58": mops(book, "dcp-nas")},
                unit="M",
            )
    source, one = Table("cp-nas/table-2"), "1-bit"
    for column in ("top1", "top5"):
        yield table.same("CP-NAS-L", column, source, "CP-NAS**", its_group=one, unit="%")
        place = source.place("CP-NAS*", column, one, seen_from=table.paper)
        yield table.check(
            *("CP-NAS-L♯", column),
            f"as in {place}: preprocessing binarised, first depthwise convolution not",
            source("CP-NAS*", column, one),
            repeated=True,
            unit="%",
        )
    losses = [
        table(f"DCP-NAS-{size}", "top1") - table(f"DCP-NAS-{size}♯", "top1") for size in SIZES
    ]
    text = (
        "the Top-1 accuracy decreases up to 2.9% compare with the final DCP-NAS models, which is "
        "less acceptable"
    )
    words = "largest Top-1 of DCP-NAS-S, -M, -L less that of the row with ♯, Table 8"
    yield here.check("preprocessing", text, "2.9", words, largest(losses), unit="%")
    text = "the DCP-NAS-L surpasses DCP-NAS-L§ by 2.3% Top-1 accuracy"
    gain = table("DCP-NAS-L", "top1") - table("DCP-NAS-L§", "top1")
    yield here.check("depthwise", text, "2.3", "difference of Top-1 in Table 8", gain, unit="%")


def _table_9() -> Iterator[Check]:
    table, here = Table("dcp-nas/table-9"), Section("dcp-nas", "4.2.5")
    best = "cutout and clipping"
    cifar = Table("dcp-nas/table-10")
    yield table.same(best, "error", cifar, "DCP-NAS-S", unit="%")
    for column in ("top1", "top5"):
        yield table.same("smoothing and auxiliary loss", column, _main(), "DCP-NAS-S", unit="%")
    yield here.check(
        "cifar-10",
        "removing both brings 0.74% performance drop",
        "0.74",
        "error without both - error with both, Table 9",
        table("neither cutout nor clipping", "error") - table(best, "error"),
        unit="%",
    )
