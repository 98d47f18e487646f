"""A worker of Ray: one slot, in which one attempt at a trial is made at a time.

The worker's process runs each trial in a process of its own, as on one machine. It works in the folder of
results where it sees that; where it does not, in a folder of its own, and what it saves is sent as it is
asked for news. It takes and gives JSON texts and files' bytes (`runs.travel`).
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import tempfile
from contextlib import closing, suppress
from pathlib import Path
from queue import Empty, Queue
from threading import Event as Stop
from threading import Thread
from typing import Any

from bnas_bench.core.errors import BenchError
from bnas_bench.core.files import write_atomically
from bnas_bench.plugins.registry import find
from bnas_bench.runs.attempt import Attempt
from bnas_bench.runs.backend import End, Exited, Lost, Preempted
from bnas_bench.runs.claims import _started
from bnas_bench.runs.code import code_of, code_of_plugins, other_code
from bnas_bench.runs.deaths import death
from bnas_bench.runs.how import How
from bnas_bench.runs.local import ended
from bnas_bench.runs.parallel import Stopped
from bnas_bench.runs.process import NotStarted, run_in_child, start_server, told_of
from bnas_bench.runs.progress import Event
from bnas_bench.runs.store import Store
from bnas_bench.runs.travel import RESULTS, Mirror, Reply, trial_of
from bnas_bench.runs.trial import Trial

WAIT = 1.0
"""Seconds that a question for news waits for the first."""

SCRATCH = "bnas-bench-ray-"
"""How the folders begin in which workers work who see no results."""

ENDS = {"exited": Exited, "lost": Lost, "preempted": Preempted}


class Worker:
    """What an actor of Ray is made of; the command asks, and nothing is raised that it can cause.

    Args:
        told: `folder` of the command; `root` of the results, and `probe`, a file in it with its content;
            `plugins`, `code`; `device`, `threads`, `devices`, `batch_norm`, `data`.
    """

    def __init__(self, told: str) -> None:
        self.told: dict[str, Any] = json.loads(told)
        self.news: Queue[Event | End] = Queue()
        self.stop = Stop()
        self.thread: Thread | None = None
        self.scratch: Path | None = None

    def hello(self) -> str:
        """Who this worker is, whether it `sees` the results, and what is `wrong` with it."""
        host, told = socket.gethostname(), self.told
        wrong, self.sees, self.how = "", False, How()
        with suppress(OSError):  # relative names, of data and plug-ins, are those of the command
            os.chdir(told["folder"])
        try:
            plugins = [find(kind, name) for kind, name in told["plugins"]]
            wrong = other_code(code_of_plugins(plugins), told["code"])
            same = {key: told[key] for key in ("device", "threads", "devices", "batch_norm")}
            how = How(**same, data=Path(told["data"]))
            self.how = how.settled()
            self.sees = self._sees(Path(told["root"]), *told["probe"])
        except BenchError as error:
            wrong = f"{host}: {error}"
        if not wrong:
            _sweep()
            start_server()
        return json.dumps({"host": host, "pid": os.getpid(), "sees": self.sees, "wrong": wrong})

    def begin(self, told: str, *contents: bytes) -> None:
        """Begin an attempt.

        Args:
            told: the `trial`, the `code` that it is run by, the attempt's `token`, and the names of the
                `files` that the attempt before saved; the `contents` are theirs.
        """
        asked, self.leave = json.loads(told), Stop()
        self.attempt: Attempt | None = None
        try:
            trial = trial_of(asked["trial"])
            if wrong := other_code(code_of([trial]), asked["code"]):
                raise BenchError(wrong)
            if not self.sees:
                name = f"{SCRATCH}{os.getpid()}-{_started(os.getpid())}-"
                self.scratch = Path(tempfile.mkdtemp(prefix=name))
            store = Store(self.scratch or self.told["root"])
            attempt = self.attempt = Attempt(store, trial.id, asked["token"])
            if not self.sees:
                attempt.prepare()
                for name, content in zip(asked["files"], contents, strict=True):
                    write_atomically(attempt.folder / name, content)
            self.mirror = Mirror(attempt.folder, asked["files"])
            attempt.note(self.how.device)
        except BenchError as error:
            self.news.put(told_of(error, asked["trial"]["id"], self.attempt))
            self.news.put(Exited(1))
            return
        self.thread = Thread(target=self._run, args=(trial, attempt), daemon=True)
        self.thread.start()

    def next(self, leave: bool) -> list[str | bytes]:
        """What happened since the question before; see `Reply`.

        Args:
            leave: the trial is to save at its next step, and to end.
        """
        if leave:
            self.leave.set()
        reply, wait = Reply(), WAIT
        with suppress(Empty):
            while reply.end is None:
                said, wait = self.news.get(timeout=wait), 0.001
                if isinstance(said, Event):
                    reply.events.append(said)
                else:
                    reply.end = [type(said).__name__.lower(), *vars(said).values()]
        if (attempt := self.attempt) is None:
            return reply.encode()
        whole = attempt.store.folder(attempt.trial_id)
        reply.recorded = reply.end is not None and whole.is_dir()
        if not self.sees:
            folder = whole if reply.recorded else attempt.folder
            reply.files, reply.gone = self.mirror.changes(folder)
            if reply.recorded:
                reply.files |= {
                    name: (folder / name).read_bytes()
                    for name in RESULTS
                    if (folder / name).is_file()
                }
        if reply.end is not None:
            self._forget()
        return reply.encode()

    def lives(self) -> bool:
        """That it does."""
        return True

    def end(self) -> None:
        """End the attempt that is made, if one is."""
        self.stop.set()
        if self.thread:
            self.thread.join()
        self._forget()

    def _run(self, trial: Trial, attempt: Attempt) -> None:
        broken, over = "", False
        try:
            with closing(
                run_in_child(trial, attempt, None, self.how, self.stop, self.leave)
            ) as events:
                while True:
                    try:
                        event = next(events)
                    except StopIteration as end:
                        how = ended(end.value)
                        break
                    broken = event.text if event.kind == "broken" else broken
                    over = over or event.kind in ("missing", "busy", "stop", "lost")
                    self.news.put(event)
            if isinstance(how, Exited) and not over and attempt.store.read(trial.id) is None:
                death(trial, attempt, self.how.device, how, broken)
        except Stopped:
            return
        except NotStarted as error:
            how = Lost(str(error))
        except Exception as error:  # of the record of a death, as where its place is taken
            self.news.put(Event(trial.id, "note", str(error)))
            how = Exited(1)
        self.news.put(how)

    def _sees(self, root: Path, name: str, content: str) -> bool:
        """Whether the results are here, too, and take files."""
        beside = root / f"{name}.{secrets.token_hex(8)}"
        try:
            if (root / name).read_text() != content:
                return False
            beside.touch()
            beside.unlink()
        except (OSError, ValueError):
            return False
        return True

    def _forget(self) -> None:
        if self.scratch:
            shutil.rmtree(self.scratch, ignore_errors=True)
            self.scratch = None


def _sweep() -> None:
    """Remove what workers left who were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{SCRATCH}*"):
        pid, started = (*folder.name.removeprefix(SCRATCH).split("-"), "")[:2]
        with suppress(OSError):
            is_ours = not folder.is_symlink() and folder.stat().st_uid == os.getuid()
            if is_ours and pid.isdigit() and _started(int(pid)) != started:
                shutil.rmtree(folder, ignore_errors=True)
