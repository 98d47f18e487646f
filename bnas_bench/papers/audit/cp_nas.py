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
    cifar, imagenet = Table("cp-nas/table-1"), Table("cp-nas/table-2")
    yield from _abstract(cifar, imagenet)
    yield edges(Section("cp-nas", "figure 3"))
    yield Section("cp-nas", "3.1")(
        "the final number of search epochs is (8 + 7 +6 + 5 + 4 + 3 + 2 * 3 = 105"
    ).check("epochs", "105", "K epochs for each of T = 3 samplings, K from 8 down to 2", epochs())
    yield from network(Section("cp-nas", "3.1"), "a stride of 2")
    yield from _table_1(cifar)
    yield from _table_2(imagenet)
    yield from _table_3()


def _abstract(cifar: Table, imagenet: Table) -> Iterator[Check]:
    said = Section("cp-nas", "abstract")(
        "It achieves the accuracy of 95.27% on CIFAR-10, 64.3% on ImageNet with binarized weights "
        "and activations, and a 30% faster search than prior arts"
    )
    words = "100 - test error of CP-NAS (large) in Table 1"
    yield said.check("cifar-10", "95.27", words, 100 - cifar(LARGE, "error"), unit="%")
    yield said.same("imagenet", "64.3", imagenet("CP-NAS*", "top1", "1-bit"))
    yield said.check("faster", "30", GPU_DAYS, _faster(cifar), unit="%")


def _faster(table: Table) -> Term:
    return 100 * (1 - table(SMALL, "cost") / table("PC-DARTS", "cost"))


def epochs() -> Term:
    """Of the search, that DCP-NAS has too."""
    return total(exactly(k) for k in range(8, 1, -1)) * 3


def edges(figure: Section) -> Check:
    """Of a cell of DARTS, that DCP-NAS has too."""
    said = figure("One cell includes 2 input nodes, 4 intermediate nodes and 14 edges")
    words = "each intermediate node has an edge from each node before it"
    return said.check("edges", "14", words, total(map(exactly, (2, 3, 4, 5))))


def network(here: Section, stride: str) -> Iterator[Check]:
    """The network of cells, that DCP-NAS has too; `stride` as its paper writes it."""
    said = here("10 cells (8 normal cells and 2 reduction cells)")
    yield said.check("cells", "10", "normal cells + reduction cells", exactly(8) + 2)
    said = here(
        f"three convolutional layers with {stride} to reduce the input image resolution from "
        "224 × 224 to 28 × 28"
    )
    yield said.check("resolution", "28", "224 halved three times", exactly(224) / 8)


def _table_1(table: Table) -> Iterator[Check]:
    here = Section("cp-nas", "3.2")
    for row, model in ((WRN, "wrn22-real"), ("WRN-22 (PCNN)", "wrn22"), (BONN, "wrn22")):
        words = "parameters counted from the layers (the shape is ours)"
        yield table(row, "params").check(words, mparameters(handmade(model, CIFAR)))
    said = here("smaller test errors (6.5% vs. 8.07%) and more compressed models (2.9M vs. 4.33M)")
    yield said.same("small-error", "6.5", table(SMALL, "error"))
    yield said.same("bonn-error", "8.07", table(BONN, "error"))
    yield said.same("small-params", "2.9", table(SMALL, "params"))
    yield said.same("bonn-params", "4.33", table(BONN, "params"))
    said = here("lower test error (5.72% vs. 8.29%) and similar model size")
    yield said.same("medium-error", "5.72", table(MEDIUM, "error"))
    yield said.same("bnas-error", "8.29", table("BNAS†", "error"))
    said = here("our CP-NAS is 30% faster")
    yield said.check("faster", "30", GPU_DAYS, _faster(table), unit="%")


def _table_2(table: Table) -> Iterator[Check]:
    here, one, bonn = Section("cp-nas", "3.3"), "1-bit", "ResNet-18 (BONN)"
    for row, group, model in (
        ("ResNet-18", "real-valued", "resnet18"),
        ("ResNet-18 (PCNN)", "1-bit weights", "xnor-resnet18"),
        ("ResNet-18 (Bi-real Net)", one, "birealnet18"),
        ("ResNet-18 (PCNN)", one, "xnor-resnet18"),
        (bonn, one, "xnor-resnet18"),
    ):
        small = mparameters(handmade(model, CIFAR))
        yield table(row, "params", group).check(
            "parameters counted from the layers, with 1,000 classes",
            mparameters(handmade(model)),
            otherwise={"parameters of ResNet-18 for CIFAR-10, with 10 classes": small},
        )
    said = here(
        "CP-NAS outperforms manually designed binarized networks (64.3% vs. 59.5%) with a similar "
        "number of parameters (12.5M vs. 11.17M)"
    )
    yield said.same("cp-nas", "64.3", table("CP-NAS*", "top1", one))
    yield said.same("bonn", "59.5", table(bonn, "top1", one))
    yield said.same("cp-nas-params", "12.5", table("CP-NAS*", "params", one))
    yield said.same("bonn-params", "11.17", table(bonn, "params", one))
    said = here("achieve an accuracy of 66.5%")
    yield said.same("preprocessing", "66.5", table("CP-NAS**", "top1", one))
    said = here("69.3% for ResNet-18")
    yield said.same("resnet-18", "69.3", table("ResNet-18", "top1", "real-valued"))


def _table_3() -> Iterator[Check]:
    table = Table("cp-nas/table-3")
    real, binary = handmade("wrn22-real", CIFAR), handmade("wrn22", CIFAR)
    for row, book in ((WRN, real), (BONN, binary)):
        yield table(row, "memory").check(
            "each parameter of the counted layers (the shape is ours) at its bits",
            mbits(book, "nas-bnn"),
            otherwise={"weights alone, without normalisation and biases": mbits(book, "cp-nas")},
            unit="Mbit",
        )
    words = "MACs of the counted layers (the shape is ours)"
    yield table(WRN, "flops").check(words, mops(real, "bireal"))
    yield table(BONN, "flops").check(
        "real MACs of the counted layers + binary MACs / 64",
        mops(binary, "bireal"),
        otherwise={"real MACs + binary MACs / 58": mops(binary, "cp-nas")},
    )
    for column, of, what in (("saving", "memory", "memory"), ("speedup", "flops", "FLOPs")):
        for row in table.rows(column)[1:]:
            first, cell = table(WRN, of), table(row, column)
            yield cell.check(
                f"{what} of {WRN} / {what} of the row",
                first / table(row, of),
                solved={f"{what} of": first / cell},
            )
    said = Section("cp-nas", "3.4")(
        "with 41.56×, 27.93×, 12.01× memory saving and 50.24×, 35.39×, 16.75× speedup in terms of "
        "FLOPs"
    )
    sizes = {"small": SMALL, "medium": MEDIUM, "large": LARGE}
    for column, numbers in (("saving", "41.56 27.93 12.01"), ("speedup", "50.24 35.39 16.75")):
        for (size, row), number in zip(sizes.items(), numbers.split(), strict=True):
            yield said.same(f"{column}-{size}", number, table(row, column))
