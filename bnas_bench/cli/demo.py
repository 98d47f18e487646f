"""The first five minutes: one comparison and its page."""

from __future__ import annotations

from pathlib import Path

import click

from bnas_bench.cli.running import RESULTS, Number
from bnas_bench.cli.runs import run
from bnas_bench.core.options import Grid


@click.command()
@click.option(
    "--seeds", type=Number(Grid), default=3, show_default=True, help="Searches of each method."
)
@click.option(
    "--budget", default="quick", show_default=True, help="smoke is shorter and says less."
)
@RESULTS
@click.pass_context
def demo(ctx: click.Context, seeds: int, budget: str, results: Path) -> None:
    """Search 1-bit networks by chance and by DCP-NAS, train, test and measure them, and write the page of it.

    Needs neither network nor GPU. The same as `bnas-bench run --method random,dcpnas`.
    """
    ctx.invoke(run, methods=("random", "dcpnas"), budgets=(budget,), seeds=seeds, results=results)
