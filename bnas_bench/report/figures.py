"""The forms of figures, each a function from data to a figure.

Every series has a colour, a marker and a line of its own, so that it is found without colour too.
What a paper prints is hollow and grey. Accuracies do not start at zero: means are marks, not bars.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from bnas_bench.analysis.stats import Band, CriticalDifference, Curve, anytime
from bnas_bench.analysis.summary import interval
from bnas_bench.report.style import (
    PAPER,
    SIDE_LENGTH,
    Look,
    Titles,
    annotate,
    canvas,
    folded,
    legend,
    logarithmic,
    looks,
    style,
)

AXES = 2.3
"""Inches of height that a form without rows of names has."""

GRID = 100
"""Points on the x axis at which the mean of several curves is taken."""

BELOW = 0.25
"""How far below its row's middle a run's dot stands, in rows."""

FEWEST = 5
"""Values that a box needs to say something."""

ROWS: Mapping[str, Any] = {"x": "value", "y": "row", "orient": "h", "native_scale": True}
"""How seaborn reads the tidy values of `_rows`."""

ACCENT = "#000000"
"""Of marks that belong to no series."""

EDGE: Mapping[str, Any] = {"markeredgewidth": 0.3, "markeredgecolor": "white"}
"""Of marks that may lie upon each other."""

ANNOTATED = 12
"""So many points at most have their labels beside them."""

BAND = "bands: the range of up to 4 runs, from 5 runs on the 95 % t interval of their mean"
"""What lies around the lines of `curves`, for the caption."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """A mark, with the ends of its interval (in y) where it has one."""

    y: float
    x: float = 0.0
    lower: float | None = None
    upper: float | None = None
    label: str = ""


Series = Mapping[str, Sequence[Point]]


def points(
    series: Series,
    titles: Titles,
    *,
    paper: Series | None = None,
    joined: bool = False,
    annotated: int = ANNOTATED,
    within: tuple[float, float] | None = None,
    front: bool = False,
    log_x: bool = False,
    known: Mapping[str, Look] | None = None,
    cloud: tuple[ArrayLike, ArrayLike] | None = None,
) -> Figure:
    """The points of each series with their intervals, those of a paper hollow.

    Args:
        paper: the printed points, by the series that they belong to.
        joined: draw a line through each series by rising x; else the labels stand beside their points.
        within: what the y axis does not go beyond, as the intervals of few runs may.
        annotated: so many labels at most; with more than `ANNOTATED` the axes are twice as high.
        front: whether to draw the front of the points (not the paper's) of least x and most y.
        known: how the series look elsewhere.
        cloud: x and y of grey dots behind all else.
    """
    with style():
        paper = paper or {}
        labelled = [p for own in (*series.values(), *paper.values()) for p in own if p.label]
        beside = not joined and 0 < len(labelled) <= annotated
        figure, axes = canvas(titles, 2 * AXES if beside and len(labelled) > ANNOTATED else AXES)
        if joined:
            series, paper = _rising(series), _rising(paper)
        found = known or looks([*series, *paper])
        every = [point for points in series.values() for point in points]
        if cloud is not None:
            dots: dict[str, Any] = {"markersize": 2, "alpha": 0.5, "mew": 0, "rasterized": True}
            axes.plot(*cloud, ".", color=PAPER, zorder=1, label="in the table", **dots)
        if front and every:
            x, y = pareto(every)
            axes.step(x, y, where="post", color="#999999", linewidth=0.8, label="front", zorder=1)
        for name in dict.fromkeys([*series, *paper]):
            look = found[name]
            line: dict[str, Any] = {"marker": look.marker, "linestyle": look.line if joined else ""}
            if here := series.get(name):
                edge = dict[str, Any]() if joined else EDGE
                x, y = [point.x for point in here], [point.y for point in here]
                axes.plot(x, y, color=look.colour, label=name, **line, **edge)
                if (ends := _errors(here)) is not None:
                    axes.errorbar(
                        x, y, ends, color=look.colour, fmt="none", capsize=2, elinewidth=0.8
                    )
            if printed := paper.get(name):
                x, y = [point.x for point in printed], [point.y for point in printed]
                hollow: dict[str, Any] = {
                    "color": PAPER,
                    "markerfacecolor": "none",
                    "linewidth": 0.6,
                }
                axes.plot(x, y, label=f"{name} (paper)", **line, **hollow)
        if log_x:
            logarithmic(axes)
        if within:
            low, high = axes.get_ylim()
            axes.set_ylim(max(low, within[0]), min(high, within[1]))
        legend(figure, axes)
        if beside:
            annotate(figure, axes, [(point.label, point.x, point.y) for point in labelled])
        return figure


def bars(
    runs: Mapping[str, Sequence[float]],
    titles: Titles,
    *,
    paper: Mapping[str, float] | None = None,
    within: tuple[float, float] | None = None,
    log_x: bool = False,
    known: Mapping[str, Look] | None = None,
) -> Figure:
    """A row per name: the mean of its runs with the 95 % t interval, the runs as dots, the paper's value.

    Args:
        titles: `x` is the axis of the values.
        within: what the axis does not go beyond, as the intervals of few runs may.
        known: how the names look elsewhere.
    """
    with style():
        paper = paper or {}
        names = list(dict.fromkeys([*runs, *paper]))
        figure, axes, tidy = _rows(names, runs, titles)
        found = known or looks(names)
        sns.pointplot(
            tidy,
            **ROWS,
            ax=axes,
            hue="row",
            hue_order=range(len(names)),
            palette=[found[name].colour for name in names],
            markers=[found[name].marker for name in names],
            errorbar=interval,
            capsize=0.25,
            linewidth=1.2,
            markersize=4,
            linestyle="none",
            legend=False,
        )
        rows = [names.index(name) for name in paper]
        axes.plot([*paper.values()], rows, "D", color=PAPER, markerfacecolor="none")
        _finish(axes, names, titles)
        if within:
            left, right = axes.get_xlim()
            axes.set_xlim(max(left, within[0]), min(right, within[1]))
        if log_x:
            logarithmic(axes)
        _key(figure, axes, runs=not tidy.empty, paper=bool(paper))
        return figure


def curves(
    series: Mapping[str, Sequence[tuple[ArrayLike, ArrayLike]]],
    titles: Titles,
    *,
    known: Mapping[str, Look] | None = None,
) -> Figure:
    """The mean of each series' runs over x, and its band (`BAND`); a value holds until the next.

    Args:
        series: by name the runs, each as x (which never falls) and y.
    """
    last = max((np.max(x) for runs in series.values() for x, _ in runs if np.size(x)), default=1.0)
    grid = np.linspace(0, last, GRID)
    means = {name: anytime(runs, grid) for name, runs in series.items()}
    return lines(
        {name: mean for name, mean in means.items() if isinstance(mean, Curve)}, titles, known=known
    )


def lines(
    series: Mapping[str, Curve], titles: Titles, *, known: Mapping[str, Look] | None = None
) -> Figure:
    """Curves with their bands."""
    with style():
        figure, axes = canvas(titles, AXES)
        found = known or looks(series)
        for name, curve in series.items():
            look, points = found[name], int(np.isfinite(curve.y).sum())
            axes.plot(
                curve.x,
                curve.y,
                color=look.colour,
                linestyle=look.line,
                marker=look.marker,
                markevery=max(1, points // 5),
                label=f"{name} (n {curve.n})",
            )
            if isinstance(curve.band, Band):
                axes.fill_between(
                    curve.x, curve.band.lower, curve.band.upper, color=look.colour, alpha=0.15, lw=0
                )
        legend(figure, axes)
        return figure


def distribution(series: Mapping[str, Sequence[float]], titles: Titles) -> Figure:
    """A row per series: its values as dots, and from `FEWEST` on their quartiles and mean.

    Args:
        titles: `x` is the axis of the values.
    """
    with style():
        figure, axes, tidy = _rows(list(series), series, titles)
        colour = {"color": ACCENT}
        for row, values in tidy.groupby("row")["value"]:
            if len(values) >= FEWEST:
                axes.boxplot(
                    values,
                    positions=[row - BELOW / 2],
                    widths=0.3,
                    orientation="horizontal",
                    showfliers=False,
                    showmeans=True,
                    meanprops={
                        "marker": "D",
                        "markersize": 4,
                        "markerfacecolor": ACCENT,
                        "markeredgecolor": "white",
                    },
                    boxprops=colour,
                    whiskerprops=colour,
                    capprops=colour,
                    medianprops=colour | {"linewidth": 2},
                )
        _finish(axes, list(series), titles)
        return figure


def pareto(points: Sequence[Point]) -> tuple[list[float], list[float]]:
    """x and y of the points that none of at most their x exceeds in y, by rising x."""
    front: list[Point] = []
    for point in sorted(points, key=lambda point: (point.x, -point.y)):
        if not front or point.y > front[-1].y:
            front.append(point)
    return [point.x for point in front], [point.y for point in front]


def _rising(series: Series) -> Series:
    """The points of each by rising x."""
    return {name: sorted(own, key=lambda point: point.x) for name, own in series.items()}


def _errors(points: Sequence[Point]) -> np.ndarray | None:
    """Distances to the ends of the intervals, shape (2, points); 0 where there is none."""
    ends = [
        (0.0, 0.0)
        if point.lower is None or point.upper is None
        else (point.y - point.lower, point.upper - point.y)
        for point in points
    ]
    return np.array(ends).T if np.any(ends) else None


def _rows(
    names: Sequence[str], values: Mapping[str, Sequence[float]], titles: Titles
) -> tuple[Figure, Axes, pd.DataFrame]:
    """Axes with a row per name, the first on top, each with its values as dots; and those, tidy."""
    height = sum(0.12 * folded(name).count("\n") + 0.2 for name in names)
    # Long names leave the axis little room.
    figure, axes = canvas(titles, 0.75 + height, foot_length=SIDE_LENGTH)
    rows = [(names.index(name), value) for name in values for value in values[name]]
    tidy = pd.DataFrame(rows, columns=["row", "value"])
    axes.plot(tidy["value"], tidy["row"] + BELOW, "o", color=PAPER, markersize=2, alpha=0.7)
    return figure, axes, tidy


def _finish(axes: Axes, names: Sequence[str], titles: Titles) -> None:
    """Name the rows and the axis, which seaborn has named by its data."""
    axes.set(xlabel=folded(titles.x, SIDE_LENGTH), ylabel="")
    axes.set_yticks(range(len(names)), map(folded, names))
    axes.set_ylim(max(len(names), 1) - 0.5, -0.5)


def _key(figure: Figure, axes: Axes, *, runs: bool, paper: bool) -> None:
    """Say what the marks of `bars` are, where there is more than one."""
    if runs:
        axes.plot([], [], "o-", color=ACCENT, label="mean, 95 % interval")
        axes.plot([], [], "o", color=PAPER, markersize=2, label="run")
    if paper:
        axes.plot([], [], "D", color=PAPER, markerfacecolor="none", label="paper")
    legend(figure, axes)


def critical(
    found: CriticalDifference, titles: Titles, *, known: Mapping[str, Look] | None = None
) -> Figure:
    """Average ranks, the best to the left; a bar joins methods between which no difference was found.

    Demšar, JMLR 7 (2006), section 4.1.
    """
    with style():
        names, bars = list(found.ranks), len(found.cliques)
        looked = known or looks(names)
        half = -(-len(names) // 2)
        figure, axes = canvas(titles, 0.95 + 0.2 * (half + 0.5 * bars))
        for level, clique in enumerate(found.cliques, start=1):
            ends = [found.ranks[clique[0]], found.ranks[clique[-1]]]
            axes.plot(ends, [level / 2] * 2, color="black", linewidth=2.5, solid_capstyle="butt")
        for place, name in enumerate(names):
            left = place < half
            row = bars / 2 + 1 + (place if left else len(names) - 1 - place)
            edge, rank = 1 if left else len(names), found.ranks[name]
            axes.plot([rank, rank, edge], [0, row, row], color=looked[name].colour, linewidth=0.9)
            axes.annotate(
                f"{folded(name)} ({rank:.2f})",
                (edge, row),
                xytext=(-3 if left else 3, 0),
                textcoords="offset points",
                ha="right" if left else "left",
                va="center",
                fontsize=6,
                annotation_clip=False,
            )
        bottom = bars / 2 + half + 1.2
        axes.plot([1, 1 + found.difference], [bottom] * 2, color="black", marker="|")
        axes.annotate(
            f"critical difference {found.difference:.2f}",
            (1, bottom),
            xytext=(0, -8),
            textcoords="offset points",
            fontsize=6,
        )
        axes.set_xlim(1, len(names))
        axes.set_ylim(bottom + 0.8, 0)
        axes.set_yticks([])
        axes.xaxis.tick_top()
        axes.xaxis.set_label_position("top")
        axes.spines[["left", "bottom"]].set_visible(False)
        axes.spines["top"].set_visible(True)
        axes.grid(visible=False)
        return figure
