"""The table of a setting that compares its methods, and the table of the trials that are missing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from bnas_bench.analysis.frame import Missing, Results, Row, Setting, differing
from bnas_bench.analysis.measures import MEASURES
from bnas_bench.analysis.stats import NotEnough, summary, winner
from bnas_bench.analysis.table import Column, Table, Value
from bnas_bench.report.values import IQM_RUNS, counted, mean, middle, seed_text, short

METHOD = Column(key="method", title="method", numeric=False)
N = Column(key="n", title="n")


def comparison(setting: Setting, rows: Sequence[Row], name: str, commands: Sequence[str]) -> Table:
    """All methods of a setting: accuracy, cost, and what the search spent."""
    shown = {key: measure for key, measure in MEASURES.items() if key != "valid_accuracy"}
    accuracy, *others = (measure.column(key) for key, measure in shown.items())
    iqm = Column(key="iqm", title="IQM (%)", better="higher")
    return Table(
        name=name,
        title=f"Comparison on {setting}",
        caption=(
            f"{circumstances(setting, rows)}. Accuracy: mean ± sample standard deviation over n seeds "
            f"[95 % t interval]; IQM: interquartile mean [95 % bootstrap interval], from {IQM_RUNS} "
            "seeds on; all else: means over the seeds."
        ),
        columns=[METHOD, N, accuracy, iqm, *others],
        rows=[
            {"method": Value(text=row.method), "n": counted(row), "iqm": middle(row)}
            | {key: mean(row, key, measure) for key, measure in shown.items()}
            for row in rows
        ],
        notes=[*warnings(rows), best(rows)],
        commands=commands,
    )


def circumstances(setting: Setting, rows: Iterable[Row]) -> str:
    """Space, dataset, budget and machines, and what they do not allow."""
    machines = dict.fromkeys(run.facts["machine"] for row in rows for run in row.runs)
    words = f"Space {setting.space}, dataset {setting.dataset}, budget {setting.budget}"
    if machines:
        words += f"; measured on {' and '.join(sorted(machines))}"
    if len(machines) > 1:
        words += ", whose times do not compare"
    if setting.budget != "paper":
        words += "; a budget other than paper reproduces no paper's numbers"
    return words


def best(rows: Iterable[Row]) -> str:
    """Which method has the best test accuracy, or why none is said to have."""
    compared = [row for row in rows if row.runs]
    if unlike := list(differing([run for row in compared for run in row.runs])):
        return f"No winner is named: the runs differ in {' and '.join(unlike)}."
    intervals = {}
    for row in compared:
        known = summary(list(row.by_seed("test_accuracy").values()))
        intervals[row.method] = known if isinstance(known, NotEnough) else known.interval
    found = winner(intervals)
    if isinstance(found, NotEnough):
        return f"No winner is named: {found.reason}."
    return f"Best test accuracy: {found}, whose 95 % t interval lies clear of all others."


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
