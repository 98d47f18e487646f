"""The papers' conventions of counting a network's memory, in bits, from a ledger."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from bnas_bench.core.errors import UnknownName
from bnas_bench.cost.ledger import Layer, Ledger


def dcp_nas_bits(ledger: Ledger) -> int:
    """Memory as DCP-NAS' Tables 8 and 11 print it: every parameter with the bits of the coarsest.

    Its 1-bit networks S, M and L get 4.2, 6.9 and 14.5 "MBits" (4.2, 6.9, 14.4), though scales,
    slopes, normalisation, stem and head take 32 bits each; its real-valued ones 32 per parameter.
    """
    return sum(ledger.parameters.values()) * min(ledger.parameters, default=0)


def cp_nas_bits(ledger: Ledger) -> int:
    """Memory as CP-NAS' Table 3 prints it: the weights of convolutions and linear layers, each at
    its own bits; biases, scales, slopes and normalisation left out.

    The paper states no rule. This one gives WRN-22 138.29 Mbit real-valued and 5.72 Mbit as 1-bit
    network (138.27 and 5.71); with normalisation they would be 138.46 and 5.90.
    """
    return sum(layer.weight_bits * _weights(layer) for layer in ledger.layers)


def nas_bnn_bits(ledger: Ledger) -> int:
    """Every parameter at its own number of bits, as in the model sizes of NAS-BNN (section 4.5)."""
    return sum(bits * number for bits, number in ledger.parameters.items())


def float32_bits(ledger: Ledger) -> int:
    """The same numbers, parameters and running statistics, at 32 bits each."""
    return 32 * (sum(ledger.parameters.values()) + ledger.constants)


def true_bits(ledger: Ledger) -> int:
    """What inference has to store: the parameters at their bits and the running statistics."""
    return nas_bnn_bits(ledger) + 32 * ledger.constants


def packed_bits(ledger: Ledger) -> int:
    """The tensors of the network's packed file (`bnas_bench.packed`), without the file's header.

    Less than `true`: a normalisation is two numbers per channel, or one threshold before a sign.
    """
    return 8 * sum(layer.packed_bytes for layer in ledger.layers)


def _weights(layer: Layer) -> int:
    """Weights of a layer that multiplies; those that an earlier execution listed are left out.

    An attention's products are not of weights alone: all its parameters are taken for weights.
    """
    if layer.kind == "attention":
        return sum(layer.parameters.values())
    places = layer.output[:-1] if layer.kind == "linear" else layer.output[1:]
    return layer.macs // prod(places) if layer.parameters else 0


MEMORY: dict[str, Callable[[Ledger], int]] = {
    "dcp-nas": dcp_nas_bits,
    "cp-nas": cp_nas_bits,
    "nas-bnn": nas_bnn_bits,
    "float32": float32_bits,
    "true": true_bits,
    "packed": packed_bits,
}


def memory(ledger: Ledger, convention: str) -> int:
    """Bits under a convention of `MEMORY`.

    Raises:
        UnknownName: if there is no such convention.
    """
    if convention not in MEMORY:
        raise UnknownName("convention of counting memory", convention, MEMORY)
    return MEMORY[convention](ledger)
