"""What the checks share: how one fails, how large networks are, a watch on global generators."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from bnas_bench.core.budget import Scale
from bnas_bench.core.errors import BenchError

TINY = Scale(cells=2, channels=4, image=8)
"""The scale of the networks that checks build."""


class ContractBroken(BenchError):
    """A plug-in that does not do what its contract says."""


def require(kept: bool, otherwise: str) -> None:
    """Raise ContractBroken with the sentence `otherwise` unless the contract is kept."""
    if not kept:
        raise ContractBroken(otherwise)


@contextmanager
def globals_unused() -> Iterator[None]:
    """Require that no global generator moves inside, where each starts from an unusual state.

    What comes out of a global generator in spite of that differs from what came out before.
    """
    python, numpy, torch_state = random.getstate(), np.random.get_state(), torch.get_rng_state()
    seed = random.SystemRandom().getrandbits(32)
    try:
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        before = _states()
        yield
        moved = [name for name, state in _states().items() if state != before[name]]
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(torch_state)
    require(not moved, f"the global generator of {' and '.join(moved)} was used; use the `rng`")


def _states() -> dict[str, bytes]:
    return {
        "random": repr(random.getstate()).encode(),
        "numpy": repr([np.asarray(part).tolist() for part in np.random.get_state()]).encode(),
        "torch": torch.get_rng_state().numpy().tobytes(),
    }
