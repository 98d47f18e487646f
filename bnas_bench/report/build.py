"""From `results/NAME` to `reports/NAME`."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from urllib.parse import quote

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from bnas_bench.analysis.frame import Results, Row, Setting, read, states
from bnas_bench.analysis.table import Table
from bnas_bench.core.errors import BadValue
from bnas_bench.plugins.likeness import is_full, unlike_a_paper
from bnas_bench.report.commands import Origin
from bnas_bench.report.contrasts import RANDOM, against_random, gain_table
from bnas_bench.report.datasets import Family, dataset_table, difference_in_words, families
from bnas_bench.report.folder import replaced, write_page, write_tables, write_texts
from bnas_bench.report.images import images_table
from bnas_bench.report.ingredients import ingredients_table
from bnas_bench.report.learned import learned_table
from bnas_bench.report.model import Part, Picture, Report, RunView
from bnas_bench.report.page import embedded
from bnas_bench.report.parts import part, short_budgets
from bnas_bench.report.pictures import FAMILIES, FIGURED, Pictures, draw_cells
from bnas_bench.report.plots import plots
from bnas_bench.report.precisions import BothPrecisions
from bnas_bench.report.spread import spread_table
from bnas_bench.report.tables import comparison, lost
from bnas_bench.report.transferred import Transfers
from bnas_bench.report.views import view
from bnas_bench.runs.store import State, Store

DRAWN = 12
"""Rows whose cells are drawn, those of the settings with most runs: each takes a second."""


PLOTTED = 1000
"""Runs up to which a setting's figures in the page have a mark for each; of more, the files' are shown."""


def build(store: Store, origin: Origin, folder: Path | str) -> None:
    """Write the report of a store's results.

    The same records give the same bytes.

    Args:
        folder: the report's own, `reports/NAME`; it is replaced.

    Raises:
        BadValue: if no run finished and nothing was transferred, or if `folder` holds what no report wrote.
        Unwritable: if it cannot be written.
    """
    runs: list[RunView] = []

    def viewed() -> Iterator[tuple[str, State]]:
        """Every trial, read once: records are too large to be kept."""
        for trial_id, state in states(store):
            runs.append(view(store.folder(trial_id), state, origin, Path(folder)))
            yield trial_id, state

    results = read(viewed(), origin.defaults)
    carried = Transfers(store, origin, Path(folder))
    finished = [row for row in results.rows if row.runs]
    if not (finished or carried.records):
        raise BadValue(_nothing(results, carried, origin))
    # The products of the bootstraps are small: threads cost more than they gain.
    with threadpool_limits(1, user_api="blas"), replaced(folder) as new:
        found, slugs = families(results), _slugs(results.settings)
        pictures = Pictures(results, store, new / "figures", slugs)
        own, joint = pictures.plan(found)
        with aside(pictures.draw):
            by_setting = {
                setting: list(_setting_tables(setting, rows, store, origin, slugs[setting]))
                for setting, rows in results.settings.items()
            }
            absent = lost(results)
            tables = [
                *([absent] if absent else []),
                *(table for tables in by_setting.values() for table in tables),
                *_family_tables(found, slugs),
                *carried.tables(run.id for run in runs),
            ]
            write_tables(tables, new)
            draw_cells(finished[:DRAWN], store, new / "cells")
            drawn = {file.stem for file in (new / "cells").glob("*.svg")}
            runs = [with_drawing(run) if run.id in drawn else run for run in runs]
            runs += carried.views(run.id for run in runs)
            report = Report(
                name=origin.name,
                title=f"Results {origin.name}",
                facts=[*_facts(results, found, len(drawn)), *_of_transfers(carried)],
                tables=tables,
                pictures=[*(picture for each in own.values() for picture in each), *joint],
                runs=runs,
                parts=list(_parts(results, pictures, by_setting, own, runs)),
                colours=[look.colour for look in pictures.looks.values()],
            )
            write_texts(report, new)
            texts = embedded(report.runs)
        write_page(report, new, texts)


def with_drawing(run: RunView) -> RunView:
    """With a link to the drawing of its architecture, in `cells/`."""
    return replace(run, files={**run.files, "drawing": f"cells/{quote(run.id)}.svg"})


@contextmanager
def aside(work: Callable[[], None]) -> Iterator[None]:
    """Do `work` while the body of the `with` runs; it is done when that ends.

    The process is a copy of this one, so that nothing is handed over; what it does to files remains.
    If it fails, the work is done again here, where its error is met.
    """
    process = get_context("fork").Process(target=_quietly, args=(work,))
    process.start()
    try:
        yield
        process.join()
    finally:
        process.kill()
        process.join()
    if process.exitcode:
        work()


def _quietly(work: Callable[[], None]) -> None:
    try:
        work()
    except BaseException:
        os._exit(1)


def _nothing(results: Results, carried: Transfers, origin: Origin) -> str:
    lost = len(carried.lost)
    transfers = [f"{lost} transfer{'s' * (lost > 1)} that cannot be read"] if lost else []
    words = ", ".join([*_lacking(results), *transfers]) or "there is none"
    return (
        f"no trial of results '{origin.name}' has finished ({words}), so there is nothing "
        f"to report: bnas-bench status {origin.name} tells more"
    )


def _lacking(results: Results) -> list[str]:
    """How many trials are in which state other than finished."""
    lost = [*(trial for row in results.rows for trial in row.missing), *results.stray]
    return [f"{n} {state}" for state, n in sorted(Counter(one.state for one in lost).items())]


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


def _setting_tables(
    setting: Setting, rows: Sequence[Row], store: Store, origin: Origin, slug: str
) -> Iterator[Table]:
    """The comparison, and what is tested and learned."""
    yield comparison(setting, rows, f"main-{slug}", origin.rows(rows))
    for made in (
        against_random(setting, rows, f"random-{slug}"),
        ingredients_table(setting, rows, f"ingredients-{slug}"),
        images_table(setting, rows, f"images-{slug}", store),
        spread_table(setting, rows, f"spread-{slug}", store),
        gain_table(setting, rows, f"gain-{slug}"),
        learned_table(setting, rows, f"learned-{slug}"),
    ):
        if made:
            yield made


def _family_tables(found: Sequence[Family], slugs: Mapping[Setting, str]) -> Iterator[Table]:
    for family in found:
        first = Setting(family.space, family.datasets[0], family.budget)
        if made := dataset_table(family, f"datasets-{slugs[first]}"):
            yield made


def _parts(
    results: Results,
    pictures: Pictures,
    tables: Mapping[Setting, Sequence[Table]],
    figures: Mapping[Setting, Sequence[Picture]],
    runs: Sequence[RunView],
) -> Iterator[Part]:
    """The settings of which a run finished, as the page tells them."""
    views = {run.id: run for run in runs}
    budgets = short_budgets([setting.budget for setting in results.settings])
    for setting, rows in results.settings.items():
        slug, finished = pictures.slugs[setting], [row for row in rows if row.runs]
        if finished:
            yield part(
                slug,
                setting,
                rows,
                budgets[setting.budget],
                views,
                tables[setting],
                figures.get(setting, ()),
                _plots(finished, pictures, views) if setting in figures else {},
            )


def _plots(rows: Sequence[Row], pictures: Pictures, views: Mapping[str, RunView]) -> dict[str, Any]:
    """The data of a page's own figures; none where there are too many runs for marks."""
    if sum(len(row.runs) for row in rows) > PLOTTED:
        return {}
    both = pictures.both(rows)
    return plots(
        rows,
        pictures.looks,
        pictures.curves(rows),
        views,
        pictures.regrets(rows),
        both if isinstance(both, BothPrecisions) else None,
    )


def _of_transfers(carried: Transfers) -> Iterator[str]:
    """How many there are, and which cannot be read."""
    if carried.records:
        backbones = len({record["backbone"] for record in carried.records})
        yield f"Transfers to downstream tasks: {len(carried.records):,}, of {backbones:,} backbones."
    for transfer, reason in carried.lost.items():
        yield f"The transfer {transfer} is missing: {reason}."


def _facts(results: Results, found: Sequence[Family], drawn: int) -> Iterator[str]:
    """What the trials are, and what they do and do not prove; nothing where none finished."""
    if not any(row.runs for row in results.rows):
        return
    runs = [run for row in results.rows for run in row.runs]
    trials = ", ".join([f"{len(runs):,} finished", *_lacking(results)])
    yield f"Trials: {trials}. Methods: {len(results.methods)}."
    for name, title in (("machine", "Machines"), ("code", "Code")):
        yield f"{title}: {'; '.join(sorted({run.facts[name] for run in runs}))}."
    if not all(is_full(setting.budget) for setting in results.settings):
        yield (
            "A budget other than paper compares methods under that budget; it reproduces no paper's "
            "numbers."
        )
    elif any(unlike_a_paper(setting.dataset, setting.budget) for setting in results.settings):
        yield "Images other than a paper's reproduce none of its numbers."
    yield (
        "Numbers are means over seeds, intervals of level 95 %. Nothing is pooled over budgets. A method is "
        "the best where all others are shown to be worse, at a level of 5 % for all of them together, and "
        "every trial is there (docs/statistics.md)."
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
    if len(results.settings) > FIGURED or len(found) > FAMILIES:
        yield (
            f"Figures are of the {FIGURED} settings with most runs, those over datasets of the first "
            f"{FAMILIES} spaces and budgets; tables are of all {len(results.settings)} settings."
        )
    rows = sum(1 for row in results.rows if row.runs)
    yield (
        f"Cells are drawn of {drawn} of {rows} rows: of each the architecture whose test accuracy is the "
        "median of its seeds."
    )
