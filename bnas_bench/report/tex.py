"""Any text as LaTeX that plain pdflatex sets: special characters, mathematical signs, Greek."""

from __future__ import annotations

import re
import unicodedata

SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\`{}",
    '"': "''",
    "[": "{[}",  # behind a line's end it would be an option of \\
    "]": "{]}",
    "–": "--",
    "—": "---",
    "…": "...",
    "’": "'",
    "‘": "`",
    "“": "``",
    "”": "''",
}

MATHS = {
    "$": r"\mathdollar",
    "§": r"\mathsection",
    "†": r"\dagger",
    "‡": r"\ddagger",
    "±": r"\pm",
    "×": r"\times",
    "·": r"\cdot",
    "−": "-",
    "≈": r"\approx",
    "≤": r"\leq",
    "≥": r"\geq",
    "≠": r"\neq",
    "→": r"\rightarrow",
    "∞": r"\infty",
    "∗": r"\ast",
    "√": r"\surd",
    "∆": r"\Delta",
    "µ": r"\mu",
    "°": r"^{\circ}",
    "²": "^{2}",
    "³": "^{3}",
}

GREEK = frozenset(
    {
        *("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa"),
        *("lambda", "mu", "nu", "xi", "pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi"),
        *("omega", "Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Upsilon", "Phi"),
        *("Psi", "Omega"),
    }
)
"""The letters that LaTeX has commands for; the others look like Latin ones, or are rare."""

LETTERS = "ßæÆøØœŒłŁ"
ACCENTS = "\u0300\u0301\u0302\u0303\u0304\u0306\u0307\u0308\u030a\u030b\u030c\u0327"
"""What LaTeX's first font encoding can set above or below a letter."""


def escape(text: str) -> str:
    """A text in one line, as LaTeX shows it; a character that it has no font for as U+XXXX."""
    plain = "".join(filter(str.isprintable, " ".join(text.split())))
    # Two hyphens would become a dash.
    return "{}".join("".join(map(_character, part)) for part in re.split("(?<=-)(?=-)", plain))


def comment(text: str) -> str:
    """A text as a comment of one line."""
    return f"% {' '.join(text.split())}"


def _character(character: str) -> str:
    if character in SPECIAL:
        return SPECIAL[character]
    if character in MATHS:
        return rf"\ensuremath{{{MATHS[character]}}}"
    if character.isascii():
        return character
    name = unicodedata.name(character, "")
    if match := re.fullmatch(r"GREEK (SMALL|CAPITAL) LETTER (\w+)", name):
        letter = match[2].replace("LAMDA", "LAMBDA").lower()
        letter = letter.capitalize() if match[1] == "CAPITAL" else letter
        if letter in GREEK:
            return rf"\ensuremath{{\{letter}}}"
    if character in LETTERS or (ord(character) < 0x180 and _accent(character) in ACCENTS):
        return character
    return rf"\texttt{{U+{ord(character):04X}}}"


def _accent(letter: str) -> str:
    """The accent of a letter that consists of a plain one and an accent."""
    parts = unicodedata.normalize("NFD", letter)
    return parts[1] if len(parts) == 2 and parts[0].isascii() else "none"
