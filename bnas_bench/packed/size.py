"""How large a network is as bits."""

from __future__ import annotations

from contextlib import suppress

from torch import nn

from bnas_bench.nn.network import Network
from bnas_bench.packed.format.file import save
from bnas_bench.packed.lowering.lower import CannotPack, lower


def packed_bytes(network: nn.Module, shape: tuple[int, int, int]) -> int | None:
    """Of the packed file for images of a shape, its header included; None if it cannot be packed."""
    with suppress(CannotPack):
        return len(save(lower(network, shape))) if isinstance(network, Network) else None
    return None
