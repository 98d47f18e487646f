"""A network's chains in one table, with the scratch of each thread and the counters between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from bnas_bench.packed.engine.chains import ChainKernel
from bnas_bench.packed.engine.isa import Isa
from bnas_bench.packed.engine.kernels import COUNTER, StageNumbers, kernels
from bnas_bench.packed.engine.schedule import needs
from bnas_bench.packed.engine.threads import Team

ALIGN = 64
"""Bytes of a line of the cache, in which no two threads' scratch meet."""


class Stages:
    """Chains that were bound, ready to run one after the other.

    Args:
        sums: see `ChainKernel.bind`.
    """

    def __init__(
        self,
        chains: Sequence[ChainKernel],
        form: Isa,
        team: Team,
        places: Mapping[str, Tensor],
        batch: int,
        sums: Mapping[str, int],
    ) -> None:
        self.chains, self.team = chains, team
        self._run = kernels(form).run
        for chain in chains:
            chain.bind(places, batch, sums)
        self._needs = [np.array(those, np.int64) for those in needs(chains)]
        numbers = [
            chain.numbers(batch, team.threads, those)
            for chain, those in zip(chains, self._needs, strict=True)
        ]
        self._table = np.array(numbers, np.int64).reshape(-1, len(StageNumbers._fields))
        counters = (len(chains), team.threads + 1, COUNTER // 8)
        self._counters = np.zeros(counters, np.int64)
        sizes = np.max([(0, 0, 0, 0), *(chain.scratch() for chain in chains)], axis=0)
        self._scratch = [_arena(sizes[[0, 0, 1, 2, 3]]) for _ in range(team.threads)]
        self._scratches = np.stack([addresses for _, addresses in self._scratch])

    def run(self, begin: int, end: int, values: Mapping[str, Tensor]) -> None:
        """Run the chains from `begin` to `end`, by all threads.

        Args:
            values: where those lie that have no place of their own.
        """
        for chain in self.chains[begin:end]:
            if chain.moving:
                chain.point_to({name: values[name] for name in chain.moving if name in values})
        self._counters[begin:end] = 0
        self.team.work(lambda thread: self._part(begin, end, thread))

    def _part(self, begin: int, end: int, thread: int) -> None:
        counters = self._counters.ctypes.data
        self._run(self._table, counters, self._scratches, begin, end, thread, self.team.threads)


def _arena(sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Memory for one thread, and the addresses of its pieces."""
    sizes = -(-sizes // ALIGN) * ALIGN
    memory = np.zeros(int(sizes.sum()) + ALIGN, np.uint8)
    start = -(-memory.ctypes.data // ALIGN) * ALIGN
    return memory, start + np.concatenate([[0], sizes.cumsum()[:-1]])
