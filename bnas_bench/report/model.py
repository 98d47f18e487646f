"""What a report consists of, before it is written in any form: tables of values, figures, runs.

Every value knows what it is (`measured`, `quoted`, ...) and from which runs it comes, so that no form
of the report can lose that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from bnas_bench.analysis.table import Table
from bnas_bench.report.answer import Answer


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure that has been written.

    Attributes:
        stem: its path without an ending, for svg, pdf and png.
        alt: what is to be seen, for who does not see it; else the title.
        plot: which of a page's own figures is drawn in its place, of the part that it is in.
        plotted: the caption of that.
    """

    name: str
    title: str
    caption: str
    stem: Path
    runs: Sequence[str] = ()
    alt: str = ""
    plot: str = ""
    plotted: str = ""


Shown = TypeVar("Shown", Table, Picture)


@dataclass(frozen=True, kw_only=True)
class RunView:
    """What a page shows of one run.

    Attributes:
        command: runs it again.
        config: all that its id is hashed from, as lines (`embed.fields`).
        record: the fields of the record that are not in `config`, as lines.
        log: the anytime log, thinned to what fits a page.
        architecture: one option per decision, as lines; empty if it found none.
        files: links to its files beside the page, by name, where they exist; a drawing of its
            architecture among them.
    """

    id: str
    status: str
    command: str
    config: Mapping[str, str] = field(default_factory=dict)
    record: Mapping[str, str] = field(default_factory=dict)
    log: Sequence[Mapping[str, Any]] = ()
    architecture: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Part:
    """A setting as the page tells it: its tables and pictures are among the report's as well.

    Attributes:
        title: short, where the report has several.
        circumstances: by name what all of its runs have in common, said once.
        budget: what its name stands for, as lines.
        said: texts of titles and captions that the page says once, and leaves out of them.
        tables: the comparison first; the others lie folded.
        pictures: without JavaScript; with it `plots` are drawn instead of them.
        plots: what the page's own figures are drawn from (`plots.plots`).
    """

    name: str
    title: str
    answer: Answer
    circumstances: Mapping[str, str]
    budget: Mapping[str, str]
    said: Sequence[str]
    tables: Sequence[Table]
    pictures: Sequence[Picture]
    plots: Mapping[str, Any] = field(default_factory=dict)

    def brief(self, shown: Shown) -> Shown:
        """A table or picture of this part without what the part says already."""
        title, caption = shown.title, shown.caption
        for text in self.said:
            title, caption = title.replace(text, ""), caption.replace(text, "")
        return replace(shown, title=title, caption=caption)


@dataclass(frozen=True, kw_only=True)
class Report:
    """All that a folder `reports/NAME` says.

    Attributes:
        facts: lines under the title: what was run, on what, what it does and does not prove.
        parts: how a page tells its settings; it shows apart what is in none.
        colours: of the methods in the parts' plots, by their places.
    """

    name: str
    title: str
    facts: Sequence[str]
    tables: Sequence[Table]
    pictures: Sequence[Picture] = ()
    runs: Sequence[RunView] = ()
    parts: Sequence[Part] = ()
    colours: Sequence[str] = ()
