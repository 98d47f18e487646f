"""The file of what ranks as a table does; a command that was killed goes on with it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bnas_bench.core.budget import Budget
from bnas_bench.core.errors import BadValue
from bnas_bench.core.files import kind_of, write_atomically
from bnas_bench.data.datasets import load
from bnas_bench.plugins.making import Choice
from bnas_bench.plugins.source import harness_digest
from bnas_bench.runs.ranking import Ranked, Scores
from bnas_bench.tables.judge import Judge
from bnas_bench.tables.truth import GroundTruth

Row = dict[str, Any]

OWN = ("training", "proxy")
"""What needs no search."""


def rank(
    truth: GroundTruth,
    path: Path,
    methods: Sequence[tuple[str, Choice]],
    budget: Budget,
    *,
    count: int,
    seeds: int,
    data: Path | str = "data",
) -> Iterator[Sequence[Row]]:
    """Rank a table's first `count` architectures by each score; yields all rows, as there are more.

    What `path` has is not computed again. A row has the score's `method`, what it is `of`, the `precision` of
    the networks that it looks at, its `seed`; `truth`, the precision whose mean test accuracies it is held
    against, `n` architectures, `tau` with the ends of its interval `lower` and `upper`; the `passes` of the
    search and `passes_each` of one score. A search without a supernet has no row.

    Args:
        methods: weight-sharing ones, with how they are written.

    Raises:
        BadValue: if the table is too small, `path` holds rows of something else, its dataset is not the
            table's, or a method cannot search there.
    """
    how = truth.definition
    judge = Judge(truth, load(how.dataset, image=how.image, device="cpu", folder=data))
    ranked = Ranked(judge, count, budget)
    head = {
        "table": truth.name,
        "definition": how.digest,
        "trainings": len(truth.frame()),
        "architectures": len(ranked.archs),
        "budget": asdict(budget),
        "harness": harness_digest(),
    }
    held = _read(path, head)
    for seed in range(seeds):
        for name, scored in _work(ranked, methods, seed):
            key = f"{name} {seed}"
            if key not in held:
                held[key] = [row for one in scored for row in _rows(ranked, one, seed)]
                content = json.dumps({**head, "scores": held}, indent=1)
                write_atomically(path, f"{content}\n".encode())
            yield [row for rows in held.values() for row in rows]


def _work(
    ranked: Ranked, methods: Sequence[tuple[str, Choice]], seed: int
) -> Iterator[tuple[str, Iterator[Scores]]]:
    yield OWN[0], ranked.trainings(seed)
    yield OWN[1], ranked.proxies(seed)
    for written, choice in methods:
        plugin, _ = choice
        yield f"{written} {plugin.source}", ranked.supernets(choice, written, seed)


def _rows(ranked: Ranked, scores: Scores, seed: int) -> Iterator[Row]:
    for precision, tau in ranked.taus(scores).items():
        yield {
            "method": scores.method,
            "of": scores.of,
            "precision": scores.precision,
            "seed": seed,
            "truth": precision,
            "n": sum(ranked.truth.holds(arch, precision) for arch in ranked.texts),
            "tau": _rounded(tau.value),
            "lower": _rounded(tau.lower),
            "upper": _rounded(tau.upper),
            "passes": scores.passes,
            "passes_each": scores.passes_each,
        }


def _rounded(value: float) -> float | None:
    """None where there is no number: of scores that are all equal."""
    return None if value != value else round(value, 6)


def _read(path: Path, head: Row) -> dict[str, list[Row]]:
    """The rows of an earlier run, by what gave them."""
    if kind_of(path) != "file":
        return {}
    try:
        found = json.loads(path.read_bytes())
        rows: dict[str, list[Row]] = found.pop("scores")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadValue(
            f"{path} holds no rankings ({error!r}): name another file with --out"
        ) from None
    if wrong := [name for name in head if found.get(name) != head[name]]:
        raise BadValue(
            f"{path} holds rankings of another {', '.join(wrong)}: name another file with --out, or remove it"
        )
    return rows
