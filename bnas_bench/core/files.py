"""Files that are there whole or not at all, and reading them without following a link."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from bnas_bench.core.errors import BenchError

EVERYWHERE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
"""What is wrong with a whole disk, not with one file."""


class Unwritable(BenchError):
    """A folder for results that takes no files: full, read-only or not a folder.

    Attributes:
        everywhere: whether nothing else can be written either, as on a full disk.
    """

    def __init__(self, path: Path, error: OSError, *, everywhere: bool = False) -> None:
        self.everywhere = everywhere or error.errno in EVERYWHERE
        super().__init__(
            f"cannot write {path}: {error.strerror or error}; make room there, or choose another "
            "folder for the results"
        )


def canonical(value: Any) -> str:
    """JSON that is equal where the values are: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Within it, what the system refuses is that the folder cannot be written.

    Raises:
        Unwritable: in place of OSError.
    """
    try:
        yield
    except OSError as error:
        raise Unwritable(folder, error) from error


def write_atomically(path: Path, data: bytes, *, make: bool = True) -> None:
    """Write a file so that after a crash at any moment it is there whole, or as it was before.

    Args:
        make: make the folder where there is none.

    Raises:
        Unwritable: if it cannot be written; nothing is left behind.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        if make:
            make_folder(path.parent)
        with beside.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):
            beside.unlink()
        raise Unwritable(path, error) from error


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, so that they are there after a power cut, too."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Put a folder's names on the disk: without this a power cut may undo a rename."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def kind_of(text: str | Path) -> Literal["folder", "file", "other"] | None:
    """What lies at a path; None if nothing does, or if it cannot be looked at, as the text of a genotype.

    `other` is a pipe or a device: to read what it is would use it up.
    """
    try:
        mode = Path(text).stat().st_mode
    except (OSError, ValueError):  # a genotype is longer than names may be
        return None
    if stat.S_ISDIR(mode):
        return "folder"
    return "file" if stat.S_ISREG(mode) else "other"


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


def set_aside(path: Path, ending: str) -> Path:
    """Rename a file or folder to `NAME.ENDING-N` with the first free N, and return that path."""
    n = 1
    while (aside := path.with_name(f"{path.name}.{ending}-{n}")).exists() or aside.is_symlink():
        n += 1
    try:
        return path.rename(aside)
    except OSError as error:
        raise Unwritable(aside, error) from error


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
