"""The numbers of BARS (Zhao et al., 2020), recomputed."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from bnas_bench.papers.audit.check import Check
from bnas_bench.papers.audit.counts import CIFAR, MEGA, handmade, mmacs, mops, mparameters
from bnas_bench.papers.audit.places import Section, Table
from bnas_bench.papers.audit.terms import Term, exactly

HANDMADE = (
    "ResNet-34 (XNOR)",
    "ResNet-18 (XNOR)",
    "ResNet-18 (Bireal)",
    "WRN-40 (XNOR)",
    "NiN (XNOR)",
    "ResNet-18 (CBCN)",
    "ResNet-18 (IRNet)",
)
"""The hand-made rows of CIFAR-10. The text compares BARS-B with one of them, and does not say which:
the first here is the one from which BARS-B is 1.5 % away with FLOPs of its own in the table."""

TEXT = (
    "On CIFAR-10, BARS-B achieves higher accuracy (1.5%) than the hand-crafted binary model with "
    "2/3 binary operations (BiOps), much less (1/10) floating-point operations (FLOPs) and "
    "parameters"
)
ABSTRACT = (
    "On CIFAR-10, BARS achieves 1.5% higher accuracy with 2/3 binary Ops and 1/10 floating-point "
    "Ops. On ImageNet, with similar resource consumption, BARS-discovered architecture achieves 3% "
    "accuracy gain than hand-crafted architectures"
)


def checks() -> Iterator[Check]:
    """All checks of the paper, in its order."""
    table = Table("bars/table-2")
    yield from _comparisons(table, Section("bars", "abstract"), ABSTRACT)
    yield from _table_1(table)
    yield from _equivalent_ops(table)
    yield from _counted(table)
    yield from _other_papers(table)
    yield from _comparisons(table, Section("bars", "5.1"), TEXT)
    yield from _section_5_1(table)


def _table_1(table: Table) -> Iterator[Check]:
    accuracy = table("BARS-B", "accuracy")
    yield Table("bars/table-1").check(
        *(
            "BARS",
            "accuracy",
            "accuracy of BARS-B, the nearest in Table 2 (Table 1 names no model)",
        ),
        exactly(accuracy.value, accuracy.text),
        unit="%",
    )


def _equivalent_ops(table: Table) -> Iterator[Check]:
    for group in ("CIFAR-10", "ImageNet"):
        for row in table.rows("equivalent", group):
            flops, biops = table(row, "flops", group), table(row, "biops", group)
            printed = table(row, "equivalent", group)
            yield table.check(
                *(row, "equivalent", "FLOPs + BiOps / 64, as the caption says"),
                flops + biops / 64,
                group=group,
                otherwise={"FLOPs + BiOps / 32": flops + biops / 32},
                solved={"at BiOps / 32 FLOPs of": printed - biops / 32},
                unit="M",
            )


def _counted(table: Table) -> Iterator[Check]:
    twice = "2 operations x {} MACs of the counted layers"
    for row, group, model, shape in (
        ("ResNet-18 (XNOR)", "CIFAR-10", "xnor-resnet18", CIFAR),
        ("ResNet-18 (Bireal)", "CIFAR-10", "birealnet18", CIFAR),
        ("ResNet-18 (XNOR)", "ImageNet", "xnor-resnet18", (3, 224, 224)),
        ("ResNet-18 (Bireal)", "ImageNet", "birealnet18", (3, 224, 224)),
    ):
        book = handmade(model, shape)
        real, binary = mmacs(book, binary=False), mmacs(book, binary=True)
        yield table.check(
            *(row, "flops", twice.format("real"), 2 * real),
            group=group,
            otherwise={
                "real MACs": real,
                "real MACs + binary MACs / 64": mops(book, "bireal"),
                "real MACs + binary MACs / 58": mops(book, "cp-nas"),
            },
            unit="M",
        )
        yield table.check(
            *(row, "biops", twice.format("binary"), 2 * binary),
            group=group,
            otherwise={"binary MACs": binary},
            unit="M",
        )
        if table.has(row, "params", group):
            words = "parameters of the counted layers"
            yield table.check(row, "params", words, mparameters(book), group=group, unit="M")
    book, row = handmade("xnor-resnet18"), "ResNet-18 (XNOR), fully binarised"
    yield table.check(
        *(row, "flops", "2 operations x MACs of the first and the last layer, the only real ones"),
        2 * _ends(),
        otherwise={
            "MACs of the first and the last layer": _ends(),
            "real MACs of ResNet-18 (XNOR) with FP Downsample": mmacs(book, binary=False),
        },
        unit="M",
    )
    everything = mmacs(book, binary=False) + mmacs(book, binary=True) - _ends()
    yield table.check(
        *(row, "biops", "2 operations x MACs of all layers but the first and the last"),
        2 * exactly(everything.value),
        unit="M",
    )
    yield table.check(
        row, "params", "parameters of the counted layers", mparameters(book), unit="M"
    )


def _ends() -> Term:
    """Millions of MACs of the first and the last layer of ResNet-18 on ImageNet."""
    layers = [layer for layer in handmade("xnor-resnet18").layers if layer.macs]
    return exactly(Fraction(layers[0].macs + layers[-1].macs, MEGA))


def _other_papers(table: Table) -> Iterator[Check]:
    cp_nas, nas_bnn = Table("cp-nas/table-2"), Table("nas-bnn/table-2")
    for row, name in (
        ("ResNet-18 (Bireal)", "ResNet-18 (Bi-real Net)"),
        ("ResNet-18 (PCNN)", "ResNet-18 (PCNN)"),
    ):
        yield table.same(
            *(row, "accuracy", cp_nas, name, "top1"),
            group="ImageNet",
            its_group="1-bit",
            unit="%",
        )
    yield table.same(
        *("ResNet-18 (Bireal)", "accuracy", nas_bnn, "Bi-RealNet-18", "top1"),
        group="ImageNet",
        unit="%",
    )


def _comparisons(table: Table, here: Section, text: str) -> Iterator[Check]:
    group = "CIFAR-10"
    own = {column: table("BARS-B", column) for column in ("accuracy", "biops", "flops")}
    for key, number, words, values in (
        (
            "accuracy",
            "1.5",
            "accuracy of BARS-B - accuracy of {}, Table 2 (the text names no row)",
            {row: own["accuracy"] - table(row, "accuracy", group) for row in HANDMADE},
        ),
        (
            "biops",
            "2/3",
            "BiOps of BARS-B / BiOps of {}, Table 2 (the text names no row)",
            {row: own["biops"] / table(row, "biops", group) for row in HANDMADE},
        ),
        (
            "flops",
            "1/10",
            "FLOPs of BARS-B / FLOPs of {}, Table 2 (the text names no row)",
            {row: own["flops"] / table(row, "flops", group) for row in HANDMADE},
        ),
    ):
        (first, value), *others = values.items()
        yield here.check(
            *(key, text, number, words.format(first), value),
            otherwise={words.format(row): term for row, term in others},
            unit="%" if key == "accuracy" else "",
        )
    if here.place == "abstract":
        yield here.check("imagenet", text, "3", *_gain(table), unit="%")


def _gain(table: Table) -> tuple[str, Term]:
    words = "accuracy of BARS-E - accuracy of ResNet-18 (XNOR) with FP Downsample, Table 2"
    return words, table("BARS-E", "accuracy") - table("ResNet-18 (XNOR)", "accuracy", "ImageNet")


def _section_5_1(table: Table) -> Iterator[Check]:
    here = Section("bars", "5.1")
    text = (
        "the accuracy of ResNet-18 on ImageNet dropped from 53.1% to 48.3% if no FP downsample is "
        "used"
    )
    full = "ResNet-18 (XNOR), fully binarised"
    yield here.same(
        *("downsample", text, "53.1", table, "ResNet-18 (XNOR)", "accuracy", "ImageNet"), unit="%"
    )
    yield here.same("no-downsample", text, "48.3", table, full, "accuracy", unit="%")
    text = "BARS-E achieves 3% higher accuracy than ResNet-18, and no FP downsample is used"
    yield here.check("bars-e", text, "3", *_gain(table), unit="%")
