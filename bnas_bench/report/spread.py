"""Where the spread of accuracies comes from, where every search was trained several times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bnas_bench.analysis.frame import Row, Setting
from bnas_bench.analysis.predictions import right
from bnas_bench.analysis.stats import NotEnough, components, images_component
from bnas_bench.analysis.table import Column, Table, Value, missing
from bnas_bench.report.contrasts import lacking
from bnas_bench.report.tables import METHOD, circumstances
from bnas_bench.report.values import estimate
from bnas_bench.runs.store import Store

COLUMNS = (
    METHOD,
    Column(key="searches", title="searches"),
    Column(key="trainings", title="trainings of each"),
    Column(key="search", title="sd of searches (points)"),
    Column(key="training", title="sd of trainings (points)"),
    Column(key="images", title="sd of the test images (points)"),
)


def spread_table(setting: Setting, rows: Sequence[Row], name: str, store: Store) -> Table | None:
    """A line per method whose searches were trained several times; None where none was."""
    several = [row for row in rows if row.runs and all(run.trainings for run in row.runs)]
    if not several:
        return None
    return Table(
        name=name,
        title=f"Where the spread comes from on {setting}",
        caption=(
            f"{circumstances(setting, rows)}. Standard deviations [95 % intervals] of the test accuracy: "
            "between searches, when the chance of training is taken off; between trainings of one "
            "architecture (analysis of variance; intervals of Williams and of chi-squared, for normal "
            "values: with a long tail of bad runs they hold less often, docs/statistics.md); and what "
            "other test images in such a number would change for all networks alike, from the predictions "
            "(normal over the images). An accuracy elsewhere in this report is the mean over the trainings "
            "of one search, and n counts searches: trainings make its error smaller, not n larger."
        ),
        columns=COLUMNS,
        rows=[{"method": Value(text=row.method), **dict(_values(row, store))} for row in several],
    )


def _values(row: Row, store: Store) -> Iterator[tuple[str, Value]]:
    ids, n = row.ids, len(row.runs)
    trainings = sorted({len(run.trainings) for run in row.runs})
    yield "searches", Value(text=str(n), number=n, runs=ids)
    yield "trainings", Value(text="/".join(map(str, trainings)), number=trainings[0], runs=ids)
    if not (why := lacking(row)) and len(trainings) > 1:
        why = NotEnough("the searches have not equally many trainings")
    if why:
        for key in ("search", "training", "images"):
            yield key, missing(why.reason)
        return
    found, known = components([run.trainings for run in row.runs]), right(store, row)
    yield "search", estimate(found.search, ids, n)
    yield "training", estimate(found.training, ids, n)
    images = known if isinstance(known, NotEnough) else images_component(known.networks)
    yield "images", estimate(images, ids, n)
