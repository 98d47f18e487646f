"""What a setting's results answer, in the order of the questions: is a search better than random
sampling, which is best, at which cost, and what these runs cannot say.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf
from statistics import fmean

from bnas_bench.analysis.frame import Row
from bnas_bench.analysis.measures import MEASURES, TIMES
from bnas_bench.analysis.stats import NotEnough, Standing
from bnas_bench.analysis.timings import apart
from bnas_bench.report.contrasts import RANDOM, Told, told_from_random
from bnas_bench.report.ingredients import told_from_defaults
from bnas_bench.report.tables import warnings
from bnas_bench.report.values import befell
from bnas_bench.report.verdict import contenders, listed, power, standing_of

LEVEL = 0.05
"""Of p, after Holm's correction, at which a method is told apart from random sampling."""

COSTS = {"ops": "M OPs", "packed_latency_ms": "ms", "search_seconds": "s of search"}
"""Measures that say what an accuracy costs, and how a sentence names their units."""


@dataclass(frozen=True)
class Answer:
    """Sentences.

    Attributes:
        headline: whether a search is told apart from random sampling.
        shown: from which methods, from each other, and at which cost.
        open: what cannot be said, and why.
    """

    headline: str
    shown: Sequence[str]
    open: Sequence[str]


def answer(rows: Sequence[Row]) -> Answer:
    """The answer of a setting's rows."""
    compared = [row for row in contenders(rows) if row.runs]
    told, found = told_from_random(rows), standing_of(rows)
    varied = told_from_defaults(rows)
    return Answer(
        headline=_headline(told, compared),
        shown=[*_from_random(told), *_best(found), *_worth(varied), *_costs(compared)],
        open=[
            *warnings(rows),
            *_untold(told),
            *_worthless(varied),
            *_undecided(rows, found),
            *power(contenders(rows)),
        ],
    )


def _significant(told: Told) -> dict[str, float]:
    """The methods told apart from what they are compared with, and by how many points."""
    apart = {}
    for method, contrast in told.found.items():
        p = told.adjusted[method]
        if not isinstance(contrast, NotEnough) and not isinstance(p, NotEnough) and p <= LEVEL:
            apart[method] = contrast.difference
    return apart


def _alike(told: Told) -> list[str]:
    """The methods that are compared and not told apart."""
    apart = _significant(told)
    return [m for m, c in told.found.items() if m not in apart and not isinstance(c, NotEnough)]


def _headline(told: Told | None, compared: Sequence[Row]) -> str:
    if told is None:
        if any(row.method == RANDOM for row in compared):
            return "Random sampling alone has run here: there is no search to compare with it."
        if others := [row.method for row in compared if row.method.startswith(f"{RANDOM} (")]:
            return (
                f"No search is compared with random sampling, which ran here as {listed(others)}."
            )
        if len(compared) == 1 and (values := compared[0].accuracies()):
            seeds = f"{len(values)} seed{'s' * (len(values) > 1)}"
            return (
                f"{compared[0].method}: {fmean(values):.2f} % over {seeds}, with nothing to compare "
                "it with."
            )
        return "Random sampling has no run here: whether a search beats it is not known."
    tested = [m for m, contrast in told.found.items() if not isinstance(contrast, NotEnough)]
    if not tested:
        return "No search is compared with random sampling yet: trials are missing."
    apart = _significant(told)
    better = sum(difference > 0 for difference in apart.values())
    worse = len(apart) - better
    searches = f"{len(tested)} search{'es' if len(tested) > 1 else ''}"
    if not apart:
        return (
            f"None of {searches} is told apart from random sampling."
            if len(tested) > 1
            else f"{tested[0]} is not told apart from random sampling."
        )
    words = [f"{better or 'none'} better"] + [f"{worse} worse"] * bool(worse)
    return f"Of {searches}, {' and '.join(words)} than random sampling."


def _from_random(told: Told | None) -> Iterator[str]:
    if told is None:
        return
    apart = _significant(told)
    for word, sign in (("better", 1), ("worse", -1)):
        found = sorted((m for m in apart if sign * apart[m] > 0), key=lambda m: -abs(apart[m]))
        if found:
            words = [f"{m} ({apart[m]:+.1f} points)" for m in found]
            yield f"Shown {word} than random sampling: {listed(words)}."


def _worth(varied: Told | None) -> Iterator[str]:
    """Variants that are told apart from the method with its defaults."""
    if varied and (apart := _significant(varied)):
        words = [f"{m} ({apart[m]:+.1f} points)" for m in sorted(apart, key=apart.__getitem__)]
        yield f"Shown to differ from the same method with its defaults: {listed(words)}."


def _best(found: Standing | NotEnough) -> Iterator[str]:
    if isinstance(found, NotEnough):
        return
    if found.winner:
        yield f"Shown to be best: {found.winner}."
    elif found.excluded:
        rest = len(found.excluded)
        others = f"the other {rest} are" if rest > 1 else "the other one is"
        yield f"{len(found.kept)} methods may be the best: {listed(found.kept)}; {others} shown not to be."
    else:
        which = f"any of the {n}" if (n := len(found.kept)) > 2 else "either"
        yield f"Nor are the methods told apart from each other: {which} may be the best."


def _costs(compared: Sequence[Row]) -> Iterator[str]:
    """The highest mean, random sampling's, and that of the fewest OPs."""
    means = {row.method: fmean(row.accuracies()) for row in compared if row.accuracies()}
    if len(means) < 2:
        return
    rows = {row.method: row for row in compared}
    unlike = bool(apart(run.timed for row in compared for run in row.runs))
    ops = {m: fmean(found.values()) for m in means if (found := rows[m].by_seed("ops"))}
    # Of equals the one that is better in the other is named.
    leaders = {max(means, key=lambda m: (means[m], -ops.get(m, inf))): ["highest mean"]}
    if RANDOM in means:
        leaders.setdefault(RANDOM, [])
    if ops:
        leaders.setdefault(min(ops, key=lambda m: (ops[m], -means[m])), []).append("fewest OPs")
    words = []
    for method, why in leaders.items():
        name = f"{method} ({', '.join(why)})" if why else method
        words.append(f"{name} has {means[method]:.2f} %{_cost(rows[method], unlike)}")
    yield "At which cost: " + "; ".join(words) + "."


def _cost(row: Row, unlike: bool) -> str:
    """What its networks and its searches take; no latency where those were measured in several places."""
    words = []
    for key, unit in COSTS.items():
        if unlike and key in TIMES:
            continue
        if values := row.by_seed(key).values():
            measure = MEASURES[key]
            is_spoilt = key in TIMES and any(run.crowded for run in row.runs)
            doubt = " (not reliable: timed beside too much else)" if is_spoilt else ""
            words.append(f"{fmean(values) / measure.unit:{measure.form}} {unit}{doubt}")
    return f" at {', '.join(words)}" if words else ""


def _untold(told: Told | None) -> Iterator[str]:
    if told is None:
        return
    rest = _alike(told)
    if rest and _significant(told):
        yield f"Not told apart from random sampling: {listed(rest)}."


def _worthless(varied: Told | None) -> Iterator[str]:
    """Variants that are not told apart from the method with its defaults."""
    if varied and (rest := _alike(varied)):
        yield f"Not told apart from the same method with its defaults: {listed(rest)}."


def _undecided(rows: Sequence[Row], found: Standing | NotEnough) -> Iterator[str]:
    compared = contenders(rows)
    names = [row.method.partition(" (")[0] for row in compared if row.runs]
    if names and RANDOM not in names:
        yield (
            "Whether a search beats random sampling: run that beside it, with --method "
            f"{RANDOM},{names[0]}."
        )
    is_alone = len(compared) == 1 and compared[0].complete
    if isinstance(found, NotEnough) and not is_alone:
        yield f"No best method is named: {found.reason}."
    if refused := [row for row in rows if row.refused]:
        words = [f"{row.method} ({befell(row.missing)})" for row in refused]
        yield f"Not compared, as they cannot run here: {listed(words)}."
