"""A command as one of several ranks that torchrun or srun has started, on one machine or on several.

That of rank 0 runs the grid, and tells the others which trial is next; they write nothing and print nothing.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait
from threading import Thread, current_thread, main_thread
from typing import TYPE_CHECKING, Any

from bnas_bench.core.errors import BadValue, BenchError, UnknownName, one_line
from bnas_bench.runs.how import How
from bnas_bench.runs.ranks import GRACE, take_part
from bnas_bench.runs.seat import Seat, meeting

if TYPE_CHECKING:
    from bnas_bench.runs.trial import Trial

POLL = 0.2
"""Seconds between two looks whether the next trial is there."""


@dataclass(frozen=True)
class Launched:
    """This command as one rank of several, which torchrun or srun has started.

    Attributes:
        has_agent: whether torchrun's agent answers at that port; else rank 0 does.
        round: how often torchrun has started them anew.
    """

    rank: int
    size: int
    local: int
    host: str
    port: int
    has_agent: bool
    round: str

    def seat(self, how: How, number: int) -> Seat:
        """In the attempt of that number."""
        synchronised = how.batch_norm == "synchronised"
        attempt = f"bnas-bench/{self.round}/group/{number}"
        where = self.local, self.port, self.host
        return Seat(self.rank, self.size, synchronised, *where, attempt)

    def store(self, *, hosting: bool) -> Any:
        """What the ranks' commands tell each other.

        Raises:
            BenchError: if nobody answers there, or the port is another's.
        """
        import torch.distributed as dist

        try:
            found = meeting(self.host, self.port, hosting=hosting)
        except (RuntimeError, OSError) as error:
            raise BenchError(
                f"rank {self.rank} of {self.size} does not reach {self.host}:{self.port} "
                f"({one_line(error)}): see MASTER_ADDR and MASTER_PORT, and whether rank 0 was started"
            ) from error
        return dist.PrefixStore(f"bnas-bench/{self.round}", found)


def launched(how: How, environment: Mapping[str, str] = os.environ) -> Launched | None:
    """How this command was launched as a rank of several; None if it was not, or is to run alone.

    torchrun says it in RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT, which count first; srun in
    SLURM_PROCID, SLURM_STEP_NUM_TASKS and SLURM_LOCALID.

    Raises:
        BadValue: if they are another number than `how.devices`, or nothing says where rank 0 is.
    """
    if how.devices == 1:
        return None

    def number(*names: str) -> int | None:
        for name in names:
            if (text := environment.get(name, "")).isdecimal():
                return int(text)
        return None

    size = number("WORLD_SIZE", "SLURM_STEP_NUM_TASKS")
    rank = number("RANK", "SLURM_PROCID")
    if size is None or rank is None or size == 1:
        return None
    if size != how.devices:
        raise BadValue(
            f"{size} ranks were started and --devices is {how.devices}: start as many, or leave it to "
            "the command, which starts them on one machine by itself"
        )
    nodes = number("SLURM_STEP_NUM_NODES") or 1
    host = environment.get("MASTER_ADDR") or ("127.0.0.1" if nodes == 1 else "")
    if not host:
        raise BadValue("nothing says where rank 0 is: set MASTER_ADDR to the name of its node")
    port = number("MASTER_PORT")
    if port is None:  # the same for all tasks of a step
        job, step = number("SLURM_JOB_ID") or 0, number("SLURM_STEP_ID") or 0
        port = 20_000 + (101 * job + step) % 40_000
    local = number("LOCAL_RANK", "SLURM_LOCALID") or 0
    has_agent = environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    round_ = environment.get("TORCHELASTIC_RESTART_COUNT", "0")
    return Launched(rank, size, local, host, port, has_agent, round_)


class Lead:
    """Rank 0's command tells those of the other ranks which trial is next.

    Raises:
        BenchError: if the port cannot be opened.
    """

    def __init__(self, place: Launched, how: How) -> None:
        self.place, self.how = place, how
        self.store = place.store(hosting=not place.has_agent)
        self.number = 0

    @contextmanager
    def seat(self, trial: Trial) -> Iterator[Seat]:
        """The others take part in an attempt at that trial, until the end of the `with`."""
        number, self.number = self.number, self.number + 1
        self.store.set(f"attempt/{number}", json.dumps(trial.id))
        try:
            yield self.place.seat(self.how, number)
        finally:
            self.store.set(f"over/{number}", "")

    def close(self) -> None:
        """Let the others end."""
        self.store.set(f"attempt/{self.number}", json.dumps(None))
        deadline = time.monotonic() + GRACE
        while self.store.add("gone", 0) < self.place.size - 1 and time.monotonic() < deadline:
            time.sleep(POLL)


def follow(trials: Sequence[Trial], how: How, place: Launched) -> None:
    """Take part, as another rank than the first, in the trials that rank 0 tells, until it has no more.

    Raises:
        BenchError: if rank 0 cannot be reached, or is gone.
        UnknownName: if it runs another grid.
    """
    from bnas_bench.runs.process import CONTEXT, no_main_module

    if current_thread() is main_thread():
        for signum in (signal.SIGTERM, signal.SIGUSR1):  # rank 0 has its trial saved, and ends all
            signal.signal(signum, signal.SIG_IGN)
    known = {trial.id: trial for trial in trials}
    store = place.store(hosting=False)
    number = 0
    while True:
        wait_for(store, f"attempt/{number}")
        name = json.loads(store.get(f"attempt/{number}"))
        if name is None:
            store.add("gone", 1)
            return
        if name not in known:
            raise UnknownName(f"trial of the grid of rank {place.rank}", name, known)
        arguments = (known[name], how, place.seat(how, number))
        process = CONTEXT.Process(target=_followed, args=arguments, daemon=True)
        with no_main_module():
            process.start()
        try:
            wait_for(store, f"over/{number}")
            process.join(GRACE)
        finally:
            process.kill()
            process.join()
        number += 1


def _followed(trial: Trial, how: How, seat: Seat) -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None

    def ends_with_parent() -> None:
        wait([parent.sentinel])
        os._exit(1)

    Thread(target=ends_with_parent, daemon=True).start()
    if words := take_part(trial, how, seat):
        sys.stderr.write(f"{words}\n")
        sys.stderr.flush()
    os._exit(int(bool(words)))


def wait_for(store: Any, key: str) -> None:
    """Wait until rank 0 has set it; that takes as long as it takes.

    Raises:
        BenchError: if rank 0 is gone.
    """
    try:
        while not store.check([key]):
            time.sleep(POLL)
    except RuntimeError as error:
        raise BenchError(
            f"rank 0 is gone ({one_line(error)}): the same command goes on from its last checkpoint"
        ) from error
