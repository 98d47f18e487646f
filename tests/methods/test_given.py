"""A network that is given: its path is read back, and no list of methods has it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from bnas_bench.methods._given import written

from bnas_bench.core.errors import BadValue
from bnas_bench.plugins.making import method, space
from bnas_bench.plugins.registry import names
from tests.helpers.cli import invoke


@pytest.mark.parametrize("name", names("space"))
def test_a_path_is_read_back(name: str) -> None:
    where, rng = space(name), np.random.default_rng(0)
    for arch in (where.smallest(), where.largest(), where.sample(rng)):
        given: Any = method(f"given[path={written(where, arch)}]")
        assert given.search(where, None, None, None).best == arch


@pytest.mark.parametrize("path", ["", "0", "9" * 28, "-" * 28, "0" * 29])
def test_what_is_no_path_says_so(path: str) -> None:
    given: Any = method("given")
    given.path = path
    with pytest.raises(BadValue, match="one digit or letter for each of its 28 decisions"):
        given.search(space("darts-binary"), None, None, None)


def test_it_is_in_no_list_and_can_be_named() -> None:
    assert "given" not in names("method")
    assert "given" not in invoke("list").output
