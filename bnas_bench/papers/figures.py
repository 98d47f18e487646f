"""A paper's figure, drawn from the records of an artefact's rows; printed points are hollow."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from statistics import fmean

from matplotlib.figure import Figure

from bnas_bench.analysis.searches import log_entries
from bnas_bench.core.architecture import Architecture
from bnas_bench.papers.artefact import Artefact, Column, FigureSpec, Row, number
from bnas_bench.papers.counted import architecture, space_of
from bnas_bench.papers.tables import heading
from bnas_bench.papers.values import Reader, Runs
from bnas_bench.plugins.spec import label
from bnas_bench.report.figures import Point, bars, curves, distribution, points
from bnas_bench.report.model import Picture
from bnas_bench.report.style import Look, Titles, looks
from bnas_bench.runs.store import Record, Store

Points = dict[str, list[Point]]

ANNOTATED = 60
"""Points, ours and the paper's, that may have their names beside them."""


def draw(
    artefact: Artefact, spec: FigureSpec, records: Sequence[Runs], store: Store
) -> Figure | None:
    """The figure; None where no run has anything to draw.

    Args:
        records: for each row the records of its runs.
        store: where their logs lie.
    """
    reader = Reader(artefact, records)
    title = f"{heading(artefact)}: {artefact.title}"
    match spec.form:
        case "sweep" | "scatter":
            here, paper = _points(artefact, spec, reader)
            if not here:
                return None
            titles = Titles(title=title, x=_x_title(artefact, spec), y=_y_title(artefact, spec))
            return points(
                here,
                titles,
                paper=paper,
                joined=spec.form == "sweep",
                annotated=ANNOTATED,
                within=_within(artefact.column(spec.y[0])),
                log_x=spec.log_x,
                known=_looks(artefact, _series_name),
            )
        case "bars":
            return _bars(artefact, spec, reader, title)
        case "curves":
            titles = Titles(
                title=title, x=spec.x_title or "part of the search", y=_y_title(artefact, spec)
            )
            series = dict(_logs(artefact, spec, records, store))
            known = _looks(artefact, lambda row: _log_names(row, spec))
            return curves(series, titles, known=known) if series else None
        case "distribution":
            titles = Titles(title=title, x=spec.x_title or spec.y_title)
            values = {
                name: [100 * y for _, ys in runs for y in ys]
                for name, runs in _logs(artefact, spec, records, store)
            }
            return distribution(values, titles) if values else None
    return None  # cells are drawings of their own: `drawn`


def drawn(
    artefact: Artefact, records: Sequence[Runs], folder: Path, caption: str
) -> Iterator[Picture]:
    """Draw each row's cells: those that its first finished seed found, or those that it names."""
    folder.mkdir(parents=True, exist_ok=True)
    for place, (row, runs) in enumerate(zip(artefact.rows, records, strict=True)):
        stem = folder / f"cells-{place}"
        done = [r for found in runs.values() for r in found if r.get("status") == "ok"]
        if done:
            record = done[0]
            space = space_of(label(record["space"], record["space_options"]))
            arch = Architecture.from_json(record["architecture"])
            what = f"{row.name}: found by {record['method']}, seed {record['seed']}"
        elif row.count:
            space = space_of(row.count.space)
            arch, what = space.parse(architecture(row.count)), f"{row.name}: {row.count.arch}"
        else:
            continue
        for ending in ("svg", "pdf", "png"):
            space.draw(arch, stem.with_suffix(f".{ending}"))
        yield Picture(
            name=stem.name,
            title=f"{heading(artefact)}, {what}",
            caption=caption,
            stem=stem,
            runs=[record["id"]] if done else [],
        )


def _bars(artefact: Artefact, spec: FigureSpec, reader: Reader, title: str) -> Figure | None:
    runs, paper = {}, {}
    for row in artefact.rows:
        for key, name in zip(spec.y, _names(row, artefact, spec), strict=True):
            column = artefact.column(key)
            if (printed := number(row.paper.get(key, ""))) is not None:
                paper[name] = printed
            if (point := _point(reader, row, column)) is not None:
                runs[name] = list(reader.by_seed(row, column).values()) or [point.y]
    if not runs:
        return None
    titles = Titles(title=title, x=_y_title(artefact, spec))
    known = _looks(artefact, lambda row: _names(row, artefact, spec))
    within = _within(artefact.column(spec.y[0]))
    return bars(runs, titles, paper=paper, within=within, log_x=spec.log_x, known=known)


def _points(artefact: Artefact, spec: FigureSpec, reader: Reader) -> tuple[Points, Points]:
    """The measured and the printed points, by series."""
    column = artefact.column(spec.y[0])
    here: Points = {}
    paper: Points = {}
    for row in artefact.rows:
        series = _series_name(row)[0]
        x, x_paper = row.x, row.x
        if spec.form == "scatter":
            across = artefact.column(spec.x)
            x, x_paper = reader.value(row, across).number, number(row.paper.get(across.key, ""))
        if x is not None and (point := _point(reader, row, column, x)) is not None:
            here.setdefault(series, []).append(point)
        printed = number(row.paper.get(column.key, ""))
        if x_paper is not None and printed is not None:
            paper.setdefault(series, []).append(Point(x=x_paper, y=printed, label=row.name))
    return here, paper


def _point(reader: Reader, row: Row, column: Column, x: float = 0.0) -> Point | None:
    value = reader.value(row, column)
    if value.number is None or value.kind == "missing":
        return None
    return Point(x=x, y=value.number, lower=value.lower, upper=value.upper, label=row.name)


def _logs(
    artefact: Artefact, spec: FigureSpec, records: Sequence[Runs], store: Store
) -> Iterator[tuple[str, list[tuple[list[float], list[float]]]]]:
    """Per row and field the runs' values against the part of the search that lay behind."""
    for row, runs in zip(artefact.rows, records, strict=True):
        for name, field in zip(_log_names(row, spec), spec.y, strict=True):
            found = [
                series
                for trials in runs.values()
                for record in trials
                if record.get("status") == "ok" and (series := _series(record, field, store))
            ]
            if found:
                yield name, found


def means(record: Record, store: Store) -> dict[str, float]:
    """The mean of each number that a trial's search logged."""
    found: dict[str, list[float]] = defaultdict(list)
    for entry in log_entries((store.file(record, "log.jsonl") or b"").splitlines()):
        for name, value in entry.items():
            if entry.get("phase") == "search" and isinstance(value, int | float):
                found[name].append(value)
    return {name: fmean(values) for name, values in found.items()}


def _series(record: Record, field: str, store: Store) -> tuple[list[float], list[float]] | None:
    entries = log_entries((store.file(record, "log.jsonl") or b"").splitlines())
    points = [(e["passes"], e[field]) for e in entries if e.get("phase") == "search" and field in e]
    if not points:
        return None
    spent = record["passes"]
    return [passes / spent for passes, _ in points], [float(y) for _, y in points]


def _names(row: Row, artefact: Artefact, spec: FigureSpec) -> list[str]:
    """Of a row's bars: one, or with the column's title one for each."""
    titles = [artefact.column(key).title for key in spec.y]
    return [f"{row.name}, {title}" for title in titles] if len(titles) > 1 else [row.name]


def _series_name(row: Row) -> list[str]:
    return [row.series or row.group or row.name]


def _log_names(row: Row, spec: FigureSpec) -> list[str]:
    return [f"{row.name}, {field}" if len(spec.y) > 1 else row.name for field in spec.y]


def _looks(artefact: Artefact, names: Callable[[Row], Sequence[str]]) -> dict[str, Look]:
    """A series looks as the method does that ran it; several of one method as variants of it.

    Args:
        names: the series that a row has a part in.
    """
    ran: dict[str, set[str]] = defaultdict(set)
    for row in artefact.rows:
        for name in names(row):
            ran[name] |= {run.method for run in row.runs.values()}
    methods = {
        name: found.pop() if len(found) == 1 else _shared(found) for name, found in ran.items()
    }
    series = Counter(methods.values())

    def variant(name: str) -> str:
        method = methods[name]
        if not method or series[method] == 1:
            return method or name
        return f"{method.partition('[')[0]}[{name}]"

    found = looks(map(variant, ran))
    return {name: found[variant(name)] for name in ran}


def _shared(methods: Iterable[str]) -> str:
    """What is before the options, where it is the same for all; empty elsewhere."""
    plain = {method.partition("[")[0] for method in methods}
    return plain.pop() if len(plain) == 1 else ""


def _within(column: Column) -> tuple[float, float] | None:
    """What an axis of the column's values does not go beyond: intervals of few runs leave percentages."""
    return (0.0, 100.0) if column.unit == "%" and column.record.startswith("test") else None


def _y_title(artefact: Artefact, spec: FigureSpec) -> str:
    return spec.y_title or _titled(artefact.column(spec.y[0]))


def _x_title(artefact: Artefact, spec: FigureSpec) -> str:
    return spec.x_title or _titled(artefact.column(spec.x))


def _titled(column: Column) -> str:
    unit = column.record_unit or column.unit
    return f"{column.title} ({unit})" if unit else column.title
