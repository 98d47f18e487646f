"""Where results lie: `results/NAME`, and what may be such a name."""

from __future__ import annotations

from pathlib import Path

from bnas_bench.core.errors import BadValue, UnknownName
from bnas_bench.runs.seen import PLANNED
from bnas_bench.runs.store import Store
from bnas_bench.transfer.record import FOLDER

LONGEST_NAME = 200
"""Bytes of a name: file systems take 255, and other endings are put to it."""


def check_name(name: str) -> str:
    """The name itself, if it becomes one folder of the results and leads nowhere else.

    Raises:
        BadValue: if it does not.
    """
    if name.startswith((".", "-")) or not name.isprintable() or set(name) & set("/\\"):
        raise BadValue(
            f"'{name}' names no results: it becomes one folder in --results, so write a word "
            "that has no '/' and begins with no '.' or '-'"
        )
    if len(name.encode()) > LONGEST_NAME or not name:
        raise BadValue(f"a name of results has 1 to {LONGEST_NAME} bytes, not {len(name.encode())}")
    return name


def named(name: str, results: Path | str = "results") -> Store:
    """The results of that name; it may also be written `results/NAME`.

    Raises:
        UnknownName: if there are none of that name.
        BadValue: if there are none at all.
    """
    if len((path := Path(name)).parts) > 1:
        results, name = path.parent, path.name
    folder = Path(results)
    known = {path.parent.name for path in folder.glob("*/trials") if Store(path.parent).ids()}
    known |= {path.parent.name for path in folder.glob(f"*/{PLANNED}")}
    known |= {path.parent.parent.name for path in folder.glob(f"*/{FOLDER}/*.json")}
    if not known:
        raise BadValue(f"there are no results in {folder}/: bnas-bench run makes some")
    if name not in known:
        raise UnknownName(f"name in {folder}/", name, known)
    return Store(folder / name)
