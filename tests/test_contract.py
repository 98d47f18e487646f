"""The battery on every method and every space that is known, each method on each space."""

import pytest

from bnas_bench.checks import Case, cases
from bnas_bench.registry import discover

CASES = [
    case
    for kind in ("space", "method")
    for plugin in discover(kind).values()
    for case in cases(plugin)
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.plugin.name}-{case.name}")
def test_contract(case: Case) -> None:
    result = case.run()
    if result.passed and result.reason:
        pytest.xfail(result.reason)
    assert result.passed, result.reason
