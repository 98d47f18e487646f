"""Who is at work on a trial: a claim beside flock, for hosts and file systems that flock does not reach.

A claim is the file `.ID.lock`: it says whose it is, and the time of its last change is its owner's
heartbeat. It appears whole, by one link, and whoever takes over that of an owner who is gone moves it away
first. Two owners at once, which no file system rules out, cost time and nothing else: each attempt writes
into a folder of its own (`runs.attempt`), and of two the first that is published stands.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import socket
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing import reduction
from pathlib import Path
from threading import Event, Thread
from typing import Any

from bnas_bench.core.errors import Damaged
from bnas_bench.core.files import Unwritable, make_folder

BEAT = 15.0
"""Seconds between two heartbeats of an owner."""

GONE = 120.0
"""Seconds without a heartbeat after which an owner elsewhere is gone; twice what NFS remembers names."""

LARGEST = 4096
"""Bytes that no claim takes."""


class Lock:
    """A claim, held until `release`, or until every process that was handed it is gone.

    A child process that is given the lock as an argument holds it too: when the parent is killed,
    the trial stays locked for as long as the child still runs.

    Attributes:
        token: the owner's, different from every other.
    """

    def __init__(self, fd: int, path: Path, token: str) -> None:
        self.fd, self.path, self.token = fd, path, token

    def __reduce__(self) -> Any:
        return _inherited, (reduction.DupFd(self.fd), self.path, self.token)

    def beat(self) -> bool:
        """Show that the owner lives; whether the claim is still its own."""
        with suppress(OSError):
            os.utime(self.fd)
        return _same(self.fd, self.path)

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Within it a thread shows that the owner lives."""
        over = Event()

        def beats() -> None:
            while not over.wait(BEAT):
                self.beat()

        thread = Thread(target=beats, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def release(self) -> None:
        with suppress(OSError):
            if _same(self.fd, self.path):
                self.path.unlink()
        os.close(self.fd)

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def _inherited(fd: Any, path: Path, token: str) -> Lock:
    return Lock(fd.detach(), path, token)


def claim(path: Path, wait: float) -> Lock | None:
    """Claim what a file stands for; None if another is at work and stays for `wait` seconds.

    Raises:
        Damaged: if something else is in the file's place.
        Unwritable: if the folder takes no files.
    """
    deadline = time.monotonic() + wait
    while True:
        if lock := _attempted(path):
            return lock
        if time.monotonic() > deadline:
            return None
        time.sleep(0.05)


def is_held(path: Path) -> bool:
    """Whether someone has a claim, or had until a heartbeat ago; nothing is written for that."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        return not (_is_free(fd) and _is_gone(fd, time.time()))
    except OSError:  # a folder
        return False
    finally:
        os.close(fd)


def _is_free(fd: int) -> bool:
    """Whether nobody has locked it; so it is where there is no flock."""
    with suppress(OSError):
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            fcntl.flock(fd, fcntl.LOCK_UN)
        except BlockingIOError:
            return False
    return True


def _attempted(path: Path) -> Lock | None:
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return _made(path)
    except OSError as error:
        if path.is_symlink() or path.exists():
            raise Damaged(
                f"{path} is in the way of the trial's claim ({error.strerror}): move it away"
            ) from error
        raise Unwritable(path, error, everywhere=True) from error
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise Damaged(f"{path} is in the way of the trial's claim (no file): move it away")
        if _locked(fd) and _same(fd, path) and _is_gone(fd, _clock(path)):
            return _taken(fd, path)
    finally:
        os.close(fd)
    return None


def _made(path: Path) -> Lock | None:
    """A new claim; None if another was faster."""
    token = secrets.token_hex(8)
    beside = path.with_name(f"{path.name}.{token}.tmp")
    content = json.dumps(_here() | {"token": token}).encode()
    try:
        make_folder(path.parent)
        fd = _written(beside, content)
        try:
            os.link(beside, path)
        except FileExistsError:
            os.close(fd)
            return None
        except OSError:  # a file system without links
            os.close(fd)
            fd = _written(path, content)
        finally:
            beside.unlink()
    except FileExistsError:
        return None
    except OSError as error:
        raise Unwritable(path, error, everywhere=True) from error
    return Lock(fd, path, token)


def _written(path: Path, content: bytes) -> int:
    """A new file, locked."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    try:
        _locked(fd)
        os.write(fd, content)
    except BaseException:
        os.close(fd)
        path.unlink(missing_ok=True)
        raise
    return fd


def _taken(fd: int, path: Path) -> Lock | None:
    """A claim in place of that of an owner who is gone, which is moved away first."""
    away = path.with_name(f"{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        path.rename(away)
    except OSError:
        return None
    if not _same(fd, away):  # another took it over since we looked, and this is its claim
        with suppress(OSError):
            os.link(away, path)
        away.unlink(missing_ok=True)
        return None
    away.unlink(missing_ok=True)
    return _made(path)


def _here() -> dict[str, Any]:
    """What tells this process from all others, on whatever host."""
    pid = os.getpid()
    return {
        "host": socket.gethostname(),
        "boot": _read("/proc/sys/kernel/random/boot_id"),
        "pids": _pids(),
        "pid": pid,
        "started": _started(pid),
    }


def _is_gone(fd: int, now: float) -> bool:
    """Whether the owner of a claim is known to be gone."""
    owner = _owner(os.pread(fd, LARGEST, 0))
    if owner is None:  # no owner of ours: of an earlier version, whom flock alone would show
        return True
    here = _here()
    if here["started"] and all(owner.get(name) == here[name] for name in ("host", "boot", "pids")):
        return _started(owner["pid"]) != owner.get("started")
    return now - os.fstat(fd).st_mtime > GONE


def _owner(content: bytes) -> Mapping[str, Any] | None:
    try:
        owner = json.loads(content)
    except ValueError:
        return None
    return owner if isinstance(owner, dict) and isinstance(owner.get("pid"), int) else None


def _clock(path: Path) -> float:
    """The time of the machine that keeps the files, which the heartbeats are in."""
    beside = path.with_name(f"{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        os.close(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
        try:
            return beside.stat().st_mtime
        finally:
            beside.unlink()
    except OSError as error:
        raise Unwritable(path, error, everywhere=True) from error


def _started(pid: int) -> str:
    """When a process of this machine began, in ticks since the start; empty if there is none."""
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return fields[19] if fields and fields[0] not in "ZX" else ""


def _pids() -> str:
    """The name space of process numbers: a container has its own."""
    with suppress(OSError):
        return str(Path("/proc/self/ns/pid").readlink())
    return ""


def _read(path: str) -> str:
    with suppress(OSError):
        return Path(path).read_text().strip()
    return ""


def _locked(fd: int) -> bool:
    """Whether flock has nothing against it; where there is none, claims alone decide."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _same(fd: int, path: Path) -> bool:
    """Whether the open file still is the one with that name."""
    with suppress(OSError):
        return os.path.samestat(os.fstat(fd), path.stat(follow_symlinks=False))
    return False
