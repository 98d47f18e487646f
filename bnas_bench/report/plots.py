"""What a page's own figures of a setting are drawn from, and what is to be seen in them, in words.

The page draws with Observable Plot (`vendor/`), not with Vega: its figures are elements of the page,
so that a mark is a link that the keyboard reaches, that the page's style colours in light and in dark,
and that needs no interpreter of expressions to live with a policy against `eval`. With d3, which it
rests on, it takes 215 KB of a page, compressed; Vega, Vega-Lite and Vega-Embed take 374.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from math import isfinite
from statistics import fmean
from typing import Any

import numpy as np

from bnas_bench.analysis.frame import Row, Run
from bnas_bench.analysis.measures import MEASURES, TIMES
from bnas_bench.analysis.stats import Band, Curve, Interval, NotEnough, anytime, summary
from bnas_bench.analysis.timings import apart
from bnas_bench.report import far
from bnas_bench.report.model import RunView
from bnas_bench.report.precisions import BothPrecisions
from bnas_bench.report.style import MARKERS, Look
from bnas_bench.report.values import seed_text

COSTS = ("ops", "packed_latency_ms", "memory_bits", "parameters", "search_seconds")
"""What accuracy is shown against, the first of them at first."""

SYMBOLS = dict(
    zip(
        MARKERS,
        (
            *("Circle", "Star", "Cross", "Triangle", "Wye", "Asterisk", "Square", "Diamond2"),
            *("Diamond", "Triangle2", "Times", "Plus"),
        ),
        strict=True,
    )
)
"""d3's symbols, by the markers of the figures in files."""

NONE = "none"
"""The option of an edge that is not there."""

ENTRIES = 60
"""Points of a curve that a page keeps."""

Curves = Mapping[str, tuple[Sequence[float], Sequence[float]]]
"""By run x, which never falls, and y."""


def plots(
    rows: Sequence[Row],
    looks: Mapping[str, Look],
    curves: Curves,
    views: Mapping[str, RunView],
    regrets: Mapping[str, Sequence[tuple[Sequence[float], Sequence[float]]]],
    both: BothPrecisions | None = None,
) -> dict[str, Any]:
    """The data, as JSON holds it: methods, their runs, what these found, and their searches' curves.

    Args:
        rows: each with a run that finished.
        looks: of all methods of the report; a method's colour is its place among them.
        curves: validation accuracy in per cent over passes.
        views: of the runs, by id.
        regrets: by method, of its searches over passes.
        both: what a table says of the architectures at two precisions.
    """
    places = {name: place for place, name in enumerate(looks)}
    is_apart = bool(apart(run.timed for row in rows for run in row.runs))
    shown = [views[run.id] for row in rows for run in row.runs]
    return {
        "costs": [_title(key, rows) for key in COSTS],
        "begin": far.edge(rows),
        "methods": [
            {
                "name": row.method,
                "colour": places[row.method],
                "symbol": SYMBOLS[looks[row.method].marker],
                **_mean(row),
            }
            for row in rows
        ],
        "runs": [
            {
                "method": place,
                "seed": seed_text(run.seed),
                "id": run.id,
                "accuracy": _short(run.values["test_accuracy"]),
                "costs": [
                    None if is_apart and key in TIMES else _cost(run.values[key], key)
                    for key in COSTS
                ],
                "percentile": _short(run.values["percentile"]),
                "real": _short(both.found[run.id][0]) if both and run.id in both.found else None,
            }
            for place, row in enumerate(rows)
            for run in row.runs
        ],
        "curves": [
            {"method": place, "id": run.id, "x": x, "y": y}
            for place, row in enumerate(rows)
            for run in row.runs
            if run.id in curves
            for x, y in [thinned(*curves[run.id])]
        ],
        "regrets": [
            {"method": place, **mean}
            for place, row in enumerate(rows)
            if row.method in regrets
            for mean in _mean_curve(regrets[row.method])
        ],
        # Of five thousand architectures 50 KB.
        "cloud": [_hundredths(part_N) for part_N in both.cloud] if both else [[], []],
        "operations": sorted({option for view in shown for option in operations(view)}),
        "differing": differing(shown),
        "gallery": [
            {"method": place, "id": found.id, "choices": dict(views[found.id].architecture)}
            for place, row in enumerate(rows)
            for found in [median(row)]
            if views[found.id].architecture
        ],
    }


def _title(key: str, rows: Sequence[Row]) -> str:
    """What an axis shows, and whether it is to be relied on."""
    is_spoilt = key in TIMES and any(run.crowded for row in rows for run in row.runs)
    return MEASURES[key].title + ", not reliable" * is_spoilt


def operations(view: RunView) -> list[str]:
    """What a run's architecture has on its edges."""
    return [
        option
        for decision, option in view.architecture.items()
        if "edge(" in decision and option != NONE
    ]


def differing(views: Iterable[RunView]) -> list[str]:
    """The lines of the configuration that are not the same in all runs that have them."""
    found: dict[str, set[str]] = {}
    for view in views:
        for key, text in view.config.items():
            found.setdefault(key, set()).add(text)
    return [key for key, texts in found.items() if len(texts) > 1]


def median(row: Row) -> Run:
    """The run whose test accuracy is the median of the row's; of an even number the lower one."""
    ordered = sorted(row.runs, key=lambda run: (run.values["test_accuracy"] or 0.0, run.seed))
    return ordered[(len(ordered) - 1) // 2]


def thinned(x: Sequence[float], y: Sequence[float]) -> tuple[list[float], list[float]]:
    """`ENTRIES` points at most, spread evenly, the first and the last among them."""
    places = np.unique(np.linspace(0, len(x) - 1, min(len(x), ENTRIES)).round().astype(int))
    return [float(f"{x[k]:.6g}") for k in places], [float(f"{y[k]:.4g}") for k in places]


def _mean_curve(
    runs: Sequence[tuple[Sequence[float], Sequence[float]]],
) -> Iterator[dict[str, list[float | None]]]:
    """The mean of curves with its band, at `ENTRIES` places."""
    found = anytime(runs, np.linspace(0, max(x[-1] for x, _ in runs), ENTRIES))
    if isinstance(found, Curve):
        band = found.band if isinstance(found.band, Band) else None
        lines = {"x": found.x, "y": found.y}
        lines |= {"lower": band.lower, "upper": band.upper} if band else {}
        yield {name: [_short(float(v)) for v in line] for name, line in lines.items()}


def _mean(row: Row) -> dict[str, float | None]:
    found = summary(row.accuracies())
    if isinstance(found, NotEnough):
        return {"mean": None, "lower": None, "upper": None}
    ends = found.interval
    lower, upper = (ends.lower, ends.upper) if isinstance(ends, Interval) else (None, None)
    return {
        "mean": _short(found.mean),
        "lower": None if lower is None else _short(max(lower, 0)),
        "upper": None if upper is None else _short(min(upper, 100)),
    }


def _cost(value: float | None, key: str) -> float | None:
    return None if value is None else _short(value / MEASURES[key].unit)


def _hundredths(values_N: np.ndarray) -> list[int]:
    return (100 * values_N).round().astype(int).tolist()


def _short(value: float | None) -> float | None:
    return None if value is None or not isfinite(value) else float(f"{value:.6g}")


def accuracy_seen(rows: Iterable[Row]) -> str:
    """What the figure of accuracies shows."""
    means = ranked(rows)
    if not means:
        return "No accuracy is shown."
    every = [value for values in means.values() for value in values]
    words = [f"{name} {fmean(values):.1f}" for name, values in means.items()]
    text = f"Mean test accuracy in %, best first: {', '.join(words)}."
    if len(every) > len(means):
        text += f" Single runs lie between {min(every):.1f} and {max(every):.1f}."
    return text


def cost_seen(rows: Iterable[Row], key: str = "ops") -> str:
    """What the figure of accuracies against a cost shows: its extent, and its front."""
    measure = MEASURES[key]
    found = [
        (cost / measure.unit, accuracy, row.method)
        for row in rows
        for run in row.runs
        if (cost := run.values[key]) is not None
        and (accuracy := run.values["test_accuracy"]) is not None
    ]
    if not found:
        return "No run is shown."
    front: list[tuple[float, float, str]] = []
    for one in sorted(found, key=lambda one: (one[0], -one[1])):
        if not front or one[1] > front[-1][1]:
            front.append(one)
    costs = [cost for cost, _, _ in found]
    words = [f"{name} ({x:{measure.form}}, {y:.1f} %)" for x, y, name in front]
    return (
        f"{len(found)} runs from {min(costs):{measure.form}} to {max(costs):{measure.form}} "
        f"{measure.title}. On the front, by rising cost: {', '.join(words)}."
    )


def curves_seen(curves: Mapping[str, Sequence[tuple[Sequence[float], Sequence[float]]]]) -> str:
    """What the figure of searches over time shows: where each method's searches end."""
    words = []
    for method, runs in curves.items():
        ends = [y[-1] for _, y in runs if len(y)]
        falls = any(b < a for _, y in runs for a, b in pairwise(y))
        words.append(f"{method} {fmean(ends):.1f}{', not always rising' if falls else ''}")
    return f"Validation accuracy in % at the end of each method's searches, on average: {'; '.join(words)}."


def regret_seen(
    searches: Mapping[str, Sequence[tuple[Sequence[float], Sequence[float]]]],
) -> str:
    """What the figure of regrets shows: where each method's searches end."""
    ends = {method: fmean(y[-1] for _, y in runs) for method, runs in searches.items()}
    words = [
        f"{method} {end:.2f}" for method, end in sorted(ends.items(), key=lambda pair: pair[1])
    ]
    return f"Mean regret in points at the end of the searches, the least first: {', '.join(words)}."


def ranks_seen(percentiles: Mapping[str, Sequence[float]]) -> str:
    """What the histograms of ranks show: each method's median."""
    middle = {method: float(np.median(values)) for method, values in percentiles.items()}
    ordered = sorted(middle.items(), key=lambda pair: -pair[1])
    words = [f"{method} {value:.1f}" for method, value in ordered]
    return (
        "Per cent of the table that is worse than what the median seed found, the highest first: "
        f"{', '.join(words)}."
    )


def ranked(rows: Iterable[Row]) -> dict[str, list[float]]:
    """The accuracies of each method, the best mean first."""
    found = {row.method: row.accuracies() for row in rows if row.accuracies()}
    return dict(sorted(found.items(), key=lambda pair: -fmean(pair[1])))
