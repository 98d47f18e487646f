"""Predicted latency: the sum of what the network's kernels took when they were met for the first time.

A kernel is met within a network, where its input lies in the caches as it always will; its key says
its operations, shapes and attributes, no weights. Every machine, engine and number of threads has a
table of its own, kept in the user's cache folder. Nothing is added to the sum: the engine spends its
time in kernels.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import cache
from math import isfinite
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numba
import torch

from bnas_bench import packed
from bnas_bench.core.files import Unwritable, canonical, write_atomically
from bnas_bench.cost.latency import FEWEST, WARM_UP, Shape, machine, probe_image

if TYPE_CHECKING:
    from bnas_bench.packed.engine.engine import Engine
    from bnas_bench.packed.format.program import Program

FORMAT = 1
"""Version of the file."""


class LatencyTable:
    """Median seconds of kernels by their keys, on one machine with one number of threads.

    Args:
        threads: of the engines whose kernels it holds.
        path: the file that it is kept in; None keeps it in memory alone.
        say: takes one-sentence remarks on a file that cannot be used.
    """

    def __init__(
        self,
        threads: int,
        path: Path | None = None,
        *,
        say: Callable[[str], None] = warnings.warn,
    ) -> None:
        self.threads, self.path, self.say = threads, path, say
        self.seconds: dict[str, float] = {} if path is None else self._read(path, say)

    @classmethod
    def cached(cls, threads: int, say: Callable[[str], None] = warnings.warn) -> LatencyTable:
        """The table that this machine keeps, in `XDG_CACHE_HOME` or `~/.cache`."""
        name = hashlib.sha256(canonical(_identity(threads)).encode()).hexdigest()[:16]
        return cls(threads, cache_folder() / f"{name}.json", say=say)

    def unknown(self, engine: Engine) -> set[str]:
        """The keys of the engine's kernels that have not been timed."""
        return {kernel.key for kernel in engine.kernels} - self.seconds.keys()

    def add(self, engine: Engine, shape: Shape, *, repeats: int = FEWEST) -> None:
        """Time the engine's unknown kernels while an image of `shape` runs through it, and keep them.

        The others' times stay as they are: a kernel is measured once.
        """
        assert engine.threads == self.threads
        if not (missing := self.unknown(engine)):
            return
        image, times = probe_image(shape), defaultdict(list)
        for _ in range(WARM_UP):
            engine.run(image)
        for _ in range(repeats):
            for kernel, timing in zip(engine.kernels, engine.profile(image), strict=True):
                times[kernel.key].append(timing.seconds)
        self.seconds |= {key: median(times[key]) for key in sorted(missing)}
        self.save()

    def predict(self, engine: Engine) -> float:
        """Milliseconds that one image takes; a KeyError names a kernel that has not been timed."""
        return 1000 * sum(self.seconds[kernel.key] for kernel in engine.kernels)

    def save(self) -> None:
        """Write the file, together with what other processes have written into it since."""
        if self.path is None:
            return
        self.seconds = self._read(self.path, lambda _: None) | self.seconds
        content = {"format": FORMAT, "machine": _identity(self.threads), "seconds": self.seconds}
        try:
            write_atomically(self.path, f"{json.dumps(content, indent=1)}\n".encode())
        except Unwritable as error:
            self.say(f"the latency table is not kept: {error}")

    def _read(self, path: Path, say: Callable[[str], None]) -> dict[str, float]:
        try:
            return _seconds(json.loads(path.read_bytes()), _identity(self.threads))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as error:
            say(f"the latency table {path} cannot be used and is made anew: {error}")
            return {}


def _seconds(content: Any, identity: Mapping[str, Any]) -> dict[str, float]:
    """The seconds in a file's content; a ValueError says what is wrong with it."""
    match content:
        case {"format": number, "machine": dict(where), "seconds": dict(seconds)}:
            if number != FORMAT or where != identity:
                raise ValueError("it is of another machine or version")
            if all(isinstance(s, float) and isfinite(s) and s > 0 for s in seconds.values()):
                return seconds
    raise ValueError("it holds no seconds of kernels")


def predicted_latency(
    program: Program, *, threads: int = 1, table: LatencyTable | None = None
) -> float:
    """Milliseconds that one image should take on this machine, as an objective of a search.

    Kernels that the table does not know are timed first, which takes a few runs of the network;
    after some dozens of networks of a space that is rare. No meter is charged.

        program = lower(space.network(arch, spec, rng), spec.shape)
        predicted_latency(program)

    Args:
        table: where the kernels' times are; None is the one that this machine keeps.

    Raises:
        BenchError: if the engine cannot run the program.
    """
    from bnas_bench.packed.engine.engine import Engine

    table = _kept(threads) if table is None else table
    with closing(Engine(program, threads=threads)) as engine:
        table.add(engine, program.shape)
        return table.predict(engine)


def cache_folder() -> Path:
    """Where this user's latency tables lie."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    return Path(home or Path.home() / ".cache") / "bnas-bench" / "latency"


@cache
def _kept(threads: int) -> LatencyTable:
    return LatencyTable.cached(threads)


def _identity(threads: int) -> dict[str, Any]:
    """What times depend on: the machine, the libraries, the engine's own code."""
    versions = {"torch": torch.__version__, "numba": numba.__version__, "host": platform.node()}
    return {**machine(threads), **versions, "engine": _engine_digest()}


@cache
def _engine_digest() -> str:
    total = hashlib.sha256()
    for file in sorted(Path(packed.__file__).parent.rglob("*.py")):
        total.update(file.read_bytes())
    return total.hexdigest()[:12]
