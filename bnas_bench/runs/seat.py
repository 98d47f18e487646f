"""A place in a group of ranks: what a process needs to know to compute a trial with others."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bnas_bench.core.errors import one_line

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Seat:
    """A place in the group that computes one attempt at a trial.

    Attributes:
        local: the number of this rank's GPU on its machine.
        host, port: where rank 0, or torchrun's agent, keeps what ranks need to find each other.
        attempt: tells this group from those before and after it.
        hosting: whether this rank opens that port, any free one.
    """

    rank: int
    size: int
    synchronised: bool
    local: int
    host: str = "127.0.0.1"
    port: int = 0
    attempt: str = ""
    hosting: bool = False

    def device(self, name: str) -> str:
        """The device of this rank, of those that its process sees; a launcher may show each its own alone."""
        if name != "cuda":
            return name
        import torch

        return f"cuda:{self.local % max(1, torch.cuda.device_count())}"

    @contextmanager
    def taken(self, device: torch.device, tell: Callable[[int], None]) -> Iterator[None]:
        """Compute with the others within the `with`, or until `leave`.

        Args:
            tell: is told the port, where this rank opened it.

        Raises:
            LostRank: if not all others come.
        """
        from datetime import timedelta

        import torch.distributed as dist

        from bnas_bench.core import ranks

        if self.host == "127.0.0.1" and Path("/sys/class/net/lo").exists():
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        try:
            store = dist.TCPStore(
                self.host,
                self.port,
                is_master=self.hosting,
                wait_for_workers=False,
                timeout=timedelta(seconds=ranks.PATIENCE),
            )
        except RuntimeError as error:
            raise ranks.LostRank(one_line(error)) from error
        if self.hosting:
            tell(store.port)
        group = ranks.Ranks(self.rank, self.size, device, self.synchronised)
        ranks.join(group, dist.PrefixStore(self.attempt, store), _backend(device))
        yield


def _backend(device: torch.device) -> str:
    return "nccl" if device.type == "cuda" else "gloo"
