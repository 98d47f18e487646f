"""The numbers of DCP-NAS' section 4.3, recomputed: its main results."""

from __future__ import annotations

from collections.abc import Iterator

from bnas_bench.papers.audit.check import Check
from bnas_bench.papers.audit.counts import (
    dcp_nas,
    handmade,
    mbits,
    mops,
    mparameters,
)
from bnas_bench.papers.audit.places import Section, Table

CIFAR_TABLE, MAIN, SOURCE = "dcp-nas/table-10", "dcp-nas/table-11", "cp-nas/table-2"
CHANNELS = {"S": 54, "M": 72, "L": 108}
SMALL, MEDIUM = "1-bit, small", "1-bit, medium"
UNITS = {"memory": "MBits", "ops": "M", "top1": "%", "top5": "%", "cost": "GPU days", "error": "%"}


def checks() -> Iterator[Check]:
    """All checks of the section, in the paper's order."""
    yield from _table_10()
    yield from _section_4_3_1()
    yield from _table_11()
    yield from _table_11_against_others()
    yield from _section_4_3_2()


def _table_10() -> Iterator[Check]:
    table, source = Table(CIFAR_TABLE), Table("cp-nas/table-1")
    for row in ("WRN-22", "DARTS", "PC-DARTS"):
        words = f"32 bits x # Params (M) of CP-NAS, Table 1, row {row}"
        value = 32 * source(row, "params")
        yield table.check(row, "memory", words, value, group="real-valued", unit="MBits")
    pairs = (
        ("WRN-22", "real-valued", "WRN-22"),
        ("DARTS", "real-valued", "DARTS"),
        ("PC-DARTS", "real-valued", "PC-DARTS"),
        ("WRN-22", "1-bit weights", "WRN-22 (PCNN)"),
        ("BNAS1", "1-bit weights", "BNAS (PCNN)"),
        ("CP-NAS-S", SMALL, "CP-NAS (Small)"),
        ("WRN-22 (BONN)", MEDIUM, "WRN-22 (BONN)"),
        ("BNAS1 (Large)", MEDIUM, "BNAS†"),
        ("CP-NAS-M", MEDIUM, "CP-NAS (Medium)"),
        ("CP-NAS-L", "1-bit, large", "CP-NAS (large)"),
    )
    memory = Table("cp-nas/table-3")
    known = memory.rows("memory")
    for row, group, name in pairs:
        for column in ("error", "cost"):
            if table.has(row, column, group):
                yield table.same(row, column, source, name, group=group, unit=UNITS[column])
        if group != "real-valued":
            words = f"1 bit x # Params (M) of CP-NAS, Table 1, row {name}"
            value = source(name, "params")
            yield table.check(row, "memory", words, value, group=group, unit="MBits")
        if name in known:
            bits = 32 if group == "real-valued" else 1
            place = source.place(name, "params", seen_from="dcp-nas")
            words = f"{bits} bit{'s' * (bits > 1)} x {place}"
            other = {words: bits * source(name, "params")}
            yield table.same(
                row, "memory", memory, name, group=group, otherwise=other, unit="MBits"
            )


def _section_4_3_1() -> Iterator[Check]:
    table, here = Table(CIFAR_TABLE), Section("dcp-nas", "4.3.1")
    text = "smaller test error (5.34% vs. 8.07%) and similar model size (4.9MBits vs. 4.3MBits)"
    for key, number, row, column in (
        ("medium-error", "5.34", "DCP-NAS-M", "error"),
        ("bonn-error", "8.07", "WRN-22 (BONN)", "error"),
        ("medium-memory", "4.9", "DCP-NAS-M", "memory"),
        ("bonn-memory", "4.3", "WRN-22 (BONN)", "memory"),
    ):
        yield here.same(key, text, number, table, row, column, unit=UNITS[column])
    text = (
        "our DCP-NAS achieves 0.17%/0.26%/0.28% performance improvements with different model sizes"
    )
    for size, name, number in (
        ("S", "BATS (Small)", "0.17"),
        ("M", "BATS (Medium)", "0.26"),
        ("L", "BATS (Large)", "0.28"),
    ):
        gain = table(name, "error") - table(f"DCP-NAS-{size}", "error")
        words = f"error of {name} - error of DCP-NAS-{size}, Table 10"
        yield here.check(f"bats-{size.lower()}", text, number, words, gain, unit="%")
    saved = 100 * (1 - table("DCP-NAS-S", "cost") / table("BATS (Small)", "cost"))
    words = "100 x (1 - search cost of DCP-NAS / that of BATS), Table 10"
    text = "our DCP-NAS consumes 60% lower search cost than BATS"
    yield here.check("cost", text, "60", words, saved, unit="%")
    text = "compared with the previous work [3], our DCP-NAS is 60.0% faster"
    yield here.check("faster", text, "60.0", words, saved, unit="%")


def _table_11() -> Iterator[Check]:
    table, source = Table(MAIN), Table(SOURCE)
    real, weights = "real-valued", "1-bit weights"
    for row, group in (("ResNet-18", real), ("PNAS", real), ("DARTS", real), ("PC-DARTS", real)):
        yield table.check(
            *(row, "memory", f"32 bits x Params (M) of CP-NAS, Table 2, row {row}"),
            32 * source(row, "params", real),
            group=group,
            unit="MBits",
        )
    resnet = handmade("resnet18")
    yield table.check(
        *("ResNet-18", "memory", "32 bits x parameters counted, with 1,000 classes"),
        32 * mparameters(resnet),
        group=real,
        key="counted",
        otherwise={
            "32 bits x 11.17 M of CP-NAS, Table 2": 32 * source("ResNet-18", "params", real)
        },
        unit="MBits",
    )
    yield table.check(
        *("ResNet-18", "ops", "MACs counted", mops(resnet, "bireal")),
        group=real,
        otherwise={"MACs and 2 for each normalised value": mops(resnet, "flops")},
        unit="M",
    )
    for row, group, name, its_group in (
        ("ResNet-18 (PCNN)", weights, "ResNet-18 (PCNN)", weights),
        ("BNAS1", weights, "BNAS (PCNN)", weights),
        ("ResNet-18 (ReActNet)", MEDIUM, "ResNet-18 (Bi-real Net)", "1-bit"),
        ("CP-NAS-L", "1-bit, large", "CP-NAS**", "1-bit"),
    ):
        yield table.check(
            *(row, "memory", f"1 bit x Params (M) of CP-NAS, Table 2, row {name}"),
            source(name, "params", its_group),
            group=group,
            unit="MBits",
        )
    net = handmade("birealnet18")
    yield table.check(
        *("ResNet-18 (ReActNet)", "ops"),
        "real MACs + binary MACs / 64 of ResNet-18 with a shortcut around each convolution",
        mops(net, "bireal"),
        otherwise={"real MACs + binary MACs / 58": mops(net, "cp-nas")},
        unit="M",
    )
    for size, channels in CHANNELS.items():
        book, row = dcp_nas(channels), f"DCP-NAS-{size}"
        yield table.check(
            *(row, "memory", "each parameter of the published genotype at its bits"),
            mbits(book, "nas-bnn"),
            otherwise={"number of parameters in millions, 1 bit each": mparameters(book)},
            unit="MBits",
        )
        yield table.check(
            *(row, "ops", "real MACs of the published genotype + binary MACs / 64"),
            mops(book, "bireal"),
            otherwise={
                "depthwise, stem and classifier in full + all other MACs / 58": mops(
                    book, "dcp-nas"
                )
            },
            unit="M",
        )
    for row in ("DCP-NAS-S", "CP-NAS-L"):
        yield table.check(
            *(row, "gpu_image", "max Mem. of the row / batch size 512 of section 4.1.2"),
            table(row, "gpu_max") / 512,
        )


def _table_11_against_others() -> Iterator[Check]:
    table, source = Table(MAIN), Table(SOURCE)
    real, weights = "real-valued", "1-bit weights"
    for row, group, name, its_group in (
        ("ResNet-18", real, "ResNet-18", real),
        ("PNAS", real, "PNAS", real),
        ("DARTS", real, "DARTS", real),
        ("PC-DARTS", real, "PC-DARTS", real),
        ("ResNet-18 (PCNN)", weights, "ResNet-18 (PCNN)", weights),
        ("BNAS1", weights, "BNAS (PCNN)", weights),
        ("CP-NAS-L", "1-bit, large", "CP-NAS**", "1-bit"),
    ):
        for column in ("top1", "top5", "cost"):
            if table.has(row, column, group):
                yield table.same(
                    *(row, column, source, name),
                    group=group,
                    its_group=its_group,
                    unit=UNITS[column],
                )
    bars = Table("bars/table-2")
    for row in ("BARS-D", "BARS-E"):
        yield table.same(row, "top1", bars, its_column="accuracy", its_group="ImageNet", unit="%")
        flops = bars(row, "flops", "ImageNet")
        place = bars.place(row, "flops", "ImageNet", seen_from="dcp-nas")
        yield table.same(
            *(row, "ops", bars),
            its_column="equivalent",
            its_group="ImageNet",
            otherwise={f"that of {place}": flops},
            unit="M",
        )
    nas_bnn = Table("nas-bnn/table-2")
    for row, name in (("BATS", "BATS"), ("BATS (2×-wider)", "BATS (2x-wider)")):
        for column in ("top1", "ops"):
            yield table.same(row, column, nas_bnn, name, unit=UNITS[column])


def _section_4_3_2() -> Iterator[Check]:
    table, here = Table(MAIN), Section("dcp-nas", "4.3.2")
    small, medium = table("DCP-NAS-S", "top1"), table("DCP-NAS-M", "top1")
    text = (
        "small model, our DCP-NAS improves the Top-1 accuracy by 2.6%, 12.8%, 3.7%, 1.5% "
        "and 1.2% compared with BATS, BARS-E, NASBV4, EBN and EBNAS-L"
    )
    for row, number in (
        ("BATS", "2.6"),
        ("BARS-E", "12.8"),
        ("NASBV4", "3.7"),
        ("EBN", "1.5"),
        ("EBNAS-L", "1.2"),
    ):
        other = table(row, "top1")
        yield here.check(
            *(f"small-{row.lower()}", text, number),
            f"Top-1 of DCP-NAS-S - Top-1 of {row}, Table 11",
            small - other,
            otherwise={f"Top-1 of DCP-NAS-M - Top-1 of {row}": medium - other},
            unit="%",
        )
    text = (
        "our DCP-NAS improves the Top-1 accuracy by 4.7%, and 2.9% compared with BNAS1 and BATS "
        "with the medium model"
    )
    for row, group, number in (("BNAS1", MEDIUM, "4.7"), ("BATS (2×-wider)", "", "2.9")):
        yield here.check(
            *(f"medium-{row.split()[0].lower()}", text, number),
            f"Top-1 of DCP-NAS-M - Top-1 of {row}, Table 11",
            medium - table(row, "top1", group),
            unit="%",
        )
    for key, text, number, row, group in (
        ("large", "DCP-NAS achieves 72.4% vs. 66.5% (CP-NAS)", "72.4", "DCP-NAS-L", ""),
        ("cp-nas", "DCP-NAS achieves 72.4% vs. 66.5% (CP-NAS)", "66.5", "CP-NAS-L", ""),
        ("ebn", "achieves 75.2% top-1 accuracy on ImageNet", "75.2", "DCP-NAS-L‡", ""),
        ("resnet-18", "e.g., 69.3% for ResNet-18", "69.3", "ResNet-18", "real-valued"),
    ):
        yield here.same(key, text, number, table, row, "top1", group, unit="%")
