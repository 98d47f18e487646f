"""The networks of a setting compared on the same test images: a number beside the comparison of methods."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bnas_bench.analysis.frame import Row, Setting
from bnas_bench.analysis.predictions import Right, right
from bnas_bench.analysis.stats import POWER, Contrast, Estimate, NotEnough, by_image, holm
from bnas_bench.analysis.table import Column, Table, Value, missing
from bnas_bench.report.contrasts import RANDOM, lacking
from bnas_bench.report.tables import METHOD, circumstances
from bnas_bench.report.values import estimate, p_value
from bnas_bench.report.verdict import contenders
from bnas_bench.runs.store import Store

COLUMNS = {
    "networks": "networks",
    "difference": "difference over images (points)",
    "p": "p over images",
    "holm": "p over images (Holm)",
    "detectable": "least difference that shows (points)",
}


def images_table(setting: Setting, rows: Sequence[Row], name: str, store: Store) -> Table | None:
    """Every method's networks against those of `random`; None where no record has predictions."""
    base = next((row for row in rows if row.method == RANDOM and row.runs), None)
    others = [row for row in contenders(rows) if row is not base]
    if base is None or not others or not any(run.predicted for row in rows for run in row.runs):
        return None
    known = right(store, base)
    found = {row.method: _contrast(row, base, known, store) for row in others}
    adjusted = holm({name: c if isinstance(c, NotEnough) else c.p for name, c in found.items()})
    images = next((run.test_images for run in base.runs), 0)
    return Table(
        name=name,
        title=f"These networks compared image by image on {setting}",
        caption=(
            f"{circumstances(setting, rows)}. The accuracy of all networks of a method minus that of all of "
            f"random's, paired by image: for each of {images:,} test images the shares that are right are "
            "subtracted; mean [95 % t interval over the images] and p, Holm's correction for "
            f"{len(others)} comparisons, and the least difference that these images show with a chance of "
            f"{100 * POWER:g} %, before it. It says what other test images could change, and holds for the "
            "networks that were trained: it tells these apart, not the methods, whose other seeds find and "
            "train others. Whether methods differ, the table against random says."
        ),
        columns=[METHOD, *(Column(key=key, title=title) for key, title in COLUMNS.items())],
        rows=[
            {"method": Value(text=row.method)}
            | _values(found[row.method], adjusted[row.method], row, base)
            for row in others
        ],
    )


def _contrast(row: Row, base: Row, known: Right | NotEnough, store: Store) -> Contrast | NotEnough:
    if why := lacking(row, base):
        return why
    if isinstance(known, NotEnough):
        return known
    own = right(store, row)
    if isinstance(own, NotEnough):
        return own
    if not np.array_equal(own.labels, known.labels):
        return NotEnough(f"{row.method} and {base.method} saw other test images")
    return by_image(own.shares, known.shares)


def _values(
    found: Contrast | NotEnough, adjusted: float | NotEnough, row: Row, base: Row
) -> dict[str, Value]:
    if isinstance(found, NotEnough):
        return {key: missing(found.reason) for key in COLUMNS}
    ids = [*row.ids, *base.ids]
    least = found.detectable()
    n, m = (sum(max(1, len(run.trainings)) for run in side.runs) for side in (row, base))
    return {
        "networks": Value(text=f"{n} and {m}", number=n, runs=ids),
        "difference": estimate(
            Estimate(found.difference, found.interval), ids, len(ids), "+.2f", kind="measured"
        ),
        "p": p_value(found.p, ids, len(ids)),
        "holm": p_value(adjusted, ids, len(ids)),
        "detectable": missing(least.reason)
        if isinstance(least, NotEnough)
        else Value(text=f"{least:.2f}", kind="computed", number=least, n=len(ids), runs=ids),
    }
