"""A number of a paper, the same number recomputed, and the verdict (`VERDICTS`): the rule of the audit.

A claim such as "more than 1%" agrees if the recomputed number satisfies it; a number that stands in
two places, of one paper or of two, if both are the same to the digits of the coarser one.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from bnas_bench.papers.audit.terms import Term, printed

Verdict = Literal["agrees", "within rounding", "agrees under", "differs", "contradicts"]
VERDICTS: Mapping[Verdict, str] = {
    "agrees": "the recomputed number, rounded or cut off to the printed digits, is the printed one",
    "within rounding": "it is not, but the numbers it is computed from are printed rounded, and "
    "numbers that round to them give the printed one",
    "agrees under": "it follows from another rule than the stated one; the rule is named",
    "differs": "none of the rules gives it; the printed number less that of the nearest rule is given",
    "contradicts": "one number stands in two places, and they are not the same",
}

Relation = Literal["=", ">", "<"]
_HOLDS: Mapping[str, Callable[[Fraction, Fraction], bool]] = {">": operator.gt, "<": operator.lt}


@dataclass(frozen=True, kw_only=True)
class Check:
    """A printed number and how it is recomputed.

    Attributes:
        id: `dcp-nas/table-3:top-5`.
        place: section, table, row and column.
        quotation: what is printed there.
        printed: the number within it, as printed; of a claim without a number, its word.
        words: how it is recomputed, in words.
        value: recomputed by the rule that the paper states, or that its words imply.
        otherwise: by other rules, each by its name; the first that agrees explains the number.
        repeated: whether `value` is the same number where it is printed again, in `words`.
        relation: of the recomputed number to the claimed one.
        claimed: what a claim without a number compares with.
        unit: of the numbers.
        solved: what a quantity, named, would have to be for the printed number to be right.
    """

    id: str
    place: str
    quotation: str
    printed: str
    words: str
    value: Term
    otherwise: Mapping[str, Term] = field(default_factory=dict)
    repeated: bool = False
    relation: Relation = "="
    claimed: Term | None = None
    unit: str = ""
    solved: Mapping[str, Term] = field(default_factory=dict)

    @property
    def paper(self) -> str:
        return self.id.partition("/")[0]

    @property
    def claim(self) -> Term:
        return printed(self.printed) if self.claimed is None else self.claimed


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A check with its verdict, all of it text but `value`.

    Attributes:
        recomputed: by the rule that `rule` names, one digit more than printed.
        value: the same as a number.
        difference: the printed number less the recomputed one; empty where they agree.
        rule: the formula, and how it agrees or what else was tried.
    """

    id: str
    paper: str
    place: str
    quotation: str
    printed: str
    unit: str
    recomputed: str
    value: float
    difference: str
    verdict: Verdict
    rule: str

    @property
    def shown(self) -> tuple[str, str]:
        """The printed and the recomputed number with their unit, once."""
        has_unit = self.unit in self.printed or not any(map(str.isdigit, self.printed))
        printed = self.printed if has_unit else f"{self.printed} {self.unit}"
        return printed, f"{self.recomputed} {self.unit}".strip()


def judge(check: Check) -> Finding:
    """The verdict on a check."""
    how = _agreement(check, check.value)
    if how is not None:
        verdict: Verdict = "within rounding" if how.startswith("rounding") else "agrees"
        return _finding(check, check.value, verdict, _rule(check.words, check.value, how))
    others = {words: _agreement(check, term) for words, term in check.otherwise.items()}
    for words, how in others.items():
        if how is not None and not check.repeated:
            term = check.otherwise[words]
            instead = f"instead of {_rule(check.words, check.value)}"
            return _finding(check, term, "agrees under", f"{_rule(words, term, how)}; {instead}")
    rules = {check.words: check.value, **check.otherwise}
    head = (
        check.words if check.repeated else min(rules, key=lambda words: _gap(check, rules[words]))
    )
    parts = [_rule(head, rules[head]), *_range(check, rules[head])]
    for words, term in rules.items():
        if words == head:
            continue
        if others.get(words) is None:
            stated = "as stated, " * (words == check.words)
            parts.append(f"{stated}{_rule(words, term)}, {_difference(check, term)}")
        else:
            parts.append(f"it is {_rule(words, term)}")
    parts += [f"the printed number needs {_rule(*item)}" for item in check.solved.items()]
    verdict = "contradicts" if check.repeated else "differs"
    return _finding(check, rules[head], verdict, "; ".join(parts))


def show(value: Fraction, like: Term) -> str:
    """A number with one decimal more than another one was printed with, if that is no zero."""
    if not like.unit:
        return f"{float(value):.6g}"
    decimals, unit = 0, like.unit
    while unit < 1 and decimals < 6:
        decimals, unit = decimals + 1, unit * 10
    text = f"{float(value):.{decimals + 1}f}"
    return text.removesuffix("0").removesuffix(".")


def _show(check: Check, value: Fraction) -> str:
    """A number beside the claim; in full digits where it only has to be more or less."""
    return show(value, check.claim) if check.relation == "=" else f"{float(value):.4g}"


def _agreement(check: Check, term: Term) -> str | None:
    """How a recomputed number agrees with the claim; None if it does not."""
    claim = check.claim
    if check.relation != "=":
        holds = _HOLDS[check.relation]
        if holds(term.value, claim.value):
            return ""
        best = term.high if check.relation == ">" else term.low
        return _allowed(term) if holds(best, claim.value) else None
    unit = max(claim.unit, term.unit) if check.repeated else claim.unit
    if term.value == claim.value:
        return ""
    if abs(term.value - claim.value) <= unit / 2:
        return "rounded"
    sign = -1 if claim.value < 0 else 1
    end = unit / 2 if "/" in check.printed else unit  # a fraction is rounded, not cut off
    if 0 <= sign * (term.value - claim.value) < end:
        return "cut off"
    low, high = sorted((claim.value - sign * unit / 2, claim.value + sign * end))
    rounded = term.unit and not check.repeated
    return _allowed(term) if rounded and term.low < high and low < term.high else None


def _allowed(term: Term) -> str:
    return f"rounding allows {float(term.low):.5g} to {float(term.high):.5g}"


def _range(check: Check, term: Term) -> list[str]:
    """What rounded operands allow; nothing where they are exact or are the number itself."""
    return [_allowed(term)] if term.unit and not check.repeated else []


def _gap(check: Check, term: Term) -> Fraction:
    return abs(check.claim.value - term.value)


def _rule(words: str, term: Term, how: str = "") -> str:
    """The words, the formula in numbers and its value, and how that agrees."""
    value = "" if term.rank == 2 else f" = {float(term.value):.6g}"
    return f"{words}: {term.text}{value}" + (f", {how}" if how else "")


def _difference(check: Check, term: Term) -> str:
    gap = check.claim.value - term.value
    text = f"{'' if gap < 0 else '+'}{_show(check, gap)}"
    if check.relation != "=" or not term.value:
        return text
    share = 100 * float(gap / abs(term.value))
    return f"{text} ({share:+.0f} %)" if abs(share) >= 10 else f"{text} ({share:+.2g} %)"


def _finding(check: Check, term: Term, verdict: Verdict, rule: str) -> Finding:
    agreed = verdict in ("agrees", "agrees under", "within rounding")
    return Finding(
        id=check.id,
        paper=check.paper,
        place=check.place,
        quotation=check.quotation,
        printed=check.printed,
        unit=check.unit,
        recomputed=_show(check, term.value),
        value=float(term.value),
        difference="" if agreed else _difference(check, term),
        verdict=verdict,
        rule=rule,
    )


def tally(findings: Iterable[Finding]) -> dict[str, dict[Verdict, int]]:
    """How many findings of each verdict, paper by paper."""
    counts: dict[str, dict[Verdict, int]] = {}
    for finding in findings:
        of_paper = counts.setdefault(finding.paper, dict.fromkeys(VERDICTS, 0))
        of_paper[finding.verdict] += 1
    return counts
