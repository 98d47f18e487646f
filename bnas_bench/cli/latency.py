"""The command on time: how long one image takes as bits, as floats, and through the real twin."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bnas_bench.cli.architectures import torchvision_network
from bnas_bench.cli.packed import SPACE, space_of_a_trial
from bnas_bench.cli.running import Number
from bnas_bench.cli.sizes import running, sized
from bnas_bench.core.errors import BadValue, BenchError
from bnas_bench.core.files import kind_of
from bnas_bench.core.options import Threads
from bnas_bench.runs.reading import read_architecture
from bnas_bench.runs.size import Shape, Size

if TYPE_CHECKING:
    from torch import nn

    from bnas_bench.cost.latency import Latency, Subject
    from bnas_bench.packed.engine.engine import Engine, Timing
    from bnas_bench.packed.format.program import Program


@dataclass(frozen=True)
class Found:
    """What is to be timed: a network, or what a packed file holds, and which weights it has."""

    weights: str
    shape: Shape
    network: nn.Module | None = None
    program: Program | None = None


threads_option = click.option(
    "--threads", type=Number(Threads), default=1, show_default=True, help="CPU threads."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Plain numbers, for programs.")


@click.command()
@click.argument("what")
@click.option("--space", help=SPACE)
@sized
@threads_option
@json_option
@click.option("--profile", is_flag=True, help="What every kernel of the packed engine takes.")
def latency(
    what: str,
    space: str | None,
    size: Size,
    threads: int,
    profile: bool,
    as_json: bool,
) -> None:
    """Time one image through a network: packed, simulated in floats, and its real-valued twin.

    WHAT is a packed file, the folder of a finished trial, an architecture (a file, or the text), or
    torchvision:NAME. Of an architecture the network has untrained weights: enough for its latency.
    """
    from bnas_bench.cost.latency import latencies, packed

    where = measured_on(threads)
    found = _read(what, space, size)
    with running(what, found.shape):
        floats = _floats(found)
        for subject in floats.values():
            subject.run()
    engine, reason = _engine(found, threads)
    if profile and engine is None:
        raise BadValue(
            f"--profile is of the packed engine, which has nothing to run here: {reason}"
        )
    bits = {} if engine is None else {"packed": packed(engine, found.shape)}
    times = latencies(bits | floats, threads=threads)
    result = {
        "machine": where,
        "input": list(found.shape),
        "batch": 1,
        "weights": found.weights,
        "latency": {name: asdict(time) for name, time in times.items()},
        "packed_reason": reason,
        "ratios": _ratios(times),
    }
    if profile and engine is not None:
        result["profile"] = _profile(engine, found.shape)
    click.echo(json.dumps(result, indent=2) if as_json else "\n".join(_lines(result)))


def _read(what: str, space: str | None, size: Size) -> Found:
    """What the argument names.

    Raises:
        BenchError: if there is no such thing, or it is of the wrong form.
    """
    from bnas_bench.packed.format.file import is_packed, load

    path = Path(what)
    kind = kind_of(what)
    is_folder = kind == "folder"
    is_file = path.suffix == ".bnn" or (kind == "file" and is_packed(path))
    if (is_file and space is not None) or ((is_file or is_folder) and size.is_asked):
        raise BadValue(
            f"the network in '{what}' has its {'space and ' * is_file}size; leave out "
            f"{'--space, ' * is_file}--channels, --cells, --input and --classes, or name an arch.json"
        )
    if is_file:
        program = load(path)
        return Found("as packed", program.shape, program=program)
    if is_folder:
        from bnas_bench.runs.network import rebuilt

        trained, shape, _ = rebuilt(path, space_of_a_trial(space))
        return Found("trained", shape, trained)
    if what.startswith("torchvision:"):
        network = torchvision_network(what.removeprefix("torchvision:"), space, size)
        return Found("untrained", size.shape, network)
    return Found("untrained", size.shape, size.network(*read_architecture(what, space)))


def _engine(found: Found, threads: int) -> tuple[Engine | None, str | None]:
    """The engine, or one sentence on why it cannot run the network; a packed file it must run."""
    from bnas_bench.nn.network import Network
    from bnas_bench.packed.engine.engine import Engine
    from bnas_bench.packed.lowering.lower import lower

    if found.program is not None:
        return Engine(found.program, threads=threads), None
    if not isinstance(found.network, Network):
        return None, "networks of torchvision are not packed"
    try:
        return Engine(lower(found.network, found.shape), threads=threads), None
    except BenchError as error:
        return None, " ".join(str(error).split())


def _floats(found: Found) -> dict[str, Subject]:
    """The network as torch runs it: simulated if it has 1-bit layers, and its real-valued twin."""
    from bnas_bench.cost.latency import real, simulated
    from bnas_bench.nn.binary import BinaryConv2d

    if (network := found.network) is None:
        return {}
    subjects = {}
    if any(isinstance(module, BinaryConv2d) for module in network.modules()):
        subjects["simulated"] = simulated(network, found.shape)
    return subjects | {"real": real(network, found.shape)}


def _ratios(times: Mapping[str, Latency]) -> dict[str, float]:
    """How many times as long as the packed network the others take."""
    if "packed" not in times:
        return {}
    base = times["packed"].median_ms
    return {f"{n}/packed": t.median_ms / base for n, t in times.items() if n != "packed"}


def _profile(engine: Engine, shape: Shape) -> list[dict[str, Any]]:
    """The median milliseconds of every kernel."""
    from statistics import median

    from bnas_bench.cost.latency import FEWEST, probe_image

    image = probe_image(shape)
    rounds: Sequence[Sequence[Timing]] = [engine.profile(image) for _ in range(FEWEST)]
    return [
        {"layer": same[0].layer, "kind": same[0].kind, "ms": 1000 * median(t.seconds for t in same)}
        for same in zip(*rounds, strict=True)
    ]


def _lines(result: Mapping[str, Any]) -> Iterator[str]:
    size = "x".join(map(str, result["input"]))
    yield f"{in_words(result['machine'])}; input {size}, batch 1; weights {result['weights']}"
    yield f"{'':10} {'median ms':>10} {'quartiles ms':>19} {'repeats':>8}"
    for name, time in result["latency"].items():
        quartiles = f"{time['lower_ms']:,.3f} - {time['upper_ms']:,.3f}"
        yield f"{name:10} {time['median_ms']:10,.3f} {quartiles:>19} {time['repeats']:8}"
    if result["packed_reason"]:
        yield f"not packed: {result['packed_reason']}"
    for name, ratio in result["ratios"].items():
        yield f"{name} {ratio:.2f}"
    if kernels := result.get("profile"):
        total = sum(kernel["ms"] for kernel in kernels)
        kinds: dict[str, float] = defaultdict(float)
        yield f"{'kernel of layer':50} {'kind':12} {'ms':>9} {'share':>7}"
        for kernel in kernels:
            kinds[kernel["kind"]] += kernel["ms"]
            yield _share(kernel["layer"], kernel["kind"], kernel["ms"], total)
        for kind, ms in sorted(kinds.items(), key=lambda item: -item[1]):
            yield _share("all", kind, ms, total)


def _share(layer: str, kind: str, ms: float, total: float) -> str:
    return f"{layer:50} {kind:12} {ms:9,.3f} {100 * ms / total:6.1f}%"


def measured_on(threads: int) -> dict[str, Any]:
    """The machine, and its load over the last minute: what else ran spoils the times."""
    from bnas_bench.cost.latency import machine

    return {**machine(threads), "load": round(os.getloadavg()[0], 2)}


def in_words(where: Mapping[str, Any]) -> str:
    """`measured_on` as the head of a table."""
    governor = where["governor"] or "unknown"
    doubt = ", more than its cores: these times are not reliable" * (where["load"] > where["cores"])
    return (
        f"{where['cpu']}, governor {governor}, {where['isa']}, threads {where['threads']} of "
        f"{where['cores']}, load {where['load']}{doubt}"
    )
