"""A loop gives the same bits whether this process compiled it or found it compiled."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

BACKWARD = """
import numpy as np
from bnas_bench.nn.kernels import rows

rng = np.random.default_rng(0)
grad, y, residual, of_u, of_y, out = (rng.normal(size=(96, 64)).astype(np.float32) for _ in range(6))
slope, statistics, sums = np.ones(8, np.float32), np.empty((2, 8)), np.empty((3, 8))
kept = np.empty((5, 64), np.float32)
rows.forward(y, residual, slope, None, None, 1e-5, None, statistics, kept, out)
rows.backward(grad, y, residual, kept, None, sums, of_u, of_y)
print(rows.backward.stats.cache_hits.total(), out.tobytes().hex(), sums.tobytes().hex(), of_y.tobytes().hex())
"""


@pytest.mark.slow
def test_the_cache_of_compiled_loops_changes_no_bit(tmp_path: Path) -> None:
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", BACKWARD]
    (none, *compiled), (hits, *found) = (
        subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True
        ).stdout.split()
        for _ in range(2)
    )
    assert (none, hits) == ("0", "1")
    assert compiled == found
