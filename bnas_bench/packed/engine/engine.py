"""The engine: runs a packed network on the CPU, with the bits as bits.

One engine runs one batch at a time: a second caller waits.

Maps are NHWC. Convolutions, pools and all that happens pixel by pixel run in the kernels of
`kernels.py`, on all of the engine's threads; what is left is torch's, called as the PyTorch network
calls it. Every number on the way is the one that the PyTorch network computes in evaluation mode with
as many threads: `rounding.py`.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bnas_bench.core.errors import BadValue
from bnas_bench.nn.passes import Passes, tell
from bnas_bench.packed.engine.chains import ChainKernel
from bnas_bench.packed.engine.fuse import fuse, seen_through, separate
from bnas_bench.packed.engine.isa import Isa, host
from bnas_bench.packed.engine.layers import TorchKernel
from bnas_bench.packed.engine.rounding import in_one_thread, sums_of
from bnas_bench.packed.engine.schedule import ancestors, cost, longest_way_first, needs
from bnas_bench.packed.engine.stages import Stages
from bnas_bench.packed.engine.threads import Team, torch_threads
from bnas_bench.packed.format.check import check
from bnas_bench.packed.format.program import INPUT, Program


@dataclass(frozen=True)
class Timing:
    """What a kernel took.

    Attributes:
        name: of the last value it makes.
        layer: the module of the network that it is, or begins with.
        kind: of its work: its operations but those on each element; `elementwise` where that is all.
        seconds: of one run.
    """

    name: str
    layer: str
    kind: str
    seconds: float


Kernel = ChainKernel | TorchKernel


class Engine:
    """A program, ready to run.

    Args:
        threads: of the kernels, and those of torch whose numbers are computed.
        form: of the kernels; None: the best for this machine.
        fused: whether steps run together; False writes every value, for `values`.
        kept: names of further values that a run makes, for `maps`.

    Raises:
        BenchError: if the program is none, or has a layer that the engine cannot run.
    """

    def __init__(
        self,
        program: Program,
        *,
        threads: int = 1,
        form: Isa | None = None,
        fused: bool = True,
        kept: Sequence[str] = (),
    ) -> None:
        if threads < 1:
            raise BadValue(f"the engine cannot run with {threads} threads; take 1 or more")
        self.program, self.threads, self.form = program, threads, form or host()
        self.output, self.kept = program.steps[-1].name, tuple(kept)
        self._shapes, self._fused, self._team = check(program), fused, Team(threads)
        self._sums: dict[int, dict[str, int]] = {}
        self._ours: frozenset[str] | None = None
        self._bound: tuple[int, bool] | None = None
        self._compose(1)

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
            logits: np.ndarray = self._ran(images_BCHW)[self.output].numpy()
        return logits

    def maps(self, images_BCHW: np.ndarray | Tensor) -> list[Tensor]:
        """The values `kept`, in their order, shape (B, C, H, W): the engine's own, until it runs again.

        Raises:
            BadValue: if the images do not have the program's shape.
        """
        with self._running():
            values = self._ran(images_BCHW)
            return [values[name] for name in self.kept]

    def _ran(self, images_BCHW: np.ndarray | Tensor) -> dict[str, Tensor]:
        values = self._start(images_BCHW)
        for begin, end in self._pieces:
            self._step(begin, end, values)
        return values

    def values(self, images_BCHW: np.ndarray | Tensor) -> dict[str, Tensor]:
        """All values that are written, by name; those of signs are bits, as the kernels lay them."""
        with self._running():
            values = self._start(images_BCHW, keep=True)
            for index in range(len(self.kernels)):
                self._step(index, index + 1, values, keep=True)
            self._bound = None
            return values | self._places

    def profile(self, images_BCHW: np.ndarray | Tensor) -> list[Timing]:
        """One run, kernel by kernel, in the order of `kernels`."""
        timings = []
        with self._running():
            values = self._start(images_BCHW)
            for index, kernel in enumerate(self.kernels):
                began = time.perf_counter()
                self._step(index, index + 1, values)
                seconds = time.perf_counter() - began
                timings.append(Timing(kernel.name, kernel.layer, kernel.kind, seconds))
        return timings

    def close(self) -> None:
        """End the engine's threads, after which it must not run."""
        self._team.close()

    def _step(self, begin: int, end: int, values: dict[str, Tensor], *, keep: bool = False) -> None:
        """Run the kernels from `begin` to `end`, all chains or one of torch's.

        Torch's results have no fixed place: they are entered among the values, and let go of.
        """
        kernel = self.kernels[begin]
        if isinstance(kernel, TorchKernel):
            with torch_threads(self._torch_threads[kernel.name]):
                values[kernel.name] = kernel(values)
        else:
            first = self._chain_number[begin]
            self._stages.run(first, first + end - begin, values)
        for finished in self._last[begin:end]:
            for name in () if keep else finished:
                values.pop(name, None)

    def _start(self, images_BCHW: np.ndarray | Tensor, *, keep: bool = False) -> dict[str, Tensor]:
        """The values with a fixed place, among them the images, which are copied."""
        if isinstance(images_BCHW, np.ndarray):
            images_BCHW = np.ascontiguousarray(images_BCHW)
        images = torch.as_tensor(images_BCHW, dtype=torch.float32, device="cpu")
        if images.dim() != 4 or tuple(images.shape[1:]) != self.program.shape:
            expected = "x".join(map(str, self.program.shape))
            found = "x".join(map(str, images.shape[1:]))
            raise BadValue(
                f"images of shape {found} do not fit the network; it takes batches of {expected}"
            )
        if Passes.listeners:  # hardly ever, and telling takes microseconds
            tell((images,))
        if self._bound != (len(images), keep):
            self._bind(len(images), keep)
        self._places[INPUT].copy_(images)
        return dict(self._places)

    def _compose(self, batch: int) -> None:
        """The kernels for so many images: of the real convolutions, those are ours that round as torch."""
        if batch not in self._sums:
            given = self.program, self._shapes, self.form, batch, self.threads
            self._sums[batch] = sums_of(*given)
        if (ours := frozenset(self._sums[batch])) == self._ours:
            return
        self._ours, steps = ours, self.program.steps
        views = seen_through(steps, ours, self.kept) if self._fused else {}
        stages = fuse(steps, ours, self.kept) if self._fused else separate(steps, ours)
        self.kernels: list[Kernel] = [
            ChainKernel(stage, self._shapes, self.program, self.form, views)
            if stage.chained
            else TorchKernel(stage.steps[0], self._shapes)
            for stage in stages
        ]
        self._pieces = list(_pieces(self.kernels))
        if self._fused and self.threads > 1:
            self._order()
        self._last = _last_uses(self.kernels, (self.output, *self.kept))
        chained = [isinstance(kernel, ChainKernel) for kernel in self.kernels]
        self._chain_number = np.cumsum([0, *chained])[:-1].tolist()

    def _order(self) -> None:
        """Put the chains that follow each other in the order in which several threads wait least."""
        for begin, end in self._pieces:
            chains = [k for k in self.kernels[begin:end] if isinstance(k, ChainKernel)]
            if chains:
                order = longest_way_first([cost(chain) for chain in chains], needs(chains))
                self.kernels[begin:end] = [chains[number] for number in order]

    def _bind(self, batch: int, keep: bool) -> None:
        """Give every value of a chain its place, which is used again by whoever runs after all its readers.

        Args:
            keep: give each its own.
        """
        self._compose(batch)
        # Its strides say the layout also of one channel: `inference_layout`.
        images = torch.empty(batch, *self.program.shape, memory_format=torch.channels_last)
        self._bound, self._places = (batch, keep), {INPUT: images}
        chains = [kernel for kernel in self.kernels if isinstance(kernel, ChainKernel)]
        users, before, free = self._users(), self._before(), list[tuple[Tensor, int]]()
        for kernel, those in zip(self.kernels, before, strict=True):
            if isinstance(kernel, ChainKernel):
                for name in sorted(kernel.makes):
                    place = _place(kernel.empty(name, batch), free, those)
                    self._places[name] = place
                    if not keep:
                        free.append((place, users[name]))
        sums = self._sums[batch]
        self._stages = Stages(chains, self.form, self._team, self._places, batch, sums)
        self._torch_threads = {
            kernel.name: 1
            if in_one_thread(kernel.step, self._shapes, batch, self.threads)
            else self.threads
            for kernel in self.kernels
            if isinstance(kernel, TorchKernel)
        }

    def _users(self) -> dict[str, int]:
        """For each value the kernels that make or read it, bit n for kernel n; of what is asked for all."""
        found = defaultdict[str, int](
            int, dict.fromkeys((self.output, *self.kept), 1 << len(self.kernels))
        )
        for number, kernel in enumerate(self.kernels):
            for name in kernel.reads | kernel.makes:
                found[name] |= 1 << number
        return found

    def _before(self) -> Iterator[int]:
        """For each kernel those that are done before it begins, bit n for kernel n."""
        for begin, end in self._pieces:
            those = needs(self.kernels[begin:end])
            if self._team.threads == 1:
                those = [list(range(number)) for number in range(end - begin)]
            for mask in ancestors(those):
                yield mask << begin | ((1 << begin) - 1)

    @contextmanager
    def _running(self) -> Iterator[None]:
        """Alone, in inference mode, with torch's workers out of the way."""
        with self._team.alone(), torch_threads(1), torch.inference_mode():
            yield


def _pieces(kernels: list[Kernel]) -> Iterator[tuple[int, int]]:
    """Chains that follow each other, from one index to another, and torch's kernels one by one."""
    begin = 0
    for index, kernel in enumerate(kernels):
        if isinstance(kernel, TorchKernel):
            if begin < index:
                yield begin, index
            yield index, index + 1
            begin = index + 1
    if begin < len(kernels):
        yield begin, len(kernels)


def _place(wanted: Tensor, used: list[tuple[Tensor, int]], before: int) -> Tensor:
    """A tensor of the same kind and shape whose users are all done, or the new one."""
    for index, (other, users) in enumerate(used):
        if other.shape == wanted.shape and other.dtype == wanted.dtype and not users & ~before:
            used.pop(index)
            return other
    return wanted


def _last_uses(kernels: list[Kernel], kept: Sequence[str]) -> list[list[str]]:
    """After each kernel, the values that nothing reads any more."""
    last = {name: index for index, kernel in enumerate(kernels) for name in kernel.makes}
    last |= {name: index for index, kernel in enumerate(kernels) for name in kernel.reads}
    for name in kept:
        last.pop(name, None)
    return [[n for n, at in last.items() if at == index] for index in range(len(kernels))]
