"""One trial of a grid: search -> derive -> train from scratch -> test once -> measure -> record.

The steps are `finding.py`, `training.py` and `testing.py`; what they have in common is `steps.py`. Where the
search hands on a trained network, that is tested as well: `heir.py`.
"""

from __future__ import annotations

import os
import secrets
import traceback
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from bnas_bench.core import ranks
from bnas_bench.core.errors import BadValue, MissingData, one_line
from bnas_bench.core.files import Unwritable
from bnas_bench.runs.attempt import Attempt
from bnas_bench.runs.finding import Finding
from bnas_bench.runs.judged import judge_of, judged, with_regrets
from bnas_bench.runs.packing import TIMED
from bnas_bench.runs.progress import Progress
from bnas_bench.runs.store import Record, Store
from bnas_bench.runs.testing import Testing
from bnas_bench.runs.training import Training
from bnas_bench.search.lent import Lent
from bnas_bench.search.strategy import SearchStrategy
from bnas_bench.search.untouched import untouched

if TYPE_CHECKING:
    from bnas_bench.runs.how import How
    from bnas_bench.runs.seat import Seat
    from bnas_bench.runs.trial import Trial

TIMING_FIELDS = frozenset(
    {
        *("when", "seconds", "load", "log_sha256", "attempts"),
        *("latency_load", "latency_others", "latency_machine", "retimed"),
        *(f"{phase}_seconds" for phase in ("search", "harness", "train")),
        *(f"{kind}_{part}" for kind in ("latency", "packed_latency") for part in TIMED),
        *("search_step_mib", "peak_memory_mib", "peak_device_memory_mib"),
    }
)
"""What may differ between the records of two runs of one trial; on CPU all else is equal."""


def run_trial(
    trial: Trial,
    store: Store,
    *,
    device: str = "cpu",
    threads: int = 1,
    data: Path | str = "data",
    progress: Progress | None = None,
    attempt: Attempt | None = None,
    seat: Seat | None = None,
) -> Record:
    """Run a trial, or go on with one that was killed, and publish its folder.

    What goes wrong within the trial makes a record of status `failed` with the reason; so does code
    of a method or a space that changes what others share (`untouched`).

    Args:
        device: `cpu`, `cuda` or `cuda:N`.
        threads: of the CPU.
        data: the folder where datasets lie.
        attempt: begun by whoever holds the trial's claim; None begins one.
        seat: of rank 0, where others compute with this process.

    Raises:
        BadValue: if there is no such device.
        MissingData: if the dataset is not there; nothing is recorded.
        Unwritable: if the store takes no files; nothing is recorded.
        LostRank: if another rank is lost; nothing is recorded.
    """
    where = find_device(device)
    torch.set_num_threads(threads)
    attempt = attempt or Attempt(store, trial.id, secrets.token_hex(8)).begin(where.type)
    run = _Run(trial, attempt.folder, where, progress or Progress())
    try:
        with seat.taken(where) if seat else nullcontext():
            run.run(data)
    except (MissingData, Unwritable):
        attempt.close()
        raise
    except Exception as error:
        run.record |= {"status": "failed", "reason": one_line(error)}
        run.files["error.txt"] = traceback.format_exc().encode()
    return attempt.publish(run.files, run.finished())


def run_part(trial: Trial, how: How, seat: Seat) -> None:
    """Compute a trial as another rank than the first: all that is found out is dropped, nothing is written.

    Raises:
        BadValue: if there is no such device.
        LostRank: if another rank is lost.
    """
    where = find_device(seat.device(how.device))
    torch.set_num_threads(how.threads)
    run = _Run(trial, Path(os.devnull), where, Progress())
    with seat.taken(where):
        run.run(how.data)


def record_death(
    trial: Trial, attempt: Attempt, device: str, reason: str, signal: str | None
) -> Record:
    """Publish the record of a trial whose process died without a word.

    Args:
        signal: the name of the signal that killed it, if one did.
    """
    try:
        where = find_device(device)
    except BadValue:  # of an attempt on another machine, which is gone
        where = torch.device("cpu")
    record = _Run(trial, attempt.folder, where, Progress()).record
    record |= {"status": "failed", "reason": reason, "signal": signal}
    del record["devices"]  # it did not get to say it
    record["device"] = device.partition(":")[0]
    return attempt.publish({}, record)


def find_device(name: str) -> torch.device:
    """The device of that name.

    Raises:
        BadValue: if this machine has none.
    """
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise BadValue(f"there is no device '{name}' here ({one_line(error)}); try cpu") from error
    return device


class _Run(Finding, Training, Testing):
    """The steps of one trial, in order."""

    def run(self, data: Path | str) -> None:
        with untouched(f"the file of space '{self.trial.space.name}' or its constructor"):
            space, lent = self.space(), self.space()
        with untouched(f"the file of method '{self.trial.method.name}', or what makes one of it"):
            method: SearchStrategy = self.trial.method.make(self.trial.method_options)
        with untouched("`refuses`", Lent(lent)):
            reason = method.refuses(lent)
        self.budget = self.budget.under(method.protocol)
        if reason:
            self.record |= {"status": "refused", "reason": " ".join(str(reason).split())}
            return
        self.progress.enter("load")
        searched, dataset = self.load(data)
        judge = judge_of(self.trial.table, data) if self.trial.table else None
        arch = self.search(space, lent, method, searched, judge)
        if judge:
            self.record |= judged(judge, space, arch)
            self.log = with_regrets(judge, space, self.log)
            return
        with untouched("a network of the space"):
            networks = self.train(space, arch, dataset)
            heirs = self.deploy(space, searched)
        self.test(networks, dataset, heirs, searched)
        is_first = ranks.is_first()
        ranks.leave()
        if is_first:
            self.measure(networks[0], dataset)
