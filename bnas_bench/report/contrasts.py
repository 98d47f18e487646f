"""Tables of statistics over the seeds of a setting: against `random`, and of accuracy and OPs at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from bnas_bench.analysis.frame import DRAWS, Row, Setting
from bnas_bench.analysis.stats import (
    POWER,
    Contrast,
    Estimate,
    NotEnough,
    contrast,
    holm,
    hypervolume,
    probability_of_improvement,
    rank_sum,
    relative,
    seeds_pair,
)
from bnas_bench.analysis.table import Column, Table, Value, missing
from bnas_bench.report.tables import METHOD, N, circumstances, warnings
from bnas_bench.report.values import average, counted, estimate, p_value
from bnas_bench.report.verdict import MARGIN, contenders

RANDOM = "random"
"""The method that all others are compared with."""

DRAWN = 20
"""Drawn architectures that a relative improvement is taken of."""

CONTRASTED = {
    "n": "n",
    "difference": "difference (points)",
    "p": "p",
    "holm": "p (Holm)",
    "ranks": "p of rank sum",
    "ranks_holm": "p of rank sum (Holm)",
    "least": "least p of rank sum",
    "equal": f"p of not equal within {MARGIN:g} point",
    "detectable": "least difference that shows (points)",
}


class Told(NamedTuple):
    """Methods against what each is compared with.

    Attributes:
        bases: by method the row that it is compared with.
        others: the rows of those methods.
        pair: whether runs of the same seed are subtracted first.
        found: by method its contrast.
        adjusted: by method p after Holm's correction.
    """

    bases: Mapping[str, Row]
    others: Sequence[Row]
    pair: bool
    found: Mapping[str, Contrast | NotEnough]
    adjusted: Mapping[str, float | NotEnough]


def told_from_random(rows: Sequence[Row]) -> Told | None:
    """The t tests of all contenders against `random`; None without two to compare."""
    base = next((row for row in rows if row.method == RANDOM and row.runs), None)
    others = [row for row in contenders(rows) if row is not base]
    return told({row.method: base for row in others}, others) if base and others else None


def told(bases: Mapping[str, Row], others: Sequence[Row]) -> Told:
    """The t tests of methods against the rows that they are compared with."""
    tested = {row.method: row for row in [*bases.values(), *others] if row.complete}
    pair = seeds_pair([row.by_seed("test_accuracy") for row in tested.values()])
    found = {row.method: contrasted(row, bases[row.method], pair=pair) for row in others}
    adjusted = holm({m: c if isinstance(c, NotEnough) else c.p for m, c in found.items()})
    return Told(bases, others, pair, found, adjusted)


def tested(told: Told) -> Iterator[dict[str, Value]]:
    """A line of values for each method: its t tests and rank-sum tests, by column."""
    sums = {row.method: _rank_sums(row, told.bases[row.method]) for row in told.others}
    adjusted = holm({m: r if isinstance(r, NotEnough) else r[0] for m, r in sums.items()})
    for row in told.others:
        ids = [*row.ids, *told.bases[row.method].ids]
        yield (
            {"method": Value(text=row.method)}
            | _t_tests(told.found[row.method], told.adjusted[row.method], ids)
            | _rank_tests(sums[row.method], adjusted[row.method], ids)
        )


def against_random(setting: Setting, rows: Sequence[Row], name: str) -> Table | None:
    """Every method against `random`, where all trials of both are there; None without two to compare."""
    found = told_from_random(rows)
    if found is None:
        return None
    others = found.others
    columns = {
        **{key: Column(key=key, title=title) for key, title in CONTRASTED.items()},
        "improvement": Column(key="improvement", title="P(better)", better="higher"),
        "relative": Column(key="relative", title="RI (%)", better="higher"),
    }
    draws = next((row for row in rows if row.method == DRAWS), None)
    return Table(
        name=name,
        title=f"Against random on {setting}",
        caption=(
            f"{circumstances(setting, rows)}. Test accuracy minus that of random: mean [95 % t interval] "
            f"and p, {PAIRED if found.pair else WELCH}; p of the exact rank-sum test, and the least that "
            f"it can give for these n and ties; Holm's corrections are for {len(others)} comparisons. Two "
            f"one-sided tests: below 0.05 the difference is shown to be less than {MARGIN:g} point. The "
            f"least difference that such runs show with a chance of {100 * POWER:g} %, before a correction. "
            "P(better): the probability that a run is better than one of random [95 % interval]. RI = "
            "100 (accuracy - average) / average, of at least "
            f"{DRAWN} architectures of {DRAWS} [95 % interval of Fieller]."
        ),
        columns=[METHOD, *columns.values()],
        rows=[
            line | _improvements(row, found.bases[row.method], draws)
            for row, line in zip(others, tested(found), strict=True)
        ],
        notes=warnings(rows),
    )


WELCH = "of Welch's t test on all runs, as pairing by seed gains nothing here"
PAIRED = "of the t test paired by seed, as the seeds move all methods alike"


def lacking(*rows: Row) -> NotEnough | None:
    """Why nothing is said of rows whose survivors alone would speak."""
    words = [
        f"{row.method} has {len(row.runs)} of {row.planned} trials"
        for row in rows
        if not row.complete
    ]
    return NotEnough(f"a contrast needs all trials, and {' and '.join(words)}") if words else None


def contrasted(row: Row, base: Row, *, pair: bool) -> Contrast | NotEnough:
    """The accuracies of one method against those of another, where all trials of both are there."""
    scores = (side.by_seed("test_accuracy") for side in (row, base))
    return lacking(row, base) or contrast(*scores, pair=pair)


def _rank_sums(row: Row, base: Row) -> tuple[float, float] | NotEnough:
    """p of the exact rank-sum test, and the least that it can give."""
    return lacking(row, base) or rank_sum(row.accuracies(), base.accuracies())


def _t_tests(
    found: Contrast | NotEnough, adjusted: float | NotEnough, ids: Sequence[str]
) -> dict[str, Value]:
    """The values of a row's t tests, by column."""
    if isinstance(found, NotEnough):
        keys = ("n", "difference", "p", "holm", "equal", "detectable")
        return {key: missing(found.reason) for key in keys}
    n, m = found.n
    least = found.detectable()
    return {
        "n": Value(text=f"{n}" if n == m else f"{n}, {m}", number=n, runs=ids),
        "difference": estimate(
            Estimate(found.difference, found.interval), ids, n + m, "+.2f", kind="measured"
        ),
        "p": p_value(found.p, ids, n + m),
        "holm": p_value(adjusted, ids, n + m),
        "equal": p_value(found.equal(MARGIN), ids, n + m),
        "detectable": missing(least.reason)
        if isinstance(least, NotEnough)
        else Value(text=f"{least:.2f}", kind="computed", number=least, n=n + m, runs=ids),
    }


def _rank_tests(
    found: tuple[float, float] | NotEnough, adjusted: float | NotEnough, ids: Sequence[str]
) -> dict[str, Value]:
    """The values of a row's rank-sum tests, by column."""
    if isinstance(found, NotEnough):
        return {key: missing(found.reason) for key in ("ranks", "ranks_holm", "least")}
    return {
        "ranks": p_value(found[0], ids, len(ids)),
        "ranks_holm": p_value(adjusted, ids, len(ids)),
        "least": p_value(found[1], ids, len(ids)),
    }


def _improvements(row: Row, base: Row, draws: Row | None) -> dict[str, Value]:
    ids = [*row.ids, *base.ids]
    better = lacking(row, base) or probability_of_improvement(
        {"": row.accuracies()}, {"": base.accuracies()}
    )
    drawn = 0 if draws is None else len(draws.runs)
    if row is draws:
        return {"improvement": estimate(better, ids, len(ids)), "relative": Value(text="")}
    if draws is None or drawn < DRAWN:
        return {
            "improvement": estimate(better, ids, len(ids)),
            "relative": missing(f"it needs {DRAWN} runs of {DRAWS}, there are {drawn}"),
        }
    of_draws = [*row.ids, *draws.ids]
    improved = lacking(row, draws) or relative(row.accuracies(), draws.accuracies())
    return {
        "improvement": estimate(better, ids, len(ids)),
        "relative": estimate(improved, of_draws, len(of_draws), "+.2f"),
    }


def gain_table(setting: Setting, rows: Sequence[Row], name: str) -> Table | None:
    """How much better than `random` the runs are in accuracy and OPs at once; None without it."""
    base = next((row for row in rows if row.method == RANDOM and row.complete), None)
    others = [row for row in rows if row.runs and row is not base]
    if base is None or not others:
        return None
    least, most = (fmean(base.by_seed(key).values()) for key in ("test_accuracy", "ops"))
    lines = []
    for row in others:
        volumes = [
            100 * hypervolume([accuracy], [ops], (least, most)) / ((100 - least) * most)
            for accuracy, ops in zip(row.accuracies(), row.by_seed("ops").values(), strict=True)
        ]
        gain = average(volumes, row.ids, kind="computed", spread=True, most=100)
        lines.append(
            {"method": Value(text=row.method), "n": counted(row)}
            | {"gain": gain if row.complete else missing("trials are missing")}
        )
    return Table(
        name=name,
        title=f"Better than random in accuracy and OPs on {setting}",
        caption=(
            f"{circumstances(setting, rows)}. Hypervolume of each run, in per cent of the rectangle from the "
            f"mean of random ({least:.2f} %, {most / 1e6:,.3f} M OPs of nas-bnn) to 100 % at no OPs: 0 for a "
            "run that is not better in both, so that cheap networks alone gain nothing. Mean ± sample "
            "standard deviation over the seeds [95 % t interval]; the reference is taken as it is."
        ),
        columns=[METHOD, N, Column(key="gain", title="gain (%)", better="higher")],
        rows=lines,
        notes=warnings(rows),
    )
