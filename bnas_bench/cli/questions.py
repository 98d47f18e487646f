"""The commands that put questions to a table of ground truth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bnas_bench.cli.lists import flowed
from bnas_bench.cli.running import FOLDER, Number
from bnas_bench.core.options import Count, Grid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bnas_bench.tables.agreement import Estimate
    from bnas_bench.tables.premise import Premise


SHARING = "random[form=supernet],evolution,darts,pcdarts,bnas,bars,bats,cpnas,dcpnas,nasbnn"


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
        click.echo(flowed(line))
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


@click.command()
@click.argument("name")
@click.option(
    *("-o", "--out"),
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="A JSON file; the same command goes on with it.",
)
@click.option("--methods", default=SHARING, show_default=True, help="That share weights.")
@click.option("--budget", default="quick", show_default=True, help="Of a search.")
@click.option(
    "--first", type=Number(Count), default=500, show_default=True, help="So many architectures."
)
@click.option("--seeds", type=Number(Grid), default=1, show_default=True)
@click.option("--data-folder", "data", type=FOLDER, default="data", show_default=True)
def ranking(
    name: str, out: Path, methods: str, budget: str, first: int, seeds: int, data: Path
) -> None:
    """Say whether supernets and zero-cost proxies rank architectures as a table does.

    NAME is a table, as bnas-bench truth takes it; its first architectures are a random sample. A supernet
    scores them after its method's search: each network inherits its weights, batch norm is calibrated anew,
    and it classifies the validation images. Trainings of the table itself are the yardstick.
    """
    import torch

    from bnas_bench import api
    from bnas_bench.core.budgets import BUDGETS
    from bnas_bench.plugins.making import choose
    from bnas_bench.plugins.spec import parse_spec, parse_specs, resolve_budget
    from bnas_bench.runs.rankings import rank

    torch.set_num_threads(1)
    chosen = [(str(spec), choose("method", spec)) for spec in parse_specs(methods)]
    rows: Sequence[dict[str, Any]] = []
    for rows in rank(
        api.table(name),
        out,
        chosen,
        resolve_budget(parse_spec(budget), BUDGETS),
        count=first,
        seeds=seeds,
        data=data,
    ):
        click.echo(f"{len(rows)} rows in {out}", err=True)
    _print_rankings(rows)


def _print_rankings(rows: Sequence[dict[str, Any]]) -> None:
    from bnas_bench.analysis.rankings import over_seeds
    from bnas_bench.analysis.table import Column, Table, Value
    from bnas_bench.cli.output import print_table

    texts = {"method": "method", "of": "scored by", "precision": "at", "truth": "truth at"}
    numbers = {
        "n": ("n", ",.0f"),
        "tau": ("tau", ".3f"),
        "lower": ("from", ".3f"),
        "upper": ("to", ".3f"),
        "seeds": ("seeds", ".0f"),
        "passes": ("search (passes)", ",.0f"),
        "passes_each": ("a score (passes)", ",.0f"),
    }

    def shown(value: Any, form: str) -> Value:
        return Value(text="" if value is None else f"{value:{form}}")

    print_table(
        Table(
            name="ranking",
            title="",
            caption="tau: Kendall's tau-b of scores and mean test accuracies, mean over seeds and 95 % t "
            "interval; of fewer than three seeds, or of scores that no seed changes, a bootstrap interval "
            "over architectures; training: a seed of the table, and the mean of the other seeds",
            columns=[
                *(Column(key=key, title=title, numeric=False) for key, title in texts.items()),
                *(Column(key=key, title=title) for key, (title, _) in numbers.items()),
            ],
            rows=[
                {key: shown(row[key], "") for key in texts}
                | {key: shown(row[key], form) for key, (_, form) in numbers.items()}
                for row in over_seeds(rows)
            ],
        )
    )


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
