"""A trial in a process of its own: its crash, its memory and its threads are its alone.

The processes are forked from a server that has imported torch, once for all of them. A trial's
process dies with the process that started it, also when that one is killed with -9.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from multiprocessing import forkserver, util
from multiprocessing.connection import Connection, wait
from pathlib import Path
from threading import Event as Stop
from threading import Lock as Mutex
from threading import Thread, current_thread, main_thread
from types import ModuleType
from typing import TYPE_CHECKING, Any

from bnas_bench.core.errors import BenchError, Damaged, MissingData, one_line
from bnas_bench.core.files import Unwritable
from bnas_bench.runs.attempt import Attempt
from bnas_bench.runs.claims import BEAT, Lock
from bnas_bench.runs.how import How
from bnas_bench.runs.parallel import Stopped
from bnas_bench.runs.progress import Event, Kind, Progress
from bnas_bench.runs.ranks import accompany
from bnas_bench.runs.seat import Seat
from bnas_bench.runs.store import Store

if TYPE_CHECKING:
    from bnas_bench.runs.trial import Trial

INTERVAL = 0.5
"""Seconds between two reports of a trial's progress."""

PROMPT = 0.05
"""Seconds within which a trial's process is ended once that is asked for."""

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["bnas_bench.runs.preloaded"])


STARTING = Mutex()

PREEMPTED = 75
"""The exit code of a process that saved and ended, as it was asked to; sysexits.h: try again later."""

TAKEN = "another process has taken it over, as this one gave no sign of life: left to that one"

LOST = 255
"""The exit code that stands for one that nobody knows: the server died before the process did."""


class NotStarted(BenchError):
    """A trial whose process never came to life; nothing is known of the trial."""

    def __init__(self, error: Exception) -> None:
        super().__init__(
            f"its process could not be started ({' '.join(str(error).split()) or 'no answer'}); "
            "see whether memory, processes and the temporary folder suffice, and give the command again"
        )


def start_server() -> None:
    """Start the server that forks the trials' processes, deaf to Ctrl-C: that is for the parent.

    Where it dies, the next trial's process starts another.
    """
    if current_thread() is not main_thread():
        return
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with suppress(OSError):  # a trial that needs it meets the same error, and says so
            forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGINT, handler)


def run_in_child(
    trial: Trial,
    attempt: Attempt,
    lock: Lock | None,
    how: How,
    stop: Stop,
    leave: Stop | None = None,
    gpu: str | None = None,
    seat: Seat | None = None,
) -> Generator[Event, None, int]:
    """Run a trial and yield what it says; returns its exit code, negative for a signal.

    The child works in the attempt's folder and holds the claim for as long as it lives. Closing this
    iterator ends it, and so does `stop`, at which it raises `Stopped`. At `leave`, as at SIGTERM or SIGUSR1,
    it saves at its next step and ends with `PREEMPTED`.

    Args:
        lock: the claim; None if another host keeps it.
        gpu: the only one that it sees, or the only ones; None is all.
        seat: in a group of ranks that others have started; else it starts them itself (`how.devices`).

    Raises:
        NotStarted: if there is no child, for lack of memory or of a server that forks it.
    """
    receiver, sender = CONTEXT.Pipe(duplex=False)
    arguments = (trial, attempt.store.root, attempt.token, lock, sender, how, gpu, seat)
    process = CONTEXT.Process(target=_child, args=arguments, name=trial.id, daemon=True)
    with closing(receiver):
        with closing(sender), STARTING, no_main_module():
            _start(process)
        try:
            asked = False
            sources: list[Any] = [receiver, process.sentinel]
            with suppress(EOFError, OSError):  # its end, in the middle of a message perhaps
                while True:
                    if stop.is_set():
                        raise Stopped
                    if leave and leave.is_set() and not asked and process.pid:
                        asked = True
                        with suppress(ProcessLookupError):
                            os.kill(process.pid, signal.SIGTERM)
                    if receiver in (ready := wait(sources, PROMPT)):
                        yield receiver.recv()
                    elif ready or len(sources) == 1:
                        # What it has forked may hold its end of the pipe for hours.
                        if not _lives(process.pid):
                            break
                        sources = [receiver]  # the server that tells of its end is gone
        except BaseException:
            _end(process)
            raise
    process.join()
    if leave and leave.is_set() and process.exitcode == -signal.SIGTERM:
        return PREEMPTED  # before it listened: it has nothing to save
    return LOST if process.exitcode is None else process.exitcode


def _start(process: Any) -> None:
    """Start a process; again if the server has died, which for a moment looks alive as it does."""
    for pause in (0.2, 1.0, None):
        try:
            process.start()
            return
        except (OSError, EOFError) as error:
            if pause is None:
                raise NotStarted(error) from error
            time.sleep(pause)


def _end(process: Any) -> None:
    """End a process, also one whose server, which alone could say whether it lives, is gone."""
    if process.is_alive() or process.exitcode == LOST:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        process.join()


def _lives(pid: int | None) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


@contextmanager
def no_main_module() -> Iterator[None]:
    """A new process runs its parent's main module once more, in search of what it is to call.

    Trials need nothing from there, and a script that starts them as it is read would do so again.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


class _Heedless(io.FileIO):
    """A file that loses what it cannot take."""

    def write(self, data: Any) -> int:
        with suppress(OSError):
            return super().write(data) or 0
        return len(data)


def _heedless(stream: Any) -> Any:
    """stdout or stderr of a trial: no search ends because what it prints finds no room, reader or sign."""
    if stream is None:
        return None
    raw = io.BufferedWriter(_Heedless(stream.fileno(), "w", closefd=False))
    return io.TextIOWrapper(raw, stream.encoding, "backslashreplace", line_buffering=True)


def _child(
    trial: Trial,
    root: Path,
    token: str,
    lock: Lock | None,
    sender: Connection,
    how: How,
    gpu: str | None,
    seat: Seat | None,
) -> None:
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    # Third-party libraries that still script with TorchScript are not the user's business.
    warnings.filterwarnings("ignore", message=r"`torch\.jit\.", category=FutureWarning)
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C is for the parent, which ends this process
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, _save_now)
    company = accompany(trial, how, seat, (sender.fileno(), *([lock.fd] if lock else [])))
    mutex = Mutex()

    def send(kind: Kind, text: str, **more: Any) -> None:
        with mutex, suppress(OSError):
            sender.send(Event(trial.id, kind, text, **more))

    progress = Progress(lambda text: send("note", text))
    store = Store(root)
    attempt = Attempt(store, trial.id, token)

    def is_ours() -> bool:
        return (lock is None or lock.beat()) and attempt.beat()

    company.watch(lambda why: send("lost", why), lambda: os._exit(LOST))
    Thread(target=_watch, args=(progress, send, is_ours), daemon=True).start()
    sys.stdout, sys.stderr = _heedless(sys.stdout), _heedless(sys.stderr)
    code = 1
    from bnas_bench.core.ranks import LostRank
    from bnas_bench.search.checkpoint import Preempted

    try:
        from bnas_bench.core.machine import keep_pages
        from bnas_bench.runs.run import run_trial

        keep_pages()
        run_trial(
            *(trial, store),
            device=company.seat.device(how.device) if company.seat else how.device,
            threads=how.threads,
            data=how.data,
            progress=progress,
            attempt=attempt,
            seat=company.seat,
        )
        code = 0
    except Preempted:
        attempt.preempted(how.device)
        code = PREEMPTED
    except LostRank as error:
        if not company.said():
            send("lost", str(error))
        code = LOST
    except BenchError as error:
        event = told_of(error, trial.id, attempt)
        send(event.kind, event.text)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException as error:
        send("broken", one_line(error))
    finally:  # waits for no thread that a method left running, and calls nothing that it registered
        company.end()
        with suppress(Exception):
            _flush()
        with suppress(Exception):  # gives back semaphores, of which Python else complains
            util._run_finalizers(0)  # type: ignore[attr-defined]
        os._exit(code & 0xFF)


def told_of(error: BenchError, trial_id: str, attempt: Attempt | None) -> Event:
    """What an error of a trial's process means to whoever waits for it.

    Args:
        attempt: None if the error came before there was one.
    """
    match error:
        case MissingData():
            return Event(trial_id, "missing", str(error))
        case Unwritable() if attempt and not attempt.folder.is_dir():
            return Event(trial_id, "busy", TAKEN)
        case Unwritable(everywhere=False) | Damaged():
            return Event(trial_id, "broken", str(error))
    return Event(trial_id, "stop", str(error))


def _save_now(*_: object) -> None:
    from bnas_bench.search.checkpoint import SAVE_NOW

    SAVE_NOW.set()


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()


def _watch(progress: Progress, send: Callable[..., None], is_ours: Callable[[], bool]) -> None:
    """Report the progress for as long as the parent lives and the trial is ours; then end this process.

    Args:
        is_ours: shows that this process lives, and says whether nobody else has taken the trial over.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None
    last, told, beaten = None, 0, time.monotonic()
    while not wait([parent.sentinel], INTERVAL):
        if time.monotonic() - beaten > BEAT:
            beaten = time.monotonic()
            if not is_ours():
                send("busy", TAKEN)
                os._exit(1)
        if (now := progress.snapshot()) != last:
            phase, done, text = last = now
            curve = progress.curve()
            send(
                *("progress", text),
                phase=phase,
                done=done,
                curve=curve if len(curve) > told else (),
            )
            told = len(curve)
    os._exit(1)
