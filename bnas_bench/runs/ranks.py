"""One trial over several processes, its ranks: how they are started, find each other, and end together.

`--devices N` on its own: the trial's process forks the other ranks, which work on this machine and end with
it. Under torchrun or srun others have started the ranks (`bnas_bench.runs.launched`). Either way rank 0 alone
has the trial's claim, and writes; what the others find out, it finds out as well (`bnas_bench.core.ranks`).
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING

from bnas_bench.core.errors import one_line
from bnas_bench.runs.how import How
from bnas_bench.runs.seat import LOOPBACK, Seat

if TYPE_CHECKING:
    from bnas_bench.runs.trial import Trial

GRACE = 10.0
"""Seconds that a rank has to end by itself once another has."""

LONGEST = 4096
"""Bytes of what a rank says as it ends."""


class Company:
    """The other ranks of a trial's process, which it has forked: children that end with it.

    Attributes:
        seat: of this process; None if it computes alone.
        why: the end of one that ended before its time.
    """

    def __init__(self, seat: Seat | None) -> None:
        self.seat = seat
        self.why = ""
        self._over = False
        self._lines: dict[int, socket.socket] = {}

    def said(self) -> str:
        """Why another one ended, if any did or does at once."""
        deadline = time.monotonic() + GRACE / 2
        while self.seat and self.seat.listener and not self.why and time.monotonic() < deadline:
            time.sleep(0.05)
        return self.why

    def end(self) -> None:
        """End those that are left, silent ones too: they have nothing to save."""
        self._over = True
        for pid in [*self._lines]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def watch(self, tell: Callable[[str], None], end: Callable[[], None]) -> None:
        """From now on, `tell` is called if one ends before its time, and `end` if this process goes on."""
        for pid, line in [*self._lines.items()]:
            Thread(target=self._wait, args=(pid, line, tell, end), daemon=True).start()

    def _wait(
        self,
        pid: int,
        line: socket.socket,
        tell: Callable[[str], None],
        end: Callable[[], None],
    ) -> None:
        words = b""
        with suppress(OSError):
            while said := line.recv(LONGEST):
                words += said
        _, status = os.waitpid(pid, 0)
        del self._lines[pid]
        code = os.waitstatus_to_exitcode(status)
        if code and not self._over:
            ended = f"by {_signal(-code)}" if code < 0 else f"with exit code {code}"
            self.why = words.decode(errors="replace") or f"another rank was ended {ended}"
            tell(self.why)
            time.sleep(GRACE)  # it ends by itself, unless it waits for that rank
            end()


def accompany(trial: Trial, how: How, seat: Seat | None, forget: Sequence[int] = ()) -> Company:
    """Fork the other ranks of a trial, if it has any of its own; called before this process has threads.

    Args:
        seat: of this process in a group that others have started.
        forget: files that are not for them, and are closed there.
    """
    if seat is not None or how.devices == 1:
        return Company(seat)
    size, synchronised = how.devices, how.batch_norm == "synchronised"
    listener = socket.create_server((LOOPBACK, 0))
    port = listener.getsockname()[1]
    company = Company(Seat(0, size, synchronised, 0, port, listener=listener.fileno()))
    for rank in range(1, size):
        ours, theirs = socket.socketpair()
        parent = os.getpid()
        if (pid := os.fork()) == 0:
            for held in (ours, listener, *company._lines.values()):
                held.close()
            for number in forget:
                os.close(number)
            _forked(trial, how, Seat(rank, size, synchronised, rank, port), theirs, parent)
        theirs.close()
        company._lines[pid] = ours
    listener.detach()
    return company


def _forked(trial: Trial, how: How, seat: Seat, line: socket.socket, parent: int) -> None:
    """The life of a forked rank, which does not return."""
    code = 1
    try:

        def ends_with_parent() -> None:
            line.settimeout(1.0)
            while os.getppid() == parent:
                with suppress(TimeoutError):
                    if not line.recv(1):
                        break
            os._exit(1)

        Thread(target=ends_with_parent, daemon=True).start()
        words = take_part(trial, how, seat)
        line.sendall(words.encode()[:LONGEST])
        code = int(bool(words))
    finally:
        os._exit(code)


def take_part(trial: Trial, how: How, seat: Seat) -> str:
    """Compute a trial as another rank than the first, as all that this process does.

    Returns:
        why it ended early, if it did.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGUSR1):  # rank 0 saves, and ends them all
        signal.signal(number, signal.SIG_IGN)
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)  # what a method prints, rank 0 prints
    try:
        from bnas_bench.core.machine import keep_pages
        from bnas_bench.runs.run import run_part

        keep_pages()
        run_part(trial, how, seat)
    except BaseException as error:
        return f"rank {seat.rank} of {seat.size} ended: {one_line(error) or type(error).__name__}"
    return ""


def _signal(number: int) -> str:
    with suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"
