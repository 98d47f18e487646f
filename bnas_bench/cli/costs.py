"""How `measure` prints a ledger: the conventions side by side, the layers as a table or as CSV."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bnas_bench.cost import Layer, Ledger

MIB = 2**20

COUNTED = ("constants", "biases", "elementwise", "packed_bytes", "folded", "output_bytes")
"""What the CSV says of a layer beside its shape, its MACs and its parameters."""


def lines(found: dict[str, Any]) -> Iterator[str]:
    """What `costs` found, and the `input`'s size, one number a line.

    OPs are in millions (M), memory in Mbit (10^6 bits), MiB (2^20 bytes) and bytes.
    """
    yield f"{'input':18} {_shape(found['input']):>14}"
    for bits, macs in found["macs"].items():
        yield f"{'MACs ' + bits:18} {macs / 1e6:14,.3f} M"
    for convention, ops in found["ops"].items():
        yield f"{'OPs ' + convention:18} {ops / 1e6:14,.3f} M"
    yield f"{'parameters':18} {found['parameters']:14,}"
    for convention, bits in found["memory"].items():
        yield _memory(f"memory {convention}", bits)
    if size := found["packed_file_bytes"]:
        yield _memory("packed file", 8 * size) + " with header"
    yield _memory("maps simulated", 8 * found["peak_activation_bytes"]) + " at batch 1"
    yield _memory("maps packed", 8 * found["peak_packed_activation_bytes"]) + " at batch 1"


def _memory(label: str, bits: int) -> str:
    size = -(-bits // 8)
    return f"{label:18} {bits / 1e6:14,.3f} Mbit {size / MIB:10,.3f} MiB {size:13,} bytes"


def layer_lines(ledger: Ledger) -> Iterator[str]:
    """The layers as a table with a header."""
    rows = [("layer", "kind", "input", "output", "bits", "MACs", "parameters", "output bytes")]
    rows += [
        (
            layer.name,
            layer.kind,
            _shape(layer.input),
            _shape(layer.output),
            f"W{layer.weight_bits}A{layer.activation_bits}" if layer.macs else "",
            f"{layer.macs:,}",
            " + ".join(f"{n:,} x {bits} bit" for bits, n in sorted(layer.parameters.items())),
            f"{layer.output_bytes:,}",
        )
        for layer in ledger.layers
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    numbers = {5, 7}
    for row in rows:
        cells = (
            cell.rjust(width) if place in numbers else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(cells).rstrip()


def layer_values(layer: Layer) -> dict[str, Any]:
    """A layer as plain values, with what follows from them."""
    return vars(layer) | {"output_bytes": layer.output_bytes}


def layer_csv(ledger: Ledger) -> str:
    """The layers as CSV with a header; shapes as 3x224x224, one column of parameters for each width."""
    from pandas import DataFrame

    widths = sorted({1, 8, 32} | set(ledger.parameters))
    rows = [
        {name: getattr(layer, name) for name in ("name", "kind")}
        | {name: _shape(getattr(layer, name)) for name in ("input", "output")}
        | {name: getattr(layer, name) for name in ("weight_bits", "activation_bits", "macs")}
        | {f"parameters_{bits}_bit": layer.parameters.get(bits, 0) for bits in widths}
        | {name: int(getattr(layer, name)) for name in COUNTED}
        for layer in ledger.layers
    ]
    return DataFrame(rows).to_csv(index=False, lineterminator="\n")


def _shape(sides: tuple[int, ...]) -> str:
    return "x".join(map(str, sides))
