"""Fills a table: trains what is missing, in the table's order, in processes that share the work by locks."""

from __future__ import annotations

import signal
import time
from collections.abc import Generator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import cached_property
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from pathlib import Path

from bnas_bench.core.budget import PRECISIONS
from bnas_bench.core.errors import BenchError, one_line
from bnas_bench.plugins import making
from bnas_bench.runs.process import CONTEXT, no_main_module, start_server
from bnas_bench.tables.definition import architectures, text
from bnas_bench.tables.row import Work
from bnas_bench.tables.store import TableStore

LOOK = 1.0
"""Seconds between two looks at how far a table is."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What of a table is wanted now, and how.

    Attributes:
        precisions: some of `PRECISIONS`.
        first: only so many of the architectures, in the table's order; None is all.
        deadline: by `time.time()`; nothing is begun after it.
        jobs: processes.
        data: where datasets lie.
    """

    precisions: Sequence[str]
    first: int | None = None
    deadline: float | None = None
    jobs: int = 1
    data: Path = Path("data")


@dataclass(frozen=True)
class Progress:
    """How far a request is.

    Attributes:
        done, total: works; those of other processes and of earlier runs count as done.
        fresh: those done since the beginning.
        seconds: since the beginning.
    """

    done: int
    total: int
    fresh: int
    seconds: float

    @property
    def left(self) -> float | None:
        """Seconds that the rest takes at this rate; None while nothing is known of it."""
        return self.seconds / self.fresh * (self.total - self.done) if self.fresh else None


class Plan:
    """All works of a request, in the table's order: the precisions of an architecture one after another."""

    def __init__(self, store: TableStore, request: Request) -> None:
        self.space = making.space(store.definition.space)
        self.archs = architectures(self.space)[: request.first]
        self.precisions = request.precisions

    @cached_property
    def works(self) -> dict[Work, tuple[int, int]]:
        """Per work its number, which is the same in all requests, and the place of its architecture."""
        return {
            Work(text(self.space, arch), precision): (
                place * len(PRECISIONS) + PRECISIONS.index(precision),
                place,
            )
            for place, arch in enumerate(self.archs)
            for precision in self.precisions
        }


def fill(store: TableStore, request: Request) -> Generator[Work, None, None]:
    """Train what is missing, alone or beside other processes, and yield what this one has added.

    Nothing new is begun after the deadline, or when the process that started this one is gone.
    """
    from bnas_bench.data.datasets import load
    from bnas_bench.tables.training import Trainer

    how, plan = store.definition, Plan(store, request)
    dataset = load(how.dataset, image=how.image, device="cpu", folder=request.data)
    trainer = Trainer(how, plan.space, dataset)
    for work, (number, place) in plan.works.items():
        if _is_over(request):
            return
        if work in store.refresh():
            continue
        with store.claim(number) as mine:
            if not mine or work in store.refresh():  # it may have been finished since the last look
                continue
            store.append(trainer.row(plan.archs[place], *work))
        yield work


def _is_over(request: Request) -> bool:
    parent = parent_process()
    is_late = request.deadline is not None and time.time() > request.deadline
    return is_late or (parent is not None and not parent.is_alive())


def fill_in_processes(store: TableStore, request: Request) -> Generator[Progress, None, None]:
    """The same in processes of their own, and how far all is, about once a second.

    Closing this iterator ends them; a training in hand is lost then, nothing else.

    Raises:
        BenchError: what a process raised.
    """
    wanted = Plan(store, request).works.keys()
    began, before = time.monotonic(), len(wanted & store.refresh().keys())

    def progress() -> Progress:
        done = len(wanted & store.refresh().keys())
        return Progress(done, len(wanted), done - before, time.monotonic() - began)

    receiver, sender = CONTEXT.Pipe(duplex=False)
    arguments = (store.folder, request, sender)
    processes = [
        CONTEXT.Process(target=_work, args=arguments, daemon=True) for _ in range(request.jobs)
    ]
    with closing(receiver):
        try:
            start_server()
            with closing(sender), no_main_module():
                for process in processes:
                    process.start()
            running = {process.sentinel for process in processes}
            while running:
                yield progress()
                running -= {*wait([*running], LOOK)}
                with suppress(EOFError):  # which all that have ended leave behind
                    if receiver.poll():
                        raise BenchError(receiver.recv())
            if code := next((p.exitcode for p in processes if p.exitcode), 0):
                raise BenchError(
                    f"a process that trained ended with exit code {code}: see whether the memory "
                    "suffices, and give the command again; what was finished is kept"
                )
            yield progress()
        finally:
            for process in processes:
                if process.pid:
                    process.terminate()
                    process.join()


def _work(folder: Path, request: Request, sender: Connection) -> None:
    import torch

    from bnas_bench.core.machine import keep_pages

    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C is for the parent, which ends this process
    torch.set_num_threads(1)
    keep_pages()
    try:
        for _ in fill(TableStore(folder), request):
            pass
    except BenchError as error:
        sender.send(str(error))
    except Exception as error:
        sender.send(one_line(error))
