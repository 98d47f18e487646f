"""The table of a setting that compares its methods, and the table of the trials that are missing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import sqrt

from bnas_bench.analysis.frame import Missing, Results, Row, Setting, differing
from bnas_bench.analysis.measures import MEASURES, TIMES
from bnas_bench.analysis.stats import NotEnough, Standing
from bnas_bench.analysis.table import Column, Table, Value, missing
from bnas_bench.analysis.timings import apart
from bnas_bench.plugins.likeness import unlike_a_paper
from bnas_bench.report.values import (
    IQM_RUNS,
    average,
    counted,
    mean,
    middle,
    p_text,
    seed_text,
    short,
)
from bnas_bench.report.verdict import chance_of, standing_of, verdict

METHOD = Column(key="method", title="method", numeric=False)
N = Column(key="n", title="n")
CHANCE = Column(key="chance", title="accuracy, failures as chance (%)", better="higher")


def comparison(setting: Setting, rows: Sequence[Row], name: str, commands: Sequence[str]) -> Table:
    """All methods of a setting: accuracy, cost, and what the search spent."""
    runs = [run for row in rows for run in row.runs]
    unlike, is_spoilt = apart(run.timed for run in runs), any(run.crowded for run in runs)
    hidden = {"valid_accuracy", *(TIMES if unlike else ())}
    shown = {key: measure for key, measure in MEASURES.items() if key not in hidden}
    accuracy, *others = (
        replace(measure.column(key), better="")
        if is_spoilt and key in TIMES
        else measure.column(key)
        for key, measure in shown.items()
    )
    iqm = Column(key="iqm", title="IQM (%)", better="higher")
    chance, known = chance_of(rows), standing_of(rows)
    place = [Column(key="best", title="as best", numeric=False)] * isinstance(known, Standing)
    lacking = [] if chance is None or all(row.complete for row in rows) else [CHANCE]
    return Table(
        name=name,
        title=f"Comparison on {setting}",
        caption=(
            f"{circumstances(setting, rows)}. Accuracy: mean ± sample standard deviation over n seeds "
            f"[95 % t interval]; IQM: interquartile mean [95 % t interval], from {IQM_RUNS} seeds on; all "
            f"else: means over the seeds.{images_error(rows)}"
        ),
        columns=[METHOD, N, accuracy, *place, *lacking, iqm, *others],
        rows=[
            {"method": Value(text=row.method), "n": counted(row), "iqm": middle(row)}
            | {key: mean(row, key, measure) for key, measure in shown.items()}
            | _standing(row, known)
            | ({CHANCE.key: _with_chance(row, chance)} if chance is not None and lacking else {})
            for row in rows
        ],
        notes=[
            *warnings(rows),
            *([f"{unlike[0].upper()}{unlike[1:]}."] if unlike else []),
            *verdict(rows, known),
        ],
        commands=commands,
    )


def _standing(row: Row, known: Standing | NotEnough) -> dict[str, Value]:
    """Whether the row may be the best."""
    if isinstance(known, NotEnough):
        return {}
    if row.method in known.kept:
        return {"best": Value(text="not excluded" if len(known.kept) > 1 else "shown best")}
    p = known.excluded.get(row.method)
    if p is None:
        return {}
    text = f"excluded, p = {p_text(p)}"
    return {"best": Value(text=text, kind="computed", number=p, n=len(row.runs), runs=row.ids)}


def _with_chance(row: Row, chance: float) -> Value:
    """The mean accuracy where a trial that failed has that of chance."""
    if row.refused:
        return missing("it cannot run here")
    values = row.with_chance(chance)
    if values is None:
        return missing("trials are not over")
    return average(values, row.ids, kind="computed")


def images_error(rows: Iterable[Row]) -> str:
    """What the test images alone make uncertain, as a sentence; empty where their number is unknown."""
    runs = [run for row in rows for run in row.runs]
    images = {run.test_images for run in runs}
    known = [v for run in runs if (v := run.values["test_accuracy"]) is not None]
    if len(images) != 1 or not (n := images.pop()) or not known:
        return ""
    share = sum(known) / len(known) / 100
    return (
        f" That there are {n:,} test images leaves each accuracy a standard error of "
        f"{100 * sqrt(share * (1 - share) / n):.1f} points, the same images for all: no interval here "
        "has it."
    )


def circumstances(setting: Setting, rows: Iterable[Row]) -> str:
    """Space, dataset, budget and machines, and what they do not allow."""
    machines = dict.fromkeys(run.facts["machine"] for row in rows for run in row.runs)
    words = f"Space {setting.space}, dataset {setting.dataset}, budget {setting.budget}"
    if machines:
        words += f"; measured on {' and '.join(sorted(machines))}"
    if len(machines) > 1:
        words += ", whose times do not compare"
    if why := unlike_a_paper(setting.dataset, setting.budget):
        words += f"; {why}"
    return words


def warnings(rows: Sequence[Row]) -> list[str]:
    """In what the runs differ that should be equal, within a row or between rows."""
    inside: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        for name in differing(row.runs):
            inside[name].append(row.method)
    words = [
        f"The seeds of {' and '.join(methods)} differ in {name}: they are not runs of one thing."
        for name, methods in inside.items()
    ]
    across = differing([run for row in rows for run in row.runs])
    if between := [name for name in across if name not in inside]:
        words.append(f"The methods differ in {' and '.join(between)}: they do not compare.")
    return words


def lost(results: Results) -> Table | None:
    """Every trial that should be there and did not finish; None if all did."""
    names = ("method", "space", "dataset", "budget")
    lines = [
        {
            name: Value(text=text)
            for name, text in zip(names, (row.method, *row.setting), strict=True)
        }
        | {"seed": Value(text=seed_text(trial.seed), number=trial.seed[1]), **_state(trial)}
        for row in results.rows
        for trial in row.missing
    ]
    lines += [{"method": Value(text="unknown"), **_state(trial)} for trial in results.stray]
    if not lines:
        return None
    return Table(
        name="missing",
        title="Trials that did not finish",
        caption="What a complete grid of these methods and seeds would have and these results lack.",
        columns=[
            *(Column(key=name, title=name, numeric=False) for name in names),
            Column(key="seed", title="seed"),
            *(Column(key=name, title=name, numeric=False) for name in ("state", "reason", "trial")),
        ],
        rows=lines,
    )


def _state(trial: Missing) -> dict[str, Value]:
    ids = [trial.id] if trial.id else []
    return {
        "state": Value(text=trial.state, runs=ids),
        "reason": Value(text=short(trial.reason)),
        "trial": Value(text=trial.id, runs=ids),
    }
