"""What runs leave on disk: `results/NAME/cells/ID/`, one folder a cell, written atomically.

A cell's folder holds `record.json`, `arch.json`, `log.jsonl` and `weights.safetensors`, where the
search handed one back `front.json`, or, where the cell failed, `error.txt` beside the record. The
record is written last: a cell that has one is over. Nothing is deleted: a folder that is replaced
moves to `ID.old-N`, one with a file that cannot be trusted to `ID.damaged-N`.

Results may come from a stranger: a link in them is never followed to where something is written or
removed, and of a file nothing is read but what its record vouches for.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from multiprocessing import reduction
from pathlib import Path
from typing import Any, NamedTuple

from bnas_bench.errors import BenchError, Damaged
from bnas_bench.record import LARGEST, NoRecord, Record, decode, encode

RECORD = "record.json"

CHECKPOINT = ".ckpt"
"""Ending of the files that a killed cell goes on from; they go when the record is written."""

DIGESTS = {
    "arch.json": "arch_sha256",
    "front.json": "front_sha256",
    "log.jsonl": "log_sha256",
    "weights.safetensors": "weights_sha256",
}
"""The files of a finished cell, and the fields of its record that tell whether they are whole."""

SHOWN = ("arch.json", "front.json", "log.jsonl")
"""Those that reports read."""


class Unwritable(BenchError):
    """A folder for results that takes no files: full, read-only or not a folder."""

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__(
            f"cannot write {path}: {error.strerror or error}; make room there, or choose another "
            "folder for the results"
        )


def canonical(value: Any) -> str:
    """JSON that is equal where the values are: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that after a crash at any moment it is there whole, or as it was before.

    Raises:
        Unwritable: if it cannot be written; nothing is left behind.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        _make(path.parent)
        beside.unlink(missing_ok=True)  # of a process of the same number; never through a link
        with beside.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        _sync(path.parent)
    except OSError as error:
        with suppress(OSError):
            beside.unlink()
        raise Unwritable(path, error) from error


def _make(folder: Path) -> None:
    """Make a folder and those above it, so that they are there after a power cut, too."""
    if not folder.is_dir():
        _make(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync(folder.parent)


def _sync(folder: Path) -> None:
    """Put a folder's names on the disk: without this a power cut may undo a rename."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def read_regular(path: Path, largest: int | None = None) -> bytes:
    """What a file holds.

    Raises:
        OSError: if it cannot be read, or is a link, a pipe or a device, or larger than `largest` bytes.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(fd, "rb") as file:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(f"{path} is no file")
        if largest is not None and found.st_size > largest:
            raise OSError(f"{path} is larger than {largest:,} bytes")
        return file.read()


def read_record(folder: Path) -> Record | None:
    """The record in a cell's folder; None if the cell is not over.

    Raises:
        Damaged: if it is truncated, altered, foreign or of another version.
    """
    path = folder / RECORD
    try:
        return decode(read_regular(path, LARGEST))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise Damaged(f"{path} cannot be read ({error})") from error
    except NoRecord as error:
        raise Damaged(f"{path} {error}") from error


def read_whole(folder: Path, record: Record, name: str) -> bytes | None:
    """One of the `DIGESTS` files of a cell; None if the record knows of none, or it is gone.

    Raises:
        Damaged: if it is truncated or altered.
    """
    file = folder / name
    if DIGESTS[name] not in record:
        return None
    try:
        data = read_regular(file)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Damaged(f"{file} cannot be read ({error})") from error
    if sha256(data) != record[DIGESTS[name]]:
        raise Damaged(f"{file} is truncated or altered")
    return data


def set_aside(path: Path, ending: str) -> Path:
    """Rename a file or folder to `NAME.ENDING-N` with the first free N, and return that path."""
    n = 1
    while (aside := path.with_name(f"{path.name}.{ending}-{n}")).exists() or aside.is_symlink():
        n += 1
    try:
        return path.rename(aside)
    except OSError as error:
        raise Unwritable(aside, error) from error


class Lock:
    """Held from `Store.lock` until `release`, or until every process that was handed it is gone.

    A child process that is given the lock as an argument holds it too: when the parent is killed,
    the cell stays locked for as long as the child still runs.
    """

    def __init__(self, fd: int, path: Path) -> None:
        self.fd, self.path = fd, path

    def __reduce__(self) -> Any:
        return _inherited, (reduction.DupFd(self.fd), self.path)

    def release(self) -> None:
        with suppress(OSError):
            self.path.unlink()
        os.close(self.fd)

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def _inherited(fd: Any, path: Path) -> Lock:
    return Lock(fd.detach(), path)


class State(NamedTuple):
    """How far a cell is: `ok`, `failed` or `refused`, as its record says; or without a record
    `to run`, `unfinished` or `damaged`."""

    word: str
    reason: str | None = None
    record: Record | None = None

    def __str__(self) -> str:
        return f"{self.word}: {self.reason}" if self.reason else self.word


class Store:
    """The results of one name.

    Args:
        root: `results/NAME`; it is made when something is written.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root).absolute()
        self.cells = self.root / "cells"

    def folder(self, cell_id: str) -> Path:
        return self.cells / cell_id

    def ids(self) -> list[str]:
        """The ids of all cells that have a folder, sorted."""
        if not self.cells.is_dir():
            return []
        return sorted(f.name for f in self.cells.iterdir() if f.is_dir() and "." not in f.name)

    def read(self, cell_id: str) -> Record | None:
        """The record of a cell that is over; None for any other.

        Raises:
            Damaged: if the record is truncated, foreign or of another version.
        """
        folder = self.folder(cell_id)
        if folder.is_symlink():
            raise Damaged(f"{folder} is a link, and results are no links")
        record = read_record(folder)
        if record is not None and record["id"] != cell_id:
            raise Damaged(f"{folder / RECORD} is the record of another cell, '{record['id']}'")
        return record

    def state(self, cell_id: str) -> State:
        try:
            record = self.read(cell_id)
        except Damaged as error:
            return State("damaged", str(error))
        if record is not None:
            return State(record["status"], record["reason"], record)
        return State("unfinished" if self.folder(cell_id).is_dir() else "to run")

    def shown(self, cell_id: str) -> Record | None:
        """What `read` gives, where the files that reports show are whole as well."""
        record = self.read(cell_id)
        if record is not None:
            self.verify(record, SHOWN)
        return record

    def verify(self, record: Record, names: Iterable[str] = tuple(DIGESTS)) -> None:
        """Compare the files of a cell with the digests in its record; one that is gone is no fault.

        Raises:
            Damaged: if one of them is truncated or altered.
        """
        for name in names:
            self.file(record, name)

    def file(self, record: Record, name: str) -> bytes | None:
        """One of the `DIGESTS` files of a cell that is over; see `read_whole`."""
        return read_whole(self.folder(record["id"]), record, name)

    def records(self) -> Iterator[Record]:
        """The records of all cells that are over, by id; damaged ones are left out."""
        for cell_id in self.ids():
            with suppress(Damaged):
                if record := self.read(cell_id):
                    yield record

    def write(self, cell_id: str, files: dict[str, bytes], record: Record) -> None:
        """Write a cell's files, and its record last.

        Raises:
            Unwritable: if that cannot be done; there is then no record.
        """
        folder = self.folder(cell_id)
        if folder.is_symlink():
            raise BenchError(f"cannot write {folder}: it is a link; move it out of the results")
        for name, data in files.items():
            write_atomically(folder / name, data)
        write_atomically(folder / RECORD, encode(record))

    def clean(self, cell_id: str) -> None:
        """Remove what a killed process had not finished writing."""
        _remove(self.folder(cell_id), ".*.tmp")

    def remove_checkpoints(self, cell_id: str) -> None:
        _remove(self.folder(cell_id), f"*{CHECKPOINT}")

    def retire(self, cell_id: str, ending: str, *, keep_checkpoints: bool) -> Path:
        """Move a cell's folder to `ID.ENDING-N`, so that the cell can run again; where it is now.

        Args:
            keep_checkpoints: leave them in place, so that the cell goes on from them.
        """
        folder = self.folder(cell_id)
        aside = set_aside(folder, ending)
        if keep_checkpoints and not aside.is_symlink():
            folder.mkdir()
            for file in aside.glob(f"*{CHECKPOINT}"):
                file.rename(folder / file.name)
        return aside

    def lock(self, cell_id: str, wait: float) -> Lock | None:
        """Keep other processes out of a cell; None if one is in it and stays for `wait` seconds.

        Raises:
            Unwritable: if the folder takes no files.
        """
        for folder in (self.root, self.cells):
            if folder.is_symlink():
                raise BenchError(
                    f"{folder} is a link, and nothing is written through one: name the folder that it "
                    "leads to with --results and --name"
                )
        path = self.cells / f".{cell_id}.lock"
        deadline = time.monotonic() + wait
        while True:
            try:
                _make(path.parent)
                fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
            except OSError as error:
                raise Unwritable(path, error) from error
            if _locked(fd) and _same(fd, path):
                return Lock(fd, path)
            os.close(fd)
            if time.monotonic() > deadline:
                return None
            time.sleep(0.05)


def _remove(folder: Path, pattern: str) -> None:
    """Remove files of that form that lie in a folder itself, not where a link leads."""
    for file in [] if folder.is_symlink() else folder.glob(pattern):
        if file.is_symlink() or file.is_file():
            file.unlink(missing_ok=True)


def _locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _same(fd: int, path: Path) -> bool:
    """Whether the locked file still is the one with that name: a release removes it."""
    with suppress(OSError):
        return os.path.samestat(os.fstat(fd), path.stat())
    return False


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
