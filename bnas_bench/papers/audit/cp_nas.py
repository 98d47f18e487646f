"""The numbers of CP-NAS (Zhuo et al., IJCAI 2020), recomputed."""

from __future__ import annotations

from collections.abc import Iterator

from bnas_bench.papers.audit.check import Check
from bnas_bench.papers.audit.counts import CIFAR, handmade, mbits, mops, mparameters
from bnas_bench.papers.audit.places import Section, Table
from bnas_bench.papers.audit.terms import Term, exactly, total

SMALL, MEDIUM, LARGE = "CP-NAS (Small)", "CP-NAS (Medium)", "CP-NAS (large)"
WRN, BONN = "WRN-22", "WRN-22 (BONN)"
GPU_DAYS = "100 x (1 - search cost of CP-NAS / that of PC-DARTS), both in Table 1"


def checks() -> Iterator[Check]:
    """All checks of the paper, in its order."""
    yield from _abstract()
    yield from _search()
    yield from _table_1()
    yield from _table_2()
    yield from _table_3()


def _abstract() -> Iterator[Check]:
    here, cifar, imagenet = Section("cp-nas", "abstract"), _cifar(), Table("cp-nas/table-2")
    text = (
        "It achieves the accuracy of 95.27% on CIFAR-10, 64.3% on ImageNet with binarized weights "
        "and activations, and a 30% faster search than prior arts"
    )
    words = "100 - test error of CP-NAS (large) in Table 1"
    yield here.check("cifar-10", text, "95.27", words, 100 - cifar(LARGE, "error"), unit="%")
    yield here.same("imagenet", text, "64.3", imagenet, "CP-NAS*", "top1", "1-bit", unit="%")
    yield here.check("faster", text, "30", GPU_DAYS, _faster(cifar), unit="%")


def _cifar() -> Table:
    return Table("cp-nas/table-1")


def _faster(table: Table) -> Term:
    return 100 * (1 - table(SMALL, "cost") / table("PC-DARTS", "cost"))


def _search() -> Iterator[Check]:
    figure = Section("cp-nas", "figure 3")
    yield figure.check(
        "edges",
        "One cell includes 2 input nodes, 4 intermediate nodes and 14 edges",
        "14",
        "each intermediate node has an edge from each node before it",
        total([exactly(2), exactly(3), exactly(4), exactly(5)]),
    )
    here = Section("cp-nas", "3.1")
    counts = [exactly(k) for k in range(8, 1, -1)]
    yield here.check(
        "epochs",
        "the final number of search epochs is (8 + 7 +6 + 5 + 4 + 3 + 2 * 3 = 105",
        "105",
        "K epochs for each of T = 3 samplings, K from 8 down to 2",
        total(counts) * 3,
    )
    yield here.check(
        "cells",
        "10 cells (8 normal cells and 2 reduction cells)",
        "10",
        "normal cells + reduction cells",
        exactly(8) + 2,
    )
    yield here.check(
        "resolution",
        "three convolutional layers with a stride of 2 to reduce the input image resolution from "
        "224 × 224 to 28 × 28",
        "28",
        "224 halved three times",
        exactly(224) / 8,
    )


def _table_1() -> Iterator[Check]:
    table, here = _cifar(), Section("cp-nas", "3.2")
    for row, model in ((WRN, "wrn22-real"), ("WRN-22 (PCNN)", "wrn22"), (BONN, "wrn22")):
        yield table.check(
            *(row, "params", "parameters counted from the layers (the shape is ours)"),
            mparameters(handmade(model, CIFAR)),
            unit="M",
        )
    bonn = "smaller test errors (6.5% vs. 8.07%) and more compressed models (2.9M vs. 4.33M)"
    yield here.same("small-error", bonn, "6.5", table, SMALL, "error", unit="%")
    yield here.same("bonn-error", bonn, "8.07", table, BONN, "error", unit="%")
    yield here.same("small-params", bonn, "2.9", table, SMALL, "params", unit="M")
    yield here.same("bonn-params", bonn, "4.33", table, BONN, "params", unit="M")
    bnas = "lower test error (5.72% vs. 8.29%) and similar model size"
    yield here.same("medium-error", bnas, "5.72", table, MEDIUM, "error", unit="%")
    yield here.same("bnas-error", bnas, "8.29", table, "BNAS†", "error", unit="%")
    yield here.check("faster", "our CP-NAS is 30% faster", "30", GPU_DAYS, _faster(table), unit="%")


def _table_2() -> Iterator[Check]:
    table, here = Table("cp-nas/table-2"), Section("cp-nas", "3.3")
    models = (
        ("ResNet-18", "real-valued", "resnet18"),
        ("ResNet-18 (PCNN)", "1-bit weights", "xnor-resnet18"),
        ("ResNet-18 (Bi-real Net)", "1-bit", "birealnet18"),
        ("ResNet-18 (PCNN)", "1-bit", "xnor-resnet18"),
        ("ResNet-18 (BONN)", "1-bit", "xnor-resnet18"),
    )
    for row, group, model in models:
        small = mparameters(handmade(model, CIFAR))
        yield table.check(
            *(row, "params", "parameters counted from the layers, with 1,000 classes"),
            mparameters(handmade(model)),
            group=group,
            otherwise={"parameters of ResNet-18 for CIFAR-10, with 10 classes": small},
            unit="M",
        )
    text = (
        "CP-NAS outperforms manually designed binarized networks (64.3% vs. 59.5%) with a similar "
        "number of parameters (12.5M vs. 11.17M)"
    )
    one = {"group": "1-bit"}
    bonn = "ResNet-18 (BONN)"
    yield here.same("cp-nas", text, "64.3", table, "CP-NAS*", "top1", **one, unit="%")
    yield here.same("bonn", text, "59.5", table, bonn, "top1", **one, unit="%")
    yield here.same("cp-nas-params", text, "12.5", table, "CP-NAS*", "params", **one, unit="M")
    yield here.same("bonn-params", text, "11.17", table, bonn, "params", **one, unit="M")
    best = "achieve an accuracy of 66.5%"
    yield here.same("preprocessing", best, "66.5", table, "CP-NAS**", "top1", **one, unit="%")
    resnet = "69.3% for ResNet-18"
    yield here.same(
        "resnet-18", resnet, "69.3", table, "ResNet-18", "top1", "real-valued", unit="%"
    )


def _table_3() -> Iterator[Check]:
    table, here = Table("cp-nas/table-3"), Section("cp-nas", "3.4")
    for row, model in ((WRN, "wrn22-real"), (BONN, "wrn22")):
        book = handmade(model, CIFAR)
        yield table.check(
            *(
                row,
                "memory",
                "each parameter of the counted layers (the shape is ours) at its bits",
            ),
            mbits(book, "nas-bnn"),
            otherwise={"weights alone, without normalisation and biases": mbits(book, "cp-nas")},
            unit="Mbit",
        )
    yield table.check(
        *(WRN, "flops", "MACs of the counted layers (the shape is ours)"),
        mops(handmade("wrn22-real", CIFAR), "bireal"),
        unit="M",
    )
    yield table.check(
        *(BONN, "flops", "real MACs of the counted layers + binary MACs / 64"),
        mops(handmade("wrn22", CIFAR), "bireal"),
        otherwise={"real MACs + binary MACs / 58": mops(handmade("wrn22", CIFAR), "cp-nas")},
        unit="M",
    )
    for column, of, what in (("saving", "memory", "memory"), ("speedup", "flops", "FLOPs")):
        for row in table.rows(column)[1:]:
            first, own = table(WRN, of), table(row, of)
            yield table.check(
                *(row, column, f"{what} of {WRN} / {what} of the row"),
                first / own,
                solved={f"{what} of": first / table(row, column)},
                unit="×",
            )
    text = (
        "with 41.56×, 27.93×, 12.01× memory saving and 50.24×, 35.39×, 16.75× speedup in terms of "
        "FLOPs"
    )
    values = text.replace("×", "").replace(",", "").split()
    for column, numbers in (("saving", values[1:4]), ("speedup", values[7:10])):
        for row, value in zip((SMALL, MEDIUM, LARGE), numbers, strict=True):
            size = row.partition("(")[2].rstrip(")").lower()
            yield here.same(f"{column}-{size}", text, value, table, row, column, unit="×")
