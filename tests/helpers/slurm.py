"""SLURM on this machine alone: a controller and two nodes of one CPU, on loopback, ended by their ids."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.helpers.daemons import alone

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")

CREDENTIAL = 5
"""Seconds for which a task's credential is good, and is remembered when it was revoked."""

CONF = """
ClusterName=bnas
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={root}/munge.socket,cred_expire={credential}
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmctldPort={ports[0]}
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool/%n
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd.%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2
ReturnToService=2
SlurmdTimeout=10
JobRequeue=1
KillWait=5
MessageTimeout=10
MaxArraySize=6
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=1 RealMemory=1000 State=UNKNOWN
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=1 RealMemory=1000 State=UNKNOWN
PartitionName=debug Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""
"""Arrays of six tasks at most, so that eight trials are two."""


def lacking() -> str:
    """Why there is no SLURM to try; empty if there is."""
    missing = [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]
    if missing:
        return f"{', '.join(missing)} is not installed (apt-get install slurm-wlm munge)"
    return "" if os.geteuid() == 0 else "its daemons want to be root"


PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"


class Cluster:
    """Its daemons, by name, and what is called on it.

    Attributes:
        waiting: since when tasks are seen to wait in its queue.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environment = os.environ | {"SLURM_CONF": str(root / "slurm.conf"), "PATH": PATH}
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}
        self.waiting: dict[str, float] = {}

    def start(self, name: str, *command: str) -> None:
        with (self.root / f"{name}.log").open("ab") as log:
            self.daemons[name] = subprocess.Popen(
                command, env=self.environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    def node(self, name: str) -> None:
        self.start(name, "slurmd", "-D", "-N", name)

    def call(self, *command: str) -> str:
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=True, timeout=60
        ).stdout

    def kill(self, node: str, pids: list[int]) -> None:
        """A node's power is cut: its daemon, what supervises its tasks, and the tasks."""
        for pid in [self.daemons[node].pid, *pids]:
            os.kill(pid, signal.SIGKILL)
        self.daemons[node].wait()

    def end(self) -> None:
        """End the jobs, which outlive their daemons, and then these."""
        with suppress(subprocess.SubprocessError, AssertionError):
            if self.call("squeue", "-h"):
                self.call("scancel", "--me")
                until(lambda: not self.call("squeue", "-h"), 60)
        for process in reversed(self.daemons.values()):
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


@contextmanager
def cluster(root: Path) -> Iterator[Cluster]:
    """A cluster whose two nodes wait for work."""
    for folder in ("state", "spool/n1", "spool/n2"):
        (root / folder).mkdir(parents=True)
    places = {"host": socket.gethostname(), "root": root, "ports": _ports(3)}
    text = CONF.format(**places, credential=CREDENTIAL)
    (root / "slurm.conf").write_text(text)
    (root / "munge.key").write_bytes(os.urandom(1024))
    (root / "munge.key").chmod(0o600)
    here = Cluster(root)
    names = ("key-file=munge.key", "socket=munge.socket", "pid-file=munge.pid")
    names += ("log-file=munge.log", "seed-file=munge.seed")
    options = [f"--{option}={root / name}" for option, name in (n.split("=") for n in names)]
    with alone():
        try:
            here.start("munged", "munged", "--foreground", "--force", *options)
            until(lambda: (root / "munge.socket").exists())
            here.start("slurmctld", "slurmctld", "-D", "-c")
            for name in ("n1", "n2"):
                here.node(name)
            until(lambda: idle(here) == 2)
            yield here
        finally:
            here.end()


def idle(here: Cluster) -> int:
    try:
        return here.call("sinfo", "-h", "-N", "-o", "%T").split().count("idle")
    except subprocess.SubprocessError:
        return 0


def until(condition: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "that never happened"
        time.sleep(0.2)


def _ports(count: int) -> list[int]:
    """Ports that are free now."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
