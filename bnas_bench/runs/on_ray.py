"""Trials on a cluster of Ray: an actor for each slot, which is asked for news; retries are the grid's.

The command keeps the claims, and writes the results of workers that do not see its folder. What travels
is JSON texts and files' bytes (`runs.travel`).
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue
from threading import Event as Stop
from typing import TYPE_CHECKING, Any

from bnas_bench.core.errors import BadValue
from bnas_bench.core.files import read_regular, write_atomically
from bnas_bench.runs.attempt import Attempt
from bnas_bench.runs.backend import End, Exited, Lost, Preempted
from bnas_bench.runs.claims import BEAT, Lock
from bnas_bench.runs.code import code_of
from bnas_bench.runs.how import How
from bnas_bench.runs.parallel import Stopped
from bnas_bench.runs.process import TAKEN
from bnas_bench.runs.progress import Event
from bnas_bench.runs.ray_cluster import check_start, connected, handlers_kept, slots
from bnas_bench.runs.ray_worker import ENDS, Worker
from bnas_bench.runs.store import Store
from bnas_bench.runs.travel import RESULTS, SAVED, Reply, describe

if TYPE_CHECKING:
    from bnas_bench.runs.trial import Trial

PROMPT = 0.2
"""Seconds within which it is seen that all is to end."""

PATIENCE = 30.0
"""Seconds after which it is said that a trial waits for a worker."""

STALE = 60.0
"""Seconds that NFS may take to show a folder that another host has renamed."""


@dataclass(frozen=True, kw_only=True)
class Slot:
    """A worker that waits for work, or is at it."""

    actor: Any
    host: str
    sees: bool


class _Pulse:
    """Keeps a claim alive for who works on another host."""

    def __init__(self, lock: Lock) -> None:
        self.lock, self.last = lock, time.monotonic()

    def beats(self) -> bool:
        """Beat, if it is time; whether the claim is still ours, as far as is known."""
        if time.monotonic() - self.last < BEAT:
            return True
        self.last = time.monotonic()
        return self.lock.beat()


class OnRay:
    """A backend of the cores and GPUs of a cluster of Ray.

    Args:
        trials: all that are to run; workers are to have their code.
        address: of the cluster, HOST:PORT, or `auto`, which is the one that this machine is a node of; None
            starts Ray on this machine.

    Raises:
        BadValue: if Ray is missing, nothing answers at the address, or no node has room for a trial.
        Unwritable: if the folder of results takes no files.
    """

    def __init__(
        self, trials: Sequence[Trial], store: Store, how: How, address: str | None = None
    ) -> None:
        if how.device.startswith("cuda:"):
            raise BadValue(
                f"'{how.device}' is one machine's GPU: write --device cuda, and each trial has one of the "
                "cluster's"
            )
        self.store, self.how = store, how
        self.ray = ray = connected(address)
        self.started: list[Any] = []
        self.idle: Queue[Slot] = Queue()
        self.probe = store.root / f".seen-{secrets.token_hex(8)}"
        self.said_unseen = False
        try:
            fit, gpu = slots([n["Resources"] for n in ray.nodes() if n["Alive"]], how)
            if not (fit or how.jobs):
                cores = how.threads * how.devices
                wanted = f"{cores} CPU cores" if cores > 1 else "a CPU core"
                wanted += f" and {how.devices} GPUs" if gpu else ""
                raise BadValue(
                    f"no node of the Ray cluster has {wanted}: start one that "
                    "has, or ask for less with --threads, --devices and --device"
                )
            self.jobs, self.device = how.jobs or fit, "cuda" if gpu else "cpu"
            content = secrets.token_hex(8)
            self.told = json.dumps(
                {
                    "folder": str(Path.cwd()),
                    "root": str(store.root),
                    "probe": [self.probe.name, content],
                    "plugins": sorted(
                        {(p.kind, p.name) for t in trials for p in (t.method, t.space)}
                    ),
                    "code": code_of(trials),
                    "device": how.device,
                    "threads": how.threads,
                    "devices": how.devices,
                    "batch_norm": how.batch_norm,
                    "data": str(how.data),
                }
            )
            self.make = ray.remote(Worker).options(
                num_cpus=how.threads * how.devices,
                num_gpus=how.devices if gpu else 0,
                max_restarts=0,
                max_task_retries=0,
                # Ray runs workers at niceness 15.
                runtime_env={"env_vars": {"RAY_worker_niceness": "0"}},
            )
            write_atomically(self.probe, content.encode())
        except BaseException:
            self.close()
            raise

    def attempt(
        self, trial: Trial, attempt: Attempt, lock: Lock, stop: Stop, leave: Stop
    ) -> Generator[Event, None, End]:
        """Let a worker run the trial."""
        pulse = _Pulse(lock)
        slot = yield from self._slot(trial, pulse, stop, leave)
        if slot is None:
            return Preempted()
        if not (slot.sees or self.said_unseen):
            self.said_unseen = True
            yield Event(
                *(trial.id, "note"),
                f"{slot.host} does not see {self.store.root}: what its trials save travels to this command, "
                "which writes it",
            )
        try:
            reply = yield from self._asked(slot, trial, attempt, pulse, stop, leave)
        except self.ray.exceptions.RayError as error:
            self._end(slot.actor)
            return Lost(f"its worker on {slot.host} is gone ({type(error).__name__})")
        except BaseException:
            self._end(slot.actor)
            raise
        if (
            reply is None
        ):  # another process has the trial: the worker may still be in the midst of it
            self._end(slot.actor)
            yield Event(trial.id, "busy", TAKEN)
            return Exited(1)
        self.idle.put(slot)
        assert reply.end is not None
        if reply.recorded and slot.sees:
            deadline = time.monotonic() + STALE
            while self.store.read(trial.id) is None and time.monotonic() < deadline:
                time.sleep(PROMPT)
        elif reply.recorded:
            attempt.adopt({name: reply.files[name] for name in RESULTS if name in reply.files})
        name, *facts = reply.end
        return ENDS[name](*facts)

    def _asked(
        self, slot: Slot, trial: Trial, attempt: Attempt, pulse: _Pulse, stop: Stop, leave: Stop
    ) -> Generator[Event, None, Reply | None]:
        """Ask a worker for news until the attempt is over; the last of it, None if the claim is lost."""
        files = {} if slot.sees else _saved(attempt.folder)
        told = {
            "trial": describe(trial),
            "code": code_of([trial]),
            "token": attempt.token,
            "files": [*files],
        }
        self._get(slot.actor.begin.remote(json.dumps(told), *files.values()), stop)
        while True:
            reply = Reply.decode(self._get(slot.actor.next.remote(leave.is_set()), stop))
            yield from reply.events
            # Who works in the folder itself sees whether it is taken over.
            if not pulse.beats() or not (slot.sees or attempt.folder.is_dir()):
                return None
            saved = {name: data for name, data in reply.files.items() if name not in RESULTS}
            attempt.receive(saved, reply.gone)
            if reply.end is not None:
                return reply

    def _slot(
        self, trial: Trial, pulse: _Pulse, stop: Stop, leave: Stop
    ) -> Generator[Event, None, Slot | None]:
        """A worker: one that has nothing to do, or a new one, whichever is there first; None at `leave`."""
        actor, hello, died, since = None, None, 0, time.monotonic()
        try:
            while not leave.is_set():
                pulse.beats()
                if stop.is_set():
                    raise Stopped
                with suppress(Empty):
                    slot = self.idle.get(timeout=PROMPT if actor else 0.001)
                    if self._lives(slot, stop):
                        return slot
                    continue
                if actor is None:
                    actor = self.make.remote(self.told)
                    self.started.append(actor)
                    hello = actor.hello.remote()
                if self.ray.wait([hello], timeout=0)[0]:
                    try:
                        said = json.loads(self.ray.get(hello))
                    except self.ray.exceptions.RayError as error:
                        died += 1
                        check_start(error, died)
                        actor = None
                        continue
                    if said["wrong"]:
                        raise BadValue(said["wrong"])
                    new, actor = actor, None
                    return Slot(actor=new, host=said["host"], sees=said["sees"])
                if time.monotonic() - since > PATIENCE:
                    since = float("inf")
                    yield Event(
                        trial.id, "note", "waits for a worker: the cluster has no room for it"
                    )
            return None
        finally:
            if actor is not None:
                self._end(actor)

    def _lives(self, slot: Slot, stop: Stop) -> bool:
        try:
            self._get(slot.actor.lives.remote(), stop)
        except self.ray.exceptions.RayError:
            self._end(slot.actor)
            return False
        return True

    def _get(self, promise: Any, stop: Stop) -> Any:
        """What a worker answers.

        Raises:
            Stopped: if all is to end.
            RayError: if the worker is gone.
        """
        while not self.ray.wait([promise], timeout=PROMPT)[0]:
            if stop.is_set():
                raise Stopped
        return self.ray.get(promise)

    def _end(self, actor: Any) -> None:
        with suppress(ValueError):
            self.started.remove(actor)
        with suppress(Exception):
            self.ray.wait([actor.end.remote()], timeout=5)
        with suppress(Exception):
            self.ray.kill(actor)

    def close(self) -> None:
        """End the workers, and leave the cluster, or end the one that was started."""
        for actor in [*self.started]:
            self._end(actor)
        with suppress(OSError):
            self.probe.unlink(missing_ok=True)
        with handlers_kept():
            self.ray.shutdown()


def _saved(folder: Path) -> dict[str, bytes]:
    """The checkpoints of the attempt before."""
    return {
        path.name: read_regular(path)
        for path in sorted(folder.iterdir())
        if SAVED.fullmatch(path.name)
    }
