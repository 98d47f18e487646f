"""A table while it grows: `rows.jsonl`, to which any number of processes append, killed at any moment.

    definition.json   what it is a table of; written once
    rows.jsonl        a line an architecture and precision, with a digest of its own; nothing in it changes
    .claims           byte n is locked by the process that trains work n
    .append           locked by the process that writes a line

Locks end with the process that holds them. What a killed process had not finished writing is put aside, as
`rows.jsonl.torn-N`, by the next one that writes.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from bnas_bench.core.errors import BadValue, Damaged
from bnas_bench.core.files import Unwritable, read_regular, write_atomically
from bnas_bench.tables.definition import Definition
from bnas_bench.tables.row import NoRow, Row, Work, decode, encode

DEFINITION, ROWS = "definition.json", "rows.jsonl"


class TableStore:
    """The rows of one table, in its folder.

    Args:
        folder: of the table, `results/tables/NAME`; it has a definition.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.definition = folder, read_definition(folder)
        self.file = folder / ROWS
        self.rows: dict[Work, Row] = {}
        """All that were there when `refresh` was called last."""
        self._read, self._lines = 0, 0
        self._claims: int | None = None

    @classmethod
    def begin(cls, folder: Path, definition: Definition) -> TableStore:
        """The store of a table, new or begun before.

        Raises:
            BadValue: if the folder holds a table of another definition.
            Unwritable: if it takes no files.
        """
        if not (folder / DEFINITION).exists():
            text = json.dumps(asdict(definition), indent=2) + "\n"
            write_atomically(folder / DEFINITION, text.encode())
        store = cls(folder)
        if store.definition != definition:
            raise BadValue(
                f"the table in {folder} is another one ({store.definition.differences(definition)}): "
                "give its options, or a --name of its own to the new one"
            )
        return store

    def refresh(self) -> dict[Work, Row]:
        """Read what was appended since, by this process or another.

        A last line without an end is one that is being written, or never will be: it does not count.

        Raises:
            Damaged: if a line is truncated, altered or of another table.
        """
        try:
            with self.file.open("rb") as file:
                file.seek(self._read)
                new = file.read()
        except FileNotFoundError:
            return self.rows
        whole = new[: new.rfind(b"\n") + 1]
        for line in whole.splitlines():
            row = self._row(line, self._lines + 1)
            self.rows.setdefault(row.work, row)
            self._lines += 1
        self._read += len(whole)
        return self.rows

    def _row(self, line: bytes, number: int) -> Row:
        try:
            row = decode(line)
            if row.definition != self.definition.digest:
                raise NoRow(f"is of another table, {row.definition}")
        except NoRow as error:
            raise Damaged(
                f"line {number} of {self.file} {error}: delete that line, and `bnas-bench tabulate` "
                "trains again what it held"
            ) from None
        return row

    def append(self, *rows: Row) -> None:
        """Add rows; when this returns they are on the disk.

        Raises:
            Unwritable: if they cannot be written.
        """
        try:
            with _locked(self.folder / ".append"), self.file.open("ab+") as file:
                _put_torn_aside(self.file)
                file.write(b"".join(map(encode, rows)))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise Unwritable(self.file, error) from error

    @contextmanager
    def claim(self, number: int) -> Iterator[bool]:
        """Whether the work of that number is this process' own within the `with`, or another's already."""
        if self._claims is None:  # one for all: closing any descriptor of a file ends all its locks
            self._claims = os.open(self.folder / ".claims", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.lockf(self._claims, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
        except (BlockingIOError, PermissionError):
            yield False
            return
        try:
            yield True
        finally:
            fcntl.lockf(self._claims, fcntl.LOCK_UN, 1, number)


def read_definition(folder: Path) -> Definition:
    """The definition of the table in a folder.

    Raises:
        BadValue: if there is no table.
        Damaged: if its definition is none.
    """
    path = folder / DEFINITION
    try:
        return Definition.from_json(json.loads(read_regular(path)))
    except (FileNotFoundError, NotADirectoryError):
        raise BadValue(f"there is no table in {folder}: bnas-bench tabulate begins one") from None
    except (OSError, ValueError) as error:
        raise Damaged(
            f"{path} defines no table ({error}): fetch it again, or move {folder} aside"
        ) from error


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _put_torn_aside(path: Path) -> None:
    """Move what follows the last whole line to a file of its own; called with the lock held."""
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole == len(data):
        return
    number = 1
    while (aside := path.with_name(f"{path.name}.torn-{number}")).exists():
        number += 1
    write_atomically(aside, data[whole:])
    os.truncate(path, whole)
