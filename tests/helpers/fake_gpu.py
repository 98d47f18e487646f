"""A GPU that is none: tensors that say they lie on `cuda`, computed on the CPU, every crossing noted.

What a real GPU refuses is refused here: tensors of two devices in one operation. What makes host and device
wait for each other is noted as a `Crossing`: a value that Python reads, a size that depends on values, a copy
from pageable memory.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode

from bnas_bench.data.images import Images

ROOT = Path(__file__).parents[2]
CODE = tuple(str(ROOT / folder) for folder in ("bnas_bench", "methods", "spaces"))
WATCHER = str(ROOT / "bnas_bench" / "search" / "tensor_memory.py")
"""Stands between every operator and who asked for it."""

GPU, NAME = torch.device("cuda:0"), "A GPU (that is none)"
LAZY = torch.device("lazy:0")
"""What torch itself takes the GPU for: a device that its autograd knows and that has no driver."""

aten = torch.ops.aten

READS = {
    *("_local_scalar_dense", "equal", "is_nonzero", "allclose"),
    *("nonzero", "masked_select", "unique_consecutive", "_unique2", "unique_dim"),
}
"""Operators whose result, or its size, the host must know before it goes on."""

INDEXED = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}
"""Operators that look for the true places of a mask, and that fetch indices which lie on the CPU."""

MASKS = (torch.bool, torch.uint8)


class OnGPU(Tensor):
    """A tensor on the GPU; its numbers lie in `held`."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> OnGPU:
        layout = {"strides": held.stride(), "storage_offset": held.storage_offset()}
        made = Tensor._make_wrapper_subclass(
            cls, held.shape, dtype=held.dtype, device=LAZY, **layout
        )
        made.held = held
        return made

    @property
    def device(self) -> torch.device:
        return GPU

    def tolist(self) -> Any:
        return self.cpu().tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise RuntimeError(f"{func} of a tensor on the fake GPU, which is gone")


@dataclass(frozen=True)
class Crossing:
    """A moment at which host and device wait for each other.

    Attributes:
        place: the line of the package that it comes from.
        reading, batch: how many readings of images had begun by then, and how many batches were read.
        operator: torch's name of what was asked for.
    """

    place: str
    reading: int
    batch: int
    operator: str


class FakeGPU(TorchDispatchMode):
    """Computes on `cuda` while it is active, and notes the crossings."""

    def __init__(self) -> None:
        super().__init__()
        self.crossings: list[Crossing] = []
        self.readings = self.batches = 0
        self._pinned: dict[int, Tensor] = {}
        """By the address of their numbers, which nobody else gets."""

    def in_every_batch(self) -> list[str]:
        """What crosses at more than one batch of one reading of the images: a loop that waits."""
        seen: dict[tuple[str, int], dict[int, str]] = defaultdict(dict)
        for crossing in self.crossings:
            seen[crossing.place, crossing.reading][crossing.batch] = crossing.operator
        return sorted({f"{p}: {min(s.values())}" for (p, _), s in seen.items() if len(s) > 1})

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = dict(kwargs or {}), func.overloadpacket.__name__
        ours: dict[int, OnGPU] = {}
        strangers: dict[int, Tensor] = {}

        def held(tensor: Tensor) -> Tensor:
            if isinstance(tensor, OnGPU):
                ours[id(tensor.held)] = tensor
                return tensor.held
            strangers[id(tensor)] = tensor
            return tensor

        args, kwargs = replaced(args, held), replaced(kwargs, held)
        if name in ("is_pinned", "_pin_memory"):
            return False if name == "is_pinned" else self._pin(args[0])
        if name == "_efficientzerotensor":  # a tangent without numbers, which only torch may hold
            func, name = aten.zeros.default, "zeros"
        device = kwargs.get("device")
        there = bool(ours) if device is None else device.type == LAZY.type
        if device is not None and there:
            kwargs["device"] = torch.device("cpu")
        if ours or there:
            foreign = any(tensor.dim() for tensor in strangers.values())
            moves = bool(ours) != there or (bool(ours) and bool(strangers))
            self._watch(func, name, args, kwargs, foreign=foreign, moves=moves)
        made = func(*args, **kwargs)
        if ours and torch.Tag.inplace_view in func.tags:  # squeeze_ and the like
            with no_dispatch():
                Tensor.data.__set__(ours[id(made)], OnGPU(made))
        if not there:
            return made
        known = {**strangers, **ours}
        return replaced(made, lambda t: known[id(t)] if id(t) in known else OnGPU(t))

    def _watch(
        self, func: Any, name: str, args: Any, kwargs: Any, *, foreign: bool, moves: bool
    ) -> None:
        """Note the crossing that an operator is, if it is one; refuse what a GPU refuses.

        Args:
            foreign: whether a tensor of the CPU, and not only a number, is among the operands.
            moves: whether something comes from another device than the one it goes to.
        """
        crosses = name in READS
        if name in ("copy_", "_to_copy"):
            source = args[name == "copy_"]
            asynchronous = args[2:] == (True,) or kwargs.get("non_blocking")
            crosses = moves and not (asynchronous and source.data_ptr() in self._pinned)
        elif name in INDEXED:
            crosses = foreign or any(i is not None and i.dtype in MASKS for i in args[1])
        elif name == "repeat_interleave":
            crosses = kwargs.get("output_size") is None
        elif foreign:
            raise RuntimeError(f"{func} of tensors on {GPU} and on the CPU, from {_place()}")
        if crosses:
            self.crossings.append(Crossing(_place(), self.readings, self.batches, name))

    def _pin(self, tensor: Tensor) -> Tensor:
        pinned = tensor.clone()
        self._pinned[pinned.data_ptr()] = pinned
        return pinned


class _NamesOfDevices(TorchFunctionMode):
    """Says `lazy` to torch where it is told `cuda`."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.device:
            return func(*args, **(kwargs or {}))
        args = tuple(_lazy(value) for value in args)
        return func(*args, **{name: _lazy(value) for name, value in (kwargs or {}).items()})


def _lazy(value: Any) -> Any:
    if isinstance(value, str):
        return LAZY if value.startswith("cuda") else value
    return LAZY if isinstance(value, torch.device) and value.type == GPU.type else value


def replaced(value: Any, by: Callable[[Tensor], Any]) -> Any:
    """The value with every tensor in it replaced."""
    if isinstance(value, Tensor):
        return by(value)
    if isinstance(value, list | tuple):
        return type(value)([replaced(part, by) for part in value])
    if isinstance(value, dict):
        return {key: replaced(part, by) for key, part in value.items()}
    return value


def _place() -> str:
    frame: Any = sys._getframe()
    while frame:
        file = frame.f_code.co_filename
        if file.startswith(CODE) and file != WATCHER:
            return f"{Path(file).relative_to(ROOT)}:{frame.f_lineno}"
        frame = frame.f_back
    return "elsewhere"


@contextmanager
def fake_gpu() -> Iterator[FakeGPU]:
    """Within the `with`, `cuda` is there; readings of images are counted."""
    gpu = FakeGPU()
    batches, parts = Images.batches, Images._batches

    def reading(images: Images, *args: Any, **kwargs: Any) -> Any:
        gpu.readings += 1
        return batches(images, *args, **kwargs)

    def counted(images: Images, *args: Any) -> Iterator[Any]:
        for batch in parts(images, *args):
            gpu.batches += 1
            yield batch

    lifts = torch._C._only_lift_cpu_tensors()
    torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(..., device=...) shows its copy
    try:
        with (
            mock.patch.object(Images, "batches", reading),
            mock.patch.object(Images, "_batches", counted),
            mock.patch.object(torch.cuda, "get_device_name", return_value=NAME),
            mock.patch.object(torch.cuda, "max_memory_allocated", return_value=0),
            mock.patch.object(torch.cuda, "synchronize"),
            gpu,
            _NamesOfDevices(),
        ):
            yield gpu
    finally:
        torch._C._set_only_lift_cpu_tensors(lifts)
