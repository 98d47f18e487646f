"""The audit: every number of the four papers that follows from others, recomputed.

A module per paper yields its checks; `check` holds what a check is and the verdicts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields

from pandas import DataFrame

from bnas_bench.core.errors import UnknownName
from bnas_bench.papers.audit import bars, cp_nas, dcp_nas, nas_bnn
from bnas_bench.papers.audit.check import Check, Finding, judge

CHECKS: Mapping[str, Callable[[], Iterable[Check]]] = {
    "cp-nas": cp_nas.checks,
    "dcp-nas": dcp_nas.checks,
    "bars": bars.checks,
    "nas-bnn": nas_bnn.checks,
}


def checks(name: str = "") -> list[Check]:
    """The checks of a name, in the papers' order.

    Args:
        name: a paper, `dcp-nas`, a table or section of it, `dcp-nas/table-3`, or the id of a check;
            empty is all papers.

    Raises:
        UnknownName: if nothing has that name; with the nearest.
    """
    paper = name.partition("/")[0]
    if name and paper not in CHECKS:
        raise UnknownName("paper", paper, CHECKS)
    of_papers = [paper] if name else list(CHECKS)
    every = [check for each in of_papers for check in CHECKS[each]()]
    found = [check for check in every if name in ("", *_names(check))]
    if not found:
        raise UnknownName("check", name, {known for check in every for known in _names(check)})
    return found


def audit(name: str = "") -> list[Finding]:
    """The findings of a name; see `checks`."""
    return [judge(check) for check in checks(name)]


def frame(findings: Iterable[Finding]) -> DataFrame:
    """Findings as a table, a row each; its columns are the fields of a `Finding`."""
    return DataFrame(map(vars, findings), columns=[field.name for field in fields(Finding)])


def _names(check: Check) -> tuple[str, str, str]:
    """What a check answers to: its paper, its table or section, itself."""
    return check.paper, check.id.partition(":")[0], check.id
