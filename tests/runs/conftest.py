"""What the tests of trials share: an empty store, and one thread, as a trial's own process has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from bnas_bench.runs.store import Store


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """What a trial sets for its whole process is put back; and threads that wait for each other take long."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results" / "mine")
