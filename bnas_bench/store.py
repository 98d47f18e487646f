"""What runs leave on disk: `results/NAME/cells/ID/`, one folder a cell, written atomically.

A cell's folder holds `record.json`, `arch.json`, `log.jsonl` and `weights.safetensors`, where the
search handed one back `front.json`, or, where the cell failed, `error.txt` beside the record. The
record is written last: a cell that has one is over. Nothing is deleted: a folder that is replaced
moves to `ID.old-N`, one with a file that cannot be trusted to `ID.damaged-N`.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing import reduction
from pathlib import Path
from typing import Any, TypeAlias

from bnas_bench.errors import BenchError, Damaged

SCHEMA = 1
"""Version of the record's fields."""

STATUSES = ("ok", "failed", "refused")

Record: TypeAlias = "dict[str, Any]"
"""One flat row per cell, failed ones included; `bnas_bench.run` says what it holds."""

CHECKPOINT = ".ckpt"
"""Ending of the files that a killed cell goes on from; they go when the record is written."""

DIGESTS = {
    "arch.json": "arch_sha256",
    "front.json": "front_sha256",
    "log.jsonl": "log_sha256",
    "weights.safetensors": "weights_sha256",
}
"""The files of a finished cell, and the fields of its record that tell whether they are whole."""


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
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        with suppress(OSError):
            beside.unlink()
        raise Unwritable(path, error) from error


def set_aside(path: Path, ending: str) -> Path:
    """Rename a file or folder to `NAME.ENDING-N` with the first free N, and return that path."""
    n = 1
    while (aside := path.with_name(f"{path.name}.{ending}-{n}")).exists():
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


class Store:
    """The results of one name.

    Args:
        root: `results/NAME`; it is made when something is written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
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
        path = self.folder(cell_id) / "record.json"
        try:
            record = json.loads(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            raise Damaged(f"{path} cannot be read ({error})") from error
        match record:
            case {"schema": schema} if schema != SCHEMA:
                raise Damaged(f"{path} has schema {schema!r} where {SCHEMA} is known")
            case {"schema": _, "id": str(identity), "status": status} if status in STATUSES:
                if identity == cell_id:
                    return record
                raise Damaged(f"{path} is the record of another cell, '{identity}'")
        raise Damaged(f"{path} is no record")

    def verify(self, record: Record) -> None:
        """Compare the files of a cell with the digests in its record; one that is gone is no fault.

        Raises:
            Damaged: if one of them is truncated or altered.
        """
        for name, field in DIGESTS.items():
            file = self.folder(record["id"]) / name
            if field in record and file.exists() and sha256(file.read_bytes()) != record[field]:
                raise Damaged(f"{file} is truncated or altered")

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
        for name, data in files.items():
            write_atomically(folder / name, data)
        text = json.dumps(record, indent=2, allow_nan=False)
        write_atomically(folder / "record.json", f"{text}\n".encode())

    def clean(self, cell_id: str) -> None:
        """Remove what a killed process had not finished writing."""
        for file in self.folder(cell_id).glob(".*.tmp"):
            file.unlink(missing_ok=True)

    def remove_checkpoints(self, cell_id: str) -> None:
        for file in self.folder(cell_id).glob(f"*{CHECKPOINT}"):
            file.unlink()

    def retire(self, cell_id: str, ending: str, *, keep_checkpoints: bool) -> Path:
        """Move a cell's folder to `ID.ENDING-N`, so that the cell can run again; where it is now.

        Args:
            keep_checkpoints: leave them in place, so that the cell goes on from them.
        """
        folder = self.folder(cell_id)
        aside = set_aside(folder, ending)
        if keep_checkpoints:
            folder.mkdir()
            for file in aside.glob(f"*{CHECKPOINT}"):
                file.rename(folder / file.name)
        return aside

    def lock(self, cell_id: str, wait: float) -> Lock | None:
        """Keep other processes out of a cell; None if one is in it and stays for `wait` seconds.

        Raises:
            Unwritable: if the folder takes no files.
        """
        path = self.cells / f".{cell_id}.lock"
        deadline = time.monotonic() + wait
        while True:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            except OSError as error:
                raise Unwritable(path, error) from error
            if _locked(fd) and _same(fd, path):
                return Lock(fd, path)
            os.close(fd)
            if time.monotonic() > deadline:
                return None
            time.sleep(0.05)


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
