"""What more seeds of a comparison could show: a table for planning them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bnas_bench.analysis.frame import Results, Row, Setting
from bnas_bench.analysis.stats import POWER, NotEnough, detectable, seeds_needed
from bnas_bench.analysis.table import Column, Table, Value, missing
from bnas_bench.report.verdict import contenders, spread

SEEDS = (3, 5, 10, 20, 50, 100)


def power_tables(results: Results, differences: Sequence[float]) -> list[Table]:
    """For every setting the least differences that so many seeds show, and the seeds of some.

    Args:
        differences: in points of accuracy, above 0.

    Raises:
        BadValue: if one is not.
    """
    return [_table(setting, rows, differences) for setting, rows in results.settings.items()]


def _table(setting: Setting, rows: Sequence[Row], differences: Sequence[float]) -> Table:
    compared = contenders(rows)
    others, pairs = len(compared) - 1, len(compared) * (len(compared) - 1) // 2
    sd = spread(compared)
    columns = {
        "one": ("of two named before", 1),
        "others": (f"of {others} from random", others),
        "pairs": (f"of all {pairs} pairs", pairs),
    }
    shown = {key: of for key, of in columns.items() if key == "one" or of[1] > 1}
    return Table(
        name="power",
        title=f"What seeds could show on {setting}",
        caption=(
            "no two runs of one method: its spread is not known, and nothing can be planned"
            if sd is None
            else f"Standard deviation over the seeds of a method: {sd:.2f} points, pooled over "
            f"{sum(len(row.runs) > 1 for row in compared)} methods as they are here. A difference between "
            f"two methods shows with a chance of {100 * POWER:g} % (two-sided t test at 5 %, after Holm's "
            "correction for the number of comparisons, in its first step). Where n is given, the least "
            "difference in points; where a difference is, the seeds of each method."
        ),
        columns=[
            Column(key="plan", title="", numeric=False),
            *(Column(key=key, title=title) for key, (title, _) in shown.items()),
        ],
        rows=[] if sd is None else list(_lines(sd, shown, differences)),
    )


def _lines(
    sd: float, columns: Mapping[str, tuple[str, int]], differences: Sequence[float]
) -> Iterator[dict[str, Value]]:
    for n in SEEDS:
        found = {key: detectable(sd, n, times) for key, (_, times) in columns.items()}
        yield {"plan": Value(text=f"{n} seeds")} | {
            key: Value(text=f"{x:.2f} points", kind="computed", number=x)
            for key, x in found.items()
        }
    for difference in differences:
        seeds = {key: seeds_needed(sd, difference, times) for key, (_, times) in columns.items()}
        yield {"plan": Value(text=f"{difference:g} point{'s' * (difference != 1)}")} | {
            key: missing(n.reason)
            if isinstance(n, NotEnough)
            else Value(text=f"{n:,} seeds", kind="computed", number=n)
            for key, n in seeds.items()
        }
