"""Writes an artefact with our numbers beside the paper's: table, figure and page."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bnas_bench.analysis.frame import states
from bnas_bench.analysis.table import Table
from bnas_bench.papers.artefact import Artefact
from bnas_bench.papers.figures import draw, drawn, means
from bnas_bench.papers.plan import Plan
from bnas_bench.papers.tables import caption, heading, quoted, table
from bnas_bench.papers.values import Runs
from bnas_bench.plugins.recorded import defaults
from bnas_bench.report.commands import Origin
from bnas_bench.report.folder import replaced
from bnas_bench.report.folder import write as write_report
from bnas_bench.report.model import Picture, Report, RunView
from bnas_bench.report.style import save
from bnas_bench.report.views import view
from bnas_bench.runs.store import Record, Store
from bnas_bench.runs.trial import Trial


@dataclass(frozen=True)
class Reproduction:
    """What was written, and where.

    Attributes:
        shows: whether there is anything of ours beside the paper's; a quoted artefact wants nothing.
    """

    table: Table
    folder: Path
    shows: bool


def write(
    plans: Iterable[Plan],
    records: Iterable[Record],
    store: Store,
    results: Path | str,
    reports: Path | str,
) -> Iterator[Reproduction]:
    """Write `reports/PAPER/NAME/BUDGET-DATASET/`, or `PAPER/NAME/quoted/` where nothing is run.

    Args:
        records: of the trials; one that is not over has its configuration, `id` and `reason`.
        store: of the trials.
        results: the folder that the store is in, as on the command line.
    """
    by_id = {record["id"]: _logged(record, store) for record in records}
    origin = Origin(store.root.name, str(results), defaults)
    for plan in plans:
        yield _write(plan, by_id, store, origin, Path(reports) / plan.artefact.id)


def _logged(record: Record, store: Store) -> Record:
    """A record with the means of its search's log beside it."""
    if record.get("status") != "ok":
        return record
    return {**record, "log_mean": means(record, store)}


def _write(
    plan: Plan, records: Mapping[str, Record], store: Store, origin: Origin, parent: Path
) -> Reproduction:
    artefact = plan.artefact
    if not plan.trials:
        found, folder = quoted(artefact), parent / "quoted"
        with replaced(folder) as new:
            write_report(_report(artefact, found), new)
        return Reproduction(found, folder, True)
    rows = [
        {name: [records[trial.id] for trial in trials] for name, trials in row.items()}
        for row in plan.rows
    ]
    found = table(plan, rows, commands(plan, origin))
    folder = parent / slug(f"{plan.budget}-{plan.datasets}")
    with replaced(folder) as new:
        pictures = list(_pictures(plan, rows, store, new))
        chosen = Store(store.root, only=[trial.id for trial in plan.trials])
        runs = [view(store.folder(name), state, origin, new) for name, state in states(chosen)]
        write_report(_report(artefact, found, pictures, runs), new)
    ours = (value for row in found.rows for key, value in row.items() if key.endswith("_here"))
    shows = bool(pictures) or any(value.number is not None for value in ours)
    return Reproduction(found, folder, shows)


def commands(plan: Plan, origin: Origin) -> list[str]:
    """What makes the whole artefact, and then what makes each of its runs."""
    words = ["bnas-bench", "reproduce", plan.artefact.id, "--budget", plan.budget]
    words += ["--dataset", plan.dataset] if plan.dataset else []
    words += ["--seeds", str(plan.seeds), "--name", origin.name]
    if origin.folder != "results":
        words += ["--results", origin.folder]
    trials = [trials[-1] for row in plan.rows for trials in row.values()]
    runs = (_command(trial, origin) for trial in trials)
    return [shlex.join(words), *dict.fromkeys(runs)]


def _command(trial: Trial, origin: Origin) -> str:
    return origin.run(trial.description() | {"threads": 1, "device": "auto"})


def slug(text: str) -> str:
    """A name for a folder."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _pictures(plan: Plan, rows: Sequence[Runs], store: Store, folder: Path) -> list[Picture]:
    artefact, spec = plan.artefact, plan.artefact.figure
    if spec is None:
        return []
    told = caption(plan, rows)
    if spec.form == "cells":
        return list(drawn(artefact, rows, folder / "figures", told))
    figure = draw(artefact, spec, rows, store)
    if figure is None:
        return []
    stem = folder / "figures" / artefact.id.replace("/", "-")
    save(figure, stem)
    title = f"{heading(artefact)}: {artefact.title}"
    every = (record for runs in rows for found in runs.values() for record in found)
    ids = [record["id"] for record in every if record.get("status") == "ok"]
    return [Picture(name=stem.name, title=title, caption=told, stem=stem, runs=ids)]


def _report(
    artefact: Artefact,
    found: Table,
    pictures: Sequence[Picture] = (),
    runs: Sequence[RunView] = (),
) -> Report:
    return Report(
        name=artefact.id,
        title=found.title,
        facts=[f"Printed caption: {artefact.caption}"],
        tables=[found],
        pictures=pictures,
        runs=runs,
    )
