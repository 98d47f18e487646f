"""The numbers of DCP-NAS (Li et al., IJCV 2023), recomputed: sections 1 to 4.2.

Those of section 4.3 are in `dcp_nas_results`, those of 4.4 to 4.6 in `dcp_nas_transfer`.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import floor

from bnas_bench.papers.audit import dcp_nas_results, dcp_nas_transfer
from bnas_bench.papers.audit.check import Check
from bnas_bench.papers.audit.counts import dcp_nas, mops, mparameters
from bnas_bench.papers.audit.cp_nas import edges, epochs, network
from bnas_bench.papers.audit.dcp_nas_results import CHANNELS, MEDIUM, REAL, WEIGHTS
from bnas_bench.papers.audit.places import Section, Table
from bnas_bench.papers.audit.terms import exactly, largest, printed, smallest

SIZES = {"S": "Small", "M": "Medium", "L": "Large"}
"""The sizes as Table 7 names them."""

NORMAL, NO_SKIP = "Normal search space", "w/o skip connection"


def checks() -> Iterator[Check]:
    """All checks of the paper, in its order."""
    main = Table("dcp-nas/table-11")
    yield from _table_1(main)
    yield from _setting()
    yield from _table_3(main)
    yield from _table_4(main)
    yield from _tables_5_and_6(main)
    yield from _table_7(main)
    yield from _table_8(main)
    yield from _table_9(main)
    yield from dcp_nas_results.checks()
    yield from dcp_nas_transfer.checks()


def _table_1(main: Table) -> Iterator[Check]:
    table, here = Table("dcp-nas/table-1"), Section("dcp-nas", "1")
    for row in table.rows("gap"):
        gap = table(row, "one") - table(row, "real")
        yield table(row, "gap").check("1-bit accuracy - 32-bit accuracy", gap)
    yield table("ResNet-18", "real").same(main("ResNet-18", "top1", REAL))
    for row, name, group in (
        ("ResNet-18", "ResNet-18 (ReActNet)", ""),
        ("BNAS1", "BNAS1", MEDIUM),
        ("BNAS2", "BNAS2-C", ""),
        ("CP-NAS", "CP-NAS-L", ""),
        ("DCP-NAS", "DCP-NAS-L", ""),
    ):
        yield table(row, "one").same(main(name, "top1", group))
    react = "ReActNet-A"
    yield table(react, "one").same(Table("nas-bnn/table-2")(react, "top1"))
    hand = "a significant gap (about 3% ∼ 4%) between 1-bit hand-crafted models and real-valued"
    direct = "a performance gap about 3% ∼ 4% compared with the real-valued counterparts"
    for key, group, text in (("hand", "Hand-crafted", hand), ("direct", "Direct BNAS", direct)):
        gaps = [table(row, "real") - table(row, "one") for row in table.rows("gap", group)]
        said, words = here(text), f"gap of Table 1's {group}"
        yield said.check(f"{key}-least", "3", f"smallest {words}", smallest(gaps), unit="%")
        yield said.check(f"{key}-most", "4", f"largest {words}", largest(gaps), unit="%")


def _setting() -> Iterator[Check]:
    said = Section("dcp-nas", "1")(
        "compress real-valued weights and activations (32-bit) of CNNs into a single bit and "
        "directly decrease the memory consumption by 32×"
    )
    words = "bits of a real-valued weight / bits of a binary one"
    yield said.check("memory", "32", words, exactly(32) / 1, unit="×")
    yield edges(Section("dcp-nas", "figure 5"))
    said = Section("dcp-nas", "4.1.1")(
        "32,668 labeled bounding boxes of 1,501 identities [...] a training dataset consisting of "
        "12,936 images with 751 identities and a test dataset containing 19,732 images with 750 "
        "identities"
    )
    words = "training images + test images"
    yield said.check("boxes", "32,668", words, exactly(12_936) + 19_732)
    words = "identities of the training dataset + identities of the test dataset"
    yield said.check("identities", "1,501", words, exactly(751) + 750)
    said = Section("dcp-nas", "4.1.2")(
        "the number of search epochs is set as 105 (same as CP-NAS [80])"
    )
    yield said.check("epochs", "105", "as in CP-NAS, section 3.1", epochs(), repeated=True)
    yield from network(Section("dcp-nas", "4.1.3"), "s stride of 2")


def _table_3(main: Table) -> Iterator[Check]:
    table, here = Table("dcp-nas/table-3"), Section("dcp-nas", "4.2.1")
    said = here("we first set λ to 5e-3 and µ to 0.2, if they are used")
    words = "as in section 4.1.2, for searches on ImageNet"
    yield said.check("lambda", "5e-3", words, printed("1e-3"), repeated=True)
    said = here("When applied together, the Top-1 accuracy reaches the highest value of 72.4%")
    yield said.same("both", "72.4", table("both", "top1"))
    for column in ("top1", "top5"):
        for other in (
            Table("dcp-nas/table-7")("Large", column, NORMAL),
            Table("dcp-nas/table-8")("DCP-NAS-L", column),
            main("DCP-NAS-L", column),
        ):
            yield table("both", column).same(other)


def _table_4(main: Table) -> Iterator[Check]:
    table, here = Table("dcp-nas/table-4"), Section("dcp-nas", "4.2.1")
    slow, whole = "DCP-NAS-L (T.P., D.O.)", "DCP-NAS-L (T.P., GGN, D.O.)"
    for row, name, group in (
        ("PNAS", "PNAS", ""),
        ("DARTS", "DARTS", ""),
        ("PC-DARTS", "PC-DARTS", ""),
        ("BNAS1", "BNAS1", MEDIUM),
        ("BNAS2-H", "BNAS2-H", ""),
        ("CP-NAS (Baseline)", "CP-NAS-L", ""),
        (whole, "DCP-NAS-L", ""),
    ):
        yield table(row, "top1").same(main(name, "top1", group))
        if table.has(row, "cost"):
            weights = main("BNAS1", "cost", WEIGHTS)
            other = {f"that of {weights.place()}": weights} if row == "BNAS1" else {}
            yield table(row, "cost").same(main(name, "cost", group), otherwise=other)
    before, after = table(slow, "cost"), table(whole, "cost")
    said = here("reduces the search cost to nearly 10%")
    words = "100 x search cost with GGN / without it, Table 4"
    yield said.check("ggn", "10", words, 100 * after / before, unit="%")
    said = here(
        "our method reduces the search cost from 29 to 2.9, which is more efficient than DARTS"
    )
    yield said.same("without-ggn", "29", before)
    yield said.same("with-ggn", "2.9", after)
    yield said.check(
        "darts",
        "more efficient than DARTS",
        "search cost in Table 4",
        after,
        relation="<",
        claimed=table("DARTS", "cost"),
        unit="GPU days",
    )


def _tables_5_and_6(main: Table) -> Iterator[Check]:
    distances, real = Table("dcp-nas/table-5"), Table("dcp-nas/table-6")
    columns = ("top1", "top5", "memory", "cost")
    for column in columns:
        yield distances("F-norm", column).same(main("DCP-NAS-S", column))
    for row in ("DARTS", "PC-DARTS"):
        for column in columns:
            yield real(row, column).same(main(row, column))
    here = Section("dcp-nas", "4.2.2")
    said = here(
        "when ϵ is set as 0.1, which denotes that over 90 % of the edges and operations will be forced "
        "to backtrack"
    )
    words = (
        "100 x share of a cell's M = 14 edges that rank behind the first |ϵ M|, Eqs. (34) and (36)"
    )
    share = 100 * (exactly(14) - floor(0.1 * 14)) / 14
    yield said.check("backtracked", "over 90", words, share, relation=">", unit="%")
    said = here(
        "our decoupled optimization method further boosts the performance by 0.7% and 0.8% with "
        "no extra search cost"
    )
    for row, number in (("DARTS", "0.7"), ("PC-DARTS", "0.8")):
        with_it = f"{row} + D.O."
        words = f"Top-1 of {with_it} - Top-1 of {row}, Table 6"
        gain = real(with_it, "top1") - real(row, "top1")
        yield said.check(row.lower(), number, words, gain, unit="%")
        words = f"no extra search cost (section 4.2.2): that of {row}"
        yield real(with_it, "cost").check(words, real(row, "cost"))


def _table_7(main: Table) -> Iterator[Check]:
    table, here = Table("dcp-nas/table-7"), Section("dcp-nas", "4.2.3")
    for size, name in SIZES.items():
        for column in ("memory", "top1", "top5"):
            medium = table("Medium", column, NORMAL)
            large = (size, column) == ("L", "memory")
            known = {f"that of {medium.place()}": medium} if large else {}
            for other in (Table("dcp-nas/table-8"), main):
                there = other(f"DCP-NAS-{size}", column)
                yield table(name, column, NORMAL).same(there, otherwise=known)
    said = here(
        "increasing the memory usage to over 1.3× than the network obtained from the normal "
        "search space"
    )
    for name in SIZES.values():
        ratio = table(name, "memory", NO_SKIP) / table(name, "memory", NORMAL)
        words = f"memory of {name} {NO_SKIP} / in the {NORMAL.lower()}, Table 7"
        key = f"memory-{name.lower()}"
        yield said.check(key, "over 1.3", words, ratio, relation=">", unit="×")
    said = here("the performance of small models drop to only 58.9% Top-1 accuracy")
    neither = "w/o pooling layer + w/o skip connection"
    yield said.same("small", "58.9", table("Small", "top1", neither))


def _table_8(main: Table) -> Iterator[Check]:
    table, here = Table("dcp-nas/table-8"), Section("dcp-nas", "4.2.4")
    for row in ("DCP-NAS-S", "DCP-NAS-M", "CP-NAS-L", "DCP-NAS-L"):
        for column in ("memory", "ops", "top1", "top5"):
            yield table(row, column).same(main(row, column))
    for size, channels in CHANNELS.items():
        for mark, what in (("♯", "preprocessing"), ("§", "depthwise")):
            book, row = dcp_nas(channels, what), f"DCP-NAS-{size}{mark}"
            words = (
                "parameters of the published genotype, which binary activations leave as they are"
            )
            yield table(row, "memory").check(words, mparameters(book))
            yield table(row, "ops").check(
                f"real MACs of the published genotype with binary {what} + binary MACs / 64",
                mops(book, "bireal"),
                otherwise={"all MACs with 1-bit weights / 58": mops(book, "dcp-nas")},
            )
    source = Table("cp-nas/table-2")
    for column in ("top1", "top5"):
        yield table("CP-NAS-L", column).same(source("CP-NAS**", column, "1-bit"))
        there = source("CP-NAS*", column, "1-bit")
        words = (
            f"as in {there.place('dcp-nas')}: preprocessing binarised, first depthwise convolution "
            "not"
        )
        yield table("CP-NAS-L♯", column).check(words, there, repeated=True)
    said = here(
        "the Top-1 accuracy decreases up to 2.9% compare with the final DCP-NAS models, which is "
        "less acceptable"
    )
    words = "largest Top-1 of DCP-NAS-S, -M, -L less that of the row with ♯, Table 8"
    models = [f"DCP-NAS-{size}" for size in SIZES]
    loss = largest(table(row, "top1") - table(f"{row}♯", "top1") for row in models)
    yield said.check("preprocessing", "2.9", words, loss, unit="%")
    said = here("the DCP-NAS-L surpasses DCP-NAS-L§ by 2.3% Top-1 accuracy")
    gain = table("DCP-NAS-L", "top1") - table("DCP-NAS-L§", "top1")
    yield said.check("depthwise", "2.3", "difference of Top-1 in Table 8", gain, unit="%")


def _table_9(main: Table) -> Iterator[Check]:
    table, best = Table("dcp-nas/table-9"), "cutout and clipping"
    yield table(best, "error").same(Table("dcp-nas/table-10")("DCP-NAS-S", "error"))
    for column in ("top1", "top5"):
        yield table("smoothing and auxiliary loss", column).same(main("DCP-NAS-S", column))
    said = Section("dcp-nas", "4.2.5")("removing both brings 0.74% performance drop")
    drop = table("neither cutout nor clipping", "error") - table(best, "error")
    words = "error without both - error with both, Table 9"
    yield said.check("cifar-10", "0.74", words, drop, unit="%")
