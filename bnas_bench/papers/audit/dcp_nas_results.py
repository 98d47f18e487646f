"""The numbers of DCP-NAS' section 4.3, recomputed: its main results."""

from __future__ import annotations

from collections.abc import Iterator

from bnas_bench.papers.audit.check import Check
from bnas_bench.papers.audit.counts import dcp_nas, handmade, mbits, mops, mparameters
from bnas_bench.papers.audit.places import Section, Table

CHANNELS = {"S": 54, "M": 72, "L": 108}
REAL, WEIGHTS = "real-valued", "1-bit weights"
SMALL, MEDIUM, LARGE = "1-bit, small", "1-bit, medium", "1-bit, large"


def checks() -> Iterator[Check]:
    """All checks of the section, in the paper's order."""
    cifar, main, source = (
        Table("dcp-nas/table-10"),
        Table("dcp-nas/table-11"),
        Table("cp-nas/table-2"),
    )
    yield from _table_10(cifar)
    yield from _section_4_3_1(cifar)
    yield from _memory(main, source)
    yield from _counted(main)
    yield from _table_11_against_others(main, source)
    yield from _section_4_3_2(main)


def _table_10(table: Table) -> Iterator[Check]:
    source, memory = Table("cp-nas/table-1"), Table("cp-nas/table-3")
    for row in ("WRN-22", "DARTS", "PC-DARTS"):
        words = f"32 bits x # Params (M) of CP-NAS, Table 1, row {row}"
        yield table(row, "memory", REAL).check(words, 32 * source(row, "params"))
    for row, group, name in (
        ("WRN-22", REAL, "WRN-22"),
        ("DARTS", REAL, "DARTS"),
        ("PC-DARTS", REAL, "PC-DARTS"),
        ("WRN-22", WEIGHTS, "WRN-22 (PCNN)"),
        ("BNAS1", WEIGHTS, "BNAS (PCNN)"),
        ("CP-NAS-S", SMALL, "CP-NAS (Small)"),
        ("WRN-22 (BONN)", MEDIUM, "WRN-22 (BONN)"),
        ("BNAS1 (Large)", MEDIUM, "BNAS†"),
        ("CP-NAS-M", MEDIUM, "CP-NAS (Medium)"),
        ("CP-NAS-L", LARGE, "CP-NAS (large)"),
    ):
        for column in ("error", "cost"):
            if table.has(row, column, group):
                yield table(row, column, group).same(source(name, column))
        cell, params = table(row, "memory", group), source(name, "params")
        if group != REAL:
            yield cell.check(f"1 bit x # Params (M) of CP-NAS, Table 1, row {name}", params)
        if name in memory.rows("memory"):
            bits, words = (32, "32 bits") if group == REAL else (1, "1 bit")
            other = {f"{words} x {params.place('dcp-nas')}": bits * params}
            there = memory(name, "memory")
            words, key = f"as in {there.place('dcp-nas')}", "in cp-nas Table 3"
            yield cell.check(words, there, key=key, otherwise=other)


def _section_4_3_1(table: Table) -> Iterator[Check]:
    here = Section("dcp-nas", "4.3.1")
    said = here(
        "smaller test error (5.34% vs. 8.07%) and similar model size (4.9MBits vs. 4.3MBits)"
    )
    yield said.same("medium-error", "5.34", table("DCP-NAS-M", "error"))
    yield said.same("bonn-error", "8.07", table("WRN-22 (BONN)", "error"))
    yield said.same("medium-memory", "4.9", table("DCP-NAS-M", "memory"))
    yield said.same("bonn-memory", "4.3", table("WRN-22 (BONN)", "memory"))
    said = here(
        "our DCP-NAS achieves 0.17%/0.26%/0.28% performance improvements with different model sizes"
    )
    for size, name, number in (
        ("S", "BATS (Small)", "0.17"),
        ("M", "BATS (Medium)", "0.26"),
        ("L", "BATS (Large)", "0.28"),
    ):
        gain = table(name, "error") - table(f"DCP-NAS-{size}", "error")
        words = f"error of {name} - error of DCP-NAS-{size}, Table 10"
        yield said.check(f"bats-{size.lower()}", number, words, gain, unit="%")
    saved = 100 * (1 - table("DCP-NAS-S", "cost") / table("BATS (Small)", "cost"))
    words = "100 x (1 - search cost of DCP-NAS / that of BATS), Table 10"
    said = here("our DCP-NAS consumes 60% lower search cost than BATS")
    yield said.check("cost", "60", words, saved, unit="%")
    said = here("compared with the previous work [3], our DCP-NAS is 60.0% faster")
    yield said.check("faster", "60.0", words, saved, unit="%")


def _memory(table: Table, source: Table) -> Iterator[Check]:
    """Of Table 11, from CP-NAS' parameters; of ResNet-18 also counted, with its operations."""
    for row in ("ResNet-18", "PNAS", "DARTS", "PC-DARTS"):
        words = f"32 bits x Params (M) of CP-NAS, Table 2, row {row}"
        yield table(row, "memory", REAL).check(words, 32 * source(row, "params", REAL))
    resnet = handmade("resnet18")
    known = 32 * source("ResNet-18", "params", REAL)
    yield table("ResNet-18", "memory", REAL).check(
        "32 bits x parameters counted, with 1,000 classes",
        32 * mparameters(resnet),
        key="counted",
        otherwise={"32 bits x 11.17 M of CP-NAS, Table 2": known},
    )
    yield table("ResNet-18", "ops", REAL).check(
        "MACs counted",
        mops(resnet, "bireal"),
        otherwise={"MACs and 2 for each normalised value": mops(resnet, "flops")},
    )
    for row, group, name, its_group in (
        ("ResNet-18 (PCNN)", WEIGHTS, "ResNet-18 (PCNN)", WEIGHTS),
        ("BNAS1", WEIGHTS, "BNAS (PCNN)", WEIGHTS),
        ("ResNet-18 (ReActNet)", MEDIUM, "ResNet-18 (Bi-real Net)", "1-bit"),
        ("CP-NAS-L", LARGE, "CP-NAS**", "1-bit"),
    ):
        words = f"1 bit x Params (M) of CP-NAS, Table 2, row {name}"
        yield table(row, "memory", group).check(words, source(name, "params", its_group))


def _counted(table: Table) -> Iterator[Check]:
    net = handmade("birealnet18")
    yield table("ResNet-18 (ReActNet)", "ops").check(
        "real MACs + binary MACs / 64 of ResNet-18 with a shortcut around each convolution",
        mops(net, "bireal"),
        otherwise={"real MACs + binary MACs / 58": mops(net, "cp-nas")},
    )
    by_58 = "depthwise, stem and classifier in full + all other MACs / 58"
    for size, channels in CHANNELS.items():
        book, row = dcp_nas(channels), f"DCP-NAS-{size}"
        yield table(row, "memory").check(
            "each parameter of the published genotype at its bits",
            mbits(book, "nas-bnn"),
            otherwise={"number of parameters in millions, 1 bit each": mparameters(book)},
        )
        yield table(row, "ops").check(
            "real MACs of the published genotype + binary MACs / 64",
            mops(book, "bireal"),
            otherwise={by_58: mops(book, "dcp-nas")},
        )
    for row in ("DCP-NAS-S", "CP-NAS-L"):
        words = "max Mem. of the row / batch size 512 of section 4.1.2"
        yield table(row, "gpu_image").check(words, table(row, "gpu_max") / 512)


def _table_11_against_others(table: Table, source: Table) -> Iterator[Check]:
    for row, group, name, its_group in (
        ("ResNet-18", REAL, "ResNet-18", REAL),
        ("PNAS", REAL, "PNAS", REAL),
        ("DARTS", REAL, "DARTS", REAL),
        ("PC-DARTS", REAL, "PC-DARTS", REAL),
        ("ResNet-18 (PCNN)", WEIGHTS, "ResNet-18 (PCNN)", WEIGHTS),
        ("BNAS1", WEIGHTS, "BNAS (PCNN)", WEIGHTS),
        ("CP-NAS-L", LARGE, "CP-NAS**", "1-bit"),
    ):
        for column in ("top1", "top5", "cost"):
            if table.has(row, column, group):
                yield table(row, column, group).same(source(name, column, its_group))
    bars = Table("bars/table-2")
    for row in ("BARS-D", "BARS-E"):
        yield table(row, "top1").same(bars(row, "accuracy", "ImageNet"))
        flops = bars(row, "flops", "ImageNet")
        other = {f"that of {flops.place('dcp-nas')}": flops}
        yield table(row, "ops").same(bars(row, "equivalent", "ImageNet"), otherwise=other)
    nas_bnn = Table("nas-bnn/table-2")
    for row, name in (("BATS", "BATS"), ("BATS (2×-wider)", "BATS (2x-wider)")):
        for column in ("top1", "ops"):
            yield table(row, column).same(nas_bnn(name, column))


def _section_4_3_2(table: Table) -> Iterator[Check]:
    here = Section("dcp-nas", "4.3.2")
    small, medium = table("DCP-NAS-S", "top1"), table("DCP-NAS-M", "top1")
    said = here(
        "small model, our DCP-NAS improves the Top-1 accuracy by 2.6%, 12.8%, 3.7%, 1.5% "
        "and 1.2% compared with BATS, BARS-E, NASBV4, EBN and EBNAS-L"
    )
    gains = {"BATS": "2.6", "BARS-E": "12.8", "NASBV4": "3.7", "EBN": "1.5", "EBNAS-L": "1.2"}
    for row, number in gains.items():
        other = table(row, "top1")
        yield said.check(
            f"small-{row.lower()}",
            number,
            f"Top-1 of DCP-NAS-S - Top-1 of {row}, Table 11",
            small - other,
            otherwise={f"Top-1 of DCP-NAS-M - Top-1 of {row}": medium - other},
            unit="%",
        )
    said = here(
        "our DCP-NAS improves the Top-1 accuracy by 4.7%, and 2.9% compared with BNAS1 and BATS "
        "with the medium model"
    )
    for key, row, group, number in (
        ("bnas1", "BNAS1", MEDIUM, "4.7"),
        ("bats", "BATS (2×-wider)", "", "2.9"),
    ):
        words = f"Top-1 of DCP-NAS-M - Top-1 of {row}, Table 11"
        gain = medium - table(row, "top1", group)
        yield said.check(f"medium-{key}", number, words, gain, unit="%")
    said = here("DCP-NAS achieves 72.4% vs. 66.5% (CP-NAS)")
    yield said.same("large", "72.4", table("DCP-NAS-L", "top1"))
    yield said.same("cp-nas", "66.5", table("CP-NAS-L", "top1"))
    said = here("achieves 75.2% top-1 accuracy on ImageNet")
    yield said.same("ebn", "75.2", table("DCP-NAS-L‡", "top1"))
    said = here("e.g., 69.3% for ResNet-18")
    yield said.same("resnet-18", "69.3", table("ResNet-18", "top1", REAL))
