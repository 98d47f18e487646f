"""The battery on every method and every space that is known, each method on each space.

And a golden trajectory of every method: the log of one search, as it was when it was last looked at.
"""

import json
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from bnas_bench.packed.engine.threads import torch_threads
from bnas_bench.plugins.checks import Case, cases
from bnas_bench.plugins.checks.rehearsal import Rehearsal
from bnas_bench.plugins.registry import discover, find

METHODS, SPACES = list(discover("method")), list(discover("space"))
PAIRS = [f"method {method} on {space}" for method in METHODS for space in SPACES]
SUBJECTS = [*(f"space {name}" for name in SPACES), *(f"method {name}" for name in METHODS), *PAIRS]
"""Every space, method and pair."""


@cache
def cases_of(subject: str) -> list[Case]:
    """The battery of one of them; the cases of a pair share a search."""
    kind, name, *on = subject.replace(" on ", " ").split()
    spaces = [find("space", space) for space in on]
    made = list(cases(find(kind, name), spaces))
    return [case for case in made if not on or case.name.endswith(f"[{on[0]}]")]


QUICK = ("method random on bats", "method evolution on handcrafted")
"""What `make test` tries beside a golden trajectory of each method, a search on darts-binary."""

LONG = ("bars", "cpnas")
"""Methods whose searches take many passes: `make test` leaves their trajectories to the slow set."""


def tried() -> Iterator[Any]:
    for subject in SUBJECTS:
        quick = subject in QUICK or (subject.startswith("method") and subject not in PAIRS)
        yield pytest.param(subject, marks=[pytest.mark.slow] * (not quick))


GOLDEN = Path(__file__).parents[1] / "golden"
TORCH = ".".join(torch.__version__.split(".")[:2])
"""What a golden trajectory depends on, beside the code."""

ELSEWHERE = {"cpnas": "handcrafted", "evolution": "handcrafted"}
"""Spaces of golden trajectories, where darts-binary's does not do: single paths of it have channels that
are the same at every pixel, batch norm turns these into zeros, and rounding decides on their signs."""


@pytest.mark.parametrize("subject", list(tried()))
def test_contract(subject: str) -> None:
    results = [case.run() for case in cases_of(subject)]
    assert [f"{r.name}: {r.reason}" for r in results if not r.passed] == []
    if expected := [f"{r.name} {r.reason}" for r in results if r.reason]:
        pytest.xfail("; ".join(expected))


@pytest.mark.parametrize(
    "method",
    [pytest.param(m, marks=[pytest.mark.slow] * (m in LONG)) for m in METHODS],
)
@pytest.mark.usefixtures("double")
def test_trajectory(method: str) -> None:
    """In float64 a search ends alike on every CPU: a sum's rounding does not turn a sign.

    `GOLDEN=write make test` writes them anew; what changes then is to be explained.
    """
    file, write = GOLDEN / f"{method}.json", os.environ.get("GOLDEN") == "write"
    if not write and not file.exists():
        pytest.skip("a new method: GOLDEN=write make test")
    space = find("space", ELSEWHERE.get(method, "darts-binary"))
    found = {
        "torch": TORCH,
        "space": space.name,
        **trajectory(Rehearsal(find("method", method), space)),
    }
    if write:
        file.write_text(json.dumps(found, indent=1) + "\n")
        return
    golden = json.loads(file.read_text())
    if golden["torch"] != TORCH:
        pytest.skip(f"written with torch {golden['torch']}")
    assert found == golden


@pytest.fixture
def double() -> Iterator[None]:
    """Networks and images in float64."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def trajectory(rehearsal: Rehearsal) -> dict[str, Any]:
    """What the search logged, and where it ended."""
    with torch_threads(1):
        outcome = rehearsal.outcome
    return {
        "passes": outcome.spent,
        "best": outcome.result.best.id,
        "log": [
            {
                k: round(v, 4) if isinstance(v, float) else v
                for k, v in row.items()
                if k != "choices"
            }
            for row in outcome.log
        ],
    }
