"""A table that can be asked: what an architecture reaches, how it ranks, how far answers can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pandas import DataFrame

import bnas_bench
from bnas_bench.core.architecture import Architecture
from bnas_bench.core.budget import PRECISIONS
from bnas_bench.core.errors import BadValue, UnknownName
from bnas_bench.core.files import kind_of
from bnas_bench.core.searching import shut_to_searches
from bnas_bench.plugins import recorded
from bnas_bench.search.space import SearchSpace
from bnas_bench.tables import latencies, parquet
from bnas_bench.tables.contents import Contents, epochs
from bnas_bench.tables.definition import Definition, text
from bnas_bench.tables.entry import Columns, Entry, valid_accuracies
from bnas_bench.tables.latencies import Latencies
from bnas_bench.tables.reliability import FEWEST, count_of_best, reliability
from bnas_bench.tables.store import TableStore

TIMED = "W1A1"
"""The precision of the networks whose latencies are measured."""

if TYPE_CHECKING:
    from bnas_bench.data.datasets import Dataset

COMMITTED = Path(bnas_bench.__file__).parent.parent / "tables"
"""Where a checkout has its tables; a wheel has none."""

UNITS = {
    **dict.fromkeys(("test_accuracy", "valid_accuracy"), "%"),
    **dict.fromkeys(("mean_accuracy", "best_accuracy", "sd_between", "sd_seeds"), "%"),
    "ops": "operations",
    "bytes": "bytes",
    **dict.fromkeys(("seconds", "core_seconds"), "s"),
    "latency_ms": "ms",
}


class GroundTruth:
    """A table of trainings, by architecture and precision.

    An architecture is given as itself or as a text of the space's; whichever member of its class it is, the
    canonical one answers. Ranks are among the different functions that the table holds at a precision.

    Args:
        name: of the table, in errors.
        latencies: of its networks at W1A1, if they were measured.
    """

    def __init__(self, contents: Contents, name: str, latencies: Latencies | None = None) -> None:
        shut_to_searches(f"the table {name}")
        self.contents, self.name, self.latencies = contents, name, latencies
        held = contents.trainings["precision"]
        self._columns = {
            precision: Columns(
                contents.trainings[held == precision],
                contents.definition,
                latencies if precision == TIMED else None,
            )
            for precision in PRECISIONS
            if (held == precision).any()
        }
        self._texts: dict[Architecture | str, str] = {}

    @property
    def definition(self) -> Definition:
        """How every network was trained."""
        return self.contents.definition

    @property
    def datasheet(self) -> dict[str, Any]:
        """What the table is: its definition, how far it is, by what it was made and when."""
        if self.latencies is None:
            return self.contents.datasheet
        return self.contents.datasheet | {"latency": self.latencies.datasheet}

    @property
    def precisions(self) -> Sequence[str]:
        """Those that it has trainings of."""
        return list(self._columns)

    @cached_property
    def space(self) -> SearchSpace:
        """The space of its architectures, one that is known: no file that the table names is run."""
        return recorded.written(self.definition.space)

    def query(self, arch: Architecture | str, precision: str = "W1A1") -> Entry:
        """What an architecture reaches.

        Raises:
            InvalidArchitecture: if it does not parse, or does not fit the space.
            UnknownName: if the table has nothing at that precision.
            BadValue: if it has not this architecture.
        """
        columns = self._at(precision)
        return columns.entry(self._place(arch, precision), precision)

    def best(self, precision: str = "W1A1") -> Entry:
        """The architecture of the highest mean test accuracy; of equal ones the first of the table."""
        columns = self._at(precision)
        return columns.entry(int(columns.mean_N.argmax()), precision)

    def rank(self, arch: Architecture | str, precision: str = "W1A1") -> int:
        """1 for the best by mean test accuracy; equal ones share the first of their ranks."""
        columns, mean = self._at(precision), self.query(arch, precision).mean
        return 1 + len(columns.mean_N) - int(columns.sorted_N.searchsorted(mean, "right"))

    def percentile(self, arch: Architecture | str, precision: str = "W1A1") -> float:
        """How many of the others have a lower mean test accuracy, in %; equal ones count half.

        The best has 100, the worst 0; one that is alone has nan.
        """
        return self.percentile_of(self.query(arch, precision).mean, precision, held=True)

    def percentile_of(self, mean: float, precision: str, *, held: bool) -> float:
        """The same of a mean test accuracy.

        Args:
            held: whether it is that of an architecture of the table, which is none of the others.
        """
        columns = self._at(precision)
        lower, others = columns.sorted_N.searchsorted(mean), len(columns.mean_N) - held
        equal = columns.sorted_N.searchsorted(mean, "right") - lower - held
        return 100.0 * float(lower + equal / 2) / others if others else float("nan")

    def holds(self, arch: Architecture | str, precision: str = "W1A1") -> bool:
        """Whether `query` has an answer."""
        return self._known(arch) in self._at(precision).places

    def texts(self, precision: str = "W1A1") -> Sequence[str]:
        """The architectures that it has at a precision, in its order."""
        return self._at(precision).texts

    def count(self, precision: str = "W1A1") -> int:
        """Architectures that it has at a precision."""
        return len(self._at(precision).texts)

    def check_images(self, dataset: Dataset, otherwise: str = "") -> None:
        """Raise BadValue unless a dataset's images are those that the table is of.

        Args:
            otherwise: what to do instead of fetching those, for the sentence.
        """
        if dataset.fingerprint != (wanted := self.definition.fingerprint):
            raise BadValue(
                f"the images of {dataset.name} are others ({dataset.fingerprint}) than those of the table "
                f"{self.name} ({wanted}): {otherwise}fetch those that it is of"
            )

    def drawn(
        self, number: int, rng: np.random.Generator, precision: str = "W1A1"
    ) -> dict[Architecture, float]:
        """So many of the architectures that it holds, or all of them, and their mean test accuracies in %."""
        columns = self._at(precision)
        places = rng.permutation(len(columns.texts))[:number]
        return {self.space.parse(columns.texts[p]): float(columns.mean_N[p]) for p in places}

    def frame(self, *, curves: bool = False) -> DataFrame:
        """All trainings, a row each; `frame.attrs["units"]` has the columns' units.

        Args:
            curves: give a row per training and epoch instead, with validation accuracy and loss.
        """
        how, held = self.definition, self.contents.trainings
        names = [*("arch", "precision", "seed"), *("ops", "parameters", "bytes", "seconds")]
        if curves:
            per_epoch = (len(held), how.epochs)
            found = held.loc[held.index.repeat(how.epochs), names[:3]].reset_index(drop=True)
            found["epoch"] = np.tile(np.arange(1, how.epochs + 1), len(held))
            found["valid_accuracy"] = valid_accuracies(held, how).reshape(per_epoch).ravel()
            found["loss"] = held[epochs("loss", how)].to_numpy().ravel()
        else:
            found = held[names].copy()
            found.insert(3, "test_accuracy", 100.0 * held["test_hits"] / how.test_images)
            found.insert(4, "valid_accuracy", valid_accuracies(held, how)[:, -1])
            if self.latencies is not None:
                times = self.latencies.times.set_index("arch")["latency_ms"]
                at_one_bit = held["precision"] == TIMED
                found["latency_ms"] = held["arch"].map(times).where(at_one_bit)
        found.attrs["units"] = {name: unit for name, unit in UNITS.items() if name in found}
        return found

    def reliability(self, top: float = 0.25) -> DataFrame:
        """How well the mean test accuracies tell architectures apart: a row per precision and part.

        Parts are all architectures and the best share of them. Columns: those of
        `bnas_bench.tables.reliability.Reliability`, the part's mean accuracy and its best architecture's, and
        the seconds that the CPU spent on a training. A part of fewer than 8 architectures is left out.

        Raises:
            BadValue: if the table has a single seed, or no such part.
        """
        rows = []
        for precision, columns in self._columns.items():
            for share in (1.0, top):
                count = count_of_best(len(columns.mean_N), share)
                if count < FEWEST:
                    continue
                best_N = columns.sorted_N[-count:]
                found = asdict(reliability(columns.test_NS, share))
                rows.append(
                    {"precision": precision, "part": _part(share)}
                    | found
                    | {"mean_accuracy": best_N.mean(), "best_accuracy": best_N[-1]}
                    | {"core_seconds": columns.seconds_N.mean() / self.definition.seeds}
                )
        if not rows:
            raise BadValue(
                f"the table {self.name} has fewer than {FEWEST} architectures and tells nothing of "
                "reliability: bnas-bench tabulate trains more"
            )
        frame = DataFrame(rows)
        frame.attrs["units"] = {name: unit for name, unit in UNITS.items() if name in frame}
        return frame

    def at_both(self, precision: str, other: str) -> tuple[list[str], np.ndarray, np.ndarray]:
        """What it has at two precisions: the architectures, and their test accuracies in %.

        Returns:
            the architectures' texts in the table's order, and twice shape (architectures, seeds).

        Raises:
            UnknownName: if it has nothing at one of them.
        """
        first, second = self._at(precision), self._at(other)
        common = [arch for arch in first.texts if arch in second.places]
        values = (
            columns.test_NS[[columns.places[arch] for arch in common]]
            for columns in (first, second)
        )
        return common, *values

    def write(self, path: Path | str) -> Path:
        """Write the table as one Parquet file, which `bb.table` reads.

        Raises:
            BadValue: if the file does not end in `.parquet`.
            Unwritable: if it cannot be written; then it is as it was before.
        """
        parquet.write(self.contents, path := Path(path))
        return path

    def __repr__(self) -> str:
        held = ", ".join(f"{len(c.mean_N):,} at {p}" for p, c in self._columns.items()) or "none"
        how = self.definition
        return (
            f"<table of {how.space} on {how.dataset}: {held} of {self.contents.architectures:,} "
            f"architectures, {how.seeds} seeds>"
        )

    def _at(self, precision: str) -> Columns:
        try:
            return self._columns[precision]
        except KeyError:
            if not self._columns:
                raise BadValue(
                    f"the table {self.name} is empty: bnas-bench tabulate fills it"
                ) from None
            kind = f"precision of the table {self.name}"
            raise UnknownName(kind, precision, self._columns) from None

    def _place(self, arch: Architecture | str, precision: str) -> int:
        """The architecture's place in the columns of a precision."""
        found, columns = self._known(arch), self._columns[precision]
        if found not in columns.places:
            raise BadValue(
                f"the table {self.name} holds {len(columns.places):,} of {self.contents.architectures:,} "
                f"architectures at {precision}, and not {found}: bnas-bench tabulate trains more"
            )
        return columns.places[found]

    def _known(self, arch: Architecture | str) -> str:
        """The same as `_text`, found once."""
        if arch not in self._texts:
            self._texts[arch] = self._text(arch)
        return self._texts[arch]

    def _text(self, arch: Architecture | str) -> str:
        """The text of an architecture's canonical form; one that the table holds is canonical."""
        member = self.space.parse(arch) if isinstance(arch, str) else arch
        self.space.check(member)
        found = text(self.space, member)
        if any(found in columns.places for columns in self._columns.values()):
            return found
        return text(self.space, self.space.canonical(member))


def load(name: str | Path) -> GroundTruth:
    """The table of that name, or at that path: a file, or a folder that `tabulate` fills.

    Raises:
        UnknownName, BadValue: if there is none.
        Damaged: if it is truncated, altered, or no table.
    """
    if isinstance(name, str) and Path(name).name == name and not name.endswith(parquet.ENDING):
        return _of_file(_committed(name), name)
    path = Path(name)
    if kind_of(path) == "folder":
        return GroundTruth(Contents.of(TableStore(path)), str(path))
    return _of_file(path, str(path))


def _of_file(path: Path, name: str) -> GroundTruth:
    contents = parquet.read(path)
    return GroundTruth(contents, name, latencies.of_table(path, contents.definition.digest))


def _committed(name: str) -> Path:
    files = {path.stem: path for path in COMMITTED.glob(f"*{parquet.ENDING}")}
    if not files:
        raise BadValue(
            f"there is no table '{name}': tables with names lie in a checkout's tables/, and here are none; "
            "give the path of a file, or of a folder that tabulate fills, as results/tables/NAME"
        )
    if name not in files:
        raise UnknownName("table", name, files)
    return files[name]


def _part(share: float) -> str:
    return "all" if share == 1 else f"best {100 * share:g} %"
