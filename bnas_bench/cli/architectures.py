"""Commands on one architecture: what it costs, how it looks."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from warnings import catch_warnings

import click

from bnas_bench.cli.costs import layer_csv, layer_lines, layer_values, lines
from bnas_bench.cli.sizes import running, sized
from bnas_bench.core.errors import BadValue, UnknownName
from bnas_bench.core.files import kind_of
from bnas_bench.runs.reading import read_architecture
from bnas_bench.runs.size import Size
from bnas_bench.runs.store import read_record

if TYPE_CHECKING:
    from torch import nn


def _takes_an_architecture(command: Callable[..., None]) -> Callable[..., None]:
    """ARCH, and the space that it is of."""
    for decorate in (
        click.option("--space", help="Its space, as darts-binary[binarise=depthwise]."),
        click.argument("arch"),
    ):
        command = decorate(command)
    return command


@click.command()
@_takes_an_architecture
@sized
@click.option("--layers", is_flag=True, help="Every layer by itself, too.")
@click.option("--json", "as_json", is_flag=True, help="Plain counts, for programs.")
@click.option("--csv", "as_csv", is_flag=True, help="The layers alone, as CSV.")
def measure(
    arch: str,
    space: str | None,
    size: Size,
    layers: bool,
    as_json: bool,
    as_csv: bool,
) -> None:
    """Count MACs, OPs, parameters and memory of one network, as every paper counts them.

    OPs are millions for one image; memory is of the parameters, `packed` of the tensors of a packed
    file. The maps are the most that is alive at once: 4 bytes a value in the float simulation, one
    bit a value of what only 1-bit convolutions read if they are packed.

    ARCH is a file (JSON, NAS-Bench-201's |OP~0|+..., or Genotype(...); of many, FILE:NAME), the folder
    of a finished trial, the text itself, or torchvision:NAME for a real-valued network of torchvision.
    With --space handcrafted a model's name will do. Of a trial only the architecture is taken: it is
    counted at the size that the options give, not at the one it was trained at (as `latency` and `pack`
    take it).
    """
    from bnas_bench.cost import costs, ledger
    from bnas_bench.packed.size import packed_bytes

    if as_json and as_csv:
        raise BadValue("--json and --csv are two forms of one answer: choose one of them")
    is_word = space is None and re.fullmatch(r"\w+", arch) and kind_of(arch) is None
    if is_word or arch.startswith("torchvision:"):
        network = torchvision_network(arch.removeprefix("torchvision:"), space, size)
    else:
        network = size.network(*read_architecture(arch, space))
    with running(arch, size.shape):
        entries = ledger(network, size.shape)
    if as_csv:
        click.echo(layer_csv(entries), nl=False)
        return
    found = {"input": list(size.shape)} | costs(entries)
    found["packed_file_bytes"] = packed_bytes(network, size.shape)
    if as_json:
        if layers:
            found["layers"] = [layer_values(layer) for layer in entries.layers]
        click.echo(json.dumps(found, indent=2))
        return
    click.echo("\n".join(lines(found)))
    if layers:
        click.echo("\n" + "\n".join(layer_lines(entries)))


@click.command()
@_takes_an_architecture
@click.option(
    *("-o", "--out"),
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw it into this file: .svg, .png or .pdf.",
)
def show(arch: str, space: str | None, out: Path | None) -> None:
    """Print a trial and what it found, or any architecture; or draw it.

    ARCH is a trial (its folder, or its id in results/), of which result, costs and curves are printed
    first; or a file (JSON, NAS-Bench-201's |OP~0|+..., or Genotype(...); of many, FILE:NAME), or the text
    itself.
    """
    summary = list[str]()
    if folder := trial_folder(arch):
        arch = str(folder)
        if out is None and (record := read_record(folder)):
            from bnas_bench.cli.summary import trial_lines

            summary = [*trial_lines(folder, record)]
            if record["status"] != "ok":
                click.echo("\n".join(summary))
                return
    instance, architecture = read_architecture(arch, space)
    for line in summary:
        click.echo(line)
    if out is not None:
        if kind_of(out) == "other":
            raise BadValue(
                f"'{out}' is a pipe or a device, and a drawing is a file: name one with -o"
            )
        instance.draw(architecture, out)
        click.echo(f"wrote {out}")
        return
    click.echo(f"architecture {architecture.id} of {instance.name}")
    if genotype := getattr(instance, "genotype", None):
        click.echo(genotype(architecture))
    for name, option in architecture.choices.items():
        if option != "none":
            click.echo(f"  {name}  {option}")


def trial_folder(text: str) -> Path | None:
    """The folder of the trial that a text names: a path, or an id in `results/`; None if there is none.

    Raises:
        BadValue: if two results hold a trial of that id.
    """
    if kind_of(text) == "folder":
        return Path(text)
    if not re.fullmatch(r"[\w-]+-s\d+-[0-9a-f]{8}", text):
        return None
    found = sorted(Path("results").glob(f"*/trials/{text}"))
    if len(found) > 1:
        raise BadValue(
            f"'{text}' lies in {' and in '.join(map(str, found))}: name one of the folders"
        )
    return found[0] if found else None


def torchvision_network(name: str, space: str | None, size: Size) -> nn.Module:
    """A network of torchvision with random weights.

    Raises:
        UnknownName: if torchvision has none of that name.
        BadValue: if options are given that mean nothing to it.
    """
    from torchvision import models

    names = models.list_models(module=models)
    if name not in names:
        raise UnknownName("file or torchvision network", name, names)
    if (space, size.channels, size.cells) != (None,) * 3:
        raise BadValue(
            f"torchvision's '{name}' has no space, width or depth to choose; leave out --space, "
            "--channels and --cells"
        )

    def make() -> nn.Module:
        with catch_warnings(
            action="ignore"
        ):  # on how two of them draw weights, which none of us keeps
            return models.get_model(name, weights=None, num_classes=size.classes)

    if size.is_asked:
        size.check_room(name, make)
    return make()
