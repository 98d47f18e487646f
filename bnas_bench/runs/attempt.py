"""One try at a trial: a folder of its own, in which it saves and writes until one rename publishes it.

While a trial is not over, its checkpoints lie in `trials/.ID.work/TOKEN/`. The next attempt takes them over
by renaming that folder to its own token: from then on whoever worked in it before finds no place to write
in. So no two attempts ever mix, whatever the file system makes of locks; the first that is renamed to
`trials/ID` is the trial's, and the work of another is dropped.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from bnas_bench.core.errors import Damaged
from bnas_bench.core.files import (
    Unwritable,
    make_folder,
    read_regular,
    sha256,
    sync_folder,
    write_atomically,
)
from bnas_bench.core.strict import read_json
from bnas_bench.runs.record import NoRecord, Record, decode, encode
from bnas_bench.runs.store import CHECKPOINT, DIGESTS, RECORD, Store, drop

TRIES = f"attempts{CHECKPOINT}"
"""The attempts so far; its time of change is the heartbeat of the one that is at work."""

LARGEST = 2**20
"""Bytes that no such file takes."""


class Attempt:
    """One try at a trial, by whoever has the claim of that token."""

    def __init__(self, store: Store, trial_id: str, token: str) -> None:
        self.store, self.trial_id, self.token = store, trial_id, token
        self.folder = store.work(trial_id) / token

    def begin(self, device: str) -> Attempt:
        """Prepare the folder, and note that the attempt is at work."""
        self.prepare()
        self.note(device)
        return self

    def prepare(self) -> None:
        """Make the folder, or take over that of the attempt before.

        Raises:
            Damaged: if something else is in its place.
            Unwritable: if it cannot be made.
        """
        room = self.store.work(self.trial_id)
        if room.is_symlink() or (room.exists() and not room.is_dir()):
            raise Damaged(f"{room} is in the way of the trial's checkpoints: move it away")
        try:
            make_folder(room)
            self._take_over(room)
            make_folder(self.folder)
            _forget(self.folder, keep=CHECKPOINT)
        except OSError as error:
            raise Unwritable(self.folder, error) from error

    def note(self, device: str) -> None:
        """Note that the attempt is at work on this host.

        Raises:
            Unwritable: if the folder is gone, as another attempt has taken it over.
        """
        tries = [*self._tries(), {"host": socket.gethostname(), "device": device}]
        tries[-1] |= {"began": round(time.time(), 3), "seconds": None, "ended": None}
        self._write(TRIES, json.dumps(tries).encode())

    def _take_over(self, room: Path) -> None:
        found = self.store.folder(self.trial_id)
        if found.is_dir() and not found.is_symlink() and not _has_record(found):
            # Of a version that kept checkpoints there; or empty.
            found.rename(moved := room / f"{self.token}-found")
            if _has_record(moved):
                moved.rename(found)
        left = sorted(
            (path for path in room.iterdir() if path.is_dir() and not path.is_symlink()),
            key=lambda path: (any(path.glob(f"*{CHECKPOINT}")), path.stat().st_mtime_ns),
        )
        if left:
            left.pop().rename(self.folder)
        for folder in left:
            drop(folder)

    def beat(self) -> bool:
        """Show that this attempt is at work; False if another has taken it over."""
        try:
            os.utime(self.folder / TRIES)
        except FileNotFoundError:
            return self.folder.is_dir()
        except OSError:
            pass
        return True

    def progress(self) -> dict[str, int]:
        """The checkpoints and when they were written: other ones are progress."""
        with suppress(OSError):
            files = [file for file in self.folder.glob(f"*{CHECKPOINT}") if file.name != TRIES]
            return {file.name: file.stat().st_mtime_ns for file in files}
        return {}

    def preempted(self, device: str) -> None:
        """Say that this attempt saved and ended, as it was asked to."""
        with suppress(Unwritable):
            self._write(TRIES, json.dumps(self._ended(device, "preempted")).encode())

    def publish(self, files: dict[str, bytes], record: Record) -> Record:
        """Write the files and the record, and make them the trial's; the record that it has then.

        That is another attempt's, if one was faster.

        Raises:
            Unwritable: if that cannot be done; there is then no record.
            Damaged: if what lies in the trial's place is no record.
        """
        ended = record.get("signal") or record["status"]
        tries = self._ended(record["device"], ended)
        record = record | {"attempts": [{name: each[name] for name in FIELDS} for each in tries]}
        if record["status"] == "failed":  # another attempt may go on from here
            self._write(TRIES, json.dumps(tries).encode())
        else:
            (self.folder / TRIES).unlink(missing_ok=True)
        return self._place(files, record)

    def _place(self, files: Mapping[str, bytes], record: Record) -> Record:
        for name, data in files.items():
            self._write(name, data)
        self._write(RECORD, encode(record))
        place = self.store.folder(self.trial_id)
        try:
            self.folder.rename(place)
            sync_folder(place.parent)
        except OSError as error:
            if (first := self.store.read(self.trial_id)) is None:
                raise Unwritable(place, error) from error
            drop(self.folder)
            record = first
        if record["status"] == "ok":
            self.store.remove_checkpoints(self.trial_id)
        self.close()
        return record

    def receive(self, files: Mapping[str, bytes], gone: Iterable[str]) -> None:
        """Keep what the same attempt has saved on a machine that does not see this store.

        Raises:
            Unwritable: if it cannot be kept, as where another attempt has taken over.
        """
        for name, data in files.items():
            self._write(name, data)
        for name in gone:
            (self.folder / name).unlink(missing_ok=True)

    def adopt(self, files: Mapping[str, bytes]) -> None:
        """Publish what the same attempt has published on a machine that does not see this store.

        Raises:
            Damaged: if it is not whole, or another trial's.
            Unwritable: if it cannot be published.
        """
        try:
            record = decode(files[RECORD])
        except (KeyError, NoRecord) as error:
            raise Damaged(f"a worker sent no record of {self.trial_id} ({error})") from error
        wrong = [
            n
            for n, field in DIGESTS.items()
            if n in files and sha256(files[n]) != record.get(field)
        ]
        if wrong or record["id"] != self.trial_id:
            raise Damaged(f"what a worker sent of {self.trial_id} is altered, or another trial's")
        if record["status"] != "failed":
            (self.folder / TRIES).unlink(missing_ok=True)
        self._place({name: data for name, data in files.items() if name != RECORD}, record)

    def close(self) -> None:
        """Remove the folder, if it is empty of all that another attempt could go on from."""
        if [path.name for path in self.folder.glob("*")] == [TRIES]:
            drop(self.folder)
        with suppress(OSError):
            self.folder.parent.rmdir()

    def _write(self, name: str, data: bytes) -> None:
        write_atomically(self.folder / name, data, make=False)

    def _ended(self, device: str, ended: str) -> list[dict[str, Any]]:
        """The attempts so far, of which the last ends now."""
        tries = self._tries()
        if tries:
            seconds = round(max(0.0, time.time() - tries[-1]["began"]), 3)
            tries[-1] |= {"device": device, "seconds": seconds, "ended": ended}
        return tries

    def _tries(self) -> list[dict[str, Any]]:
        """The attempts so far; one that did not say how it ended is lost."""
        path = self.folder / TRIES
        try:
            tries = read_json(read_regular(path, LARGEST).decode())
            beat = path.stat().st_mtime
        except (OSError, ValueError):
            return []
        if not isinstance(tries, list) or not all(map(_is_try, tries)):
            return []
        for each in tries:
            if each["ended"] is None:
                each |= {"seconds": round(max(0.0, beat - each["began"]), 3), "ended": "lost"}
        return tries


FIELDS = ("host", "device", "seconds", "ended")
"""What a record says of an attempt."""


def _is_try(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {*FIELDS, "began"}
        and isinstance(value["began"], float | int)
    )


def _has_record(folder: Path) -> bool:
    return os.path.lexists(folder / RECORD)


def _forget(folder: Path, keep: str) -> None:
    """Remove the files of a folder but those with that in their names and no leftovers of a write."""
    for file in folder.iterdir():
        is_file = file.is_symlink() or file.is_file()
        if is_file and (keep not in file.name or file.name.startswith(".")):
            file.unlink(missing_ok=True)
