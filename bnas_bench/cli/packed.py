"""The command that writes a network as one file of bits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bnas_bench.cli.architectures import COUNT, Shape, _shape, read_architecture
from bnas_bench.core import Scale, options_of
from bnas_bench.errors import BadValue
from bnas_bench.spec import label

if TYPE_CHECKING:
    from bnas_bench.packed.program import Program

IMAGENET: Shape = (3, 224, 224)


def _shape_if_any(ctx: click.Context, param: click.Parameter, text: str | None) -> Shape | None:
    return None if text is None else _shape(ctx, param, text)


@click.command()
@click.argument("run")
@click.option(
    *("-o", "--out"),
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The packed file, as net.bnn.",
)
@click.option("--space", help="The space of an architecture, as darts-binary[binarise=depthwise].")
@click.option("--channels", type=COUNT, help="Width of the first cell; the paper's if not given.")
@click.option("--cells", type=COUNT, help="Depth; the paper's if not given.")
@click.option("--input", "shape", callback=_shape_if_any, help="[default: 3x224x224]")
@click.option("--classes", type=COUNT, help="[default: 1000]")
def pack(
    run: str,
    out: Path,
    space: str | None,
    channels: int | None,
    cells: int | None,
    shape: Shape | None,
    classes: int | None,
) -> None:
    """Write a network as one file: 1-bit weights in 64-bit words, all else as it is needed to run.

    RUN is the folder of a finished cell. Of an architecture (a file, or the text itself; see
    `bnas-bench measure`) the network has untrained weights: enough for its size and its latency.
    """
    from bnas_bench.packed.file import payload, write
    from bnas_bench.packed.lower import lower
    from bnas_bench.packed.runs import float_bytes, rebuilt

    _refuse_other_files(out)
    sized = (space, channels, cells, shape, classes) != (None,) * 5
    if (is_cell := _is_folder(run)) and sized:
        raise BadValue(
            f"'{run}' is a finished cell, whose network has its space and size; leave out --space, "
            "--channels, --cells, --input and --classes, or name its arch.json"
        )
    if is_cell:
        network, images, about = rebuilt(Path(run))
    else:
        network, images, about = _drawn(
            run, space, Scale(cells, channels), shape or IMAGENET, classes or 1000
        )
    program = lower(network, images, about)
    size = write(program, out)
    click.echo(f"wrote {out}, {_amount(size)}; {about['weights']} weights")
    for kind, count in _payload(program):
        click.echo(f"  {kind:16} {_amount(count)}")
    click.echo(f"  {'header':16} {_amount(size - payload(program))}")
    whole = float_bytes(network)
    click.echo(f"the same network as float32: {_amount(whole)}, {whole / size:.1f} times as much")


def _drawn(
    text: str, space: str | None, scale: Scale, shape: Shape, classes: int
) -> tuple[Any, Shape, dict[str, str]]:
    """The network of an architecture, as `rebuilt` gives that of a cell."""
    from bnas_bench.packed.runs import untrained

    instance, arch = read_architecture(text, space)
    spec = instance.spec(scale, shape, classes, final=True)
    options = {name: getattr(instance, name) for name in options_of(type(instance))}
    return untrained(instance, label(instance.name, options), arch, spec)


def _is_folder(text: str) -> bool:
    try:
        return Path(text).is_dir()
    except OSError:  # a genotype is longer than names may be
        return False


def _payload(program: Program) -> Iterator[tuple[str, int]]:
    """Bytes of all tensors, by their type."""
    found: Counter[str] = Counter()
    for step in program.steps:
        for tensor in step.tensors.values():
            found[tensor.dtype.str[1:]] += tensor.nbytes
    for kind, name in (("u8", "1-bit words"), ("f4", "float32"), ("i1", "int8")):
        yield name, found[kind]


def _amount(size: int) -> str:
    unit, name = (2**20, "MiB") if size >= 2**20 else (2**10, "KiB")
    return f"{size:,} bytes ({size / unit:,.2f} {name})"


def _refuse_other_files(out: Path) -> None:
    """Raise BadValue where something stands that is not a packed file."""
    from bnas_bench.packed.file import is_packed

    if out.exists() and not is_packed(out):
        raise BadValue(f"'{out}' is there and no packed network; choose another name with -o")
