"""The critical-difference diagram."""

from __future__ import annotations

from matplotlib.figure import Figure

from bnas_bench.analysis.stats import CriticalDifference
from bnas_bench.report.style import PAPER, Titles, canvas, folded, style


def critical(found: CriticalDifference, titles: Titles) -> Figure:
    """Average ranks, the best to the left; a bar joins methods between which no difference was found.

    Demšar, JMLR 7 (2006), section 4.1.
    """
    with style():
        names, bars = list(found.ranks), len(found.cliques)
        half = -(-len(names) // 2)
        figure, axes = canvas(titles, 0.95 + 0.2 * (half + 0.5 * bars))
        for level, clique in enumerate(found.cliques, start=1):
            ends = [found.ranks[clique[0]], found.ranks[clique[-1]]]
            axes.plot(ends, [level / 2] * 2, color="black", linewidth=2.5, solid_capstyle="butt")
        for place, name in enumerate(names):
            left = place < half
            row = bars / 2 + 1 + (place if left else len(names) - 1 - place)
            edge, rank = 1 if left else len(names), found.ranks[name]
            axes.plot([rank, rank, edge], [0, row, row], color=PAPER, linewidth=0.7)
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
