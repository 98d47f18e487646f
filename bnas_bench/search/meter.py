"""What a search may spend: its clock, its checkpoints, its anytime log.

The meter counts by itself, so that no method can forget to pay. While it is open, every pass of
a `Network` or `Supernet` costs its batch 1/3, and a forward-mode derivative along with it
another 1/3; every backward from what the pass gave costs 2/3, twice that where its own graph is kept
(`create_graph`). A mixed supernet and a single path cost the same; the seconds stand beside.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from math import isfinite
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch._C import _current_graph_task_id
from torch.autograd import forward_ad

from bnas_bench.core.errors import BenchError, BudgetExceeded, Diverged
from bnas_bench.nn.passes import Hook, Passes, images_of
from bnas_bench.search.learned import Learned
from bnas_bench.search.tensor_memory import TensorMemory, seconds_per_call

if TYPE_CHECKING:
    from bnas_bench.core.architecture import Architecture
    from bnas_bench.search.checkpoint import Checkpoint

FORWARD = 1  # in thirds of a pass, so that the count is exact
BACKWARD = 2

SPENT = 0.97
"""The part of a budget that a search is to spend, or its record says why not."""

IDLE = 1000
"""Epochs in a row that may spend nothing before a search is taken to go round in circles."""


class Unpaid(BenchError):
    """A search that ran networks where its meter was not told."""


class Meter:
    """Counts the passes of a search, stops it at its budget, and keeps what a resumed run needs.

    Args:
        passes: the budget; None lets every method run its own paper's protocol.
        checkpoint: where states are kept; None keeps none.
    """

    def __init__(self, passes: int | None, checkpoint: Checkpoint | None = None) -> None:
        self.passes = passes
        self.log: list[dict[str, Any]] = []
        self._thirds = 0
        self._told: int | None = None
        self._heard = 0
        self._checkpoint = checkpoint
        self._progress = 0.0
        self._epoch_cost = 0
        self._seconds_before = 0.0
        self._started = time.perf_counter()
        self.step_bytes: int | None = None
        """The most bytes that tensors made in an epoch took at any time of it: the first that begins
        in the second half of the search, when warm-ups are over; until there is one, the first."""
        self._steady = False
        self.harness_seconds = 0.0
        """Seconds that counting, logging and checkpoints took (of `seconds`)."""
        self._memory: TensorMemory | None = None
        self._watching = 0.0
        """Seconds that earlier watches of the memory took."""
        self.learned: Learned | None = None
        """What becomes of the supernets in the state of `epochs`; None before that."""

    @property
    def spent(self) -> float:
        """Passes spent so far."""
        return self._thirds / 3

    @property
    def seconds(self) -> float:
        """Seconds of search so far, those of earlier runs of the same trial included.

        What the search takes longer by while `TensorMemory` watches it is left out.
        """
        watching = self._watching + (self._memory.seconds if self._memory else 0.0)
        return self._seconds_before + time.perf_counter() - self._started - watching

    @property
    def progress(self) -> float:
        """The part of the search that lies behind, from 0 to 1: what schedules are a function of."""
        if self.passes is None:
            return self._progress
        return min(1.0, self.spent / self.passes)

    def spend(self, passes: float) -> None:
        """Charge passes that the meter cannot see by itself.

        Raises:
            BudgetExceeded: if the budget does not hold them.
        """
        self._charge(round(3 * passes))

    def epochs(
        self,
        *,
        state: Mapping[str, Any],
        protocol: int,
        reserve: float = 0.0,
        dearest: float = 0.0,
    ) -> Iterator[int]:
        """Yield epoch numbers for as long as one more epoch fits into the budget.

        An epoch is whatever the method does between two yields; an epoch as dear as the dearest so
        far must fit. Without a budget it is the paper's number of epochs, `protocol`.

        Args:
            state: what the epochs change, by name: modules, optimisers, NumPy generators, dicts and
                lists of plain values or tensors. It is restored in place when a killed run resumes;
                tensors within dicts and lists are replaced, unless they require gradients.
            protocol: the paper's number of epochs.
            reserve: passes that are kept for what the method does after its epochs.
            dearest: passes of the dearest epoch to come, where the first ones are cheaper (warm-up).

        Raises:
            BudgetExceeded: if the budget holds no such epoch.
        """
        self.learned = Learned(state)
        epoch, idle = self._restore(state), 0
        self._epoch_cost = max(self._epoch_cost, round(3 * dearest))
        if self.passes is not None and self._epoch_cost + 3 * reserve > 3 * self.passes:
            raise BudgetExceeded(
                f"an epoch of the search takes {self._epoch_cost / 3 + reserve:.0f} passes and its budget "
                f"is {self.passes}; give it a larger budget"
            )
        while self._another(epoch, protocol, round(3 * reserve)):
            if self.passes is not None and idle == IDLE:
                raise BenchError(
                    f"the last {IDLE} epochs of the search spent nothing of its budget; "
                    "leave the loop over meter.epochs when the search is over"
                )
            before = self._thirds
            if self.passes is None:
                self._progress = epoch / protocol
            if self.step_bytes is None or (self.progress >= 0.5 and not self._steady):
                self._steady = self.progress >= 0.5
                began = time.perf_counter()
                seconds_per_call()  # measured and cached; the first time torch loads what it needs for it
                self._watching += time.perf_counter() - began
                with TensorMemory() as self._memory:
                    yield epoch
                self.step_bytes = self._memory.peak
                self._watching, self._memory = self._watching + self._memory.seconds, None
            else:
                yield epoch
            idle = 0 if self._thirds > before else idle + 1
            self._epoch_cost = max(self._epoch_cost, self._thirds - before)
            epoch += 1
            self._save(state, epoch)

    @property
    def unspent(self) -> str | None:
        """Why less than `SPENT` of the budget was spent; None where it was not less."""
        if self.passes is None or self.spent >= SPENT * self.passes:
            return None
        left, cost = self.passes - self.spent, self._epoch_cost / 3
        return f"{left:.0f} passes were left, and an epoch took up to {cost:.0f}"

    def report(self, **values: float | int | str) -> None:
        """Add a line to the anytime log, with the passes and seconds so far.

        Raises:
            Diverged: if a value is not finite.
        """
        began = time.perf_counter()
        # NumPy's and torch's numbers as Python's own, which checkpoints and logs can hold.
        values = {
            name: getattr(value, "item", lambda v=value: v)() for name, value in values.items()
        }
        for name, value in values.items():
            if not isinstance(value, str) and not isfinite(value):
                raise Diverged(
                    f"{name} is {value} after {self.spent:.0f} passes of the search; "
                    "a smaller learning rate may help"
                )
        self.log.append(
            {"passes": round(self.spent, 2), "seconds": round(self.seconds, 3), **values}
        )
        self.harness_seconds += time.perf_counter() - began

    def incumbent(self, arch: Architecture, **values: float | int | str) -> None:
        """Log the architecture that the search would return if it stopped now."""
        self.report(incumbent=arch.id, **values)
        self.log[-1]["choices"] = dict(arch.choices)

    @property
    def unheard(self) -> int:
        """Images that went through networks without its being told, since it was first opened."""
        return 0 if self._told is None else Passes.told() - self._told - self._heard

    def __enter__(self) -> Meter:
        self._started = time.perf_counter()
        if self._told is None:
            self._told = Passes.told()
        Passes.listeners.append(self._count)
        return self

    def __exit__(self, *_: object) -> None:
        Passes.listeners.remove(self._count)

    def _another(self, epoch: int, protocol: int, reserve: int) -> bool:
        if self.passes is None:
            return epoch < protocol
        left = 3 * self.passes - reserve - self._thirds
        return self._epoch_cost <= left and left > 0

    def _count(self, output: Tensor) -> Hook:
        began = time.perf_counter()
        images = images_of(output)
        self._heard += images
        dual = forward_ad.unpack_dual(output).tangent is not None
        self._charge(images * FORWARD * (2 if dual else 1))
        charged: set[int] = set()

        def count_backward(gradient: Tensor) -> None:
            # It comes back to all that the pass gave, and is paid for once.
            if (run := _current_graph_task_id()) not in charged:
                charged.add(run)
                # With create_graph the derivative's own graph is computed and kept: twice the work.
                times = 2 if torch.is_grad_enabled() else 1
                self._charge(images_of(gradient) * BACKWARD * times)

        self.harness_seconds += time.perf_counter() - began
        return count_backward

    def _charge(self, thirds: int) -> None:
        self._thirds += thirds
        if self.passes is not None and self._thirds > 3 * self.passes:
            raise BudgetExceeded(
                f"the search asked for {self.spent:.0f} passes and its budget is {self.passes}; "
                "give it a larger budget, or let the method do less between two epochs"
            )

    def _restore(self, state: Mapping[str, Any]) -> int:
        saved = self._checkpoint.load(state) if self._checkpoint else None
        if saved is None:
            return 0
        self._thirds, self._epoch_cost = saved["thirds"], saved["epoch_cost"]
        self._seconds_before, self.log = saved["seconds"], saved["log"]
        self.harness_seconds = saved["harness_seconds"]
        self.step_bytes, self._steady = saved["step_bytes"], saved["steady"]
        assert self.learned is not None
        self.learned.steps |= saved["steps"]
        self._started = time.perf_counter()
        return saved["epoch"]

    def _save(self, state: Mapping[str, Any], epoch: int) -> None:
        if self._checkpoint is None:
            return
        began = time.perf_counter()
        self._checkpoint.save(
            state,
            {
                "epoch": epoch,
                "thirds": self._thirds,
                "epoch_cost": self._epoch_cost,
                "seconds": self.seconds,
                "harness_seconds": self.harness_seconds,
                "step_bytes": self.step_bytes,
                "steady": self._steady,
                "steps": self.learned.steps if self.learned else {},
                "log": self.log,
            },
        )
        self.harness_seconds += time.perf_counter() - began


def check_paid(meter: Meter, excused: int = 0) -> None:
    """Whether the meter was told of all that went through networks since it was opened.

    Args:
        excused: images that the harness itself sent through networks meanwhile.

    Raises:
        Unpaid: if not.
    """
    if hidden := meter.unheard - excused:
        raise Unpaid(
            f"{hidden:,} images went through networks in the search while its meter was not listening; "
            "let every pass be counted"
        )
