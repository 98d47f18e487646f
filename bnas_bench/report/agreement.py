"""The figures of how two precisions of a table agree."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bnas_bench.report.figures import ACCENT
from bnas_bench.report.style import PAPER, Titles, canvas, legend, style
from bnas_bench.tables.agreement import Estimate
from bnas_bench.tables.premise import Premise

MARKED = 10
"""Of the best by either precision."""

LEFT_OUT = 0.005
"""Of the architectures the least accurate at either precision, which would take most of the axes."""

FIRST, SECOND = "#1149d6", "#b8460e"
"""Of the two precisions: told apart by their markers, too."""


def scatter(found: Premise) -> Figure:
    """An architecture's mean accuracies at both precisions, the best by either marked."""
    with style():
        share = "all" if found.complete else "a random sample of"
        tau = found.correlation.kendall_tau
        first_N, second_N = found.means.T
        on_N = np.all([v_N >= np.quantile(v_N, LEFT_OUT) for v_N in (first_N, second_N)], axis=0)
        beyond = f"\n{len(on_N) - on_N.sum()} lie beyond the axes" if not on_N.all() else ""
        titles = Titles(
            title=f"{share} {found.architectures:,} architectures, tau {tau.value:.2f} "
            f"[{tau.lower:.2f}, {tau.upper:.2f}]{beyond}",
            x=f"mean test accuracy at {found.other} (%)",
            y=f"at {found.precision} (%)",
        )
        figure, axes = canvas(titles, 2.9)
        axes.plot(
            second_N[on_N],
            first_N[on_N],
            ".",
            color=PAPER,
            markersize=2,
            alpha=0.5,
            mew=0,
            rasterized=True,
        )
        best = (
            (first_N, "^", FIRST, found.precision),
            (second_N, "s", SECOND, found.other),
        )
        marked = min(MARKED, len(first_N) // 2)
        for means_N, marker, colour, name in best:
            top = np.argsort(-means_N, kind="stable")[:marked]
            axes.plot(
                second_N[top],
                first_N[top],
                marker,
                color=colour,
                markerfacecolor="none",
                label=f"{marked} best at {name}",
            )
        legend(figure, axes)
        return figure


def worths(found: Premise) -> Figure:
    """What an edge's operation adds to the accuracy at either precision, with its interval."""
    with style():
        titles = Titles(
            title=f"An edge's operation in place of {found.reference}",
            x="mean test accuracy (points)",
        )
        figure, axes = canvas(titles, 0.9 + 0.35 * len(found.operations))
        for k, worth in enumerate(found.operations):
            for estimate, side, marker, colour, name in (
                (worth.first, -1, "^", FIRST, found.precision),
                (worth.second, 1, "s", SECOND, found.other),
            ):
                _interval(axes, estimate, k + 0.12 * side, marker, colour, "" if k else name)
        axes.axvline(0, color=ACCENT, linewidth=0.6)
        axes.set_yticks(range(len(found.operations)), [w.operation for w in found.operations])
        axes.invert_yaxis()
        legend(figure, axes)
        return figure


def _interval(
    axes: Axes, estimate: Estimate, row: float, marker: str, colour: str, name: str
) -> None:
    ends = [[estimate.value - estimate.lower], [estimate.upper - estimate.value]]
    axes.errorbar(
        [estimate.value],
        [row],
        xerr=ends,
        fmt=marker,
        color=colour,
        capsize=2,
        elinewidth=0.8,
        label=name or None,
    )
