"""How much memory the tensors of a piece of work take, counted exactly, on any device."""

from __future__ import annotations

import time
import weakref
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
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
        entered = time.perf_counter()
        before = {id(t.untyped_storage()) for t in tree_leaves((args, kwargs)) if _is_real(t)}
        called = time.perf_counter()
        output = func(*args, **(kwargs or {}))
        returned = time.perf_counter()
        for tensor in tree_leaves(output):
            if _is_real(tensor) and id(storage := tensor.untyped_storage()) not in before:
                self._add(storage)
        self.seconds += time.perf_counter() - returned + called - entered
        return output

    def _add(self, storage: torch.UntypedStorage) -> None:
        if storage in self._known:
            return
        self._known[storage] = None
        size = storage.nbytes()
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._drop, size)

    def _drop(self, size: int) -> None:
        self.live -= size


def _is_real(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.device.type != "meta"
