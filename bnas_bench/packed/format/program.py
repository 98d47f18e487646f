"""What a packed network is: a list of steps over named values, with the bits and numbers they need.

A value is a map (B, H, W, C) of 32-bit floats, a map of signs (one bit a channel), or, behind the
global pooling, a vector (B, N). Steps are in the order in which they run, and each makes one value.
Their arithmetic is that of the PyTorch network to the last bit: a whole-numbered sum of signs comes
before its scale, and a batch norm is `fma(x, scale, offset)` as torch computes it.

Every tensor of a step is a NumPy array, stored as it is: `file.py` writes and checks it, `lower.py`
makes it from a network, `engine.py` runs it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

INPUT = "input"
"""The value that the images are."""

Attribute = int | bool | str


@dataclass(frozen=True)
class Step:
    """One operation.

    Attributes:
        op: one of `OPS`.
        inputs: names of the values it reads: `INPUT` or the names of earlier steps.
        name: of the value it makes, unique in the program.
        layer: the module of the network that it is, for error messages and profiles.
        attributes: whole numbers, switches and names, as `OPS` lists them.
        tensors: numbers and bits, as `OPS` lists them.
    """

    op: str
    inputs: tuple[str, ...]
    name: str
    layer: str
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    tensors: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Program:
    """A network as steps; the last step's value is the logits.

    Attributes:
        shape: of an image, (C, H, W).
        about: what the file says of itself: space, architecture, bnas_bench version; text only.
    """

    shape: tuple[int, int, int]
    steps: tuple[Step, ...]
    about: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Op:
    """What steps of one kind are made of.

    Attributes:
        arity: number of inputs; None for one or more.
        reads, makes: `real`, `signs` or `vector`.
        attributes: names of all of its attributes, in order; all are whole numbers >= 0, but for
            switches (bool).
        tensors: names of its tensors and their types; a name ending in `?` may be absent.
    """

    arity: int | None
    reads: str
    makes: str
    attributes: tuple[str, ...] = ()
    tensors: Mapping[str, str] = field(default_factory=dict)


CONV = ("inputs", "outputs", "kernel", "stride", "padding", "dilation", "groups")
POOL = ("kernel", "stride", "padding", "ceil")

OPS: dict[str, Op] = {
    # Convolutions, NCHW weights (outputs, inputs / groups, kernel, kernel), zero padding.
    "conv": Op(1, "real", "real", CONV, {"weight": "f4", "bias?": "f4"}),
    # Levels of 8 bits; `steps` are those of the weights and of the inputs (LSQ Eq. 1).
    "conv_q8": Op(1, "real", "real", CONV, {"weight": "i1", "steps": "f4"}),
    # W1A32: weights are scale * sign. `scale` has one number, or one per output channel.
    "conv_w1": Op(1, "real", "real", CONV, {"signs": "u8", "scale": "f4"}),
    # W1A1: the whole-numbered sum of products of signs, times the scale. Padding counts as zero.
    "conv_b": Op(1, "signs", "real", CONV, {"signs": "u8", "scale": "f4"}),
    # +1 where x >= threshold (0 if there is none), and turned round where `flips` has a 1.
    "sign": Op(1, "real", "signs", (), {"threshold?": "f4", "flips?": "u8"}),
    # Per channel and element by element. `affine` is fma(x, scale, offset), a batch norm.
    "affine": Op(1, "real", "real", (), {"scale": "f4", "offset": "f4"}),
    "prelu": Op(1, "real", "real", (), {"slope": "f4"}),
    "rprelu": Op(1, "real", "real", (), {"gamma": "f4", "slope": "f4", "zeta": "f4"}),
    "relu": Op(1, "real", "real"),
    "hardtanh": Op(1, "real", "real"),
    "add": Op(2, "real", "real"),
    # Channels: `concat` joins maps, `interleave` takes the first channel of each, then the second.
    "concat": Op(None, "real", "real"),
    "interleave": Op(None, "real", "real"),
    "shuffle": Op(1, "real", "real", ("groups",)),  # channel i of group g moves to i * groups + g
    "tile": Op(1, "real", "real", ("channels",)),  # channels over and over until there are so many
    "resize": Op(1, "real", "real", ("parts", "channels")),  # cut or zero-fill each of the parts
    # Pixels: `window` takes every `step`-th pixel from `start` on, both ways, of the map with
    # `pad` rows and columns of zeros below and to the right.
    "window": Op(1, "real", "real", ("pad_height", "pad_width", "start", "step")),
    "max_pool": Op(1, "real", "real", POOL),
    "avg_pool": Op(1, "real", "real", (*POOL, "count_padding")),
    "zeros": Op(1, "real", "real", ("channels", "stride")),  # as large as a layer would leave it
    "global_pool": Op(1, "real", "vector"),
    "linear": Op(1, "vector", "vector", ("inputs", "outputs"), {"weight": "f4", "bias": "f4"}),
}
"""Bits are in little-endian 64-bit words, bit 0 first, without gaps: weights in the order
(output, row, column, input channel of the group), +1 as 1; flips in the order of the channels."""


def words(bits: int) -> int:
    """64-bit words that hold so many bits."""
    return -(-bits // 64)


def pack_bits(bits: np.ndarray) -> np.ndarray:
    """An array of booleans, read in C order, as 64-bit words; what is left of the last is 0."""
    flat = np.packbits(bits.reshape(-1), bitorder="little")
    return np.pad(flat, (0, 8 * words(bits.size) - flat.size)).view("<u8")


def unpack_bits(packed: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """What `pack_bits` packed, as booleans of that shape."""
    flat = np.unpackbits(packed.view(np.uint8), count=int(np.prod(shape)), bitorder="little")
    return flat.astype(bool).reshape(shape)
