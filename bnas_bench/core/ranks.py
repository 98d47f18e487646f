"""Processes that compute one trial together, each its share of every batch: the ranks of a group.

All ranks run the same program on the same numbers; what draws, decides, adds up losses and steps does so on
every rank alike. Only within a network (`bnas_bench.nn.shared`) does each compute its share. So there are two
kinds of tensors, *whole* ones, the same on all ranks, and *parts*, and four functions between them, of which
each is the derivative of another:

    share:  whole -> part    the rows of this rank          derivative: gather
    gather: part  -> whole   the rows of all ranks          derivative: share
    enter:  whole -> part    the tensor, used in each part  derivative: add
    add:    part  -> whole   the sum over all ranks         derivative: enter

All can be differentiated any number of times, and forward.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd import Function

PATIENCE = 600.0
"""Seconds that a rank waits for the others, in any one step, before they are taken to be lost."""


class LostRank(BaseException):
    """Another rank is gone, and with it this attempt at a trial; no error of a search."""


@dataclass(frozen=True)
class Ranks:
    """A group, as one of its ranks sees it.

    Attributes:
        rank: this one's, from 0.
        device: where this rank computes.
        synchronised: whether batch norm takes the statistics of the whole batch, or each rank its part's.
    """

    rank: int
    size: int
    device: torch.device
    synchronised: bool = True

    def bounds(self, rows: int) -> tuple[int, int]:
        """The first row of this rank and the first of the next one, of so many."""
        return self.rank * rows // self.size, (self.rank + 1) * rows // self.size

    def share_of(self, rows: int) -> float:
        """The part of so many rows that this rank has."""
        begin, end = self.bounds(rows)
        return (end - begin) / rows


_here: Ranks | None = None


def here() -> Ranks | None:
    """The group that this process computes with; None if it computes alone."""
    return _here


def is_first() -> bool:
    """Whether this process writes and tells: rank 0, or one that computes alone."""
    return _here is None or _here.rank == 0


@contextmanager
def _heard() -> Iterator[None]:
    """What torch.distributed raises where a rank is gone, or silent for too long."""
    try:
        yield
    except RuntimeError as error:
        raise LostRank(" ".join(str(error).split())) from error


def join(ranks: Ranks, store: dist.Store, backend: str) -> None:
    """Let this process compute with the others, until `leave`.

    Args:
        store: where the ranks find each other.
        backend: `gloo`, or `nccl` where each rank has a GPU of its own.

    Raises:
        LostRank: if not all come within `PATIENCE`.
    """
    global _here
    if ranks.device.type == "cuda":
        torch.cuda.set_device(ranks.device)
    with _heard():
        dist.init_process_group(
            backend,
            store=store,
            rank=ranks.rank,
            world_size=ranks.size,
            timeout=timedelta(seconds=PATIENCE),
        )
    _here = ranks


def leave() -> None:
    """Compute alone from here on; all ranks leave at the same point."""
    global _here
    if _here is None:
        return
    add(
        (torch.zeros((), device=_here.device),)
    )  # until all are here, so that nobody misses a message
    _here = None
    dist.destroy_process_group()


def share(whole: Tensor) -> Tensor:
    """The rows of this rank."""
    return _Share.apply(whole)


def gather(part: Tensor, rows: int) -> Tensor:
    """The rows of all ranks, so many, in their order."""
    return _Gather.apply(part, rows)


def enter(wholes: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The tensors, for each rank to compute its part with: their gradients add up, in one message."""
    return _Enter.apply(*wholes)


def add(parts: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The sums over all ranks, in one message; tensors of one type."""
    return _Add.apply(*parts)


def from_first(read: Callable[[], bytes | None]) -> bytes | None:
    """What rank 0 reads; the others are told, and read nothing. Where it cannot, they get None.

    Raises:
        OSError: on rank 0, as `read` does.
        LostRank: if rank 0 is gone.
    """
    if _here is None:
        return read()
    data, failed = None, None
    if _here.rank == 0:
        try:
            data = read()
        except OSError as error:
            failed = error
    size = torch.tensor(-1 if data is None else len(data), device=_here.device)
    with _heard():
        dist.broadcast(size, 0)
        if failed:
            raise failed
        if size < 0:
            return None
        content = torch.empty(int(size), dtype=torch.uint8, device=_here.device)
        if data:
            content.copy_(torch.frombuffer(bytearray(data), dtype=torch.uint8))
        dist.broadcast(content, 0)
    return content.cpu().numpy().tobytes()


def bytes_of_all(part: Tensor, rows: int) -> Tensor:
    """The rows of all ranks, so many, in their order; of bytes, which have no derivative."""
    return part if _here is None else _gathered(part, rows)


def _group() -> Ranks:
    assert _here is not None, "what several ranks compute needs all of them"
    return _here


def _added(parts: Sequence[Tensor]) -> list[Tensor]:
    flat = torch.cat([part.reshape(-1) for part in parts])
    with _heard():
        dist.all_reduce(flat)
    sums = flat.split([part.numel() for part in parts])
    return [one.view(part.shape) for one, part in zip(sums, parts, strict=True)]


def _gathered(part: Tensor, rows: int) -> Tensor:
    ranks = _group()
    most = -(-rows // ranks.size)
    sent = part.contiguous()
    if len(part) < most:  # all send alike
        sent = torch.cat([sent, part.new_zeros(most - len(part), *part.shape[1:])])
    received = sent.new_empty(ranks.size, *sent.shape)
    with _heard():
        dist.all_gather(list(received), sent)
    if rows == most * ranks.size:
        return received.flatten(0, 1)
    bounds = [replace(ranks, rank=rank).bounds(rows) for rank in range(ranks.size)]
    return torch.cat(
        [part[: end - begin] for part, (begin, end) in zip(received, bounds, strict=True)]
    )


class _Share(Function):
    @staticmethod
    def forward(ctx: Any, whole: Tensor) -> Tensor:
        ctx.bounds, ctx.rows = _group().bounds(len(whole)), len(whole)
        return whole[slice(*ctx.bounds)]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return gather(grad, ctx.rows)

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:
        return tangent[slice(*ctx.bounds)]


class _Gather(Function):
    @staticmethod
    def forward(ctx: Any, part: Tensor, rows: int) -> Tensor:
        ctx.rows = rows
        return _gathered(part, rows)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # noqa: ARG004
        return share(grad), None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: None) -> Tensor:
        return gather(tangent, ctx.rows)


class _Enter(Function):
    @staticmethod
    def forward(ctx: Any, *wholes: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        return tuple(whole.view_as(whole) for whole in wholes)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:  # noqa: ARG004
        # A path leaves the same weights out on every rank: the messages fit.
        return _where_known(add, grads)

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> tuple[Tensor | None, ...]:  # noqa: ARG004
        return tuple(None if tangent is None else tangent.view_as(tangent) for tangent in tangents)


class _Add(Function):
    @staticmethod
    def forward(ctx: Any, *parts: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        return tuple(_added(parts))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:  # noqa: ARG004
        return _where_known(enter, grads)

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> tuple[Tensor | None, ...]:  # noqa: ARG004
        return _where_known(add, tangents)


def _where_known(
    function: Callable[[Sequence[Tensor]], tuple[Tensor, ...]], values: Sequence[Tensor | None]
) -> tuple[Tensor | None, ...]:
    known = [value for value in values if value is not None]
    found = iter(function(known) if known else ())
    return tuple(None if value is None else next(found) for value in values)
