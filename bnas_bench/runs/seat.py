"""A place in a group of ranks: what a process needs to know to compute a trial with others."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnas_bench.core.errors import one_line

if TYPE_CHECKING:
    import torch

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Seat:
    """A place in the group that computes one attempt at a trial.

    Attributes:
        local: the number of this rank's GPU on its machine.
        port: at `host`, where ranks find each other.
        attempt: tells this group from those before and after it.
        listener: the socket of that port, open already, if this rank is to answer there.
    """

    rank: int
    size: int
    synchronised: bool
    local: int
    port: int
    host: str = LOOPBACK
    attempt: str = ""
    listener: int | None = None

    def device(self, name: str) -> str:
        """The device of this rank, of those that its process sees; a launcher may show each its own alone."""
        if name != "cuda":
            return name
        import torch

        return f"cuda:{self.local % max(1, torch.cuda.device_count())}"

    @contextmanager
    def taken(self, device: torch.device) -> Iterator[None]:
        """Compute with the others within the `with`, or until `leave`.

        Raises:
            LostRank: if not all others come.
        """
        import torch.distributed as dist

        from bnas_bench.core import ranks

        if self.host == LOOPBACK and Path("/sys/class/net/lo").exists():
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        try:
            store = meeting(self.host, self.port, self.listener)
        except RuntimeError as error:
            raise ranks.LostRank(one_line(error)) from error
        group = ranks.Ranks(self.rank, self.size, device, self.synchronised)
        backend = "nccl" if device.type == "cuda" else "gloo"
        ranks.join(group, dist.PrefixStore(self.attempt, store), backend)
        yield


def meeting(host: str, port: int, listener: int | None = None, *, hosting: bool = False) -> Any:
    """Where ranks find each other: a store that a process keeps, at a port of loopback or of its machine.

    Args:
        listener: the socket of that port, open already, if it is this process that keeps it.
        hosting: whether it is, and opens the port.

    Raises:
        RuntimeError: if nobody answers there.
        OSError: if the port cannot be opened.
    """
    from datetime import timedelta

    import torch.distributed as dist

    from bnas_bench.core.ranks import PATIENCE

    if hosting and host == LOOPBACK:  # torch by itself would listen to the whole network
        listener = socket.create_server((host, port)).detach()
    return dist.TCPStore(
        host,
        port,
        is_master=hosting or listener is not None,
        wait_for_workers=False,
        timeout=timedelta(seconds=PATIENCE),
        master_listen_fd=listener,
    )
