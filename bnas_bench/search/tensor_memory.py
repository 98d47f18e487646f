"""How much memory the tensors of a piece of work take, counted exactly, on any device."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from bnas_bench.nn.network import initialised_by


class TensorMemory(TorchDispatchMode):
    """Counts the bytes of the tensors that operators make while it is active, and that still live.

    Views share their tensor's bytes. What lived before is not counted, nor what kernels allocate
    for themselves.
    """

    def __init__(self) -> None:
        super().__init__()
        self.noted = 0.0
        """Seconds of the counting itself."""
        self.calls = 0
        """How many operators it saw."""
        self.live = 0
        """Bytes now."""
        self.peak = 0
        """The most bytes at any time."""
        self._known: dict[int, weakref.ref[torch.UntypedStorage]] = {}
        """The storages that live, by identity: those it counts, and older ones that it met."""

    @property
    def seconds(self) -> float:
        """What the watched work took longer by: the counting, and torch's way to it and back."""
        return self.noted + self.calls * seconds_per_call()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing is compiled in a search: torch need not guard every operator against it."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **kwargs) if kwargs else func(*args)
        returned = time.perf_counter()
        self.calls += 1
        for tensor in (output,) if isinstance(output, Tensor) else _tensors(output):
            storage = tensor.untyped_storage()
            if id(storage) not in self._known and not tensor.is_meta:
                given = _tensors((*args, *kwargs.values()) if kwargs else args)
                older = any(storage is each.untyped_storage() for each in given)
                self._add(storage, 0 if older else storage.nbytes())
        self.noted += time.perf_counter() - returned
        return output

    def _add(self, storage: torch.UntypedStorage, size: int) -> None:
        key = id(storage)

        def drop(_: Any) -> None:
            self.live -= size
            del self._known[key]

        self._known[key] = weakref.ref(storage, drop)
        self.live += size
        self.peak = max(self.peak, self.live)


@cache
def seconds_per_call(rounds: int = 25) -> float:
    """What an operator takes longer by when it is watched, beside what the counting notes itself.

    Measured once in a process, on steps of a network so small that its own products hardly take time;
    in turns with steps that nobody watches, and the fastest of each: other work cannot make it more.
    """
    with initialised_by(np.random.default_rng(0)):  # a search may draw from torch's own generator
        net = nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2), nn.PReLU(), nn.Conv2d(2, 2, 1))
    x = torch.zeros(2, 2, 2, 2)

    def step() -> float:
        torch.autograd.grad(net(x).square().sum(), list(net.parameters()))
        return 0.0

    def watched() -> float:
        with TensorMemory() as memory:
            step()
        calls.append(memory.calls)
        return memory.noted

    def seconds(work: Callable[[], float]) -> float:
        began = time.perf_counter()
        noted = work()
        return time.perf_counter() - began - noted

    calls: list[int] = []
    step(), watched()
    alone, seen = zip(*[(seconds(step), seconds(watched)) for _ in range(rounds)], strict=True)
    return max(0.0, (min(seen) - min(alone)) / calls[0])


def _tensors(values: Any) -> Iterator[Tensor]:
    """The tensors among an operator's arguments or outputs, which may be lists of them."""
    for value in values if isinstance(values, list | tuple) else ():
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from (each for each in value if isinstance(each, Tensor))
