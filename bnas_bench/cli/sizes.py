"""The options on the size of a network, and what is said of a size that it cannot have."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from bnas_bench.cli.running import Number, as_one
from bnas_bench.core.errors import BadValue, brief
from bnas_bench.core.options import Classes, Few, Width
from bnas_bench.plugins.spec import read_number
from bnas_bench.runs.size import Shape, Size

LONGEST_NAME = 80


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
    try:
        channels, height, width = (read_number(n, Width, "a side") for n in text.split("x", 3))
    except ValueError:  # not three of them
        reason = "it has not three numbers"
    except BadValue as error:
        reason = str(error)
    else:
        return channels, height, width
    raise BadValue(
        f"'{brief(text)}' is no shape of an image, as {reason}: write channels x height x width, "
        "3x224x224"
    )


sized = as_one(
    "size",
    Size,
    click.option("--classes", "asked_classes", type=Number(Classes), help="[default: 1000]"),
    click.option("--input", "asked_shape", callback=_shape, help="[default: 3x224x224]"),
    click.option("--cells", type=Number(Few), help="Depth; the paper's if not given."),
    click.option(
        "--channels", type=Number(Width), help="Width of the first cell; the paper's if not given."
    ),
)
"""Gives a command the options on the size of its network."""
