"""A report's folder: written whole beside its place, and put there when all of it is done."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bnas_bench.analysis.table import Table
from bnas_bench.core.errors import BadValue
from bnas_bench.core.files import write_atomically, writing
from bnas_bench.report.latex import document, latex
from bnas_bench.report.model import Report
from bnas_bench.report.page import embedded, page
from bnas_bench.report.write import csv_text, markdown_report

OURS = ("index.html", "tables", "figures", "cells")
"""What stands in a report's folder, beside `report.*`, which LaTeX adds to."""


@contextmanager
def replaced(folder: Path | str) -> Iterator[Path]:
    """A new folder to write to, which takes the place of `folder` at the end; an error leaves that.

    So nothing of an earlier report is left between what is new.

    Raises:
        BadValue: if `folder` holds what no report has written.
        Unwritable: if it cannot be written.
    """
    folder = Path(folder).absolute()
    if folder.exists():
        if not folder.is_dir() or folder.is_symlink():
            raise BadValue(f"{folder} is no folder: name another one for the reports")
        names = sorted(entry.name for entry in folder.iterdir())
        if strange := [n for n in names if n not in OURS and not n.startswith("report.")]:
            raise BadValue(
                f"{folder} holds '{strange[0]}', which no report wrote: move it, or name another "
                "folder for the reports"
            )
    new, old = (folder.with_name(f".{folder.name}.{ending}") for ending in ("new", "old"))
    with writing(folder):
        _recover(folder, old)  # of a process that was killed in between
        for leftover in (new, old):
            shutil.rmtree(leftover, ignore_errors=True)
        new.mkdir(parents=True)
    try:
        yield new
        with writing(folder):
            if folder.exists():
                folder.rename(old)
            new.rename(folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)
        _recover(folder, old)
    shutil.rmtree(old, ignore_errors=True)


def _recover(folder: Path, old: Path) -> None:
    """Put an earlier report back that made place for a new one which never came."""
    if old.exists() and not folder.exists():
        old.rename(folder)


def write(report: Report, folder: Path) -> None:
    """Write all forms of a report whose figures are in `folder/figures`."""
    write_tables(report.tables, folder)
    write_texts(report, folder)
    write_page(report, folder, embedded(report.runs))


def write_page(report: Report, folder: Path, runs: Sequence[str]) -> None:
    """Write `index.html`, in which the figures lie and the `embedded` runs."""
    write_atomically(folder / "index.html", page(report, folder, runs).encode())


def write_texts(report: Report, folder: Path) -> None:
    """Write `report.md`, and `report.tex`, which inputs the tables' files."""
    write_atomically(folder / "report.md", markdown_report(report, folder).encode())
    write_atomically(folder / "report.tex", document(report, folder).encode())


def write_tables(tables: Iterable[Table], folder: Path) -> None:
    """Write `tables/NAME.tex` and `tables/NAME.csv`."""
    for table in tables:
        write_atomically(folder / "tables" / f"{table.name}.tex", latex(table).encode())
        write_atomically(folder / "tables" / f"{table.name}.csv", csv_text(table).encode())
