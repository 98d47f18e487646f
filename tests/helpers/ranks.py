"""Functions run by several processes that compute together, over gloo."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from bnas_bench.core import ranks
from bnas_bench.runs.process import CONTEXT, no_main_module


def by_all(
    function: Callable[..., Any],
    folder: Path,
    *args: Any,
    size: int = 2,
    synchronised: bool = True,
    patience: float = ranks.PATIENCE,
    answers: int | None = None,
) -> Sequence[Any]:
    """What a function of a module returns on each rank of a group of `size` processes.

    Args:
        folder: where they find each other.
        answers: of the first ranks, that are waited for; None is all.
        patience: seconds that they wait for each other.
    """
    processes, receivers = [], []
    for rank in range(size):
        receiver, sender = CONTEXT.Pipe(duplex=False)
        seat = ranks.Ranks(rank, size, torch.device("cpu"), synchronised)
        arguments = (function, seat, str(folder / "meeting"), patience, sender, args)
        with closing(sender), no_main_module():
            process = CONTEXT.Process(target=_one, args=arguments, daemon=True)
            process.start()
        processes.append(process)
        receivers.append(receiver)
    try:
        return [_answer(receiver) for receiver in receivers[:answers]]
    finally:
        for process in processes:
            process.kill()
            process.join()


def _answer(receiver: Connection) -> Any:
    found = receiver.recv()
    if isinstance(found, BaseException):
        raise found
    return found


def _one(
    function: Callable[..., Any],
    seat: ranks.Ranks,
    meeting: str,
    patience: float,
    sender: Connection,
    args: Sequence[Any],
) -> None:
    torch.set_num_threads(1)
    ranks.PATIENCE = patience
    try:
        ranks.join(seat, dist.FileStore(meeting, seat.size), "gloo")
        found = function(*args)
        ranks.leave()
    except BaseException as error:
        found = RuntimeError(f"rank {seat.rank}: {error!r}")
    sender.send(found)
