"""How far a running trial is, for whoever watches it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from bnas_bench.runs.record import Record

if TYPE_CHECKING:
    from bnas_bench.search.meter import Meter


Kind = Literal[
    "started",
    "progress",
    "finished",
    "failed",
    "skipped",
    "busy",
    "preempted",
    "note",
    "missing",
    "broken",
    "lost",
    "stop",
]


@dataclass(frozen=True)
class Event:
    """Something that happened to a trial.

    Attributes:
        kind: `started`; `progress`; `finished` (its record is `ok` or `refused`); `failed` (without
            a record where the dataset is missing: the same command tries it again); `skipped` (it
            was over before, perhaps failed); `busy` (another process is in it); `preempted` (it saved
            and ended, as its command was asked to: the same command goes on with it); `note` (a remark).
            The trial's own process also says `missing` (data), `broken` (what ended it), `lost`
            (a rank of it is gone) and `stop` (everything), which nobody else hears.
        text: one line on it.
        phase, done: of a `progress`: what goes on, and which part of it is behind.
        curve: passes and validation accuracy (0 to 1) of the search's incumbents; empty where they are
            as they were.
    """

    trial_id: str
    kind: Kind
    text: str = ""
    record: Record | None = None
    phase: str = ""
    done: float = 0.0
    curve: Sequence[tuple[float, float]] = ()


class Progress:
    """The phase of a trial and the part of it that is done; another thread may read it at any time.

    Args:
        say: takes one-sentence remarks for the user.
    """

    def __init__(self, say: Callable[[str], None] = lambda _: None) -> None:
        self.say = say
        self.phase = "start"
        self.done = 0.0
        self._meter: Meter | None = None

    def enter(self, phase: str, meter: Meter | None = None) -> None:
        """Begin a phase; with a meter, it is the meter that knows how much of it is done."""
        self.phase, self.done, self._meter = phase, 0.0, meter

    def advance(self, done: float) -> None:
        self.done = done

    def snapshot(self) -> tuple[str, float, str]:
        """The phase (`search`, `train`, ...), the part of it that is done, and a line on it."""
        meter = self._meter
        if meter is None:
            return self.phase, self.done, ""
        of = "" if meter.passes is None else f" of {meter.passes:,}"
        line = f"{meter.spent:,.0f}{of} passes"
        best = next((entry for entry in reversed(meter.log) if "incumbent" in entry), None)
        return self.phase, meter.progress, f"{line}; {_incumbent(best)}" if best else line

    def curve(self) -> list[tuple[float, float]]:
        """Passes and validation accuracy of the incumbents so far, where the search tells them."""
        return curve(self._meter.log if self._meter else [])


def curve(log: Iterable[Mapping[str, Any]]) -> list[tuple[float, float]]:
    """Passes and validation accuracy of the incumbents in a search's log."""
    return [
        (float(entry["passes"]), float(entry[key]))
        for entry in list(log)
        if "incumbent" in entry
        for key in ("valid", "path_valid")
        if key in entry
    ]


def _incumbent(entry: Mapping[str, Any]) -> str:
    facts = [
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in entry.items()
        if name not in ("passes", "seconds", "choices")
    ]
    return ", ".join(facts)
