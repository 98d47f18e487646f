"""How much memory the tensors of a piece of work take, counted exactly, on any device."""

from __future__ import annotations

import time
import weakref
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary


class TensorMemory(TorchDispatchMode):
    """Counts the bytes of the tensors that operators make while it is active, and that still live.

    Views share their tensor's bytes. What lived before is not counted, nor what kernels allocate
    for themselves.

    Args:
        seconds: what earlier ones took.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__()
        self.seconds = seconds
        """What the counting took, its operators' own time apart."""
        self.live = 0
        """Bytes now."""
        self.peak = 0
        """The most bytes at any time."""
        self._known = WeakIdKeyDictionary()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        returned = time.perf_counter()
        for tensor in _real(output):
            storage = tensor.untyped_storage()
            if storage not in self._known and not any(
                storage is given.untyped_storage() for given in _real((args, kwargs))
            ):
                self._add(storage)
        self.seconds += time.perf_counter() - returned
        return output

    def _add(self, storage: torch.UntypedStorage) -> None:
        self._known[storage] = None
        size = storage.nbytes()
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._drop, size)

    def _drop(self, size: int) -> None:
        self.live -= size


def _real(values: Any) -> Iterator[torch.Tensor]:
    """The tensors with data among an operator's arguments or outputs."""
    if isinstance(values, torch.Tensor):
        if values.device.type != "meta":
            yield values
    elif isinstance(values, list | tuple):
        for value in values:
            yield from _real(value)
    elif isinstance(values, dict):
        yield from _real(list(values.values()))
