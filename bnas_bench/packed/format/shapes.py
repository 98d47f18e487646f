"""What each operation makes of its inputs: the kind and shape of its value, its tensors' shapes, its work.

One function per operation, in the table `RULES`. Shape arithmetic is torch's. All is Python's whole
numbers, so that nothing overflows however absurd the attributes are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any, TypeAlias

from bnas_bench.packed.format.program import words

EXACT = 2**24
"""From this on, a whole-numbered sum in 32-bit floats is no longer exact."""

MAP_LIMIT = 2**31
"""Bytes of one map, its zero padding included, for one image."""


class Misfit(Exception):
    """A step that does not fit its inputs: what is wrong, without the place."""


@dataclass(frozen=True)
class Shape:
    """Of one value, for one image.

    Attributes:
        kind: `real`, `signs` or `vector`.
        sides: (height, width, channels), or (length,) of a vector.
    """

    kind: str
    sides: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.kind} {'x'.join(map(str, self.sides))}"

    @property
    def channels(self) -> int:
        return self.sides[-1]

    @property
    def bytes(self) -> int:
        """4 for a real number; signs take 64-bit words, anew for each pixel."""
        if self.kind == "signs":
            return prod(self.sides[:-1]) * 8 * words(self.channels)
        return 4 * prod(self.sides)


Sizes: TypeAlias = "tuple[tuple[int, ...], ...]"
"""The shapes that a tensor may have."""


@dataclass(frozen=True)
class Made:
    """What a step makes.

    Attributes:
        tensors: the shapes that each of its tensors may have.
        bits: how many bits a tensor of words holds.
        work: elements read for the value, one by one: for a convolution its MACs.
    """

    shape: Shape
    work: int
    tensors: Mapping[str, Sizes] = field(default_factory=dict)
    bits: Mapping[str, int] = field(default_factory=dict)


Rule: TypeAlias = "Callable[[tuple[Shape, ...], Mapping[str, Any]], Made]"


def real(height: int, width: int, channels: int) -> Shape:
    return Shape("real", (height, width, channels))


def demand(condition: bool, fault: str) -> None:
    """Raise Misfit with that fault unless the condition holds."""
    if not condition:
        raise Misfit(fault)


def conv_side(side: int, a: Mapping[str, Any]) -> int:
    """Pixels a side behind a convolution; below 1 where its kernel finds no room."""
    reach = a["dilation"] * (a["kernel"] - 1) + 1
    return (side + 2 * a["padding"] - reach) // a["stride"] + 1


def pool_side(side: int, a: Mapping[str, Any]) -> int:
    """Pixels a side behind a pooling.

    With `ceil` the last window may hang over, as long as it starts within the map or the padding
    before it.
    """
    free = side + 2 * a["padding"] - a["kernel"]
    out = (free + (a["stride"] - 1 if a["ceil"] else 0)) // a["stride"] + 1
    if a["ceil"] and (out - 1) * a["stride"] >= side + a["padding"]:
        out -= 1
    return out


def window_side(side: int, pad: int, a: Mapping[str, Any]) -> int:
    """Pixels a side of every `step`-th from `start` on."""
    return -(-(side + pad - a["start"]) // a["step"])


def padded(x: Shape, height: int, width: int) -> None:
    """Raise Misfit where the map with so many more rows and columns is too large."""
    sides = (x.sides[0] + height, x.sides[1] + width, x.channels)
    size = Shape(x.kind, sides).bytes
    demand(
        size <= MAP_LIMIT,
        f"with its padding the map has {size} bytes, where {MAP_LIMIT} are the most",
    )


def _convolution(x: Shape, a: Mapping[str, Any]) -> tuple[Shape, int, int]:
    """The value, the MACs and how many weights one output channel has."""
    inputs, outputs, groups = a["inputs"], a["outputs"], a["groups"]
    demand(x.channels == inputs, f"it takes {inputs} channels and gets {x.channels}")
    demand(
        inputs % groups == 0 and outputs % groups == 0,
        f"its {groups} groups do not divide {inputs} inputs and {outputs} outputs",
    )
    padded(x, 2 * a["padding"], 2 * a["padding"])
    shape = real(conv_side(x.sides[0], a), conv_side(x.sides[1], a), outputs)
    filters = inputs // groups * a["kernel"] ** 2
    return shape, prod(shape.sides) * filters, filters


def _conv(inputs: tuple[Shape, ...], a: Mapping[str, Any]) -> Made:
    shape, work, _ = _convolution(inputs[0], a)
    weight = (a["outputs"], a["inputs"] // a["groups"], a["kernel"], a["kernel"])
    return Made(shape, work, {"weight": (weight,), "bias": ((a["outputs"],),), "steps": ((2,),)})


def _conv_of_signs(inputs: tuple[Shape, ...], a: Mapping[str, Any]) -> Made:
    shape, work, filters = _convolution(inputs[0], a)
    if inputs[0].kind == "signs":
        demand(filters < EXACT, f"sums of {filters} signs are exact below {EXACT} alone")
    bits = a["outputs"] * filters
    tensors: dict[str, Sizes] = {"signs": ((words(bits),),), "scale": ((1,), (a["outputs"],))}
    return Made(shape, work, tensors, {"signs": bits})


def _sign(inputs: tuple[Shape, ...], _: Mapping[str, Any]) -> Made:
    x, channels = inputs[0], inputs[0].channels
    tensors: dict[str, Sizes] = {"threshold": ((channels,),), "flips": ((words(channels),),)}
    return Made(Shape("signs", x.sides), prod(x.sides), tensors, {"flips": channels})


def _per_channel(*names: str) -> Rule:
    """One number per channel of each name."""

    def rule(inputs: tuple[Shape, ...], _: Mapping[str, Any]) -> Made:
        (x,) = inputs
        return Made(x, prod(x.sides), dict.fromkeys(names, ((x.channels,),)))

    return rule


def _add(inputs: tuple[Shape, ...], _: Mapping[str, Any]) -> Made:
    first, second = inputs
    demand(first == second, f"it adds maps of one shape and gets {first} and {second}")
    return Made(first, prod(first.sides))


def _concat(inputs: tuple[Shape, ...], _: Mapping[str, Any]) -> Made:
    height, width = inputs[0].sides[:2]
    for x in inputs:
        fine = x.sides[:2] == (height, width)
        demand(fine, f"it joins maps of one height and width and gets {inputs[0]} and {x}")
    shape = real(height, width, sum(x.channels for x in inputs))
    return Made(shape, prod(shape.sides))


def _interleave(inputs: tuple[Shape, ...], a: Mapping[str, Any]) -> Made:
    for x in inputs:
        demand(x == inputs[0], f"it interleaves maps of one shape and gets {inputs[0]} and {x}")
    return _concat(inputs, a)


def _shuffle(inputs: tuple[Shape, ...], a: Mapping[str, Any]) -> Made:
    x, groups = inputs[0], a["groups"]
    demand(x.channels % groups == 0, f"its {groups} groups do not divide {x.channels} channels")
    return Made(x, prod(x.sides))


def _tile(inputs: tuple[Shape, ...], a: Mapping[str, Any]) -> Made:
    height, width = inputs[0].sides[:2]
    shape = real(height, width, a["channels"])
    return Made(shape, prod(shape.sides))


def _resize(inputs: tuple[Shape, ...], a: Mapping[str, Any]) -> Made:
    """`channels` are those that each part gets."""
    height, width, channels = inputs[0].sides
    parts = a["parts"]
    demand(channels % parts == 0, f"its {parts} parts do not divide {channels} channels")
    shape = real(height, width, parts * a["channels"])
    return Made(shape, prod(shape.sides))


def _window(inputs: tuple[Shape, ...], a: Mapping[str, Any]) -> Made:
    (x,) = inputs
    padded(x, a["pad_height"], a["pad_width"])
    height = window_side(x.sides[0], a["pad_height"], a)
    width = window_side(x.sides[1], a["pad_width"], a)
    return Made(real(height, width, x.channels), prod((height, width, x.channels)))


def _pool(inputs: tuple[Shape, ...], a: Mapping[str, Any]) -> Made:
    x, kernel, padding = inputs[0], a["kernel"], a["padding"]
    demand(
        2 * padding <= kernel, f"its padding, {padding}, is more than half of its kernel, {kernel}"
    )
    padded(x, 2 * padding, 2 * padding)
    shape = real(pool_side(x.sides[0], a), pool_side(x.sides[1], a), x.channels)
    return Made(shape, prod(shape.sides) * kernel**2)


def _zeros(inputs: tuple[Shape, ...], a: Mapping[str, Any]) -> Made:
    height, width = (-(-side // a["stride"]) for side in inputs[0].sides[:2])
    shape = real(height, width, a["channels"])
    return Made(shape, prod(shape.sides))


def _global_pool(inputs: tuple[Shape, ...], _: Mapping[str, Any]) -> Made:
    (x,) = inputs
    return Made(Shape("vector", (x.channels,)), prod(x.sides))


def _linear(inputs: tuple[Shape, ...], a: Mapping[str, Any]) -> Made:
    x, outputs = inputs[0], a["outputs"]
    demand(x.channels == a["inputs"], f"it takes {a['inputs']} numbers and gets {x.channels}")
    tensors: dict[str, Sizes] = {"weight": ((outputs, a["inputs"]),), "bias": ((outputs,),)}
    return Made(Shape("vector", (outputs,)), outputs * a["inputs"], tensors)


RULES: dict[str, Rule] = {
    "conv": _conv,
    "conv_q8": _conv,
    "conv_w1": _conv_of_signs,
    "conv_b": _conv_of_signs,
    "sign": _sign,
    "affine": _per_channel("scale", "offset"),
    "prelu": _per_channel("slope"),
    "rprelu": _per_channel("gamma", "slope", "zeta"),
    "relu": _per_channel(),
    "hardtanh": _per_channel(),
    "add": _add,
    "concat": _concat,
    "interleave": _interleave,
    "shuffle": _shuffle,
    "tile": _tile,
    "resize": _resize,
    "window": _window,
    "max_pool": _pool,
    "avg_pool": _pool,
    "zeros": _zeros,
    "global_pool": _global_pool,
    "linear": _linear,
}
