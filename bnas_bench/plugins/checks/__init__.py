"""The public battery: what every method and every space does, one small `check_*` for each point.

A plug-in that cannot meet a point says so, with the reason, in a class attribute:
`expected_failures = {"check_reproducible": "the kernels of its operation are not deterministic"}`.
The battery then fails when that check passes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from bnas_bench.core.errors import BenchError, UnknownName
from bnas_bench.packed.engine.threads import torch_threads
from bnas_bench.plugins.checks.contract import ContractBroken, require
from bnas_bench.plugins.checks.files import FILE_CHECKS
from bnas_bench.plugins.checks.methods import METHOD_CHECKS, check_refusal
from bnas_bench.plugins.checks.networks import NETWORK_CHECKS
from bnas_bench.plugins.checks.planted import check_planted, planted_trials
from bnas_bench.plugins.checks.rehearsal import Rehearsal
from bnas_bench.plugins.checks.spaces import SPACE_CHECKS
from bnas_bench.plugins.registry import Plugin, discover
from bnas_bench.search.untouched import untouched

__all__ = ["Case", "CheckResult", "ContractBroken", "cases", "run_checks"]


NAMES = {
    check.__name__
    for checks in (FILE_CHECKS, SPACE_CHECKS, NETWORK_CHECKS, METHOD_CHECKS, (check_planted,))
    for check in checks
}


@dataclass(frozen=True)
class CheckResult:
    """How a check went.

    Attributes:
        name: the check's, and in brackets the space or planted task that a method was tried on.
        passed: also where it fails as expected; not where it unexpectedly passes.
        reason: what is wrong, or why a failure is expected, or why it is not asked; empty if all is well.
        asked: not where a method's idea does not cover a planted task.
    """

    name: str
    passed: bool
    reason: str = ""
    asked: bool = True


@dataclass(frozen=True)
class Case:
    """A check with what it is to look at."""

    name: str
    plugin: Plugin
    check: Callable[[Any], None]
    subject: Any
    not_asked: str | None = None

    def run(self) -> CheckResult:
        if self.not_asked is not None:
            return CheckResult(self.name, True, self.not_asked, asked=False)
        with torch_threads(1):  # with networks this small, more of them only wait for each other
            wrong = self._wrong()
        expected = getattr(self.plugin.load(), "expected_failures", {}).get(self.check.__name__)
        if expected is None:
            return CheckResult(self.name, not wrong, wrong)
        if wrong:
            return CheckResult(self.name, True, f"fails as expected: {expected}")
        return CheckResult(self.name, False, "passes; take it out of expected_failures")

    def _wrong(self) -> str:
        try:
            with untouched(f"the {self.plugin.kind}"):
                self.check(self.subject)
        except BenchError as error:
            return str(error)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return ""


def check_expected_failures(plugin: Plugin) -> None:
    """Every expected failure names a check and gives the reason."""
    for name, reason in getattr(plugin.load(), "expected_failures", {}).items():
        if name not in NAMES:
            raise UnknownName("check in expected_failures", name, NAMES)
        require(
            isinstance(reason, str) and bool(reason.strip()),
            f"{name} is expected to fail for the reason {reason!r}; write the reason as a text",
        )


def cases(
    plugin: Plugin, spaces: Iterable[Plugin] | None = None, *, device: str = "cpu"
) -> Iterator[Case]:
    """The battery for a plug-in.

    Args:
        spaces: what a method is tried on; None takes every space that is known, and the planted
            tasks after them, which take up to some minutes each.
        device: where its searches compute.
    """

    def on(
        subject: Any, checks: Iterable[Callable[[Any], None]], where: str = ""
    ) -> Iterator[Case]:
        for check in checks:
            yield Case(check.__name__ + where, plugin, check, subject)

    yield from on(plugin, (*FILE_CHECKS, check_expected_failures))
    if plugin.kind == "space":
        yield from on(plugin.make({}), SPACE_CHECKS + NETWORK_CHECKS)
        return
    for space in discover("space").values() if spaces is None else spaces:
        rehearsal = Rehearsal(plugin, space, device)
        try:
            refused = rehearsal.refusal() is not None
        except BenchError:  # which the check tells
            refused = True
        yield from on(rehearsal, (check_refusal,) if refused else METHOD_CHECKS, f"[{space.name}]")
    if spaces is None:
        for trials in planted_trials(plugin):
            case = Case(f"check_planted[{trials.name}]", plugin, check_planted, trials)
            yield replace(case, not_asked=trials.left_out)


def run_checks(plugin: Plugin, spaces: Iterable[Plugin] | None = None) -> Iterator[CheckResult]:
    """Run the battery, one result after the other; see `cases`."""
    for case in cases(plugin, spaces):
        yield case.run()
