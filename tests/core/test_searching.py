"""What a search is not to see is shut while it searches, and open before and after."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bnas_bench.core.searching import Shut, searching
from bnas_bench.data.datasets import load
from bnas_bench.tables.truth import COMMITTED
from bnas_bench.tables.truth import load as truth


@pytest.mark.parametrize(
    ("what", "look"),
    [
        ("dataset digits", lambda: load("digits", image=None, device="cpu", folder="data")),
        ("table .*bnas-201-digits.parquet", lambda: truth("bnas-201-digits")),
        ("table .*bnas-201-.*.parquet", lambda: truth(next(COMMITTED.glob("bnas-201-*")))),
    ],
)
def test_what_a_search_is_not_to_see_is_shut_while_it_searches(what: str, look: Any) -> None:
    for _ in range(2):
        with searching(), pytest.raises(Shut, match=f"^the {what} is shut while a search"):
            look()
    assert look()
    assert Path(COMMITTED).is_dir()
