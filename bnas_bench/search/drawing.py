"""Drawings of DARTS-like cells, in the manner of the papers' figures (CP-NAS 5, DCP-NAS 9), and of
layers in rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

from bnas_bench.core.errors import BadValue
from bnas_bench.core.files import write_atomically

FORMATS = ("png", "svg", "pdf")

Place = tuple[float, float]
Pairs = dict[int, list[tuple[str, int]]]

FOUR = [(2.6, 1.4), (5.2, -1.4), (7.8, 1.4), (10.4, -1.4)]
OUTPUT = (13.0, 0.0)
PLACES = {
    (1, 4): [(0.0, 0.0), *FOUR, OUTPUT],
    (2, 4): [(0.0, 1.4), (0.0, -1.4), *FOUR, OUTPUT],
    (1, 3): [(0.0, 0.0), (4.2, 1.8), (8.8, -1.8), OUTPUT],
}
"""Where the inputs and nodes of a cell stand, by their numbers, and its output: all nodes, concatenated,
or the last of three."""

INPUTS = {1: ["$c_{k-1}$"], 2: ["$c_{k-2}$", "$c_{k-1}$"]}
ROW_COLOURS = ("#d9e8f6", "#e3f2dd", "#fdf0c8")


def draw_cells(cells: dict[str, Pairs], path: Path | str, *, inputs: int = 2) -> None:
    """Draw cells below each other: inputs, nodes with the operations on their edges, output.

    Args:
        cells: per title, per node the (operation, source) pairs; of four nodes, or of three whose last
            is the output.
        inputs: of each cell, 1 or 2.
        path: where to; `.png`, `.svg` or `.pdf`.

    Raises:
        BadValue: if the ending is no known format.
    """
    path = Path(path)
    figure = _figure(path, 4.4 * len(cells))
    axes = figure.subplots(len(cells), 1, squeeze=False)[:, 0]
    for axis, (title, pairs) in zip(axes, cells.items(), strict=True):
        _draw_cell(axis, title, pairs, inputs)
    _save(figure, path)


def draw_rows(rows: Mapping[str, Sequence[str]], path: Path | str) -> None:
    """Draw layers as boxes in a row, from left to right, and the rows below each other.

    Args:
        rows: per title the labels of its layers.
        path: where to; `.png`, `.svg` or `.pdf`.

    Raises:
        BadValue: if the ending is no known format.
    """
    path = Path(path)
    figure = _figure(path, 0.8 * len(rows) + 0.3)
    axis = figure.subplots()
    longest = max(map(len, rows.values()))
    axis.set_xlim(-1.1, longest - 0.4)
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.axis("off")
    for y, (title, labels) in enumerate(rows.items()):
        axis.text(-1.05, y, title, ha="left", va="center")
        axis.plot([0, len(labels) - 1], [y, y], color="#bbbbbb", zorder=1)
        colour = ROW_COLOURS[y % len(ROW_COLOURS)]
        for x, label in enumerate(labels):
            _box(axis, x, y, label, colour, fontsize=8)
    _save(figure, path)


def _figure(path: Path, height: float):  # type: ignore[no-untyped-def]
    """A figure of this height in inches, for a path whose ending is a known format."""
    ending = path.suffix.lstrip(".").lower()
    if ending not in FORMATS:
        raise BadValue(f"cannot draw to '{path}'; give it one of the endings {', '.join(FORMATS)}")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure, path: Path) -> None:  # type: ignore[no-untyped-def]
    """Write a figure, whole or not at all."""
    from matplotlib import rc_context

    ending, drawn = path.suffix.lstrip(".").lower(), BytesIO()
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
    with rc_context({"svg.hashsalt": path.stem}):  # the same drawing is the same bytes
        figure.savefig(drawn, dpi=110, format=ending, metadata=undated.get(ending))
    write_atomically(path, drawn.getvalue())


def _box(axis, x: float, y: float, label: str, colour: str, **text: float) -> None:  # type: ignore[no-untyped-def]
    axis.text(
        x,
        y,
        label,
        ha="center",
        va="center",
        bbox={"boxstyle": "round,pad=0.45", "facecolor": colour, "edgecolor": "#555555"},
        zorder=3,
        **text,
    )


def _draw_cell(axis, title: str, pairs: Pairs, inputs: int) -> None:  # type: ignore[no-untyped-def]
    axis.set_title(title, loc="left")
    axis.set_xlim(-0.9, 13.9)
    axis.set_ylim(-2.6, 2.6)
    axis.set_aspect("equal")
    axis.axis("off")
    places = PLACES[inputs, len(pairs)]
    last = len(places) - 1
    for j, node in pairs.items():
        for order, (operation, i) in enumerate(node):
            _arrow(axis, places[i], places[j], bend=0.16 if order else -0.16, label=operation)
        if last not in pairs:
            bend = 0.22 if places[j][1] < 0 else -0.22
            _arrow(axis, places[j], OUTPUT, bend=bend, label="", faint=True)
    labels = [*INPUTS[inputs], *map(str, range(inputs, last)), "$c_k$"]
    for number, (place, text) in enumerate(zip(places, labels, strict=True)):
        colour = "#d9e8f6" if number < inputs else "#fdf0c8" if number == last else "#e3f2dd"
        _box(axis, *place, text, colour)


def _arrow(  # type: ignore[no-untyped-def]
    axis, start: Place, end: Place, *, bend: float, label: str, faint: bool = False
) -> None:
    axis.annotate(
        "",
        xy=end,
        xytext=start,
        arrowprops={
            "arrowstyle": "-|>",
            "shrinkA": 15,
            "shrinkB": 15,
            "color": "#bbbbbb" if faint else "#333333",
            "connectionstyle": f"arc3,rad={bend}",
        },
        zorder=1,
    )
    if label:
        # The middle of a quadratic arc lies half its bend beside the chord.
        dx, dy = end[0] - start[0], end[1] - start[1]
        middle = (start[0] + end[0]) / 2 + bend * dy / 2, (start[1] + end[1]) / 2 - bend * dx / 2
        axis.text(
            *middle,
            label,
            fontsize=8,
            ha="center",
            va="center",
            bbox={"boxstyle": "round,pad=0.1", "facecolor": "white", "edgecolor": "none"},
            zorder=2,
        )
