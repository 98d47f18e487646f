"""A step that a GPU repeats by itself: a CUDA graph, whose passes the meter counts all the same.

A small supernet's step is some thousand kernels, and Python takes longer to ask for one than a GPU to run it.
A graph asks for all of them at once. But no Python runs when it is repeated, so no hook of a network does,
and a meter sees none of it: what the step cost is taken down when it is captured, and charged each time.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from bnas_bench.search.meter import Meter

WARM_UPS = 3
"""Steps that run as usual first: libraries choose their kernels, optimisers make their buffers."""


class Captured:
    """A step as a CUDA graph; calling it runs the step once.

    Making it runs the step `WARM_UPS + 1` times. The meter is charged for every run, the captured ones too.

    Args:
        step: reads and writes the same tensors in every run, waits for none of them, and takes learning
            rates from the device (`learning.capturable`). New images are copied into what it reads.
        meter: is open.
    """

    def __init__(self, step: Callable[[], object], meter: Meter) -> None:
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UPS):
                step()
        torch.cuda.current_stream().wait_stream(aside)
        before = meter.spent
        self._graph, self._meter = torch.cuda.CUDAGraph(), meter
        with torch.cuda.graph(self._graph):
            step()
        self.passes = meter.spent - before
        """What a run costs."""
        self._graph.replay()  # paid for: the hooks ran while it was captured, the kernels did not

    def __call__(self) -> None:
        self._meter.spend(self.passes)
        self._graph.replay()
