"""The commands that write a network: as one file of bits, as ONNX, as a folder for the Hub."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bnas_bench.cli.sizes import running, sized
from bnas_bench.core.errors import BadValue
from bnas_bench.core.files import kind_of
from bnas_bench.plugins.registry import Plugin, find
from bnas_bench.plugins.spec import parse_spec
from bnas_bench.runs.reading import read_architecture
from bnas_bench.runs.size import Size

if TYPE_CHECKING:
    from bnas_bench.packed.format.program import Program

SPACE = (
    "The space of an architecture, as darts-binary[binarise=depthwise]; or of a trial, where it is a "
    "file of yours: no record gets to run one."
)


def space_of_a_trial(text: str | None) -> Plugin | None:
    """What --space says of a finished trial, whose options are those of its record."""
    if text is None:
        return None
    spec = parse_spec(text)
    if spec.options:
        raise BadValue(f"the options of a finished trial's space are recorded: write {spec.name}")
    return find("space", spec.name)


@click.command()
@click.argument("run")
@click.option(
    *("-o", "--out"),
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The packed file, as net.bnn.",
)
@click.option("--space", help=SPACE)
@sized
def pack(run: str, out: Path, space: str | None, size: Size) -> None:
    """Write a network as one file: 1-bit weights in 64-bit words, all else as it is needed to run.

    RUN is the folder of a finished trial. Of an architecture (a file, or the text itself; see
    `bnas-bench measure`) the network has untrained weights: enough for its size and its latency.
    """
    from bnas_bench.packed.format.file import payload, write
    from bnas_bench.packed.lowering.lower import lower
    from bnas_bench.runs.network import float_bytes, rebuilt, untrained

    _refuse_other_files(out)
    is_trial = kind_of(run) == "folder"
    if is_trial and size.is_asked:
        raise BadValue(
            f"'{run}' is a finished trial, whose network has its size; leave out --channels, --cells, "
            "--input and --classes, or name its arch.json"
        )
    if is_trial:
        network, images, about = rebuilt(Path(run), space_of_a_trial(space))
    else:
        network, images, about = untrained(*read_architecture(run, space), size)
    with running(run, images):
        program = lower(network, images, about)
    written = write(program, out)
    click.echo(f"wrote {out}, {_amount(written)}; {about['weights']} weights")
    for kind, count in _payload(program):
        click.echo(f"  {kind:16} {_amount(count)}")
    click.echo(f"  {'header':16} {_amount(written - payload(program))}")
    whole = float_bytes(network)
    click.echo(
        f"the same network as float32: {_amount(whole)}, {whole / written:.1f} times as much"
    )


@click.command()
@click.argument("run")
@click.option(
    *("-o", "--out"),
    type=click.Path(path_type=Path),
    required=True,
    help="net.onnx, or a folder to be made.",
)
@click.option("--space", help=SPACE)
def export_network(run: str, out: Path, space: str | None) -> None:
    """Write a trained network for use elsewhere: as ONNX, or as a folder that the Hugging Face Hub takes.

    RUN is the folder of a finished trial. ONNX computes signs as floats: `bnas-bench pack` is what makes a
    network small and fast. The folder `bb.load_network` reads wherever it lies, and runs nothing of it.
    """
    from bnas_bench.runs.exported import write_folder, write_onnx
    from bnas_bench.runs.network import rebuilt, saved

    network, images, _ = rebuilt(Path(run), space_of_a_trial(space))
    if out.suffix != ".onnx":
        write_folder(saved(Path(run)), out)
        click.echo(f"wrote {out}: `hf upload NAME/OF-IT {out}` publishes it")
        return
    if kind_of(out) not in (None, "file"):
        raise BadValue(f"'{out}' is there and no file; choose another name with -o")
    with running(run, images):
        write_onnx(network, images, out)
    click.echo(
        f"wrote {out}, {_amount(out.stat().st_size)}: all of it float32, as ONNX has no signs"
    )


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
    from bnas_bench.packed.format.file import is_packed

    kind = kind_of(out)
    if kind is not None and not (kind == "file" and is_packed(out)):
        raise BadValue(f"'{out}' is there and no packed network; choose another name with -o")
