"""Whether the searches of a setting learned: their supernets' signs, paths and budgets, and in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bnas_bench.analysis.frame import Row, Run, Setting
from bnas_bench.analysis.stats import NotEnough, rank_correlation
from bnas_bench.analysis.table import Column, Table, Value, missing
from bnas_bench.report.tables import METHOD, N
from bnas_bench.report.values import average

LEAST_SIGNS = 5.0
"""Per cent of its 1-bit weights' signs that a supernet which has learned has changed; a final training
of the digits changes 7."""

LEAST_SPENT = 97.0
"""Per cent of a budget that a method is to spend."""

SPENT = Column(key="spent", title="budget spent (%)")
COLUMNS = (
    METHOD,
    Column(key="supernet", title="supernet", numeric=False),
    N,
    SPENT,
    Column(key="signs", title="1-bit signs changed (%)"),
    Column(key="path", title="path with inherited weights (valid %)"),
    Column(key="above", title="seeds above chance"),
)


TAU = Column(key="tau", title="rank correlation within a supernet (tau)", better="higher")
RANKING = (
    " Kendall's tau-b, within one supernet, between the validation accuracies that architectures of the "
    "table have with its weights and their test accuracies when each is trained alone: mean ± sample "
    "standard deviation over the supernets of the seeds [95 % t interval]."
)


def learned_table(setting: Setting, rows: Sequence[Row], name: str) -> Table | None:
    """A line per method and supernet; None where no record says anything."""
    told = [row for row in rows if any(run.learned for run in row.runs)]
    if not told:
        return None
    ranked = any("drawn_test_accuracies" in run.learned for row in told for run in row.runs)
    chance = next(run.learned["chance"] for row in told for run in row.runs if run.learned)
    return Table(
        name=name,
        title=f"What the searches learned on {setting}",
        caption=(
            "Means over the seeds: the passes spent by those of the budget; the 1-bit weights of a "
            "supernet whose sign is another one at the end of the search (a supernet that runs "
            "real-valued uses no signs); the accuracy on the validation images of the path that the "
            "search chose, with the weights that it inherits, and how often it is above chance, "
            f"{chance:g} %, with a bound of 99 %.{RANKING if ranked else ''}"
        ),
        columns=[*COLUMNS, *([TAU] if ranked else [])],
        rows=[line for row in told for line in _lines(row)],
        notes=[*unlearned(told), *unspent(told)],
    )


def _lines(row: Row) -> Iterator[dict[str, Value]]:
    runs = [run for run in row.runs if run.learned]
    spent = [run.values["spent"] for run in runs if run.values["spent"] is not None]
    shared = {
        "method": Value(text=row.method),
        "n": Value(text=str(len(runs)), number=len(runs), runs=[run.id for run in runs]),
        "spent": average(spent, [run.id for run in runs], form=".1f") if spent else Value(text=""),
    }
    supernets = _supernets(runs)
    if not supernets:
        yield shared | {"supernet": Value(text="none")}
    for supernet, found in supernets.items():
        ids = [run.id for run, _ in found]
        signs = [one["signs_changed"] for _, one in found if _one_bit(one)]
        above = sum(one["above_chance"] for _, one in found)
        yield shared | {
            "supernet": Value(text=f"{supernet} ({found[0][1]['precision']})"),
            "signs": average(signs, ids) if signs else Value(text="real-valued"),
            "path": average([one["path_valid_accuracy"] for _, one in found], ids, form=".1f"),
            "above": Value(
                text=f"{above}/{len(found)}", kind="measured", number=above / len(found)
            ),
            **({"tau": _tau(found)} if "drawn_test_accuracies" in found[0][0].learned else {}),
        }


def _supernets(runs: Sequence[Run]) -> dict[str, list[tuple[Run, Mapping[str, Any]]]]:
    """By name, as the search's state has them."""
    found: dict[str, list[tuple[Run, Mapping[str, Any]]]] = {}
    for run in runs:
        for supernet, one in run.learned["supernets"].items():
            found.setdefault(supernet.removesuffix(".supernet"), []).append((run, one))
    return found


def _tau(found: Sequence[tuple[Run, Mapping[str, Any]]]) -> Value:
    """The mean rank correlation over supernets, each over the architectures that its record has drawn."""
    taus = []
    for run, supernet in found:
        pair = supernet.get("drawn_valid_accuracies"), run.learned.get("drawn_test_accuracies")
        tau = rank_correlation(*(known or [] for known in pair))
        if isinstance(tau, NotEnough):
            return missing(f"{run.id}: {tau.reason}")
        taus.append(tau)
    return average(
        taus, [run.id for run, _ in found], kind="computed", spread=True, least=-1, most=1
    )


def _one_bit(supernet: Mapping[str, Any]) -> bool:
    return supernet["precision"].startswith("W1") and supernet["signs_changed"] is not None


def unlearned(rows: Sequence[Row]) -> list[str]:
    """Which searches did not learn, and why one says so; or that all did."""
    words = []
    for row in rows:
        supernets = _supernets([run for run in row.runs if run.learned])
        for supernet, found in supernets.items():
            why = []
            signs = [one["signs_changed"] for _, one in found if _one_bit(one)]
            if signs and (mean := sum(signs) / len(signs)) < LEAST_SIGNS:
                why.append(
                    f"changed {mean:.2g} % of its signs, so that it ranks nearly random weights"
                )
            if below := [one for _, one in found if not one["above_chance"]]:
                why.append(
                    f"left a path that is not above chance at {len(below)} of {len(found)} seeds"
                )
            if why:
                words.append(f"{row.method} (its {supernet} {' and '.join(why)})")
    if words:
        return [f"Searches that did not learn: {'; '.join(words)}."]
    return [
        f"Every supernet changed at least {LEAST_SIGNS:g} % of its signs and left a path above chance."
    ]


def unspent(rows: Sequence[Row]) -> list[str]:
    """Which methods left more of their budget than an even comparison bears."""
    words = []
    for row in rows:
        known = [run.values["spent"] for run in row.runs]
        spent = [value for value in known if value is not None]
        if spent and (mean := sum(spent) / len(spent)) < LEAST_SPENT:
            words.append(f"{row.method} ({mean:.1f} %)")
    return [f"Under {LEAST_SPENT:g} % of the budget was spent by {', '.join(words)}."] * bool(words)
