"""How figures look: colours that colour-blind readers tell apart, and marks that do so without colour.

A figure is made and saved without pyplot's state, and the same data give the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from itertools import product
from pathlib import Path
from typing import Any, TypeVar
from zlib import crc32

import numpy as np
import seaborn as sns
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import LogFormatter
from matplotlib.transforms import Bbox

from bnas_bench.core.files import write_atomically

T = TypeVar("T")

SMALL = 6
"""Points of a label within the axes."""

SIDES = tuple((right, up) for up in (3, -8, 11, -16, 19, -24) for right in (True, False))
"""Where a label may stand: right of its point or left of it, and how many points above."""

WIDTH = 3.5
"""Inches: a column of a paper, at which the text is readable."""

FORMATS = ("svg", "pdf", "png")
METADATA: Mapping[str, Mapping[str, Any]] = {
    "svg": {"Date": None},
    "pdf": {"CreationDate": None},
    "png": {},
}

LINES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (1, 3)))
MARKERS = "o*P^vXsD<>ph"
COLOURS = {
    "random": "#000000",
    "pcdarts": "#0c8fe0",
    "darts": "#1149d6",
    "bnas": "#f04e14",
    "cpnas": "#a56fa8",
    "dcpnas": "#9c1f0c",
    "bars": "#7f9420",
    "bats": "#0a9a66",
    "evolution": "#6b5a55",
    "nasbnn": "#5a2a7a",
    "hyperband": "#000084",
    "predictor": "#3c003c",
    "proxy": "#600c0c",
}
"""Of the bundled methods, whose markers and lines are those of their places; a new one goes last.

Each has a contrast of at least 3:1 on white, and colour-blind readers tell it from all others.
"""

PAPER = "#555555"
"""The grey of what is printed in a paper, and of marks that are not the subject."""

LINE_LENGTH = 26
"""Characters of a name that stand in one line."""

TITLE_LENGTH = 48
"""Characters of a title that do."""

FOOT_LENGTH = 36
"""Characters that do under the axes."""

SIDE_LENGTH = 24
"""Characters that do beside the axes, which are an inch and a half high."""


@dataclass(frozen=True, kw_only=True)
class Titles:
    """Of a figure and its axes, the latter with their units in brackets."""

    title: str
    x: str = ""
    y: str = ""


@dataclass(frozen=True)
class Look:
    """How a series is told from the others: by its colour, and without that by marker and line."""

    colour: str
    marker: str
    line: Any


LOOKS = {
    name: Look(colour, MARKERS[place % len(MARKERS)], LINES[place % len(LINES)])
    for place, (name, colour) in enumerate(COLOURS.items())
}


def looks(names: Iterable[str]) -> dict[str, Look]:
    """A look for each name: a bundled method has its own in every figure, beside whatever it stands.

    A variant, `dcpnas[lam=0]`, has its method's colour with a marker and a line of its own. Where
    there is a choice a hash of the name makes it, among what no other of the names has.
    """
    names = list(dict.fromkeys(names))
    found = {name: LOOKS[name] for name in names if name in LOOKS}
    colours = {method: COLOURS[method] for method in map(_method, names) if method in COLOURS}
    for name in sorted({*names} - {*found}):
        method = _method(name)
        if method not in colours:
            colours[method] = min(_turned(COLOURS.values(), name), key=[*colours.values()].count)
        found[name] = Look(colours[method], *_marks(name, found.values()))
    return {name: found[name] for name in names}


def _method(name: str) -> str:
    """Of `dcpnas[lam=0]` and of `dcpnas (code 12ab)` what stands before the bracket."""
    return re.split(r"\[| \(", name)[0]


def _marks(name: str, others: Collection[Look]) -> tuple[str, Any]:
    """A marker and a line that no bundled method and none of the others has; a new marker if one is left."""
    taken = {(look.marker, look.line) for look in (*LOOKS.values(), *others)}
    markers = {look.marker for look in others}
    pairs = _turned(product(MARKERS, LINES), name)
    return min(pairs, key=lambda pair: (pair in taken, pair[0] in markers))


def _turned(choices: Iterable[T], name: str) -> list[T]:
    """The choices from the place on that the name's hash says."""
    known = list(choices)
    start = crc32(name.encode()) % len(known)
    return [*known[start:], *known[:start]]


@contextmanager
def style() -> Iterator[None]:
    """Within it, what is drawn follows this file and no setting of the user's."""
    sizes = {
        "font.size": 8,
        "axes.titlesize": 8,
        "axes.labelsize": 8,
        "xtick.labelsize": 7,
        "ytick.labelsize": 7,
        "legend.fontsize": 7,
        "lines.linewidth": 1.2,
        "lines.markersize": 4,
        "axes.linewidth": 0.6,
        "grid.linewidth": 0.4,
        "hatch.linewidth": 0.4,
    }
    fixed = {
        "font.family": "DejaVu Sans",  # comes with matplotlib
        "text.parse_math": False,  # a label may hold dollar signs
        "pdf.fonttype": 42,
        "savefig.dpi": 200,
    }
    with rc_context(sns.axes_style("whitegrid") | sizes | fixed):
        yield


def canvas(titles: Titles, height: float, *, foot_length: int = FOOT_LENGTH) -> tuple[Figure, Axes]:
    """A figure with one pair of axes, of that height in inches where its titles take a line each."""
    title, foot = folded(titles.title, TITLE_LENGTH), folded(titles.x, foot_length)
    height += 0.15 * (title.count("\n") + foot.count("\n"))
    layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.06)
    figure = Figure(figsize=(WIDTH, height), layout=layout)
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    figure.suptitle(title, x=0.02, ha="left", fontsize=8)  # the axes may leave it too little room
    axes.set_xlabel(foot)
    axes.set_ylabel(folded(titles.y, SIDE_LENGTH))
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def logarithmic(axes: Axes) -> None:
    """Scale the x axis by powers of ten, with numbers that are plain text."""
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(LogFormatter())
    axes.xaxis.set_minor_formatter(LogFormatter())


def annotate(figure: Figure, axes: Axes, labels: Iterable[tuple[str, float, float]]) -> None:
    """Write labels beside their points, each at the first of `SIDES` where it hides no other.

    Args:
        labels: texts, with x and y. All else of the figure is there already.
    """
    figure.draw_without_rendering()  # settles where the axes lie
    point, frame = figure.dpi / 72, axes.get_window_extent()
    taken: list[Bbox] = []

    def box(text: str, at: Any, right: bool, up: int) -> Bbox:
        width, height = SMALL * point * np.array([0.6 * len(text), 1.2])
        left, bottom = at[0] + (3 * point if right else -3 * point - width), at[1] + up * point
        return Bbox.from_bounds(left, bottom, width, height)

    def free(place: Bbox) -> bool:
        return frame.x0 <= place.x0 and place.x1 <= frame.x1 and not place.count_overlaps(taken)

    for text, x, y in labels:
        at = axes.transData.transform((x, y))
        right, up = next((side for side in SIDES if free(box(text, at, *side))), SIDES[0])
        taken.append(box(text, at, right, up))
        axes.annotate(
            text,
            (x, y),
            xytext=(3 if right else -3, up),
            textcoords="offset points",
            ha="left" if right else "right",
            fontsize=SMALL,
        )


def legend(figure: Figure, axes: Axes) -> None:
    """Name the series under the axes, which keep their height."""
    handles, names = axes.get_legend_handles_labels()
    if not names:
        return
    columns = 2 if len(names) > 1 and max(map(len, names)) <= LINE_LENGTH else 1
    rows = -(-len(names) // columns)
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + 0.15 * rows)
    figure.legend(
        handles, names, loc="outside lower center", ncols=columns, frameon=False, borderaxespad=0.2
    )


def folded(name: str, length: int = LINE_LENGTH) -> str:
    """A long name in several lines, broken behind brackets, commas and spaces."""
    lines = [""]
    for piece in re.findall(r"[^,\[ ]+[,\[ ]?|[,\[ ]", name):
        if len(lines[-1]) + len(piece) > length and lines[-1]:
            lines.append("")
        lines[-1] += piece
    return "\n".join(lines)


def save(figure: Figure, stem: Path) -> None:
    """Write a figure as `stem.svg`, `.pdf` and `.png`; the same figure gives the same bytes."""
    with style(), rc_context({"svg.hashsalt": f"bnas-bench {stem.name}"}):
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        for ending in FORMATS:
            file = BytesIO()
            figure.savefig(file, format=ending, metadata=METADATA[ending])
            write_atomically(stem.with_name(f"{stem.name}.{ending}"), file.getvalue())
