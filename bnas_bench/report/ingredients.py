"""What an ingredient of a method is worth: each variant beside the method with its defaults."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from bnas_bench.analysis.frame import Row, Setting
from bnas_bench.analysis.stats import POWER
from bnas_bench.analysis.table import Column, Table, Value, missing
from bnas_bench.report.contrasts import CONTRASTED, PAIRED, RANDOM, WELCH, Told, tested, told
from bnas_bench.report.tables import METHOD, circumstances, warnings
from bnas_bench.report.verdict import MARGIN, contenders


def told_from_defaults(rows: Sequence[Row]) -> Told | None:
    """The t tests of all variants against the method with its defaults; None where there is none.

    Variants of `random` are methods of their own, which the table against it has.
    """
    plain = {row.method: row for row in rows if row.runs and "[" not in row.method}
    bases = {
        row.method: base
        for row in contenders(rows)
        if (base := plain.get(row.method.partition("[")[0])) not in (None, row)
        and base.method != RANDOM
    }
    return told(bases, [row for row in rows if row.method in bases]) if bases else None


def ingredients_table(setting: Setting, rows: Sequence[Row], name: str) -> Table | None:
    """Every variant of a method minus the method itself; None where there is none."""
    found = told_from_defaults(rows)
    if found is None:
        return None
    columns = [Column(key=key, title=title) for key, title in CONTRASTED.items()]
    seconds = Column(key="seconds", title="search time (times)", better="lower")
    return Table(
        name=name,
        title=f"What ingredients are worth on {setting}",
        caption=(
            f"{circumstances(setting, rows)}. Test accuracy minus that of the same method with its "
            "defaults, so that an ingredient which is worth something shows as a loss where it is left out: "
            f"mean [95 % t interval] and p, {PAIRED if found.pair else WELCH}; p of the exact rank-sum "
            "test, and the least that it can give for these n and ties; Holm's corrections are for "
            f"{len(found.others)} comparisons. Two one-sided tests: below 0.05 the difference is shown to "
            f"be less than {MARGIN:g} point. The least difference that such runs show with a chance of "
            f"{100 * POWER:g} %, before a correction. The mean time of the searches, in times of the "
            "method's own."
        ),
        columns=[METHOD, *columns, seconds],
        rows=[
            line | {"seconds": _times(row, found.bases[row.method])}
            for row, line in zip(found.others, tested(found), strict=True)
        ],
        notes=warnings(rows),
    )


def _times(row: Row, base: Row) -> Value:
    """How many times as long the searches of a variant take."""
    mine, its = (side.by_seed("search_seconds") for side in (row, base))
    if not (mine and its and fmean(its.values())):
        return missing("no times of searches")
    ratio = fmean(mine.values()) / fmean(its.values())
    ids = [*row.ids, *base.ids]
    return Value(text=f"{ratio:.2f}", kind="computed", number=ratio, n=len(ids), runs=ids)
