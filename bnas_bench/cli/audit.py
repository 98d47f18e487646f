"""`audit`: the papers' own numbers, recomputed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from bnas_bench.core.errors import BadValue

if TYPE_CHECKING:
    from bnas_bench.papers.audit.check import Finding

VERDICTS = ("agrees", "within-rounding", "agrees-under", "differs", "contradicts")
COLOURS = {"differs": "red", "contradicts": "red", "agrees under": "yellow"}


@click.command()
@click.argument("name", required=False, metavar="[PAPER|ID]")
@click.option(
    "--only", multiple=True, type=click.Choice(VERDICTS), help="These verdicts; may be repeated."
)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.option("--csv", "as_csv", is_flag=True, help="For programs and spreadsheets.")
@click.option("--markdown", "as_markdown", is_flag=True, help="The page docs/audit.md.")
def audit(
    name: str | None, only: tuple[str, ...], as_json: bool, as_csv: bool, as_markdown: bool
) -> None:
    """Recompute the numbers of the four papers that follow from others.

    PAPER is cp-nas, dcp-nas, bars or nas-bnn; ID a table or section of one, as dcp-nas/table-3, or
    one check, as dcp-nas/section-4.3.2:small-ebn. Without either all papers are audited, in less than
    a minute.

    agrees: the recomputed number, rounded or cut off, is the printed one. within-rounding: numbers
    that round to the printed operands give it. agrees-under: another rule than the stated one gives
    it. differs: none does. contradicts: two places print different numbers for one thing.
    """
    from bnas_bench.papers.audit import audit as run_audit
    from bnas_bench.papers.audit import frame
    from bnas_bench.papers.audit.markdown import page

    if as_json + as_csv + as_markdown > 1:
        raise BadValue("--json, --csv and --markdown are three forms of one answer: choose one")
    wanted = {verdict.replace("-", " ") for verdict in only or VERDICTS}
    found = [finding for finding in run_audit(name or "") if finding.verdict in wanted]
    if as_json:
        click.echo(json.dumps(frame(found).to_dict("records"), indent=2))
    elif as_csv:
        click.echo(frame(found).to_csv(index=False), nl=False)
    elif as_markdown:
        click.echo(page(found), nl=False)
    else:
        _print(found)


def _print(findings: Sequence[Finding]) -> None:
    """The findings as a table, and how many of each verdict there are."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Column, Table

    from bnas_bench.cli.output import literal, stdout
    from bnas_bench.papers.audit.check import VERDICTS as MEANINGS
    from bnas_bench.papers.audit.check import tally

    console = stdout()
    grid = Table(
        Column("check", overflow="fold"),
        Column("paper", justify="right", overflow="fold"),
        Column("recomputed", justify="right", overflow="fold"),
        "verdict",
        Column("rule", overflow="fold", ratio=1),
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    for finding in findings:
        colour = COLOURS.get(finding.verdict)
        verdict = f"[{colour}]{finding.verdict}[/]" if colour else finding.verdict
        if finding.difference:
            verdict += f"\n{literal(finding.difference)}"
        texts = map(literal, (finding.id, *finding.shown))
        grid.add_row(*texts, verdict, literal(finding.rule))
    console.print(grid)
    if len(findings) == 1:
        console.print(literal(f'{findings[0].place}: "{findings[0].quotation}"'), soft_wrap=True)
    numbers = (Column(verdict, justify="right") for verdict in MEANINGS)
    counts = Table("paper", *numbers, box=SIMPLE_HEAD, pad_edge=False)
    for paper, of_paper in tally(findings).items():
        counts.add_row(paper, *map(str, of_paper.values()))
    console.print(counts)
