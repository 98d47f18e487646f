"""Drawings of the architectures that searches found."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bnas_bench.analysis.frame import Row, Run
from bnas_bench.core.architecture import Architecture
from bnas_bench.core.errors import BenchError
from bnas_bench.core.files import Unwritable
from bnas_bench.plugins import recorded
from bnas_bench.runs.store import Store


def draw_cells(rows: Iterable[Row], store: Store, folder: Path) -> None:
    """Draw the architecture of each row's median run, as `ID.svg`.

    What cannot be drawn is left out: its space may be gone, or have changed since.

    Raises:
        Unwritable: if the folder takes no files.
    """
    for row in rows:
        run = median(row)
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


def median(row: Row) -> Run:
    """The run whose test accuracy is the median of the row's; of an even number the lower one."""
    ordered = sorted(row.runs, key=lambda run: (run.values["test_accuracy"] or 0.0, run.seed))
    return ordered[(len(ordered) - 1) // 2]
