"""The commands that put questions to a table of ground truth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from bnas_bench.tables.agreement import Estimate
    from bnas_bench.tables.premise import Premise


@click.command()
@click.argument("name")
@click.option("--precision", default="W1A1", show_default=True, help="What matters.")
@click.option("--other", default="W32A32", show_default=True, help="What is to stand for it.")
@click.option(
    *("-o", "--out"),
    type=click.Path(path_type=Path, file_okay=False),
    help="Write there agreement.json, and figures of accuracies and operations.",
)
def agreement(name: str, precision: str, other: str, out: Path | None) -> None:
    """Say whether a table's architectures rank alike at two precisions.

    NAME is a table, as bnas-bench truth takes it. Searches that are helped by a real-valued network rest on
    that: rank correlations, the best of both, what is lost with the best of the other precision, and which
    operations are worth more at one of them, over the architectures that the table has at both.
    """
    from bnas_bench import api
    from bnas_bench.core.files import write_atomically
    from bnas_bench.tables.premise import premise

    found = premise(api.table(name), precision, other)
    for line in _said(found):
        click.echo(line)
    if out is not None:
        from bnas_bench.report.agreement import scatter, worths
        from bnas_bench.report.style import save

        out.mkdir(parents=True, exist_ok=True)
        write_atomically(
            out / "agreement.json", f"{json.dumps(found.to_json(), indent=2)}\n".encode()
        )
        save(scatter(found), out / "accuracies")
        if found.operations:
            save(worths(found), out / "operations")
        click.echo(f"wrote {out}")


def _said(found: Premise) -> list[str]:
    one, other, corr = found.precision, found.other, found.correlation
    which = "all" if found.complete else "a random sample of"
    lines = [
        f"{one} and {other}, over {which} {found.architectures:,} architectures at {found.seeds} seeds; "
        "[95 % intervals]",
        f"Kendall's tau {_told(corr.kendall_tau)}, Spearman's rho {_told(corr.spearman)}, "
        f"Pearson's r {_told(corr.pearson)}, {corr.corrected:.2f} without the seeds' noise",
        f"two halves of the seeds at {one} alone: tau {corr.seeds:.2f}",
    ]
    lines += [
        f"of the {best.count:,} best at {one}, {best.both:.0%} are among those at {other} "
        f"(by chance {best.chance:.1%}, p {best.p_value:.2g}; two halves of the seeds {best.seeds:.0%})"
        for best in found.best
    ]
    for loss, at, by in ((found.loss, one, other), (found.loss_other, other, one)):
        lines.append(
            f"the best at {by} loses {_told(loss.points)} points at {at}, and keeps {loss.kept:.0%} of what "
            f"the best there has more than the mean; each seed judges what the others choose"
        )
    for worth in found.operations:
        lines.append(
            f"{worth.operation} on an edge in place of {found.reference}: {_told(worth.first)} points at "
            f"{one}, {_told(worth.second)} at {other}; ranks {_told(worth.shift)} percentiles higher at {one}"
        )
    return lines


def _told(estimate: Estimate) -> str:
    return f"{estimate.value:.2f} [{estimate.lower:.2f}, {estimate.upper:.2f}]"
