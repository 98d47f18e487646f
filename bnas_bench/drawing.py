"""Drawings of DARTS-like cells, in the manner of the papers' figures (CP-NAS 5, DCP-NAS 9)."""

from __future__ import annotations

from pathlib import Path

from bnas_bench.errors import BadValue

FORMATS = ("png", "svg", "pdf")

Pairs = dict[int, list[tuple[str, int]]]

NODE_X = {0: 0.0, 1: 0.0, 2: 2.6, 3: 5.2, 4: 7.8, 5: 10.4, 6: 13.0}
NODE_Y = {0: 1.4, 1: -1.4, 2: 1.4, 3: -1.4, 4: 1.4, 5: -1.4, 6: 0.0}
LABELS = {0: "$c_{k-2}$", 1: "$c_{k-1}$", 2: "2", 3: "3", 4: "4", 5: "5", 6: "$c_k$"}


def draw_cells(cells: dict[str, Pairs], path: Path) -> None:
    """Draw cells below each other: two inputs, four nodes with the operations on their edges, output.

    Args:
        cells: per title, per node the (operation, source) pairs.
        path: where to; `.png`, `.svg` or `.pdf`.

    Raises:
        BadValue: if the ending is no known format.
    """
    ending = path.suffix.lstrip(".").lower()
    if ending not in FORMATS:
        raise BadValue(f"cannot draw to '{path}'; give it one of the endings {', '.join(FORMATS)}")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4.4 * len(cells)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(cells), 1, squeeze=False)[:, 0]
    for axis, (title, pairs) in zip(axes, cells.items(), strict=True):
        _draw_cell(axis, title, pairs)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Date": None} if ending == "svg" else None)


def _draw_cell(axis, title: str, pairs: Pairs) -> None:  # type: ignore[no-untyped-def]
    axis.set_title(title, loc="left")
    axis.set_xlim(-0.9, 13.9)
    axis.set_ylim(-2.6, 2.6)
    axis.set_aspect("equal")
    axis.axis("off")
    for j, node in pairs.items():
        for order, (operation, i) in enumerate(node):
            _arrow(axis, i, j, bend=0.16 if order else -0.16, label=operation)
        _arrow(axis, j, 6, bend=0.22 if NODE_Y[j] < 0 else -0.22, label="", faint=True)
    for place, text in LABELS.items():
        colour = "#d9e8f6" if place in (0, 1) else "#fdf0c8" if place == 6 else "#e3f2dd"
        axis.text(
            NODE_X[place],
            NODE_Y[place],
            text,
            ha="center",
            va="center",
            bbox={"boxstyle": "round,pad=0.45", "facecolor": colour, "edgecolor": "#555555"},
            zorder=3,
        )


def _arrow(axis, i: int, j: int, *, bend: float, label: str, faint: bool = False) -> None:  # type: ignore[no-untyped-def]
    start, end = (NODE_X[i], NODE_Y[i]), (NODE_X[j], NODE_Y[j])
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
