"""The figures of a report: what they show is settled first, and drawn on demand; and the cells found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import islice
from pathlib import Path

from matplotlib.figure import Figure

from bnas_bench.analysis.frame import Results, Row, Setting
from bnas_bench.analysis.searches import incumbents
from bnas_bench.analysis.stats import FEWEST_RUNS, NotEnough
from bnas_bench.core.architecture import Architecture
from bnas_bench.core.errors import BenchError
from bnas_bench.core.files import Unwritable
from bnas_bench.plugins import recorded
from bnas_bench.report import far, figures, plots
from bnas_bench.report.datasets import Family, difference_in_words
from bnas_bench.report.figures import Point
from bnas_bench.report.model import Picture
from bnas_bench.report.precisions import BothPrecisions, both_precisions
from bnas_bench.report.style import Look, Titles, looks, save
from bnas_bench.report.tables import circumstances
from bnas_bench.runs.store import Store

FIGURED = 4
"""Settings that have figures, those with most runs: each takes two seconds."""

FAMILIES = 2
"""Spaces and budgets that have figures over their datasets, likewise."""

PROFILED = 5
"""Runs of a method on a dataset from which on a profile of them says something."""

BEYOND = ("lies beyond the axis", "lie beyond the axis")
AT_THE_EDGE = ("stands at the axis' end, hollow", "stand at the axis' end, hollow")
"""What becomes of a run, and of several, far below the others: in files, and in a page."""


@dataclass(frozen=True)
class Pictures:
    """The figures of results.

    Attributes:
        folder: where the files go, as `NAME.svg`, `.pdf` and `.png`.
        slugs: the settings' names in files.
    """

    results: Results
    store: Store
    folder: Path
    slugs: Mapping[Setting, str]
    planned: list[tuple[Path, Callable[[], Figure]]] = field(default_factory=list)
    """What `draw` will draw, and where to."""

    def curves(self, rows: Sequence[Row]) -> Mapping[str, tuple[list[float], list[float]]]:
        """The incumbents of the searches that logged them, by run; a log is read once."""
        for row in rows:
            for run in row.runs:
                if run.id not in self._curves:
                    self._curves[run.id] = incumbents(self.store, run.id)
        found = ((run.id, self._curves[run.id]) for row in rows for run in row.runs)
        return {run: curve for run, curve in found if curve[0]}

    @cached_property
    def _curves(self) -> dict[str, tuple[list[float], list[float]]]:
        return {}

    @cached_property
    def looks(self) -> Mapping[str, Look]:
        """A method looks the same in all figures, and its variants as they do beside all others."""
        return looks(self.results.methods)

    def draw(self) -> None:
        """Draw and write what was planned."""
        for stem, make in self.planned:
            save(make(), stem)

    def plan(
        self, families: Sequence[Family]
    ) -> tuple[dict[Setting, list[Picture]], list[Picture]]:
        """The figures that `draw` will have written: of settings, and over datasets."""
        finished = {
            setting: compared
            for setting, rows in self.results.settings.items()
            if (compared := [row for row in rows if row.runs])
        }
        return (
            {s: self.of_setting(s, rows) for s, rows in islice(finished.items(), FIGURED)},
            [
                picture
                for family in families[:FAMILIES]
                for picture in (*self.profile(family), *self.difference(family))
            ],
        )

    def of_setting(self, setting: Setting, rows: Sequence[Row]) -> list[Picture]:
        """Those of a setting; `rows` have finished runs."""
        return [
            self.accuracy(setting, rows),
            self.cost(setting, rows),
            *self.regret(setting, rows),
            *self.ranks(setting, rows),
            *self.precisions(setting, rows),
            *self.anytime(setting, rows),
        ]

    def accuracy(self, setting: Setting, rows: Sequence[Row]) -> Picture:
        runs = {row.method: list(row.by_seed("test_accuracy").values()) for row in rows}
        titles = Titles(title=str(setting), x="test accuracy (%)")
        within = (far.edge(rows) or 0, 100)
        make = partial(figures.bars, runs, titles, within=within, known=self.looks)
        return self.picture(
            make,
            f"accuracy-{self.slugs[setting]}",
            f"Test accuracy on {setting}",
            f"{circumstances(setting, rows)}. Dots are seeds, marks their means with the 95 % t interval, "
            f"from three seeds on; the axis ends at {within[0]:g} and 100 %, where an interval may not."
            f"{far.said(rows, BEYOND)}",
            rows,
            alt=plots.accuracy_seen(rows),
            plot="accuracy",
            plotted="Means with their 95 % t interval, from three seeds on, cut off at 0 and 100 %; below "
            f"them the seeds.{far.said(rows, AT_THE_EDGE)}",
        )

    def cost(self, setting: Setting, rows: Sequence[Row]) -> Picture:
        points = {
            row.method: [
                Point(x=run.values["ops"] / 1e6, y=run.values["test_accuracy"])
                for run in row.runs
                if run.values["ops"] is not None and run.values["test_accuracy"] is not None
            ]
            for row in rows
        }
        titles = Titles(title=str(setting), x="OPs nas-bnn (M)", y="test accuracy (%)")
        begin = far.edge(rows)
        within = None if begin is None else (begin, 100)
        make = partial(figures.points, points, titles, front=True, within=within, known=self.looks)
        return self.picture(
            make,
            f"ops-{self.slugs[setting]}",
            f"Test accuracy and OPs on {setting}",
            f"{circumstances(setting, rows)}. One mark per run; OPs are counted, the line is the front of "
            f"all runs.{far.said(rows, BEYOND)}",
            rows,
            alt=plots.cost_seen(rows),
            plot="cost",
            plotted="Every run, and the means; the line is the front of the runs: none of at most their cost "
            f"is more accurate.{far.said(rows, AT_THE_EDGE)}",
        )

    def anytime(self, setting: Setting, rows: Sequence[Row]) -> Iterator[Picture]:
        curves, searches = self.curves(rows), {}
        for row in rows:
            if logs := [curves[run.id] for run in row.runs if run.id in curves]:
                searches[row.method] = logs
        if not searches:
            return
        titles = Titles(title=str(setting), x="search passes", y="validation accuracy (%)")
        make = partial(figures.curves, searches, titles, known=self.looks)
        shown = [row for row in rows if row.method in searches]
        caption = (
            f"{circumstances(setting, rows)}. Mean validation accuracy of the architecture that a search "
            f"would return, as the search itself estimates it; {figures.BAND}. Methods estimate by "
            "different means: read each curve by itself."
        )
        silent = [row.method for row in rows if row.method not in searches]
        unlogged = f" Without such a log: {', '.join(silent)}." if silent else ""
        name = f"anytime-{self.slugs[setting]}"
        yield self.picture(
            make,
            name,
            f"Searches over time on {setting}",
            caption + unlogged,
            shown,
            alt=plots.curves_seen(searches),
            plot="anytime",
            plotted=(
                "Validation accuracy of the architecture that a search would return, as the search itself "
                "estimates it: a line for each seed, those of the other methods in grey. Methods estimate by "
                f"different means: read each by itself.{unlogged}"
            ),
        )

    def regrets(self, rows: Sequence[Row]) -> dict[str, list[tuple[list[float], list[float]]]]:
        """By method the regrets of its searches' incumbents over passes, where a table knows them."""
        found = {}
        for row in rows:
            if any(run.values["regret"] is not None for run in row.runs):
                logs = [incumbents(self.store, run.id, "regret", 1) for run in row.runs]
                if logs := [log for log in logs if log[0]]:
                    found[row.method] = logs
        return found

    def regret(self, setting: Setting, rows: Sequence[Row]) -> Iterator[Picture]:
        if not (searches := self.regrets(rows)):
            return
        titles = Titles(title=str(setting), x="search passes", y="regret (points)")
        words = (
            "What the best of the table has more in test accuracy than the architecture that a search "
            "would return, mean over the seeds, where the table holds it; "
        )
        yield self.picture(
            partial(figures.curves, searches, titles, known=self.looks),
            f"regret-{self.slugs[setting]}",
            f"Regret over passes on {setting}",
            f"{circumstances(setting, rows)}. {words}{figures.BAND}.",
            [row for row in rows if row.method in searches],
            alt=plots.regret_seen(searches),
            plot="regret",
            plotted=f"{words}{figures.BAND}.",
        )

    def ranks(self, setting: Setting, rows: Sequence[Row]) -> Iterator[Picture]:
        found = {row.method: list(row.by_seed("percentile").values()) for row in rows}
        if not (found := {method: values for method, values in found.items() if values}):
            return
        titles = Titles(title=str(setting), x="worse in the table (%)")
        words = "How many of what the table holds are worse than what a search found, in per cent"
        both = self.both(rows)
        unsaid = (
            f" How they do real-valued is not shown: {both.reason}."
            if isinstance(both, NotEnough)
            else ""
        )
        yield self.picture(
            partial(figures.distribution, found, titles),
            f"ranks-{self.slugs[setting]}",
            f"Ranks of what was found on {setting}",
            f"{circumstances(setting, rows)}. {words}: dots are seeds; boxes their quartiles, diamonds "
            f"their mean, from {figures.FEWEST} seeds on.{unsaid}",
            [row for row in rows if row.method in found],
            alt=plots.ranks_seen(found),
            plot="ranks",
            plotted=f"{words}: a bar for every ten per cent, as high as the seeds that end there.{unsaid}",
        )

    def both(self, rows: Sequence[Row]) -> BothPrecisions | NotEnough | None:
        """What a table that judged them says of two precisions, asked once."""
        first = next(run for row in rows for run in row.ids)
        if first not in self._both:
            self._both[first] = both_precisions(rows, self.store)
        return self._both[first]

    @cached_property
    def _both(self) -> dict[str, BothPrecisions | NotEnough | None]:
        return {}

    def precisions(self, setting: Setting, rows: Sequence[Row]) -> Iterator[Picture]:
        both = self.both(rows)
        if not isinstance(both, BothPrecisions):
            return
        titles = Titles(title=str(setting), x="real-valued test accuracy (%)", y="at 1 bit (%)")
        caption = both.caption(rows)
        yield self.picture(
            partial(figures.points, both.points(rows), titles, known=self.looks, cloud=both.cloud),
            f"precisions-{self.slugs[setting]}",
            f"Real-valued and 1-bit test accuracy on {setting}",
            f"{circumstances(setting, rows)}. {caption}",
            rows,
            alt=both.seen(rows),
            plot="precisions",
            plotted=caption,
        )

    def profile(self, family: Family) -> Iterator[Picture]:
        rows = [row for by_dataset in family.complete.values() for row in by_dataset.values()]
        if len(family.datasets) < 2 or max((len(row.runs) for row in rows), default=0) < PROFILED:
            return  # of one dataset the figure of accuracies says it
        titles = Titles(title=str(family), x="test accuracy (%)", y="part of the runs above it")

        def make() -> Figure:
            return figures.lines(family.profiles(), titles, known=self.looks)

        caption = (
            f"Space {family.space}, budget {family.budget}, datasets {', '.join(family.datasets)}. The part "
            "of a method's runs whose test accuracy is above x, on average over the datasets; bands, from "
            f"{FEWEST_RUNS} runs of each on, are 95 % bootstrap intervals, point by point."
        )
        name = f"profile-{self.slug(family)}"
        yield self.picture(make, name, f"Performance profiles on {family}", caption, rows)

    def difference(self, family: Family) -> Iterator[Picture]:
        found = family.critical()
        if isinstance(found, NotEnough):
            return
        rows = [row for by_dataset in family.complete.values() for row in by_dataset.values()]
        make = partial(
            figures.critical,
            found,
            Titles(title=str(family), x="average rank"),
            known=self.looks,
        )
        yield self.picture(
            make,
            f"critical-{self.slug(family)}",
            f"Critical difference on {family}",
            f"{difference_in_words(family, found)} Bars join methods between which no difference was found.",
            rows,
        )

    def slug(self, family: Family) -> str:
        """That of its first setting, which no other family has."""
        return self.slugs[Setting(family.space, family.datasets[0], family.budget)]

    def picture(
        self,
        make: Callable[[], Figure],
        name: str,
        title: str,
        caption: str,
        rows: Sequence[Row],
        **shown: str,
    ) -> Picture:
        self.planned.append((self.folder / name, make))
        return Picture(
            name=name,
            title=title,
            caption=caption,
            stem=self.folder / name,
            runs=[run for row in rows for run in row.ids],
            **shown,
        )


def draw_cells(rows: Iterable[Row], store: Store, folder: Path) -> None:
    """Draw the architecture of each row's median run, as `ID.svg`.

    What cannot be drawn is left out: its space may be gone, or have changed since.

    Raises:
        Unwritable: if the folder takes no files.
    """
    for row in rows:
        run = plots.median(row)
        try:
            if record := store.read(run.id):
                space = recorded.space(record["space"], record["space_options"])
                arch = Architecture.from_json(record["architecture"])
                space.check(arch)
                space.draw(arch, folder / f"{run.id}.svg")
        except (BenchError, KeyError, TypeError, ValueError):
            continue
        except OSError as error:
            raise Unwritable(folder, error) from error
