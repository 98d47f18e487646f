"""What a report consists of, before it is written in any form: tables of values, figures, runs.

Every value knows what it is (`measured`, `quoted`, ...) and from which runs it comes, so that no form
of the report can lose that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bnas_bench.analysis.table import Table


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure that has been written; `stem` is its path without an ending, for svg, pdf and png."""

    name: str
    title: str
    caption: str
    stem: Path
    runs: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class RunView:
    """What a page shows of one run.

    Attributes:
        command: runs it again.
        config: all that its id is hashed from, as lines (`embed.fields`).
        record: the fields of the record that are not in `config`, as lines.
        log: the anytime log, thinned to what fits a page.
        architecture: one option per decision, as lines; empty if it found none.
        files: links to its files beside the page, by name, where they exist.
    """

    id: str
    status: str
    command: str
    config: Mapping[str, str] = field(default_factory=dict)
    record: Mapping[str, str] = field(default_factory=dict)
    log: Sequence[Mapping[str, Any]] = ()
    architecture: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    drawing: str = ""
    """The cell as SVG, where it was drawn; empty elsewhere."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """All that a folder `reports/NAME` says.

    Attributes:
        facts: lines under the title: what was run, on what, what it does and does not prove.
    """

    name: str
    title: str
    facts: Sequence[str]
    tables: Sequence[Table]
    pictures: Sequence[Picture] = ()
    runs: Sequence[RunView] = ()
