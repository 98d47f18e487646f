"""The forms of figures, each a function from data to a figure.

Every series has a colour, a marker and a line of its own, so that it is found without colour too.
What a paper prints is hollow and grey. Accuracies do not start at zero: means are marks, not bars.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from bnas_bench.analysis.stats import Band, Curve, anytime
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


def sweep(
    series: Series, titles: Titles, *, paper: Series | None = None, log_x: bool = False
) -> Figure:
    """A line per series through its points by rising x, with their intervals.

    Args:
        paper: the printed points, by the series that they belong to.
    """
    with style():
        figure, axes = canvas(titles, AXES)
        paper = paper or {}
        for name, look in looks([*series, *paper]).items():
            points = sorted(series.get(name, ()), key=_x)
            if points:
                x, y = [point.x for point in points], [point.y for point in points]
                axes.plot(
                    x, y, color=look.colour, marker=look.marker, linestyle=look.line, label=name
                )
                axes.errorbar(
                    x, y, _errors(points), color=look.colour, fmt="none", capsize=2, elinewidth=0.8
                )
            if printed := sorted(paper.get(name, ()), key=_x):
                axes.plot(
                    [point.x for point in printed],
                    [point.y for point in printed],
                    color=PAPER,
                    marker=look.marker,
                    markerfacecolor="none",
                    linestyle=look.line,
                    linewidth=0.6,
                    label=f"{name} (paper)",
                )
        if log_x:
            logarithmic(axes)
        legend(figure, axes)
        return figure


def bars(
    means: Mapping[str, Point],
    titles: Titles,
    *,
    runs: Mapping[str, Sequence[float]] | None = None,
    paper: Mapping[str, float] | None = None,
    within: tuple[float, float] | None = None,
) -> Figure:
    """A row per name: its mean with the interval, the runs as dots, the printed value hollow.

    Args:
        titles: `x` is the axis of the values.
        within: what the axis does not go beyond, as the intervals of few runs may.
    """
    with style():
        runs, paper = runs or {}, paper or {}
        names = list(dict.fromkeys([*means, *paper]))
        figure, axes = _rows(names, titles)
        for row, name in enumerate(names):
            values = runs.get(name, ())
            axes.plot(
                values, [row + BELOW] * len(values), "o", color=PAPER, markersize=2, alpha=0.7
            )
            if point := means.get(name):
                axes.errorbar(
                    [point.y],
                    [row],
                    xerr=_errors([point]),
                    fmt="o",
                    color=sns.color_palette("colorblind")[0],
                    capsize=2.5,
                )
            if name in paper:
                axes.plot([paper[name]], [row], "D", color=PAPER, markerfacecolor="none")
        if within:
            left, right = axes.get_xlim()
            axes.set_xlim(max(left, within[0]), min(right, within[1]))
        _key(figure, axes, runs=bool(runs), paper=bool(paper))
        return figure


def scatter(
    series: Series,
    titles: Titles,
    *,
    paper: Series | None = None,
    front: bool = False,
    log_x: bool = False,
    known: Mapping[str, Look] | None = None,
) -> Figure:
    """Points by series, those of a paper hollow; up to `ANNOTATED` labels stand beside theirs.

    Args:
        front: whether to draw the front of the points (not the paper's) of least x and most y.
        known: how the series look elsewhere.
    """
    with style():
        figure, axes = canvas(titles, AXES)
        paper = paper or {}
        found = known or looks([*series, *paper])
        every = [point for points in series.values() for point in points]
        if front and every:
            x, y = pareto(every)
            axes.step(x, y, where="post", color="#999999", linewidth=0.8, label="front", zorder=1)
        for kind, suffix in ((series, ""), (paper, " (paper)")):
            for name, points in kind.items():
                look = found[name]
                axes.plot(
                    [point.x for point in points],
                    [point.y for point in points],
                    color=PAPER if suffix else look.colour,
                    marker=look.marker,
                    markerfacecolor="none" if suffix else look.colour,
                    markeredgewidth=0.8 if suffix else 0.3,
                    markeredgecolor=PAPER if suffix else "white",
                    linestyle="",
                    label=f"{name}{suffix}",
                )
        labelled = [point for points in (*series.values(), *paper.values()) for point in points]
        labelled = [point for point in labelled if point.label]
        if log_x:
            logarithmic(axes)
        legend(figure, axes)
        if 0 < len(labelled) <= ANNOTATED:
            annotate(figure, axes, [(point.label, point.x, point.y) for point in labelled])
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
    """A row per series: its values as dots, and from `FEWEST` on their quartiles as a box.

    Args:
        titles: `x` is the axis of the values.
    """
    with style():
        figure, axes = _rows(list(series), titles)
        colour = sns.color_palette("colorblind")[0]
        for row, values in enumerate(series.values()):
            axes.plot(
                values, [row + BELOW] * len(values), "o", color=PAPER, markersize=2, alpha=0.7
            )
            if len(values) >= FEWEST:
                axes.boxplot(
                    [values],
                    positions=[row - BELOW / 2],
                    widths=0.3,
                    orientation="horizontal",
                    showfliers=False,
                    manage_ticks=False,
                    boxprops={"color": colour},
                    medianprops={"color": colour, "linewidth": 2},
                    whiskerprops={"color": colour},
                    capprops={"color": colour},
                )
        return figure


def pareto(points: Sequence[Point]) -> tuple[list[float], list[float]]:
    """x and y of the points that none of at most their x exceeds in y, by rising x."""
    front: list[Point] = []
    for point in sorted(points, key=lambda point: (point.x, -point.y)):
        if not front or point.y > front[-1].y:
            front.append(point)
    return [point.x for point in front], [point.y for point in front]


def _x(point: Point) -> float:
    return point.x


def _errors(points: Sequence[Point]) -> np.ndarray | None:
    """Distances to the ends of the intervals, shape (2, points); 0 where there is none."""
    ends = [
        (0.0, 0.0)
        if point.lower is None or point.upper is None
        else (point.y - point.lower, point.upper - point.y)
        for point in points
    ]
    return np.array(ends).T if np.any(ends) else None


def _rows(names: Sequence[str], titles: Titles) -> tuple[Figure, Axes]:
    """Axes with a row per name, the first on top."""
    labels = [folded(name) for name in names]
    height = sum(0.12 * label.count("\n") + 0.2 for label in labels)
    # Long names leave the axis little room.
    figure, axes = canvas(titles, 0.75 + height, foot_length=SIDE_LENGTH)
    axes.set_yticks(range(len(names)), labels)
    axes.set_ylim(max(len(names), 1) - 0.5, -0.5)
    return figure, axes


def _key(figure: Figure, axes: Axes, *, runs: bool, paper: bool) -> None:
    """Say what the marks of `bars` are, where there is more than one."""
    if not (runs or paper):
        return
    colour = sns.color_palette("colorblind")[0]
    axes.plot([], [], "o", color=colour, label="mean, 95 % interval")
    if runs:
        axes.plot([], [], "o", color=PAPER, markersize=2, label="run")
    if paper:
        axes.plot([], [], "D", color=PAPER, markerfacecolor="none", label="paper")
    legend(figure, axes)
