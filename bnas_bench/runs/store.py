"""What runs leave on disk: `results/NAME/trials/ID/`, one folder a trial, written atomically.

A trial's folder holds `record.json`, `arch.json`, `log.jsonl`, `weights.safetensors` and
`predictions.safetensors`, where the search handed one back `front.json`, or, where the trial failed,
`error.txt` beside the record. The folder appears whole, by one rename (`runs.attempt`): a trial that has a
record is over; until then its checkpoints lie in `trials/.ID.work`. No result is deleted: a folder that is
replaced moves to `ID.old-N`, one with a file that cannot be trusted to `ID.damaged-N`.

At most one record per trial, never a mixture of two attempts; a second run of the same work is possible,
its loss is not.

Results may come from a stranger: a link in them is never followed to where something is written or
removed, and of a file nothing is read but what its record vouches for.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from bnas_bench.core.errors import BenchError, Damaged
from bnas_bench.core.files import (
    Unwritable,
    make_folder,
    read_regular,
    set_aside,
    sha256,
    write_atomically,
)
from bnas_bench.core.sealed import LARGEST, NoRecord
from bnas_bench.runs.claims import Lock, claim
from bnas_bench.runs.record import Record, decode, encode

RECORD = "record.json"

PREDICTIONS = "predictions.safetensors"
"""What the trained networks make of the test images (`runs.predictions`)."""

CHECKPOINT = ".ckpt"
"""Ending of the files that a killed trial goes on from; they go when the record is written."""

WORK = ".work"
"""Ending of the folder in which a trial's attempts work (`runs.attempt`)."""

DIGESTS = {
    "arch.json": "arch_sha256",
    "front.json": "front_sha256",
    "log.jsonl": "log_sha256",
    "weights.safetensors": "weights_sha256",
    PREDICTIONS: "predictions_sha256",
}
"""The files of a finished trial, and the fields of its record that tell whether they are whole."""

SHOWN = ("arch.json", "front.json", "log.jsonl", PREDICTIONS)
"""Those that reports read."""

LIMITS = {PREDICTIONS: 64 * 2**20}
"""Bytes that such a file does not pass: a hundred trainings on ImageNet make ten million."""


def read_record(folder: Path) -> Record | None:
    """The record in a trial's folder; None if the trial is not over.

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
    """One of the `DIGESTS` files of a trial; None if the record knows of none, or it is gone.

    Raises:
        Damaged: if it is truncated or altered.
    """
    file = folder / name
    if DIGESTS[name] not in record:
        return None
    try:
        data = read_regular(file, LIMITS.get(name))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Damaged(f"{file} cannot be read ({error})") from error
    if sha256(data) != record[DIGESTS[name]]:
        raise Damaged(f"{file} is truncated or altered")
    return data


class State(NamedTuple):
    """How far a trial is: `ok`, `failed` or `refused`, as its record says; or without a record
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
        only: the trials of it that count, by their ids; None is all.
    """

    def __init__(self, root: Path | str, only: Iterable[str] | None = None) -> None:
        self.only = None if only is None else frozenset(only)
        self.root = Path(root).absolute()
        self.trials = self.root / "trials"

    def folder(self, trial_id: str) -> Path:
        return self.trials / trial_id

    def work(self, trial_id: str) -> Path:
        """Where the checkpoints of a trial lie that is not over."""
        return self.trials / f".{trial_id}{WORK}"

    def ids(self) -> list[str]:
        """The ids of all trials that have a folder, of results or of work, sorted."""
        if not self.trials.is_dir():
            return []
        with os.scandir(self.trials) as entries:
            folders = [entry.name for entry in entries if entry.is_dir()]
        found = {name.removeprefix(".").removesuffix(WORK) for name in folders if _is_trial(name)}
        return sorted(found if self.only is None else found & self.only)

    def read(self, trial_id: str) -> Record | None:
        """The record of a trial that is over; None for any other.

        Raises:
            Damaged: if the record is truncated, foreign or of another version, or what stands there
                leaves no room for one.
        """
        folder = self.folder(trial_id)
        if folder.is_symlink():
            raise Damaged(f"{folder} is a link, and results are no links")
        record = read_record(folder)
        if record is None and folder.exists() and not folder.is_dir():
            raise Damaged(f"{folder} is no folder")
        if record is None and (wrong := next(filter(Path.is_dir, _written(folder)), None)):
            raise Damaged(f"{wrong} is a folder, where a file is to be written")
        if record is not None and record["id"] != trial_id:
            raise Damaged(f"{folder / RECORD} is the record of another trial, '{record['id']}'")
        return record

    def state(self, trial_id: str, whole: Iterable[str] = ()) -> State:
        """How far a trial is.

        Args:
            whole: files of it that are to be as its record says, as `SHOWN`.
        """
        try:
            record = self.read(trial_id)
            if record is not None:
                self.verify(record, whole)
        except Damaged as error:
            return State("damaged", str(error))
        if record is not None:
            return State(record["status"], record["reason"], record)
        begun = self.folder(trial_id).is_dir() or self.work(trial_id).is_dir()
        return State("unfinished" if begun else "to run")

    def verify(self, record: Record, names: Iterable[str] = tuple(DIGESTS)) -> None:
        """Compare the files of a trial with the digests in its record; one that is gone is no fault.

        Raises:
            Damaged: if one of them is truncated or altered.
        """
        for name in names:
            self.file(record, name)

    def file(self, record: Record, name: str) -> bytes | None:
        """One of the `DIGESTS` files of a trial that is over; see `read_whole`."""
        return read_whole(self.folder(record["id"]), record, name)

    def write(self, trial_id: str, files: dict[str, bytes], record: Record) -> None:
        """Write a trial's files, and its record last.

        Raises:
            Unwritable: if that cannot be done; there is then no record.
        """
        folder = self.folder(trial_id)
        if folder.is_symlink():
            raise BenchError(f"cannot write {folder}: it is a link; move it out of the results")
        for name, data in files.items():
            write_atomically(folder / name, data)
        write_atomically(folder / RECORD, encode(record))

    def remove_checkpoints(self, trial_id: str) -> None:
        """Remove what another attempt could go on from."""
        _remove(self.folder(trial_id), f"*{CHECKPOINT}")
        room = self.work(trial_id)
        if not room.is_symlink() and room.is_dir():
            for folder in room.iterdir():
                if not folder.is_symlink():
                    drop(folder)
            with suppress(OSError):
                room.rmdir()

    def retire(self, trial_id: str, ending: str, *, keep_checkpoints: bool) -> Path:
        """Move a trial's folder to `ID.ENDING-N`, so that the trial can run again; where it is now.

        Args:
            keep_checkpoints: leave them where the next attempt goes on from them.

        Raises:
            Unwritable: if that cannot be done.
        """
        aside, room = set_aside(self.folder(trial_id), ending), self.work(trial_id)
        if keep_checkpoints and not (aside.is_symlink() or room.is_symlink()):
            left = room / f"{secrets.token_hex(8)}-left"
            try:
                for file in aside.glob(f"*{CHECKPOINT}"):
                    make_folder(left)
                    file.rename(left / file.name)
            except OSError as error:
                raise Unwritable(left, error) from error
        return aside

    def lock(self, trial_id: str, wait: float) -> Lock | None:
        """Keep other processes out of a trial; None if one is in it and stays for `wait` seconds.

        Raises:
            Damaged: if something else is in the claim's place.
            Unwritable: if the folder takes no files.
        """
        for folder in (self.root, self.trials):
            if folder.is_symlink():
                raise BenchError(
                    f"{folder} is a link, and nothing is written through one: name the folder that it "
                    "leads to with --results and --name"
                )
        return claim(self.trials / f".{trial_id}.lock", wait)


def _is_trial(name: str) -> bool:
    """Whether a folder of that name is a trial's, of results or of work."""
    return "." not in name.removeprefix(".").removesuffix(WORK) and (
        name.startswith(".") == name.endswith(WORK)
    )


def _written(folder: Path) -> Iterator[Path]:
    return (folder / name for name in (*DIGESTS, "error.txt", RECORD))


def _remove(folder: Path, pattern: str) -> None:
    """Remove files of that form that lie in a folder itself, not where a link leads."""
    for file in [] if folder.is_symlink() else folder.glob(pattern):
        if file.is_symlink() or file.is_file():
            file.unlink(missing_ok=True)


def drop(folder: Path) -> None:
    """Remove a folder of work with its files; it stays where a folder is in it."""
    with suppress(OSError):
        for file in folder.iterdir():
            if file.is_symlink() or not file.is_dir():
                file.unlink(missing_ok=True)
        folder.rmdir()
