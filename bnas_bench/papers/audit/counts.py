"""What the audit counts by itself: networks of the papers, at the papers' sizes, through the ledger."""

from __future__ import annotations

from fractions import Fraction
from functools import cache

from bnas_bench.core.architecture import Architecture
from bnas_bench.cost import OPS, Layer, Ledger, ledger, memory
from bnas_bench.papers.artefact import Count, load
from bnas_bench.papers.audit.terms import Term, exactly
from bnas_bench.papers.counted import ledger_of, space_of
from bnas_bench.runs.size import Size

CIFAR, IMAGENET = (3, 32, 32), (3, 224, 224)
MEGA = 10**6


def handmade(model: str, shape: tuple[int, int, int] = IMAGENET, classes: int = 0) -> Ledger:
    """A model of `handcrafted` at its paper's width; 1,000 classes on ImageNet, 10 on CIFAR-10."""
    classes = classes or (1000 if shape == IMAGENET else 10)
    space = f"handcrafted[models={model}]"
    return ledger_of(Count(space=space, arch=model, input=shape, classes=classes))


def dcp_nas(channels: int, binarise: str = "") -> Ledger:
    """The genotype that DCP-NAS' authors published, on ImageNet."""
    space = f"darts-binary[binarise={binarise}]" if binarise else "darts-binary"
    return ledger_of(Count(space=space, arch="ddpnas-mcn-2", channels=channels, cells=10))


def nas_bnn_layers(model: str) -> dict[str, tuple[int, int, int]]:
    """Width, kernel and groups of the layers that NAS-BNN's Table 6 prints, by column, stem first."""
    cells = load("nas-bnn/table-6").row(model).paper
    layers = {column: text.split("_") for column, text in cells.items() if "_" in text}
    return {column: (int(c[1:]), int(k[1:]), int(g[1:])) for column, (c, k, g) in layers.items()}


@cache
def nas_bnn(model: str) -> Ledger:
    """The network of NAS-BNN-A to -F, from the layers that Table 6 prints."""
    (_, stem), *layers = nas_bnn_layers(model).items()
    choices: dict[str, int] = {"stem.width": stem[0]}
    for column, layer in layers:
        stage, _, number = column.removeprefix("s").partition("-l")
        choices[f"stage{stage}.depth"] = int(number)
        for part, option in zip(("width", "kernel", "groups"), layer, strict=True):
            choices[f"stage{stage}.layer{number}.{part}"] = option
    arch = Architecture("nas-bnn", choices)
    return ledger(Size().network(space_of("nas-bnn"), arch), IMAGENET)


def mops(book: Ledger, convention: str) -> Term:
    """Millions of operations under a convention."""
    return exactly(sum(map(OPS[convention], book.layers), Fraction()) / MEGA)


def mmacs(book: Ledger, *, binary: bool) -> Term:
    """Millions of multiply-accumulates: those of two 1-bit operands, or all others."""

    def chosen(layer: Layer) -> bool:
        return (layer.weight_bits == layer.activation_bits == 1) == binary

    return exactly(Fraction(sum(layer.macs for layer in book.layers if chosen(layer)), MEGA))


def mparameters(book: Ledger, *, classifier: bool = True) -> Term:
    """Millions of parameters, with or without those of the linear layer."""
    layers = [layer for layer in book.layers if classifier or layer.kind != "linear"]
    return exactly(Fraction(sum(sum(layer.parameters.values()) for layer in layers), MEGA))


def mbits(book: Ledger, convention: str) -> Term:
    """Memory in 10^6 bits under a convention."""
    return exactly(Fraction(memory(book, convention), MEGA))
