"""What the shell completes: names of methods, spaces, results and trials."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import click
from click.shell_completion import CompletionItem

Completion = Callable[[click.Context, click.Parameter, str], "list[CompletionItem | str]"]


def _completing(known: Callable[[click.Context], Iterable[str]]) -> Completion:
    """Completes the last of a list with commas between."""

    def complete(
        ctx: click.Context, _param: click.Parameter, begun: str
    ) -> list[CompletionItem | str]:
        before, comma, last = begun.rpartition(",")
        return [f"{before}{comma}{name}" for name in known(ctx) if name.startswith(last)]

    return complete


def _results(ctx: click.Context) -> Iterable[str]:
    folder = Path(ctx.params.get("results") or "results")
    return sorted(path.parent.name for path in folder.glob("*/trials"))


def _methods(_: click.Context) -> Iterable[str]:
    from bnas_bench.plugins.registry import names

    return ["all", *names("method")]


def _spaces(_: click.Context) -> Iterable[str]:
    from bnas_bench.plugins.registry import names

    return ["all", *names("space")]


def _datasets(_: click.Context) -> Iterable[str]:
    from bnas_bench.data.names import DATASETS

    return DATASETS


def _budgets(_: click.Context) -> Iterable[str]:
    from bnas_bench.core.budgets import BUDGETS

    return BUDGETS


def _papers(_: click.Context) -> Iterable[str]:
    from bnas_bench.papers.artefact import PAPERS, ids

    return [*PAPERS, *ids()]


NAME, METHOD, SPACE = _completing(_results), _completing(_methods), _completing(_spaces)
DATASET, BUDGET, PAPER = _completing(_datasets), _completing(_budgets), _completing(_papers)
