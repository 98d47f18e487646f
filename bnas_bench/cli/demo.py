"""The first five minutes: one comparison and its page."""

from __future__ import annotations

from pathlib import Path

import click

from bnas_bench.cli.running import RESULTS, Number
from bnas_bench.cli.runs import run
from bnas_bench.core.options import Grid


@click.command()
@click.option("--seeds", type=Number(Grid), default=3, show_default=True, help="Searches.")
@click.option(
    "--budget", default="quick", show_default=True, help="smoke is shorter and says less."
)
@RESULTS
@click.pass_context
def demo(ctx: click.Context, seeds: int, budget: str, results: Path) -> None:
    """Search, train, test and measure 1-bit networks with DCP-NAS, and write the page of it.

    Needs neither network nor GPU. The same as `bnas-bench run --method dcpnas`.
    """
    ctx.invoke(run, methods=("dcpnas",), budgets=(budget,), seeds=seeds, results=results)
