"""The papers' conventions of counting operations: one number from a ledger.

Each is a function from a layer to its OPs, all of which docs/costs.md sets side by side.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import Any

from bnas_bench.core.errors import UnknownName
from bnas_bench.cost.ledger import Layer, Ledger
from bnas_bench.cost.memory import MEMORY, memory


def bireal_ops(layer: Layer) -> Fraction:
    """OPs of a layer as Bi-Real Net counts them, https://arxiv.org/abs/1808.00278.

    FLOPs + BOPs / 64: a MAC is binary where both operands are, and any other one is charged in full.
    ReActNet (https://arxiv.org/abs/2003.03488) says and does the same: `reactnet` is this function.
    Bi-Real Net's ResNet-18 gets 163.99 M for the 163 M that it prints, ReActNet-A 87.1 M for 87.
    """
    return Fraction(layer.macs, 64 if _binary(layer) else 1)


def nas_bnn_ops(layer: Layer) -> Fraction:
    """OPs of a layer as NAS-BNN (section 4.1.2) counts them, https://github.com/VDIGPKU/NAS-BNN.

    Real MACs + 8-bit MACs / 8 + binary MACs / 64, and the additions of the classifier's bias. A MAC
    is binary where both operands are, as in all 1-bit layers of the paper; layers with 1-bit weights
    and real activations, which it does not have, are charged in full.
    """
    discount = {1: 64, 8: 8}.get(max(layer.weight_bits, layer.activation_bits), 1)
    return Fraction(layer.macs, discount) + layer.biases


def dcp_nas_ops(layer: Layer, price: int = 58) -> Fraction:
    """OPs of a layer as DCP-NAS (Tables 8 and 11) counts them, https://arxiv.org/abs/2306.15390.

    1-bit weights cost 1 / price of a MAC even where the activations are real (the preprocessing),
    which no XNOR kernel can run; only a depthwise convolution on real activations is charged in full.
    The paper states no formula. By XNOR-Net's speed-up of 58 its networks S, M and L have 99.51,
    162.72 and 334.21 M, which round to its 100, 163 and 334; by 64 (`dcp-nas-64`) 98.96, 161.74 and
    332.01 M, of which none does. Not all of its tables follow: Table 8's S with binary preprocessing
    stays at 99.5 (91), with binary depthwise convolutions it falls to 78.0 (98), and Table 11
    charges networks whose activations are all real in full.
    """
    if layer.weight_bits > 1 or (layer.kind == "depthwise" and layer.activation_bits > 1):
        return Fraction(layer.macs)
    return Fraction(layer.macs, price)


def cp_nas_ops(layer: Layer) -> Fraction:
    """FLOPs of a layer as CP-NAS' Table 3 counts them, https://arxiv.org/abs/2005.00057.

    Binary MACs at 1/58, the speed-up that XNOR-Net claims for a convolution, all others in full:
    its 1-bit WRN-22 gets the 17.03 M that it prints.
    """
    return Fraction(layer.macs, 58 if _binary(layer) else 1)


def bars_ops(layer: Layer, price: int) -> Fraction:
    """Equivalent OPs of a layer as BARS' Table 2 has them, https://arxiv.org/abs/2011.10804.

    FLOPs + BOPs / price, and a MAC is two operations, a multiplication and an addition: so its
    1-bit ResNet-18 on CIFAR-10 has the 16 M and 1,094 M that it prints. `bars-64` is what the
    caption says; `bars-32` is what the CIFAR rows do (50.3 M for that network's 50.2). Of the
    ImageNet rows BARS-D's 122.8 M is neither: it is below the row's own 129 M FLOPs.
    """
    return Fraction(2 * layer.macs, price if _binary(layer) else 1)


def flops(layer: Layer) -> Fraction:
    """FLOPs as fvcore and its like count them, whatever the bits: MACs, and 2 per normalised value
    (5 where the mean and the variance are the image's own, as in a layer norm).

    Real-valued rows of the papers are quoted so: torchvision's ResNet-18 has 1,814 M MACs and, with
    4,967,424 for its normalisation, the 1,819 M of DCP-NAS' Table 11.
    """
    return Fraction(layer.macs + (layer.elementwise if layer.kind == "norm" else 0))


def honest_ops(layer: Layer) -> Fraction:
    """OPs of a layer where a discount needs a kernel for just these operands; no paper's.

    1/64 of a MAC where both operands have 1 bit, 1/8 where both have 8 (a stem of 8 bits), and
    every other one in full: W1A32, W32A1 and the real stem and classifier, with its bias.
    """
    discount = {(1, 1): 64, (8, 8): 8}.get((layer.weight_bits, layer.activation_bits), 1)
    return Fraction(layer.macs, discount) + layer.biases


def all_ops(layer: Layer) -> Fraction:
    """`honest_ops`, and what the papers leave out, at one operation each (`Layer.elementwise`).

    Normalisation (2 per value), activation functions and thresholds, shortcuts and sums of edges,
    pooling.
    """
    return honest_ops(layer) + layer.elementwise


def _binary(layer: Layer) -> bool:
    return layer.weight_bits == layer.activation_bits == 1


OPS: dict[str, Callable[[Layer], Fraction]] = {
    "dcp-nas": dcp_nas_ops,
    "dcp-nas-64": partial(dcp_nas_ops, price=64),
    "nas-bnn": nas_bnn_ops,
    "bireal": bireal_ops,
    "reactnet": bireal_ops,
    "cp-nas": cp_nas_ops,
    "bars-64": partial(bars_ops, price=64),
    "bars-32": partial(bars_ops, price=32),
    "flops": flops,
    "honest": honest_ops,
    "all": all_ops,
}

BEYOND_PRODUCTS: dict[str, str] = {
    "flops": "normalisation",
    "all": "normalisation, activation functions, sums and pooling",
}
"""What conventions charge besides convolutions and linear layers."""


def ops(ledger: Ledger, convention: str) -> float:
    """Operations for one image under a convention of `OPS`; exact up to the one rounding here.

    Raises:
        UnknownName: if there is no such convention.
    """
    if convention not in OPS:
        raise UnknownName("convention of counting operations", convention, OPS)
    return float(sum(map(OPS[convention], ledger.layers), Fraction()))


def costs(ledger: Ledger) -> dict[str, Any]:
    """What a record says of a network's cost, as plain values.

    Keys: `macs` (by bits, as `W1A32`), `ops` (by convention), `parameters` (their number),
    `memory_bits` (the true ones), `memory` (bits by convention), and the peak of the maps of one
    image, `peak_activation_bytes` (float simulation) and `peak_packed_activation_bytes`.
    """
    return {
        "macs": ledger.macs,
        "ops": {convention: ops(ledger, convention) for convention in OPS},
        "parameters": sum(ledger.parameters.values()),
        "memory_bits": memory(ledger, "true"),
        "memory": {convention: memory(ledger, convention) for convention in MEMORY},
        "peak_activation_bytes": ledger.peak_activation_bytes,
        "peak_packed_activation_bytes": ledger.peak_packed_activation_bytes,
    }
