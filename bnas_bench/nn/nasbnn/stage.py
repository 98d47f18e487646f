"""What a network of stages is made of, before it is built: its layers and the choices among them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Layer:
    """A kxk convolution in groups at the input's width, then a 1x1 convolution to `width`."""

    width: int
    kernel: int
    groups: int
    stride: int


@dataclass(frozen=True)
class Stage:
    """Layers that choose a width, a kernel and a group count each; the stage chooses their number.

    Attributes:
        stride: of the first layer; the others have 1.
    """

    depths: tuple[int, ...]
    widths: tuple[int, ...]
    kernels: tuple[int, ...]
    groups: tuple[int, ...]
    stride: int
