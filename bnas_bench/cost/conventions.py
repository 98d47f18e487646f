"""The papers' conventions: one number of operations, one number of bits, from a ledger.

Activations, pooling and shortcuts cost no operations in any of them, normalisation only in `flops`.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import prod
from typing import Any

from bnas_bench.cost.ledger import Layer, Ledger
from bnas_bench.errors import UnknownName


def dcp_nas_ops(layer: Layer) -> Fraction:
    """OPs of a layer as DCP-NAS (Tables 8 and 11) counts them, https://arxiv.org/abs/2306.15390.

    1-bit weights cost 1/64 of a MAC even where the activations are real (the preprocessing), which
    no XNOR kernel can run; only a depthwise convolution on real activations is charged in full.
    The paper states no formula. This one gives its networks S, M and L to 1 % (99.0, 161.7, 332.0 M
    for its 100, 163, 334), but not all of its tables: Table 8's S with binary preprocessing stays
    at 99.0 (91), with binary depthwise convolutions it falls to 77.4 (98), and Table 11 charges
    networks whose activations are all real in full.
    """
    if layer.weight_bits > 1 or (layer.kind == "depthwise" and layer.activation_bits > 1):
        return Fraction(layer.macs)
    return Fraction(layer.macs, 64)


def nas_bnn_ops(layer: Layer) -> Fraction:
    """OPs of a layer as NAS-BNN (section 4.1.2) counts them, https://github.com/VDIGPKU/NAS-BNN.

    Real MACs + 8-bit MACs / 8 + binary MACs / 64, and the additions of the classifier's bias. A MAC
    is binary where both operands are, as in all 1-bit layers of the paper; layers with 1-bit weights
    and real activations, which it does not have, are charged in full.
    """
    discount = {1: 64, 8: 8}.get(max(layer.weight_bits, layer.activation_bits), 1)
    return Fraction(layer.macs, discount) + layer.biases


def dcp_nas_bits(ledger: Ledger) -> int:
    """Memory as DCP-NAS' Tables 8 and 11 print it: every parameter with the bits of the coarsest.

    Its 1-bit networks S, M and L get 4.2, 6.9 and 14.5 "MBits" (4.2, 6.9, 14.4), though scales,
    slopes, normalisation, stem and head take 32 bits each; its real-valued ones 32 per parameter.
    """
    return sum(ledger.parameters.values()) * min(ledger.parameters, default=0)


def nas_bnn_bits(ledger: Ledger) -> int:
    """Every parameter at its own number of bits, as in the model sizes of NAS-BNN (section 4.5)."""
    return sum(bits * number for bits, number in ledger.parameters.items())


def true_bits(ledger: Ledger) -> int:
    """What inference has to store: the parameters at their bits and the running statistics."""
    return nas_bnn_bits(ledger) + 32 * ledger.constants


def flops(layer: Layer) -> Fraction:
    """FLOPs as fvcore and its like count them, whatever the bits: MACs, and 2 per normalised value.

    Real-valued rows of the papers are quoted so: torchvision's ResNet-18 has 1,814 M MACs and, with
    4,967,424 for its normalisation, the 1,819 M of DCP-NAS' Table 11.
    """
    return Fraction(layer.macs + (2 * prod(layer.output) if layer.kind == "norm" else 0))


OPS: dict[str, Callable[[Layer], Fraction]] = {
    "dcp-nas": dcp_nas_ops,
    "nas-bnn": nas_bnn_ops,
    "flops": flops,
}
MEMORY: dict[str, Callable[[Ledger], int]] = {
    "dcp-nas": dcp_nas_bits,
    "nas-bnn": nas_bnn_bits,
    "true": true_bits,
}


def ops(ledger: Ledger, convention: str) -> float:
    """Operations for one image under a convention of `OPS`; exact up to the one rounding here.

    Raises:
        UnknownName: if there is no such convention.
    """
    if convention not in OPS:
        raise UnknownName("convention of counting operations", convention, OPS)
    return float(sum(map(OPS[convention], ledger.layers), Fraction()))


def memory(ledger: Ledger, convention: str) -> int:
    """Bits under a convention of `MEMORY`.

    Raises:
        UnknownName: if there is no such convention.
    """
    if convention not in MEMORY:
        raise UnknownName("convention of counting memory", convention, MEMORY)
    return MEMORY[convention](ledger)


def costs(ledger: Ledger) -> dict[str, Any]:
    """What a record says of a network's cost, as plain values.

    Keys: `macs` (by bits, as `W1A32`), `ops` (by convention), `parameters` (their number),
    `memory_bits` (the true ones) and `memory` (bits by convention).
    """
    return {
        "macs": ledger.macs,
        "ops": {convention: ops(ledger, convention) for convention in OPS},
        "parameters": sum(ledger.parameters.values()),
        "memory_bits": memory(ledger, "true"),
        "memory": {convention: memory(ledger, convention) for convention in MEMORY},
    }
