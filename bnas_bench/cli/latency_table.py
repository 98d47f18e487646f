"""The command on predicted latency: how far it is from the measured one, over random architectures."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from bnas_bench.cli.latency import in_words, json_option, measured_on, threads_option
from bnas_bench.cli.running import Number
from bnas_bench.cli.sizes import running, sized
from bnas_bench.core.architecture import Architecture
from bnas_bench.core.errors import BadValue
from bnas_bench.core.options import Grid, Seed
from bnas_bench.plugins import making
from bnas_bench.runs.size import Size
from bnas_bench.search.space import SearchSpace

if TYPE_CHECKING:
    import numpy as np

    from bnas_bench.cost.kernel_times import LatencyTable
    from bnas_bench.cost.prediction import Prediction
    from bnas_bench.packed.format.program import Program

DRAWS = 1000
"""Draws in a row that may bring nothing new, before a space is taken to have no more."""


@click.command("latency-table")
@click.option("--space", default="darts-binary", show_default=True)
@click.option(
    "--count", type=Number(Grid), default=50, show_default=True, help="Architectures to predict."
)
@click.option(
    "--seed", type=Number(Seed), default=0, show_default=True, help="What they are drawn from."
)
@sized
@threads_option
@json_option
def latency_table(
    space: str,
    count: int,
    seed: int,
    size: Size,
    threads: int,
    as_json: bool,
) -> None:
    """Predict the packed latency of random architectures, measure it, and print the error.

    The table is filled by as many other architectures as are predicted; a kernel that none of
    them has is timed when it is met. The kernels' times are kept for predictions in searches.
    """
    from bnas_bench.core.seeds import generator
    from bnas_bench.cost.kernel_times import LatencyTable
    from bnas_bench.cost.prediction import predictions, summary
    from bnas_bench.packed.engine.engine import Engine

    where = measured_on(threads)
    instance = making.space(space)
    frame = size.spec(instance, instance.largest())
    rng = generator(seed, "latency-table", space)
    archs = list(islice(_distinct(instance, rng), 2 * count))
    if len(archs) < 2 * count:
        raise BadValue(
            f"{space} has not the {2 * count:,} architectures that --count {count} takes; at most "
            f"{len(archs):,} were found"
        )

    def programs(some: Sequence[Architecture]) -> Iterator[Program]:
        from bnas_bench.packed.lowering.lower import lower

        for arch in some:
            network = instance.network(arch, frame, rng)
            with running(space, frame.shape):
                program = lower(network, frame.shape)
            yield program

    table = LatencyTable(threads)  # not the kept one: it may know the very ones to be predicted
    say = click.echo if not as_json else lambda _: None
    found: list[Prediction] = []
    say("\n".join(_head(where, space, frame.shape)))
    try:
        for program in programs(archs[:count]):
            with closing(Engine(program, threads=threads)) as engine:
                table.add(engine, program.shape)
        _keep(table)
        for one in predictions(table, programs(archs[count:])):
            found.append(one)
            say(_row(one))
    finally:  # what was timed before an interruption is kept
        _keep(table)
    result = {
        "machine": where,
        "space": space,
        "input": list(frame.shape),
        "filled_by": count,
        "kernels": len(table.seconds),
        **summary(found),
    }
    if as_json:
        result["predictions"] = [asdict(one) for one in found]
    click.echo(json.dumps(result, indent=2) if as_json else "\n".join(_summary(result)))


def _keep(table: LatencyTable) -> None:
    """Add what was timed to the table that this machine keeps."""
    kept = table.cached(table.threads, say=lambda text: click.echo(text, err=True))
    kept.seconds = table.seconds | kept.seconds
    kept.save()


def _distinct(space: SearchSpace, rng: np.random.Generator) -> Iterator[Architecture]:
    """Random architectures, each once, until a space has no more."""
    seen: set[str] = set()
    idle = 0
    while idle < DRAWS:
        arch = space.sample(rng)
        idle += 1
        if arch.id not in seen:
            seen.add(arch.id)
            idle = 0
            yield arch


def _head(where: Mapping[str, Any], space: str, shape: tuple[int, ...]) -> Iterator[str]:
    yield f"{in_words(where)}; {space}, input {'x'.join(map(str, shape))}, batch 1"
    yield f"{'predicted ms':>12} {'measured ms':>12} {'error':>8} {'known':>7}"


def _row(one: Prediction) -> str:
    return (
        f"{one.predicted_ms:12,.3f} {one.measured_ms:12,.3f} "
        f"{100 * one.error:+7.1f}% {100 * one.known:6.1f}%"
    )


def _summary(result: Mapping[str, Any]) -> Iterator[str]:
    rank = result["rank_correlation"]
    yield (
        f"{result['networks']} networks, {result['kernels']} kernels, table filled by "
        f"{result['filled_by']} others: rank correlation "
        f"{'undefined' if rank is None else f'{rank:.3f}'}, median error "
        f"{100 * result['median_error']:.1f} %, largest {100 * result['largest_error']:.1f} %, "
        f"median known {100 * result['median_known']:.1f} %"
    )
    yield "known: the part of a prediction that was timed in other networks"
