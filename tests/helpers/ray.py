"""Ray on this machine alone: a head that runs nothing, nodes of one CPU, on loopback, ended by their ids."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.daemons import alone

MEMORY = {"object_store_memory": 80 * 2**20}


class Cluster:
    """A head at 127.0.0.2, where a command may join, and its nodes."""

    def __init__(self, count: int) -> None:
        from ray.cluster_utils import Cluster as Ray

        self.ray: Any = Ray()
        self.nodes: list[Any] = []
        self.add(0, include_dashboard=False)
        self.nodes = [self.add(1) for _ in range(count)]

    @property
    def address(self) -> str:
        return str(self.ray.address)

    def add(self, cpus: int, **options: Any) -> Any:
        # Not 127.0.0.1, which Ray takes for another name of the machine's own address.
        address = f"127.0.0.{2 + len(self.ray.list_all_nodes())}"
        options |= {"num_cpus": cpus, "node_ip_address": address, **MEMORY}
        return self.ray.add_node(**options)

    def workers(self, node: Any) -> list[int]:
        """The processes of a node in which actors of ours live."""
        (raylet,) = node.all_processes["raylet"]
        return [
            pid for pid in children(raylet.process.pid) if b"ray::Worker" in told(pid, "cmdline")
        ]

    def kill(self, node: Any) -> None:
        """A node's power is cut: its daemons at once, and with them its workers."""
        workers = self.workers(node)
        self.ray.remove_node(node, allow_graceful=False)
        for pid in workers:
            with suppress(ProcessLookupError):
                os.kill(pid, 9)

    def end(self) -> None:
        self.ray.shutdown()


@contextmanager
def cluster(
    monkeypatch: pytest.MonkeyPatch, count: int = 2, **environment: str
) -> Iterator[Cluster]:
    """A cluster whose nodes wait for work.

    Args:
        environment: of the workers.
    """
    room = tempfile.mkdtemp(prefix="ray", dir="/tmp")  # paths of sockets are short
    scratch = Path(room, "scratch")
    scratch.mkdir()
    Path(room, "ray").mkdir()
    environment["RAY_TMPDIR"] = room
    for name, value in (environment | {"RAY_USAGE_STATS_ENABLED": "0"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TMPDIR", str(scratch))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with alone():
        here = None
        try:
            here = Cluster(count)
            yield here
        finally:
            if here:
                here.end()
            shutil.rmtree(room, ignore_errors=True)


def children(parent: int) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        fields = told(int(folder.name), "stat").rpartition(b")")[2].split()
        if fields and int(fields[1]) == parent:
            found.append(int(folder.name))
    return found


def niceness(pid: int) -> int:
    return int(told(pid, "stat").rpartition(b")")[2].split()[16])


def told(pid: int, name: str) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/{name}").read_bytes()
    return b""
