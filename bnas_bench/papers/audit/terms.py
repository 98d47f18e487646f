"""Numbers as printed: exact, with the digits they were printed to, and arithmetic that shows itself.

A printed 2.9 is the exact number 29/10 and stands for anything between 2.85 and 2.95. Both go through
the arithmetic of a `Term`, and so does its text: `printed("72.4") - printed("68.5")` is 39/10, between
38/10 and 40/10, and reads "72.4 - 68.5".
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from itertools import product

from bnas_bench.core.errors import BadValue

Plain = int | Fraction

_NUMBER = re.compile(r"-?\d+(?:\.(\d+))?(?:e(-?\d+))?(?:/(\d+))?")


@dataclass(frozen=True)
class Term:
    """A number, what it may have been before its parts were rounded, and how it is had.

    Attributes:
        value: exact.
        low, high: the least and the largest value that the printed parts allow.
        text: the formula, in the numbers as printed.
        rank: of its last operation, for brackets: 0 a sum, 1 a product, 2 a number.
    """

    value: Fraction
    low: Fraction
    high: Fraction
    text: str
    rank: int = 2

    @property
    def unit(self) -> Fraction:
        """Of a printed number, its last digit; 0 of an exact one."""
        return self.high - self.low

    def __add__(self, other: Term | Plain) -> Term:
        b = _term(other)
        ends = self.low + b.low, self.high + b.high
        return Term(self.value + b.value, *ends, f"{self.text} + {b.text}", 0)

    def __sub__(self, other: Term | Plain) -> Term:
        b = _term(other)
        ends = self.low - b.high, self.high - b.low
        return Term(self.value - b.value, *ends, f"{self.text} - {b._within(1)}", 0)

    def __mul__(self, other: Term | Plain) -> Term:
        b = _term(other)
        corners = [x * y for x, y in product((self.low, self.high), (b.low, b.high))]
        text = f"{self._within(1)} x {b._within(1)}"
        return Term(self.value * b.value, min(corners), max(corners), text, 1)

    def __truediv__(self, other: Term | Plain) -> Term:
        b = _term(other)
        if b.low <= 0 <= b.high:
            raise BadValue(f"'{b.text}' may be zero, and nothing is divided by it")
        corners = [x / y for x, y in product((self.low, self.high), (b.low, b.high))]
        text = f"{self._within(1)} / {b._within(2)}"
        return Term(self.value / b.value, min(corners), max(corners), text, 1)

    def __radd__(self, other: Plain) -> Term:
        return _term(other) + self

    def __rsub__(self, other: Plain) -> Term:
        return _term(other) - self

    def __rmul__(self, other: Plain) -> Term:
        return _term(other) * self

    def __rtruediv__(self, other: Plain) -> Term:
        return _term(other) / self

    def _within(self, rank: int) -> str:
        return self.text if self.rank >= rank else f"({self.text})"


def printed(text: str) -> Term:
    """The first number of a printed text: "≈5.12", "-2.9%", "1e-3", "2/3", "24.19×".

    Behind ~ or ≈ the zeros at the end of a whole number are no printed digits: ~400 is 350 to 450.

    Raises:
        BadValue: if there is none.
    """
    match = _NUMBER.search(text.replace(",", "").replace("−", "-"))
    if match is None:
        raise BadValue(f"'{text}' holds no number")
    decimals, exponent, whole = match.groups()
    if whole is not None:
        value, unit = Fraction(match[0]), Fraction(1, int(whole))
    else:
        value = Fraction(match[0])
        unit = Fraction(10) ** (int(exponent or 0) - len(decimals or ""))
        if text.lstrip().startswith(("~", "≈")) and value and not decimals:
            unit *= 10 ** (len(match[0]) - len(match[0].rstrip("0")))
    return Term(value, value - unit / 2, value + unit / 2, match[0])


def exactly(value: float | Fraction, text: str = "") -> Term:
    """A number that nobody rounded: a count, or what the ledger gives."""
    number = Fraction(value)
    return Term(number, number, number, text or f"{float(number):.6g}")


def total(terms: Iterable[Term | Plain]) -> Term:
    """The sum of terms."""
    first, *rest = map(_term, terms)
    for term in rest:
        first = first + term
    return first


def largest(terms: Iterable[Term]) -> Term:
    """The term of the largest value, the first of equals."""
    return max(terms, key=lambda term: term.value)


def smallest(terms: Iterable[Term]) -> Term:
    """The term of the smallest value, the first of equals."""
    return min(terms, key=lambda term: term.value)


def _term(number: Term | Plain) -> Term:
    return number if isinstance(number, Term) else exactly(number)
