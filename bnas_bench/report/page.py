"""The page of a report: one HTML file that needs no network and nothing beside it.

The answer stands first, then its figures and a short table; what it rests on lies folded. With
JavaScript a table sorts and filters, a figure answers the mouse and the keyboard, and a number opens
the runs that it comes from; without it, a small report spells its runs out. The texts of records are
untrusted: the templates escape all of them, runs lie in the page as data, and the page's security
policy lets no script run but its own, those of `vendor/` among them.
"""

from __future__ import annotations

import base64
import hashlib
import math
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from urllib.parse import quote

import jinja2
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from bnas_bench.analysis.table import Column, Kind, Table, Value
from bnas_bench.core.errors import BadValue
from bnas_bench.report.embed import BLOCK, beside, blocks, packed
from bnas_bench.report.model import Part, Picture, Report, RunView

PLAIN = 50
"""With up to so many runs a page also says them without JavaScript: each takes 6 KB more then."""

SHORT = frozenset(
    {
        *("method", "n", "test_accuracy", "best", "chance", "ops", "memory_bits"),
        *("packed_latency_ms", "search_seconds"),
    }
)
"""Columns of a comparison that are shown at first, of the others a button says how many there are."""

SCRIPTS = ("page.js", "cells.js", "plots.js")
VENDORED = ("d3.min.js", "plot.umd.min.js")
"""Of `vendor/`, in the order in which they are to run."""

PLOT_STYLE = """:where(.plot-d6a7b5) {
  --plot-background: white;
  display: block;
  height: auto;
  height: intrinsic;
  max-width: 100%;
}
:where(.plot-d6a7b5 text),
:where(.plot-d6a7b5 tspan) {
  white-space: pre;
}"""
"""What Observable Plot 0.6.17 puts into each figure: the policy has to know it."""

MEANINGS: Mapping[Kind, str] = {
    "measured": "comes from runs of this benchmark.",
    "computed": "is a statistic of what runs of this benchmark measured.",
    "simulated": "is of the floating-point simulation of a binary network, not of its bits.",
    "predicted": "is computed by a model of the machine, not measured on it.",
    "counted": "follows from the network alone.",
    "quoted": "stands in a paper; no run of this benchmark is behind it.",
    "missing": "should be there and is not; its note says why.",
}
"""What the words at values mean, for the legend."""

ENDINGS = ("svg", "pdf", "png")

TEMPLATES = Path(__file__).with_name("templates")
VENDOR = Path(__file__).with_name("vendor")


def embedded(runs: Sequence[RunView]) -> list[str]:
    """The runs as they lie in the page: of many, most of the time that a page takes."""
    return blocks(runs)


def page(report: Report, folder: Path, runs: Sequence[str] | None = None) -> str:
    """The page as HTML.

    Args:
        folder: where it will lie; links to files are relative to it.
        runs: its `embedded` runs, where these have been made before.

    Raises:
        BadValue: if a value or a figure names a run that the report does not hold, or if a figure
            has not been drawn.
    """
    links = Links({run.id: number for number, run in enumerate(report.runs)})
    kinds = {value.kind for table in report.tables for row in table.rows for value in row.values()}
    runs = embedded(report.runs) if runs is None else runs
    told = {table.name for part in report.parts for table in part.tables}
    drawn = {picture.name for part in report.parts for picture in part.pictures}
    libraries = [(VENDOR / name).read_text("utf-8") for name in VENDORED * bool(report.parts)]
    style = (TEMPLATES / "page.css").read_text("utf-8") + series_style(report)
    script = "\n".join((TEMPLATES / name).read_text("utf-8") for name in SCRIPTS)
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            report=report,
            parts=[_shown(part, folder, links) for part in report.parts],
            sheets=[
                Sheet(f"table-{table.name}", table, links)
                for table in report.tables
                if table.name not in told
            ],
            figures=[
                _figure(picture, folder, links)
                for picture in report.pictures
                if picture.name not in drawn
            ],
            index=Sheet("runs", _index(report.runs), links) if report.runs else None,
            meanings={kind: text for kind, text in MEANINGS.items() if kind in kinds},
            plain=len(report.runs) <= PLAIN,
            blocks=[Markup(text) for text in runs],
            block=BLOCK,
            libraries=[packed(library) for library in libraries],
            style=Markup(style),
            script=Markup(script),
            digests={
                "style": " ".join(map(_digest, [style, PLOT_STYLE][: 1 + bool(libraries)])),
                "script": " ".join(map(_digest, [script, *libraries])),
            },
        )
    )


def series_style(report: Report) -> str:
    """The colours of the report's series, `--series-N`, in light and in dark.

    On black a colour has at least the lightness that is as far from black as it was from white.
    """
    if not report.colours:
        return ""
    light = "".join(f"--series-{n}:{colour};" for n, colour in enumerate(report.colours))
    dark = "".join(
        f"--series-{n}:oklch(from {colour} max(l, 1.15 - l) c h);"
        for n, colour in enumerate(report.colours)
    )
    return f":root{{{light}}}@media (prefers-color-scheme:dark){{:root{{{dark}}}}}\n"


@dataclass(frozen=True)
class Links:
    """Addresses of runs within the page.

    Attributes:
        numbers: their places in the report, by id.
    """

    numbers: Mapping[str, int]

    def to(self, runs: Sequence[str], place: str) -> str:
        """`#run=ID`, or for several `#runs=0-4,7` by their places; empty for none."""
        if unknown := [run for run in runs if run not in self.numbers]:
            raise BadValue(
                f"{place} comes from the run '{unknown[0]}', which the report does not hold; "
                "add it to the report's runs"
            )
        if len(runs) == 1:
            return f"#run={quote(runs[0])}"
        places = sorted({self.numbers[run] for run in runs})
        ranges = []
        for _, group in groupby(enumerate(places), lambda pair: pair[1] - pair[0]):
            first, *_, last = [place for _, place in group] * 2
            ranges.append(f"{first}-{last}" if last > first else str(first))
        return f"#runs={','.join(ranges)}" if ranges else ""


@dataclass(frozen=True)
class Sheet:
    """A table as the page shows it.

    Attributes:
        id: of its section.
        short: the columns that are shown at first; all of them if there are none.
    """

    id: str
    table: Table
    links: Links
    short: Set[str] = frozenset()

    def further(self, column: Column) -> bool:
        """Whether the column is shown on demand alone: of few interest, or without any value."""
        return bool(self.short) and (column.key not in self.short or column.key not in self.filled)

    @cached_property
    def filled(self) -> Set[str]:
        """The keys of the columns that have a value in some row."""
        return {
            key for row in self.table.rows for key, value in row.items() if value.kind != "missing"
        }

    @cached_property
    def kinds(self) -> dict[str, str]:
        """What most values of a column are, by its key: the others say for themselves what they are."""
        counts: dict[str, Counter[str]] = {column.key: Counter() for column in self.table.columns}
        for row in self.table.rows:
            for key, value in row.items():
                if key in counts and value.kind not in ("text", "missing"):
                    counts[key][value.kind] += 1
        return {key: count.most_common(1)[0][0] for key, count in counts.items() if count}

    def mark(self, column: Column, value: Value) -> str:
        """The word that a value carries; empty where it is plain from its column."""
        plain = value.kind == "text" or value.kind == self.kinds.get(column.key)
        return "" if plain else value.kind

    def href(self, value: Value) -> str:
        return self.links.to(value.runs, f"'{value.text}' of table '{self.table.name}'")


@dataclass(frozen=True)
class ShownPart:
    """A part as the page shows it.

    Attributes:
        main: the comparison.
        folded: the other tables.
        figures: by the plot that is drawn in their place.
        plots: their data, safe within a script element.
    """

    part: Part
    main: Sheet
    folded: Sequence[Sheet]
    figures: Mapping[str, Figure]
    plots: Markup


def _shown(part: Part, folder: Path, links: Links) -> ShownPart:
    main, *folded = (
        Sheet(
            f"table-{table.name}", part.brief(table), links, short=SHORT if first else frozenset()
        )
        for first, table in zip([True] + [False] * len(part.tables), part.tables, strict=False)
    )
    figures = {p.plot: _figure(part.brief(p), folder, links) for p in part.pictures}
    return ShownPart(part, main, folded, figures, htmlsafe_json_dumps(part.plots))


@dataclass(frozen=True)
class Figure:
    """A picture as the page shows it: `source` is the SVG itself, as a data URI.

    So that the ids within several SVGs cannot clash, and that none of them can run or load anything.
    """

    picture: Picture
    source: str
    files: Mapping[str, str]
    href: str


def _figure(picture: Picture, folder: Path, links: Links) -> Figure:
    files = {ending: Path(f"{picture.stem}.{ending}") for ending in ENDINGS}
    if not files["svg"].is_file():
        raise BadValue(
            f"figure '{picture.name}' is not at {files['svg']}: draw it before the page is written"
        )
    return Figure(
        picture,
        f"data:image/svg+xml;base64,{base64.b64encode(files['svg'].read_bytes()).decode()}",
        {
            ending: quote(Path(os.path.relpath(file, folder)).as_posix())
            for ending, file in files.items()
            if file.exists()
        },
        links.to(picture.runs, f"figure '{picture.name}'"),
    )


def _index(runs: Sequence[RunView]) -> Table:
    """All runs, as a table; those that ended otherwise than well say why."""
    columns = [("id", "run"), ("status", "status"), ("reason", "reason")]
    rows = []
    for run in runs:
        row = {"id": Value(text=run.id, runs=[run.id]), "status": Value(text=run.status)}
        if run.status != "ok" and (reason := run.record.get("reason")):
            row["reason"] = Value(text=reason)
        rows.append(row)
    if not any("reason" in row for row in rows):
        del columns[-1]
    return Table(
        name="runs",
        title="Runs",
        caption="All that this page rests on.",
        columns=[Column(key=key, title=title, numeric=False) for key, title in columns],
        rows=rows,
    )


def interval(value: Value) -> str:
    """The ends of a value's interval, with as many decimals as its text; empty if it has none."""
    if value.lower is None or value.upper is None:
        return ""
    number = re.match(r"\D*[\d,]+(?:\.(\d+))?(e)?", value.text)
    form = ".4g" if number is None or number[2] else f",.{len(number[1] or '')}f"
    return f"{value.lower:{form}} to {value.upper:{form}}"


def sortable(value: Value) -> str:
    """A value's number as JavaScript reads it; empty if it sorts last."""
    number = value.number
    if number is None or math.isnan(number):
        return ""
    return repr(float(number)).replace("inf", "Infinity")


def _digest(text: str) -> str:
    """What the page's security policy knows a style or script by."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "beside": beside,
        "interval": interval,
        "sortable": sortable,
    }
    return environment
