"""The list of artefacts and the state of each: what `bnas-bench papers` prints, and docs/papers.md."""

from __future__ import annotations

from collections.abc import Iterator

from bnas_bench.papers.artefact import PAPERS, Artefact, ids, load

MEANINGS = {
    "regenerated": "its rows can be run at any budget; rows that cannot say so",
    "cost only": "operations, memory and parameters are counted; nothing is trained",
    "quoted": "what the paper prints, and nothing else",
}


def behind(artefact: Artefact) -> str:
    """How many of an artefact's rows are run, counted and quoted."""
    parts = (
        (sum(bool(row.runs) for row in artefact.rows), "run"),
        (sum(bool(row.count) for row in artefact.rows), "counted at the paper's size"),
        (sum(not row.runs and not row.count for row in artefact.rows), "quoted"),
    )
    return ", ".join(f"{number} {what}" for number, what in parts if number)


def markdown() -> str:
    """The list as docs/papers.md."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "# The papers' tables and figures"
    yield ""
    yield "Written by `bnas-bench papers --markdown`. `bnas-bench papers ID` prints what the paper prints,"
    yield "`bnas-bench reproduce ID --budget quick` runs it and sets our numbers beside the paper's."
    yield ""
    for state, meaning in MEANINGS.items():
        yield f"- **{state}**: {meaning}"
    for paper, citation in PAPERS.items():
        yield ""
        yield f"## {citation}"
        yield ""
        yield "| id | where | what | state | rows |"
        yield "| :--- | :--- | :--- | :--- | :--- |"
        for name in ids():
            if name.startswith(f"{paper}/"):
                found = load(name)
                why = f": {found.why}" if found.why else ""
                yield (
                    f"| `{name}` | {found.place} | {found.title} | {found.state}{why} "
                    f"| {behind(found)} |"
                )
