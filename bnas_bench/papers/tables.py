"""A paper's table with the paper's value beside ours, as a report's `Table`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from bnas_bench.analysis.stats import NotEnough, Standing, standing
from bnas_bench.analysis.stats.values import Better
from bnas_bench.analysis.summary import machine
from bnas_bench.analysis.table import Column, Table, Value
from bnas_bench.papers.artefact import Artefact, Row, number, title_of
from bnas_bench.papers.plan import Plan
from bnas_bench.papers.values import Reader, Runs, carried, kind
from bnas_bench.report.values import p_text
from bnas_bench.runs.store import Record
from bnas_bench.transfer import telling

LEVEL = "an interval in brackets is the 95 % t interval of the mean over the seeds"
STAND_IN = "not a reproduction: {}; rows here can be compared with each other, not with the paper's"

LISTED = 4
"""So many rows at most are named that lack trials."""


def table(plan: Plan, records: Sequence[Runs], commands: Sequence[str]) -> Table:
    """The artefact's rows, in the paper's order.

    Args:
        records: for each row the records of its runs; a trial that is not over has its configuration
            and `id` alone.
        commands: what makes the runs.
    """
    artefact = plan.artefact
    reader = Reader(artefact, records)
    return Table(
        name=artefact.id.replace("/", "-"),
        title=f"{heading(artefact)}: {artefact.title}",
        caption=caption(plan, records),
        columns=columns(artefact),
        rows=[
            line
            for place, (row, runs) in enumerate(zip(artefact.rows, records, strict=True))
            for line in _lines(artefact, row, runs, reader, plan.twins.get(place, ""))
        ],
        notes=[*artefact.notes, *_measured_on(plan, records), *_verdicts(plan, reader)],
        commands=commands,
    )


def quoted(artefact: Artefact) -> Table:
    """What the paper prints, where nothing is run: a quoted table, or one whose costs are counted.

    Rows that are ours are left out, but of a figure none of whose values is printed.
    """
    printed = [row for row in artefact.rows if row.paper or artefact.state == "cost only"]
    none: list[Runs] = [{} for _ in artefact.rows]
    reader = Reader(artefact, none)
    counts = (
        "; costs counted at the sizes that the notes name" if artefact.state == "cost only" else ""
    )
    return Table(
        name=artefact.id.replace("/", "-"),
        title=f"{heading(artefact)}: {artefact.title}",
        caption=f"Quoted from {artefact.place}, {artefact.datasets}{counts}. {artefact.why}",
        columns=columns(artefact, ran=artefact.state == "cost only"),
        rows=[_row(artefact, row, {}, reader) for row in printed or artefact.rows],
        notes=artefact.notes,
    )


def heading(artefact: Artefact) -> str:
    """As "DCP-NAS, table 4"."""
    name = artefact.id.partition("/")[2].replace("-", " ")
    return f"{title_of(artefact.paper)}, {name}"


def columns(artefact: Artefact, *, ran: bool = True) -> list[Column]:
    """The row's name, the paper's texts, and for every number the paper's and ours."""
    found = [Column(key="group", title="", numeric=False)] if _groups(artefact) else []
    found.append(Column(key="row", title="row", numeric=False))
    for column in artefact.columns:
        unit = f" ({column.unit})" if column.unit else ""
        if not column.is_number:
            found.append(Column(key=column.key, title=f"{column.title}{unit}", numeric=False))
            continue
        if any(column.key in row.paper for row in artefact.rows):
            title = f"{column.title}{unit}, paper"
            found.append(Column(key=column.key, title=title, better=column.better))
        if ran:
            own = f" ({column.record_unit})" if column.record_unit else unit
            title = f"{column.title}{own}, here"
            found.append(Column(key=f"{column.key}_here", title=title, better=column.better))
    ours = ran and artefact.state == "regenerated"
    return [*found, *([Column(key="n", title="n")] if ours else [])]


def _groups(artefact: Artefact) -> bool:
    return any(row.group for row in artefact.rows)


def _lines(
    artefact: Artefact, row: Row, runs: Runs, reader: Reader, twin: str
) -> Iterator[Mapping[str, Value]]:
    """A row of the paper; a second one where what it names is counted and another network is run."""
    yield _row(artefact, row, runs, reader, twin)
    if not (runs and row.count):
        return
    cells = {"group": Value(text=row.group), "row": Value(text=f"{row.name} (published, counted)")}
    for column in artefact.columns:
        found = reader.counted(row, column)
        if found.text:
            printed = row.paper.get(column.key, "")
            cells[column.key] = _printed(printed)
            cells[f"{column.key}_here"] = found
    yield cells


def _row(
    artefact: Artefact, row: Row, runs: Runs, reader: Reader, twin: str = ""
) -> Mapping[str, Value]:
    same = f"under this budget the same runs as {twin}" if twin else ""
    notes = (row.quoted, row.note if runs else "", same)
    name = Value(text=row.name, note="; ".join(filter(None, notes)))
    cells = {"group": Value(text=row.group), "row": name}
    for column in artefact.columns:
        printed = row.paper.get(column.key, "")
        if not column.is_number:
            cells[column.key] = Value(text=printed)
            continue
        cells[column.key] = _printed(printed)
        cells[f"{column.key}_here"] = reader.value(row, column)
    if runs:
        cells["n"] = _n(runs)
    return cells


def _printed(text: str) -> Value:
    found = number(text)
    return Value(text=text, kind="text" if found is None else "quoted", number=found)


def _n(runs: Runs) -> Value:
    """How many seeds finished, of how many."""
    done, planned = (
        min(sum(wanted(record) for record in records) for records in runs.values())
        for wanted in (_finished, bool)
    )
    return Value(text=str(done) if done == planned else f"{done}/{planned}", number=done)


def _finished(record: Record) -> bool:
    return record.get("status") == "ok"


def caption(plan: Plan, records: Iterable[Runs]) -> str:
    """What produced the numbers, and what they are not."""
    artefact = plan.artefact
    every = [record for runs in records for found in runs.values() for record in found]
    done = [record for record in every if _finished(record)]
    machines = list(dict.fromkeys(map(machine, done)))
    seeds = f"{plan.seeds} seed{'s' * (plan.seeds > 1)}"
    facts = [
        f"Paper: {artefact.place}, {artefact.datasets}",
        f"Here: dataset {plan.datasets}, {_carried(plan)}budget {plan.budget}, {seeds} a row"
        + (f", measured on {' and '.join(machines)}" if machines else ", nothing measured yet"),
    ]
    if len(done) < len({record["id"] for record in every}):
        ids = {record["id"] for record in every}
        facts.append(f"{len({r['id'] for r in done})} of {len(ids)} runs finished")
    facts.append(LEVEL)
    if plan.departures:
        facts.append(STAND_IN.format(", ".join(plan.departures)))
    return "; ".join(facts) + "."


def _carried(plan: Plan) -> str:
    """What the networks are carried to, where they are."""
    tasks = " and ".join(dict.fromkeys(plan.tasks.values()))
    return f"carried to {tasks}, " if tasks else ""


def _measured_on(plan: Plan, records: Iterable[Runs]) -> Iterator[str]:
    """Of each task that networks were carried to the images, and what chance reaches there."""
    every = [record for runs in records for found in runs.values() for record in found]
    for task, here in {here: (task, here) for task, here in plan.tasks.items()}.values():
        tests = (carried(record, task) for record in every)
        if test := next((test for test in tests if "chance" in test), None):
            yield f"{here}: {telling.caption(here, test)}."


def _verdicts(plan: Plan, reader: Reader) -> Iterator[str]:
    """Which row is best in an accuracy that was measured, among those of the same images, or why none is."""
    artefact, shown = plan.artefact, set()
    for column in artefact.columns:
        measured = column.task and kind(column) == "measured"
        if not column.better or not (measured or column.record.startswith("test")):
            continue
        title = column.title
        if column.task:
            title = f"{artefact.measured(column)[1]} on {plan.tasks[column.task]}"
            if title in shown:
                continue
            shown.add(title)
        found: dict[str, dict[tuple[str, ...], tuple[str, list[float]]]] = {}
        for row, runs in zip(artefact.rows, plan.rows, strict=True):
            trials = next(iter(runs.values()), []) if not column.run else runs.get(column.run, [])
            if trials:
                name = f"{row.group} {row.name}" if row.group else row.name
                alike = found.setdefault(trials[0].dataset, {})
                ids = tuple(trial.id for trial in trials)
                names = f"{alike[ids][0]} (and {name})" if ids in alike else name
                alike[ids] = names, list(reader.by_seed(row, column).values())
        for dataset, scores in found.items():
            where = f"{title} on {dataset}" if len(found) > 1 else title
            yield _best(dict(scores.values()), plan.seeds, where, column.better)


def _best(scores: Mapping[str, Sequence[float]], seeds: int, where: str, better: Better) -> str:
    """What the values of complete rows show: the best, or who is not excluded as that."""
    lacking = [f"{name} has {len(v)} of {seeds}" for name, v in scores.items() if len(v) < seeds]
    if len(lacking) > LISTED:
        lacking[LISTED - 1 :] = [f"{len(lacking) - LISTED + 1} more rows have not all"]
    found: Standing | NotEnough = (
        NotEnough(f"that needs all trials, and {', '.join(lacking)}")
        if lacking
        else standing(scores, better=better)
    )
    if isinstance(found, NotEnough):
        return f"No row is named best in {where}: {found.reason}."
    worse = ", ".join(f"{name} (p = {p_text(p)})" for name, p in found.excluded.items())
    shown = f"; shown worse, at a level of 5 % for all together: {worse}" if worse else ""
    if found.winner:
        return f"Best in {where} here: {found.winner}{shown}."
    kept = ", ".join(found.kept)
    return f"No row is shown to be best in {where}. Not excluded as best: {kept}{shown}."
