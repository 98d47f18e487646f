"""The engine: runs a packed network on the CPU, with the bits as bits.

One engine runs one batch at a time: a second thread waits.

Maps are NHWC. Convolutions of signs and all that happens element by element run in the kernels of
`kernels.py`; real-valued layers, pools and the like are torch's, called as the PyTorch network calls
them. Every number on the way is the one that the PyTorch network computes in evaluation mode.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bnas_bench.core.errors import BadValue
from bnas_bench.packed.engine.chains import ChainKernel
from bnas_bench.packed.engine.fuse import Stage, fuse, separate
from bnas_bench.packed.engine.isa import Isa, host
from bnas_bench.packed.engine.layers import TorchKernel
from bnas_bench.packed.format.check import check
from bnas_bench.packed.format.program import INPUT, Program


@dataclass(frozen=True)
class Timing:
    """What a kernel took.

    Attributes:
        name: of the last value it makes.
        layer: the module of the network that it is, or begins with.
        kind: of its work: the operation, `elementwise` for a chain without a convolution.
        seconds: of one run.
    """

    name: str
    layer: str
    kind: str
    seconds: float


class Engine:
    """A program, ready to run.

    Args:
        threads: of the kernels and, while it runs, of torch.
        form: of the kernels; None: the best for this machine.
        fused: whether steps run together; False writes every value, for `values`.

    Raises:
        BenchError: if the program is none, or has a layer that the engine cannot run.
    """

    def __init__(
        self, program: Program, *, threads: int = 1, form: Isa | None = None, fused: bool = True
    ) -> None:
        if threads < 1:
            raise BadValue(f"the engine cannot run with {threads} threads; take 1 or more")
        self.program, self.threads, self.form = program, threads, form or host()
        shapes = check(program)
        stages = (fuse if fused else separate)(program.steps)
        self.kernels = [self._kernel(stage, shapes) for stage in stages]
        self.output = program.steps[-1].name
        self._pool = ThreadPoolExecutor(threads - 1) if threads > 1 else None
        self._last = _last_uses(self.kernels, self.output)
        self._lock = Lock()
        self._bound: tuple[int, bool] | None = None
        self._places: dict[str, Tensor] = {}

    @property
    def isa(self) -> str:
        """Name of the instruction set that the kernels use."""
        return self.form.name

    def run(self, images_BCHW: np.ndarray | Tensor) -> np.ndarray:
        """Logits, shape (B, N), 32-bit floats, of images that are finite numbers.

        Raises:
            BadValue: if the images do not have the program's shape.
        """
        with self._running():
            values = self._start(images_BCHW)
            for kernel, finished in zip(self.kernels, self._last, strict=True):
                _step(kernel, values)
                for name in finished:
                    values.pop(name, None)
            logits: np.ndarray = values[self.output].numpy()
        return logits

    def values(self, images_BCHW: np.ndarray | Tensor) -> dict[str, Tensor]:
        """All values that are written, by name; those of signs are bits, as the kernels lay them."""
        with self._running():
            values = self._start(images_BCHW, keep=True)
            for kernel in self.kernels:
                _step(kernel, values)
            self._bound = None
            return values | self._places

    def profile(self, images_BCHW: np.ndarray | Tensor) -> list[Timing]:
        """One run, kernel by kernel, in the order of `kernels`."""
        timings = []
        with self._running():
            values = self._start(images_BCHW)
            for kernel, finished in zip(self.kernels, self._last, strict=True):
                began = time.perf_counter()
                _step(kernel, values)
                for name in finished:
                    values.pop(name, None)
                seconds = time.perf_counter() - began
                timings.append(Timing(kernel.name, kernel.layer, kernel.kind, seconds))
        return timings

    def close(self) -> None:
        """End the engine's threads, after which it must not run."""
        if self._pool is not None:
            self._pool.shutdown()

    def _start(self, images_BCHW: np.ndarray | Tensor, *, keep: bool = False) -> dict[str, Tensor]:
        """The values that there are before the first kernel: the images and all with a fixed place."""
        if isinstance(images_BCHW, np.ndarray):
            images_BCHW = np.ascontiguousarray(images_BCHW)
        images = torch.as_tensor(images_BCHW, dtype=torch.float32, device="cpu")
        if images.dim() != 4 or tuple(images.shape[1:]) != self.program.shape:
            expected = "x".join(map(str, self.program.shape))
            found = "x".join(map(str, images.shape[1:]))
            raise BadValue(
                f"images of shape {found} do not fit the network; it takes batches of {expected}"
            )
        if self._bound != (len(images), keep):
            self._bind(len(images), keep)
        # A copy, whose strides say the layout also of one channel: `inference_layout`.
        return {INPUT: images.clone(memory_format=torch.channels_last), **self._places}

    def _bind(self, batch: int, keep: bool) -> None:
        """Give every value of a chain its place; places are used again when nothing reads them more.

        Args:
            keep: give each its own.
        """
        self._bound, self._places = (batch, keep), {}
        chains = [kernel for kernel in self.kernels if isinstance(kernel, ChainKernel)]
        free: list[Tensor] = []
        for kernel, finished in zip(self.kernels, self._last, strict=True):
            if isinstance(kernel, ChainKernel):
                for name in sorted(kernel.makes):
                    self._places[name] = _place(kernel.empty(name, batch), free)
            if not keep:
                free += [self._places[name] for name in finished if name in self._places]
        for chain in chains:
            chain.bind(self._places, batch, self.threads)

    def _kernel(self, stage: Stage, shapes: Mapping[str, Any]) -> ChainKernel | TorchKernel:
        if stage.chained:
            return ChainKernel(stage, shapes, self.program, self.form, self._split)
        return TorchKernel(stage.steps[0], shapes)

    def _split(self, run: Any, count: int, least: int) -> None:
        """Call run(thread, begin, end) on parts of range(count), of at least so many each."""
        parts = min(self.threads, max(1, count // least))
        edges = [count * part // parts for part in range(parts + 1)]
        others = [
            self._pool.submit(run, part, edges[part], edges[part + 1])
            for part in range(1, parts)
            if self._pool is not None
        ]
        run(0, edges[0], edges[1])
        for other in others:
            other.result()

    @contextmanager
    def _running(self) -> Iterator[None]:
        """Alone, in inference mode, with the engine's number of threads for torch as well."""
        with self._lock, torch.inference_mode():
            before = torch.get_num_threads()
            if before != self.threads:
                torch.set_num_threads(self.threads)
            try:
                yield
            finally:
                if before != self.threads:
                    torch.set_num_threads(before)


def _step(kernel: ChainKernel | TorchKernel, values: dict[str, Tensor]) -> None:
    """Run a kernel; torch's results have no fixed place and are entered among the values."""
    if isinstance(kernel, ChainKernel):
        kernel(values)
    else:
        values[kernel.name] = kernel(values)


def _place(wanted: Tensor, free: list[Tensor]) -> Tensor:
    """A free tensor of the same kind and shape, or the new one."""
    for index, other in enumerate(free):
        if other.shape == wanted.shape and other.dtype == wanted.dtype:
            return free.pop(index)
    return wanted


def _last_uses(kernels: list[ChainKernel | TorchKernel], kept: str) -> list[list[str]]:
    """After each kernel, the values that nothing reads any more."""
    last = {name: index for index, kernel in enumerate(kernels) for name in kernel.makes}
    last |= {name: index for index, kernel in enumerate(kernels) for name in kernel.reads}
    last.pop(kept, None)
    return [[n for n, at in last.items() if at == index] for index in range(len(kernels))]
