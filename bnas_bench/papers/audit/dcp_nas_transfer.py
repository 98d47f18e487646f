"""The numbers of DCP-NAS' sections 4.4 to 4.6, recomputed: transfer and deployment."""

from __future__ import annotations

from collections.abc import Iterator

from bnas_bench.papers.audit.check import Check
from bnas_bench.papers.audit.detectors import table_13
from bnas_bench.papers.audit.places import Section, Table, slug
from bnas_bench.papers.audit.terms import largest

BACKBONES = {"S": "ResNet-18", "M": "ResNet-34", "L": "ResNet-50"}
"""The real-valued networks that section 4.4 sets beside DCP-NAS-S, -M and -L."""


def checks() -> Iterator[Check]:
    """All checks of these sections, in the paper's order."""
    yield from _table_12()
    yield from _table_13()
    yield from table_13()
    yield from _table_14()
    yield from _table_15()


def _table_12() -> Iterator[Check]:
    table, here = Table("dcp-nas/table-12"), Section("dcp-nas", "4.4")
    market = "68.0 % mAP vs. 64.3 % mAP, 70.6 % mAP vs. 68.0 % mAP, 71.9 % mAP vs. 71.6 % mAP"
    cuhk = "48.8 % mAP vs. 33.0 % mAP, 51.4 % mAP vs. 39.2 % mAP, 54.4 % mAP vs. 43.8 % mAP"
    for data, text in (("market", market), ("cuhk", cuhk)):
        said, column = here(f"({text})"), f"{data}_map"
        for (size, backbone), pair in zip(BACKBONES.items(), text.split(", "), strict=True):
            first, second = pair.replace(" % mAP", "").split(" vs. ")
            own, real = table(f"DCP-NAS-{size}", column), table("Real-valued", column, backbone)
            yield said.same(f"{data}-own-{size.lower()}", first, own)
            yield said.same(f"{data}-real-{size.lower()}", second, real)
    said = here("both surpass the real-valued counterpart in a clear margin")
    for column in ("market_map", "market_r1"):
        for size, backbone in BACKBONES.items():
            gain = table(f"DCP-NAS-{size}", column) - table("Real-valued", column, backbone)
            title = table.columns[column].title + (
                ", which it does not give" * column.endswith("r1")
            )
            words = f"{title}: DCP-NAS-{size} - Real-valued with {backbone}, Table 12"
            yield said.exceeds(f"{slug(column)}-{size.lower()}", "surpass", words, gain, unit="%")
    for data, other, numbers, text in (
        ("market", "BiRe-ID", "4.0 3.5 2.7", "outperforms BiRe-ID by 4.0%, 3.5%, 2.7% mAP"),
        (
            *("duke", "Real-valued", "12.1 9.7 5.5"),
            "outperforms the real-valued models by 12.1%, 9.7%, 5.5% mAP",
        ),
        ("duke", "BiRe-ID", "13.1 10.9 7.4", "outperforms BiRe-ID by 13.1%, 10.9%, 7.4% mAP"),
        ("cuhk", "BiRe-ID", "15.8 12.2 10.6", "outperforms BiRe-ID by 15.8%, 12.2%, 10.6% mAP"),
    ):
        said, column = here(text), f"{data}_map"
        for (size, backbone), number in zip(BACKBONES.items(), numbers.split(), strict=True):
            own = table(f"DCP-NAS-{size}", column)
            words = (
                f"{table.columns[column].title}: DCP-NAS-{size} - {{}} with {backbone}, Table 12"
            )
            against = {
                words.format(name): own - table(name, column, backbone)
                for name in ("Real-valued", "BiRe-ID")
            }
            stated = words.format(other)
            value = against.pop(stated)
            key = f"{data}-{other.lower()}-{size.lower()}"
            yield said.check(key, number, stated, value, otherwise=against, unit="%")


def _table_13() -> Iterator[Check]:
    table, here = Table("dcp-nas/table-13"), Section("dcp-nas", "4.5.1")
    rivals = {"S": "ResNet-18", "M": "ResNet-18", "L": "ResNet-34"}
    first = here(
        "our DCP-NAS-S outperforms ReActNet 3.2% mAP with the same bit-width activations and "
        "weights, but higher acceleration rate (15.01 GOPs vs. 18.49 GOPs)"
    )
    medium = here(
        "Our DCP-NAS-M achieves surpasses other low-bit detectors including DoReFa-Net, ReActNet "
        "and LWS-Det by 0.9%, 4.6% and 1.0%"
    )
    large = here(
        "our DCP-NAS surpasses DoReFa-Net, ReActNet and LWS-Det by 1.1%, 4.4%, and 0.9% mAP"
    )
    for size, said, gains in (
        ("S", first, {"ReActNet": "3.2"}),
        ("M", medium, {"DoReFa-Net": "0.9", "ReActNet": "4.6", "LWS-Det": "1.0"}),
        ("L", large, {"DoReFa-Net": "1.1", "ReActNet": "4.4", "LWS-Det": "0.9"}),
    ):
        for name, number in gains.items():
            gain = table(f"DCP-NAS-{size}", "map") - table(name, "map", rivals[size])
            words = f"mAP of DCP-NAS-{size} - mAP of {name} with {rivals[size]}, Table 13"
            yield said.check(f"{size.lower()}-{name.lower()}", number, words, gain, unit="%")
    yield first.same("s-ops", "15.01", table("DCP-NAS-S", "ops"), unit="G")
    yield first.same("reactnet-ops", "18.49", table("ReActNet", "ops", "ResNet-18"), unit="G")
    said = here("comparable performance as real-valued (76.7% vs. 77.8%)")
    yield said.same("l-map", "76.7", table("DCP-NAS-L", "map"))
    yield said.same("real-map", "77.8", table("Real-valued", "map", "ResNet-34"))
    yield here("We also surpass the performance to real-valued models").exceeds(
        "real-valued",
        "surpass",
        "largest of DCP-NAS-S and -M - Real-valued with ResNet-18, DCP-NAS-L - Real-valued with "
        "ResNet-34, mAP in Table 13",
        largest(
            table(f"DCP-NAS-{size}", "map") - table("Real-valued", "map", backbone)
            for size, backbone in rivals.items()
        ),
        unit="%",
    )


def _table_14() -> Iterator[Check]:
    table, here = Table("dcp-nas/table-14"), Section("dcp-nas", "4.5.2")
    for size, name, number, text in (
        ("S", "ReActNet", "4.3", "Our DCP-NAS-S improves the mAP@[.5, .95] by 4.3%"),
        ("M", "ReActNet", "6.2", "ReActNet and LWS-Det by 6.2% and 0.4%"),
        ("M", "LWS-Det", "0.4", "ReActNet and LWS-Det by 6.2% and 0.4%"),
        ("L", "FQN", "1.6", "our DCP-NAS-L improves the mAP@[.5, .95] by 1.6%"),
    ):
        gain = table(f"DCP-NAS-{size}", "map") - table(name, "map")
        words = f"mAP@[.5, .95] of DCP-NAS-{size} - that of {name}, Table 14"
        yield here(text).check(f"{size.lower()}-{name.lower()}", number, words, gain, unit="%")
    said = here("compared with real-valued ResNet-18 based Faster-RCNN (29.7% vs. 32.2%)")
    yield said.same("l-map", "29.7", table("DCP-NAS-L", "map"))
    yield said.same("real-map", "32.2", table("Real-valued", "map"))
    said = here(
        "on other APs with different IoU thresholds, our DCP-NAS outperforms other methods "
        "obviously"
    )
    conclusion = here(
        "compared with the baseline methods of network quantization, our method achieves the best "
        "performance in terms of the AP with different IoU thresholds and the AP for objects in "
        "different sizes"
    )
    for column in ("ap50", "ap75", "aps", "apm", "apl"):
        title, own = table.columns[column].title, table("DCP-NAS-L", column)
        one_bit = [table(row, column) for row in ("ReActNet", "LWS-Det")]
        words = f"{title} of DCP-NAS-L - best {title} of {{}}, Table 14"
        if column in ("ap50", "ap75"):
            gain = own - largest(one_bit)
            among = words.format("the other 1-bit detectors")
            yield said.exceeds(f"outperforms-{column}", "outperforms", among, gain, unit="%")
        among = words.format("the other quantised detectors")
        gain = own - largest([table("FQN", column), *one_bit])
        yield conclusion.exceeds(f"best-{column}", "best", among, gain, unit="%")
    nas_bnn = Table("nas-bnn/table-3")
    for row in ("ReActNet", "LWS-Det"):
        yield table(row, "map").same(nas_bnn(f"{row}-18", "map"))


def _table_15() -> Iterator[Check]:
    table, main = Table("dcp-nas/table-15"), Table("dcp-nas/table-11")
    first, react, own = "ResNet-18", "ResNet-18 (ReActNet)", "DCP-NAS-M"
    for row, group in ((first, "real-valued"), (react, "1-bit, medium"), (own, "1-bit, medium")):
        yield table(row, "memory").same(main(row, "memory", group))
    for column, of in (("saving", "memory"), ("acceleration", "latency")):
        for row in (react, own):
            words = f"{of} of {first} / {of} of the row"
            yield table(row, column).check(words, table(first, of) / table(row, of))
    said = Section("dcp-nas", "4.6")(
        "the acceleration rate achieves about 2.5× compared with ResNet-18, which is slightly "
        "lower than the acceleration rate of ReActNet's 3.8×"
    )
    yield said.same("dcp-nas", "2.5", table(own, "acceleration"))
    yield said.same("reactnet", "3.8", table(react, "acceleration"))
