"""What every method does on every space."""

from __future__ import annotations

import math
import tempfile
from contextlib import suppress
from pathlib import Path

from bnas_bench.plugins.checks.contract import globals_unused, require
from bnas_bench.plugins.checks.rehearsal import Killed, Outcome, Rehearsal
from bnas_bench.search.checkpoint import Checkpoint

KILLS = (0.25, 0.6)
"""When the first and the second run are killed, in forward passes of the undisturbed search."""


def check_search(rehearsal: Rehearsal) -> None:
    """A search returns a SearchResult whose architectures the space accepts, and plain numbers."""
    assert rehearsal.outcome.result


def check_budget(rehearsal: Rehearsal) -> None:
    """A search spends at least half of its budget, or says in the note `unspent` why not."""
    spent, passes = rehearsal.outcome.spent, rehearsal.passes
    assert spent <= passes, "the meter stops a search that goes further"
    require(
        spent >= passes / 2 or bool(rehearsal.outcome.result.notes.get("unspent")),
        f"the search spent {spent:.0f} of {passes} passes; "
        "let it use them, or give the reason in the note 'unspent'",
    )


def check_charged(rehearsal: Rehearsal) -> None:
    """A search computes with networks in passes alone, which its meter is told of."""
    unheard, strays = rehearsal.whole.unheard, rehearsal.whole.strays
    require(
        not unheard,
        f"{unheard} images went through networks while the meter was not listening; "
        "let every pass be counted",
    )
    require(
        not strays,
        f"the search convolved {strays} time(s) outside of a network's pass, where no meter counts; "
        "call the network",
    )


def check_reproducible(rehearsal: Rehearsal) -> None:
    """The same seed gives the same search, and no global generator takes part in it."""
    first = rehearsal.outcome
    with globals_unused():
        again = rehearsal.search()
    difference = again.differs_from(first)
    require(not difference, f"two searches from one seed differ in {difference}")


def check_resumes(rehearsal: Rehearsal) -> None:
    """A search that is killed goes on, and ends as the undisturbed one, even if killed at its end."""
    whole = rehearsal.outcome
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint"

        def start_again(kill_after: int | None = None) -> Outcome:
            # an infinite share of the time: every epoch is saved, however short
            return rehearsal.search(Checkpoint(path, math.inf), kill_after)

        for part in KILLS:
            with suppress(Killed):
                start_again(max(1, round(part * whole.forwards)))
        ends = {"resumed": start_again(), "resumed after its last epoch": start_again()}
    for when, end in ends.items():
        difference = end.differs_from(whole)
        require(not difference, f"a search that was killed and {when} differs in {difference}")
        require(
            end.forwards < whole.forwards or not whole.forwards,
            "a search that was killed starts over; "
            "give meter.epochs(state=...) all that its epochs change",
        )


def check_task_unchanged(rehearsal: Rehearsal) -> None:
    """A search leaves the task's images and labels as they are."""
    require(not rehearsal.whole.task_changed, "the search altered the images or labels of its task")


def check_space_unchanged(rehearsal: Rehearsal) -> None:
    """A search leaves the space that it was lent as it is, down to what its attributes hold."""
    require(not rehearsal.whole.space_changed, rehearsal.whole.space_changed)


def check_process_unchanged(rehearsal: Rehearsal) -> None:
    """A search leaves torch's switches, the environment and the like as it found them."""
    require(not rehearsal.whole.process_changed, rehearsal.whole.process_changed)


METHOD_CHECKS = (
    check_search,
    check_budget,
    check_charged,
    check_reproducible,
    check_resumes,
    check_task_unchanged,
    check_space_unchanged,
    check_process_unchanged,
)


def check_refusal(rehearsal: Rehearsal) -> None:
    """A method that makes no sense on a space says why in one line."""
    reason = rehearsal.refusal()
    require(
        isinstance(reason, str) and bool(reason.strip()) and "\n" not in reason,
        f"refuses(...) returned {reason!r}; return None, or the reason in one line",
    )
