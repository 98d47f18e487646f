"""`watch`: the incumbents of searches as curves in the terminal, while others run them."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import click

from bnas_bench.cli.completion import NAME
from bnas_bench.cli.durations import stage
from bnas_bench.cli.running import RESULTS
from bnas_bench.runs import folders, seen
from bnas_bench.runs.seen import ORDER, Seen
from bnas_bench.runs.store import Store

T = TypeVar("T")

Curve = Sequence[tuple[float, float]]
"""Passes, and the accuracy on the validation images from 0 to 1."""

EVERY = 2.0
"""Seconds between two looks."""

PATIENCE = 5
"""Looks at which nothing runs before there is nothing more to see: between two trials nothing does."""

LEAST, MOST = 10, 60
"""Signs of a curve."""

BESIDE = len("running  ") + len("    100.0 %  ") + len("100.0 % test")
"""Signs of a line beside its name and its curve."""


@click.command()
@click.argument("name", default="local", shell_complete=NAME)
@RESULTS
def watch(name: str, results: Path) -> None:
    """Watch the searches of NAME's results, from another terminal: a curve for each.

    A curve is the accuracy of the search's incumbent on the validation images, over its passes; all have
    the same axes, which stand below. It ends when nothing runs any more, or with Ctrl-C.
    """
    store, curves = folders.named(name, results), Curves(folders.named(name, results))
    if not (sys.stdout.isatty() and sys.stderr.isatty()):
        click.echo("\n".join(lines(name, seen.look(store), curves, 100)))
        return
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

    idle, console = 0, Console(stderr=True)  # stdout lets nothing move the cursor
    with Live(console=console, auto_refresh=False) as live:
        while idle < PATIENCE:
            found = seen.look(store)
            shown = lines(name, found, curves, console.width)
            rows = [Text(line, no_wrap=True, overflow="ellipsis") for line in shown]
            live.update(Group(*_within(rows, console.height)), refresh=True)
            idle = 0 if any(one.word == "running" for one in found) else idle + 1
            time.sleep(EVERY if idle < PATIENCE else 0)


def _within(rows: list[T], height: int) -> list[T]:
    """The first rows and the last two, where a terminal has not room for all."""
    return rows if len(rows) < height else [*rows[: height - 3], *rows[-2:]]


class Curves:
    """The curves of the trials of a store; those of finished ones are read once."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.known: dict[str, Curve] = {}

    def of(self, one: Seen) -> Curve:
        if one.record is None:
            return one.curve
        if one.id not in self.known:
            from bnas_bench.analysis.searches import incumbents

            passes, valid = incumbents(self.store, one.id)
            self.known[one.id] = [(x, y / 100) for x, y in zip(passes, valid, strict=True)]
        return self.known[one.id]


def lines(name: str, found: Sequence[Seen], curves: Curves, width: int) -> Iterator[str]:
    """The counts, a line for each trial, and the axes.

    Args:
        width: signs of a line.
    """
    counts = Counter(one.word for one in found)
    yield f"{name}: " + ", ".join(f"{counts[word]} {word}" for word in ORDER if counts[word])
    drawn = {one.id: curves.of(one) for one in found}
    points = [point for curve in drawn.values() for point in curve]
    last = max((x for x, _ in points), default=0.0)
    low, high = (pick((y for _, y in points), default=0.0) for pick in (min, max))
    names = {one.id: _short(one.id) for one in found}
    room = width - max(map(len, names.values()), default=0) - BESIDE
    signs = max(LEAST, min(MOST, room))
    for one in found:
        curve = drawn[one.id]
        best = f"{100 * curve[-1][1]:5.1f} %" if curve else " " * 7
        plot = steps(curve, last, low, high, signs)
        wide = max(map(len, names.values()))
        yield f"{one.word:7}  {names[one.id]:{wide}}  {plot:{signs}}  {best}  {_end(one)}".rstrip()
    if points:
        yield (
            f"incumbents: {100 * low:.1f} to {100 * high:.1f} % of the validation images over 0 to "
            f"{last:,.0f} passes"
        )


def _short(trial_id: str) -> str:
    """A trial's id without its digest, whose end the seed is."""
    return trial_id.rpartition("-")[0] or trial_id


def _end(one: Seen) -> str:
    if one.word == "ok" and one.record:
        return f"{one.record['test_accuracy']:.1f} % test"
    return stage(one.phase, one.done) if one.phase else ""


def steps(curve: Curve, last: float, low: float, high: float, signs: int) -> str:
    """A curve in a line of blocks: at each sign the incumbent's accuracy, up to the last report.

    Args:
        last: passes at the right end.
        low, high: accuracies of the lowest and the highest block.
    """
    from bnas_bench.cli.summary import BLOCKS

    if not curve or not last:
        return ""
    line, height = "", len(BLOCKS) - 1
    for k in range(1, signs + 1):
        here = [y for x, y in curve if x <= last * k / signs]
        if last * (k - 1) / signs >= curve[-1][0]:
            break
        share = (here[-1] - low) / (high - low) if here and high > low else 0.0
        line += BLOCKS[round(height * share)] if here else " "
    return line
