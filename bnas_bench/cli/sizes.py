"""The options on the size of a network, and what is said of a size that it cannot have."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any

import click

from bnas_bench.core import NetworkSpec, Scale, SearchSpace
from bnas_bench.errors import BadValue

COUNT = click.IntRange(min=1)
Shape = tuple[int, int, int]
LONGEST_NAME = 80


@dataclass(frozen=True)
class Size:
    """How large a network is built; None is the paper's, or ImageNet's."""

    channels: int | None
    cells: int | None
    asked_shape: Shape | None
    asked_classes: int | None

    @property
    def is_asked(self) -> bool:
        """Whether any of the options is given."""
        return self != Size(None, None, None, None)

    @property
    def shape(self) -> Shape:
        """(channels, height, width) of an image."""
        return self.asked_shape or (3, 224, 224)

    @property
    def classes(self) -> int:
        return self.asked_classes or 1000

    def spec(self, space: SearchSpace) -> NetworkSpec:
        scale = Scale(self.cells, self.channels)
        return space.spec(scale, self.shape, self.classes, final=True)


def sized(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options on the size of its network, as one argument: `size`."""

    @wraps(command)
    def whole(
        *,
        channels: int | None,
        cells: int | None,
        shape: Shape | None,
        classes: int | None,
        **others: Any,
    ) -> None:
        command(size=Size(channels, cells, shape, classes), **others)

    for decorate in (
        click.option("--classes", type=COUNT, help="[default: 1000]"),
        click.option("--input", "shape", callback=_shape, help="[default: 3x224x224]"),
        click.option("--cells", type=COUNT, help="Depth; the paper's if not given."),
        click.option(
            "--channels", type=COUNT, help="Width of the first cell; the paper's if not given."
        ),
    ):
        decorate(whole)
    return whole


@contextmanager
def running(name: str, shape: Shape) -> Iterator[None]:
    """Within it a network runs for the first time: torch's errors are those of its size.

    Raises:
        BadValue: with the network's name, if it is short enough to be one, and the shape.
    """
    try:
        yield
    except (RuntimeError, AssertionError, ValueError, MemoryError) as error:
        who = f"'{name}'" if len(name) <= LONGEST_NAME else "the network"
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise BadValue(
            f"{who} does not run on images of {'x'.join(map(str, shape))} ({reason}); "
            "give another size with --input"
        ) from error


def _shape(_ctx: click.Context, _param: click.Parameter, text: str | None) -> Shape | None:
    if text is None:
        return None
    numbers = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)x([1-9]\d*)", text)
    if numbers is None:
        raise BadValue(
            f"'{text}' is no shape of an image: write channels x height x width, 3x224x224"
        )
    return int(numbers[1]), int(numbers[2]), int(numbers[3])
