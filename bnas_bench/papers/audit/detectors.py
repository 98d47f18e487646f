"""Detectors of DCP-NAS' Table 13, counted: Faster R-CNN at 600x1000 pixels, which the paper does not say."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from bnas_bench.cost import OPS, Layer, Ledger
from bnas_bench.papers.artefact import Count
from bnas_bench.papers.audit.check import Check
from bnas_bench.papers.audit.places import Table
from bnas_bench.papers.audit.terms import Term, exactly
from bnas_bench.papers.counted import ledger_of

SHAPE, CLASSES = (3, 600, 1000), 20
GIGA, MEGABYTE = 10**9, 8 * 10**6
REAL = {"ResNet-18": "resnet18", "ResNet-34": "resnet34"}
BINARY = {"ResNet-18": "birealnet18", "ResNet-34": "birealnet34"}
"""Bi-Real Net's networks for ReActNet's, whose convolutions and shortcuts they have."""
SIZES = {"S": 54, "M": 72, "L": 108}
WHERE = "Faster R-CNN with a pyramid of 256 channels at 600x1000 pixels, 1,000 proposals"
SMALL = "with lateral connections of 1x1 pixels"


def table_13() -> Iterator[Check]:
    """The OPs and the memory that its networks take here."""
    table = Table("dcp-nas/table-13")
    for group, model in REAL.items():
        book = _handmade(model)
        yield table("Real-valued", "ops", group).check(
            f"MACs of {WHERE}",
            _gops(book, "dcp-nas"),
            key="counted",
            otherwise={f"the same {SMALL}": _gops(book, "dcp-nas", narrow=True)},
        )
        yield table("Real-valued", "memory", group).check(
            f"4 bytes for each parameter of {WHERE}",
            _megabytes(book),
            key="counted",
            otherwise={f"the same {SMALL}": _megabytes(book, narrow=True)},
        )
    for group, model in BINARY.items():
        whole, four = table("Real-valued", "ops", group), table("DoReFa-Net", "ops", group)
        left = (8 * four - whole) / 7
        yield table("ReActNet", "ops", group).check(
            f"real MACs + binary MACs / 58 of {WHERE}, 1-bit in what runs on whole maps",
            _gops(_handmade(model), "dcp-nas"),
            key="counted",
            otherwise={
                "what DoReFa-Net's OPs leave real if its others are 4-bit ones at an eighth, and 1/64 of "
                "the others": left + (whole - left) / 64,
                "with the box head 1-bit, too": _gops(_handmade(model, "all"), "dcp-nas"),
                "with real heads": _gops(_handmade(model, "real"), "dcp-nas"),
            },
        )
        yield table("ReActNet", "memory", group).check(
            f"parameters at their bits of {WHERE}, 1-bit in what runs on whole maps",
            _megabytes(_handmade(model)),
            key="counted",
            otherwise={"with the box head 1-bit, too": _megabytes(_handmade(model, "all"))},
        )
    for size, channels in SIZES.items():
        book = _detector("darts-binary", "ddpnas-mcn-2", channels=channels, cells=10)
        yield table(f"DCP-NAS-{size}", "ops").check(
            f"real MACs + MACs with 1-bit weights / 58 of {WHERE} on the published genotype",
            _gops(book, "dcp-nas"),
            key="counted",
        )


def _detector(
    space: str,
    arch: str,
    heads: str = "maps",
    channels: int | None = None,
    cells: int | None = None,
) -> Ledger:
    return ledger_of(
        Count(
            space=space,
            arch=arch,
            input=SHAPE,
            classes=CLASSES,
            channels=channels,
            cells=cells,
            task="voc",
            heads=heads,
        )
    )


def _handmade(model: str, heads: str = "maps") -> Ledger:
    return _detector(f"handcrafted[models={model}]", model, heads)


def _share(layer: Layer, *, narrow: bool) -> Fraction:
    """What part of a layer counts: a ninth of a lateral connection where only its middle is meant."""
    lateral = ".inner_blocks." in f".{layer.name}" and layer.kind == "conv"
    return Fraction(1, 9) if narrow and lateral else Fraction(1)


def _gops(book: Ledger, convention: str, *, narrow: bool = False) -> Term:
    rule = OPS[convention]
    parts = [rule(layer) * _share(layer, narrow=narrow) for layer in book.layers]
    return exactly(sum(parts, Fraction()) / GIGA)


def _megabytes(book: Ledger, *, narrow: bool = False) -> Term:
    bits = [
        bits * count * _share(layer, narrow=narrow)
        for layer in book.layers
        for bits, count in layer.parameters.items()
    ]
    return exactly(sum(bits, Fraction()) / MEGABYTE)
