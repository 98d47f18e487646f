"""The audit as one Markdown page, docs/audit.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from bnas_bench.papers.artefact import PAPERS
from bnas_bench.papers.audit.check import VERDICTS, Finding, tally

INTRODUCTION = """\
# The audit

Every number of the four papers that follows from other numbers, or from the layers of a network that
they describe, recomputed. This page is made by the command

    bnas-bench audit --markdown > docs/audit.md

which `tests/papers/test_audit.py` runs again. `bnas-bench audit ID` prints one line of it, `--csv` and
`--json` all of it for programs.

**paper** is the number as printed; **recomputed** follows from the numbers or layers that **rule**
names, exact until it is shown; a difference is the printed number less the recomputed one. OPs, MACs,
parameters and memory are counted by `bnas_bench.cost` at the papers' sizes ([costs.md](costs.md)).

The verdicts:
"""

LIMITS = """\
Not checked: numbers that stand in a figure alone; accuracies and latencies, which need runs; the 0.9 % of
DCP-NAS, section 4.2.5, whose row of Table 9 is lost in our copy of the paper. A `~` or `≈` before a number
says that the zeros at its end are no digits. Rows and groups that have no name in print have ours (a
group stands in brackets behind a row). The shape of WRN-22 is given in no paper and is ours; DCP-NAS'
networks are counted from the one genotype that its authors published, those of NAS-BNN from its Table 6.
"""

HEADER = ("check", "place", "paper", "recomputed", "verdict", "rule")


def page(findings: Sequence[Finding]) -> str:
    """The page, ending in one newline."""
    return "\n".join(_lines(findings)) + "\n"


def _lines(findings: Sequence[Finding]) -> Iterator[str]:
    yield INTRODUCTION
    yield from (f"- **{name}**: {meaning}." for name, meaning in VERDICTS.items())
    yield f"\n{LIMITS}"
    counts = tally(findings)
    yield from _table(
        ("paper", *VERDICTS, "all"),
        ((paper, *map(str, of.values()), str(sum(of.values()))) for paper, of in counts.items()),
    )
    for paper in counts:
        own = [finding for finding in findings if finding.paper == paper]
        yield f"\n## {PAPERS[paper]}\n"
        plain = [finding for finding in own if finding.verdict == "agrees"]
        yield from _table(HEADER, map(_row, (f for f in own if f.verdict != "agrees")))
        yield f"\n<details><summary>{len(plain)} numbers that agree</summary>\n"
        yield from _table(HEADER, map(_row, plain))
        yield "\n</details>"


def _row(finding: Finding) -> tuple[str, ...]:
    said = "" if finding.quotation.strip() == finding.printed else f": “{finding.quotation}”"
    return (
        f"`{finding.id}`",
        _plain(f"{finding.place}{said}"),
        *map(_plain, finding.shown),
        f"**{finding.verdict}** {finding.difference}" if finding.difference else finding.verdict,
        _plain(finding.rule),
    )


def _plain(text: str) -> str:
    """A text that Markdown shows as it is."""
    for mark in "\\|*_~<>#[]`":
        text = text.replace(mark, f"\\{mark}")
    return text.strip()


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield f"|{'|'.join('---' for _ in header)}|"
    yield from (f"| {' | '.join(row)} |" for row in rows)
