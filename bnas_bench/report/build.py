"""From `results/NAME` to `reports/NAME`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from matplotlib import rc_context

from bnas_bench.core import Architecture
from bnas_bench.errors import BadValue, BenchError
from bnas_bench.registry import find
from bnas_bench.report.commands import Origin
from bnas_bench.report.contrasts import RANDOM, against_random, rank_table
from bnas_bench.report.datasets import Family, dataset_table, difference_in_words, families
from bnas_bench.report.folder import replaced, write
from bnas_bench.report.fronts import front_table
from bnas_bench.report.model import Report, Table
from bnas_bench.report.pictures import FIGURED, Pictures
from bnas_bench.report.records import Results, Row, Run, Setting, read
from bnas_bench.report.tables import comparison, lost
from bnas_bench.report.views import views
from bnas_bench.store import Store

DRAWN = 12
"""Rows whose cells are drawn, those of the settings with most runs: each takes a second."""


def build(store: Store, origin: Origin, folder: Path) -> None:
    """Write the report of a store's results.

    The same records give the same bytes.

    Args:
        folder: the report's own, `reports/NAME`; it is replaced.

    Raises:
        BadValue: if no run finished, or if `folder` holds what no report wrote.
        Unwritable: if it cannot be written.
    """
    results = read(store, origin.defaults)
    if not any(row.runs for row in results.rows):
        raise BadValue(_nothing(results, origin))
    with replaced(folder) as new:
        found = families(results)
        slugs = _slugs(results.settings)
        drawings = _draw(results, store, new / "cells")
        pictures = Pictures(results, store, new / "figures", slugs).draw(found)
        report = Report(
            name=origin.name,
            title=f"Results {origin.name}",
            facts=list(_facts(results, found, len(drawings))),
            tables=list(_tables(results, store, origin, found, slugs)),
            pictures=pictures,
            runs=list(views(store, origin, new, drawings)),
        )
        write(report, new)


def _nothing(results: Results, origin: Origin) -> str:
    states = Counter(cell.state for row in results.rows for cell in row.missing)
    states.update(cell.state for cell in results.stray)
    words = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    return (
        f"no cell of results '{origin.name}' has finished ({words or 'there is none'}), so there is nothing "
        f"to report: bnas-bench status {origin.name} tells more"
    )


def _slugs(settings: Mapping[Setting, Sequence[Row]]) -> dict[Setting, str]:
    """Names of settings for files, each different."""
    slugs: dict[Setting, str] = {}
    for setting in settings:
        plain = re.sub(r"[^a-z0-9]+", "-", "-".join(setting).lower())[:80].strip("-")
        number, slug = 2, plain
        while slug in slugs.values():
            number, slug = number + 1, f"{plain}-{number}"
        slugs[setting] = slug
    return slugs


def _tables(
    results: Results,
    store: Store,
    origin: Origin,
    found: Sequence[Family],
    slugs: Mapping[Setting, str],
) -> Iterator[Table]:
    if absent := lost(results):
        yield absent
    for setting, rows in results.settings.items():
        slug = slugs[setting]
        yield comparison(setting, rows, f"main-{slug}", origin.rows(rows))
        for made in (
            against_random(setting, rows, f"random-{slug}"),
            rank_table(setting, rows, f"ranks-{slug}"),
            front_table(setting, rows, f"fronts-{slug}", store),
        ):
            if made:
                yield made
    for family in found:
        first = Setting(family.space, family.datasets[0], family.budget)
        if made := dataset_table(family, f"datasets-{slugs[first]}"):
            yield made


def _facts(results: Results, found: Sequence[Family], drawn: int) -> Iterator[str]:
    runs = [run for row in results.rows for run in row.runs]
    states = Counter(cell.state for row in results.rows for cell in row.missing)
    states.update(cell.state for cell in results.stray)
    others = "".join(f", {count} {state}" for state, count in sorted(states.items()))
    yield f"Cells: {len(runs):,} finished{others}. Methods: {len(results.methods)}."
    for name, title in (("machine", "Machines"), ("code", "Code")):
        yield f"{title}: {'; '.join(sorted({run.facts[name] for run in runs}))}."
    if any(setting.budget != "paper" for setting in results.settings):
        yield (
            "A budget other than paper compares methods under that budget; it reproduces no paper's "
            "numbers."
        )
    yield (
        "Numbers are means over seeds, intervals of level 95 %. Nothing is pooled over budgets, and where "
        "intervals overlap no winner is named."
    )
    without = [
        str(setting)
        for setting, rows in results.settings.items()
        if not any(row.method == RANDOM and row.runs for row in rows)
    ]
    if without:
        yield f"Nothing is compared with random where it has no run: {'; '.join(without)}."
    for family in found:
        if len(family.datasets) == 1:
            yield difference_in_words(family, family.critical())
    if len(results.settings) > FIGURED:
        yield (
            f"Figures are of the {FIGURED} settings with most runs; tables are of all "
            f"{len(results.settings)}."
        )
    rows = sum(1 for row in results.rows if row.runs)
    yield (
        f"Cells are drawn of {drawn} of {rows} rows: of each the architecture whose test accuracy is the "
        "median of its seeds."
    )


def _draw(results: Results, store: Store, folder: Path) -> dict[str, str]:
    """Draw the architecture of each row's median run; SVG by the runs' ids."""
    drawings = {}
    rows = (row for row in results.rows if row.runs)
    for row in islice(rows, DRAWN):
        run = median(row)
        file = folder / f"{run.id}.svg"
        if _draw_one(run, store, file):
            drawings[run.id] = file.read_text("utf-8")
    return drawings


def median(row: Row) -> Run:
    """The run whose test accuracy is the median of the row's; of an even number the lower one."""
    ordered = sorted(row.runs, key=lambda run: (run.values["test_accuracy"] or 0.0, run.seed))
    return ordered[(len(ordered) - 1) // 2]


def _draw_one(run: Run, store: Store, file: Path) -> bool:
    """Whether it could be drawn: the space may be gone, or have changed since."""
    record = store.read(run.id)
    if record is None:
        return False
    try:
        space = find("space", record["space"]).make(record["space_options"])
        with rc_context({"svg.hashsalt": run.id}):
            space.draw(Architecture.from_json(record["architecture"]), file)
    except (BenchError, KeyError, TypeError, ValueError):
        return False
    return True
