"""Ranks: what stands between the whole and the parts, against one process."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bnas_bench.core import ranks
from tests.helpers import several
from tests.helpers.ranks import by_all


def test_parts_have_the_derivatives_of_the_whole(tmp_path: Path) -> None:
    """First, second and forward, also where the shares differ in size."""
    for found in by_all(several.derivatives, tmp_path):
        assert found == pytest.approx([0, 0, 0], abs=1e-12)


def test_what_the_first_rank_reads_all_read(tmp_path: Path) -> None:
    first, second = by_all(several.what_rank_0_reads, tmp_path)
    assert first == [b"of rank 0", b"", None, "raised"]
    assert second == [b"of rank 0", b"", None, None]


def test_shares_differ_by_one_at_most_and_leave_none_out() -> None:
    for size in (2, 3, 7):
        group = [ranks.Ranks(rank, size, torch.device("cpu")) for rank in range(size)]
        for rows in range(size, 30):
            ends = [one.bounds(rows) for one in group]
            assert [begin for begin, _ in ends] == [0, *(end for _, end in ends[:-1])]
            assert ends[-1][1] == rows
            lengths = {end - begin for begin, end in ends}
            assert max(lengths) - min(lengths) <= 1
            assert sum(one.share_of(rows) for one in group) == pytest.approx(1)


def test_one_process_is_the_first() -> None:
    assert ranks.here() is None
    assert ranks.is_first()
    assert ranks.from_first(lambda: b"read") == b"read"


def test_nobody_waits_for_a_silent_rank_for_ever(tmp_path: Path) -> None:
    said = by_all(several.silence, tmp_path, patience=2.0, answers=1)
    assert said != [""]


def test_a_rank_that_is_gone_is_told_also_on_the_way_back(tmp_path: Path) -> None:
    """Through autograd's engine it stays what it is, no error that a search could be failed for."""
    assert by_all(several.lost_on_the_way_back, tmp_path, answers=1) == ["lost"]
