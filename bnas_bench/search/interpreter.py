"""The state of Python and of its process: signals, limits, threads, the environment, the folder."""

from __future__ import annotations

import gc
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from operator import ne
from typing import Any

import numpy as np

from bnas_bench.search.lent import MISSING

LIBRARIES = ("KMP_", "TORCHINDUCTOR_", "TRITON_")
"""Variables that libraries (scikit-learn, torch.compile) set by themselves as they are first used."""

LIMITS = tuple(name for name in dir(resource) if name.startswith("RLIMIT_"))


@dataclass(frozen=True)
class Setting:
    """One part of the shared state, by the name that a sentence calls it.

    Attributes:
        differs: of the value now and the one before.
    """

    name: str
    get: Callable[[], Any]
    set: Callable[[Any], Any]
    differs: Callable[[Any, Any], bool] = ne

    def read(self) -> Any:
        """The value; nothing where this machine, or this version of torch, does not tell."""
        with suppress(Exception):
            return self.get()
        return MISSING


def set_mapping(mapping: MutableMapping[Any, Any], wanted: Mapping[Any, Any]) -> None:
    for name in mapping.keys() - wanted.keys():
        del mapping[name]
    mapping.update(wanted)


def _environment() -> dict[str, str]:
    return {name: v for name, v in os.environ.items() if not name.startswith(LIBRARIES)}


def _set_environment(wanted: Mapping[str, str]) -> None:
    libraries = {name: v for name, v in os.environ.items() if name.startswith(LIBRARIES)}
    set_mapping(os.environ, {**libraries, **wanted})


def _handlers() -> dict[str, Any]:
    return {number.name: signal.getsignal(number) for number in signal.Signals}


def _set_handlers(wanted: Mapping[str, Any]) -> None:
    for name, handler in wanted.items():
        with suppress(OSError, TypeError, ValueError):  # SIGKILL has none, and C's cannot be set
            signal.signal(signal.Signals[name], handler)


def _limits() -> dict[str, tuple[int, int]]:
    return {name: resource.getrlimit(getattr(resource, name)) for name in LIMITS}


def _set_limits(wanted: Mapping[str, tuple[int, int]]) -> None:
    for name, limit in wanted.items():
        with suppress(OSError, ValueError):  # one that was lowered for good
            resource.setrlimit(getattr(resource, name), limit)


def _umask() -> int:
    os.umask(mask := os.umask(0o077))
    return mask


def _collect(enabled: bool) -> None:
    (gc.enable if enabled else gc.disable)()


def _threads() -> list[str]:
    """Those that run code of no library: they would take their part of the time that is measured."""
    return [thread.name for thread in threading.enumerate() if not _is_a_librarys(thread)]


def _is_a_librarys(thread: threading.Thread) -> bool:
    runs = getattr(thread, "_target", None) if type(thread) is threading.Thread else type(thread)
    module = getattr(runs, "__module__", None) or ""
    return module.partition(".")[0] in {*sys.stdlib_module_names, "torch", "tqdm", ""}


def _has_more(now: list[str], before: list[str]) -> bool:
    return not {*now} <= {*before}


def _never(_: object) -> None:
    """A thread ends by itself or not at all."""


def _set_streams(streams: tuple[Any, Any]) -> None:
    sys.stdout, sys.stderr = streams


INTERPRETER = (
    Setting("numpy's treatment of errors", np.geterr, lambda wanted: np.seterr(**wanted)),
    Setting("the environment", _environment, _set_environment),
    Setting("the working directory", os.getcwd, os.chdir),
    Setting("the umask", _umask, os.umask),
    Setting(
        "the process' CPUs", partial(os.sched_getaffinity, 0), partial(os.sched_setaffinity, 0)
    ),
    Setting("the process' limits", _limits, _set_limits),
    Setting("the handlers of signals", _handlers, _set_handlers),
    Setting("the threads that run", _threads, _never, _has_more),
    Setting("Python's recursion limit", sys.getrecursionlimit, sys.setrecursionlimit),
    Setting("Python's switch interval", sys.getswitchinterval, sys.setswitchinterval),
    Setting("Python's garbage collector", gc.isenabled, _collect),
    Setting("Python's tracing", sys.gettrace, sys.settrace),
    Setting("Python's profiling", sys.getprofile, sys.setprofile),
    Setting("stdout and stderr", lambda: (sys.stdout, sys.stderr), _set_streams),
)
