"""A table, and a whole report, as LaTeX for plain pdflatex."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from bnas_bench.analysis.table import Column, Table
from bnas_bench.report.model import Report
from bnas_bench.report.write import lay_out, relative

LONG = 40
"""More rows than these run over pages."""

SENTENCE = 60
"""Characters of a text that stands in one line of its column."""

FLOATS = 8
"""Tables and figures between two points where LaTeX must have placed all."""


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


def latex(table: Table) -> str:
    r"""The table as a fragment for `\input`, with a label `tab:NAME`; needs booktabs and graphicx.

    A table of more than `LONG` rows is a `longtable`; the package of that name is needed then.
    """
    laid_out = lay_out(table, escape, lambda mark: rf"\textsuperscript{{{mark}}}")
    columns = "".join(_alignment(table, column) for column in table.columns)
    long = len(laid_out.lines) > LONG
    tabular = pd.DataFrame(laid_out.lines, columns=list(map(_stacked, laid_out.header))).to_latex(
        index=False,
        column_format=columns,
        escape=False,
        longtable=long,
    )
    caption = (
        rf"\caption{{{escape(table.title)}. {escape(table.caption)}}}\label{{tab:{table.name}}}"
    )
    notes = [rf"\textsuperscript{{{n}}}~{text}" for n, text in enumerate(laid_out.marked, start=1)]
    notes = [rf"\par\noindent {text}" for text in (*notes, *laid_out.notes)]
    commands = [comment(command) for command in table.commands]
    if long:
        small = r"{\tiny\setlength{\tabcolsep}{3pt}\setlength{\LTcapwidth}{\linewidth}"
        captioned = tabular.replace(r"\toprule", rf"{caption}\\" + "\n" + r"\toprule", 1)
        under = [r"{\footnotesize", *notes, r"\par}"] if notes else []
        return "\n".join([*commands, small, captioned.rstrip(), "}", *under, ""])
    return "\n".join(
        [
            *commands,
            *(r"\begin{table}[htbp]", r"\centering", caption),
            # A table that is too wide is scaled down.
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            f"{tabular.rstrip()}}}",
            *([r"\par\medskip\footnotesize\raggedright", *notes] if notes else []),
            *(r"\end{table}", ""),
        ]
    )


def document(report: Report, folder: Path) -> str:
    """A LaTeX document of all tables and figures, for pdflatex in the report's folder."""
    facts = [rf"\item {escape(fact)}" for fact in report.facts]
    figures = [
        "\n".join(
            [
                r"\begin{figure}[htbp]",
                r"\centering",
                rf"\includegraphics{{{relative(picture, folder)}.pdf}}",
                rf"\caption{{{escape(picture.title)}. {escape(picture.caption)}}}",
                rf"\label{{fig:{picture.name}}}",
                r"\end{figure}",
            ]
        )
        for picture in report.pictures
    ]
    tables = [rf"\input{{tables/{table.name}}}" for table in report.tables]
    return "\n".join(
        [
            r"\documentclass[a4paper,landscape]{article}",
            r"\usepackage[margin=15mm]{geometry}",
            r"\usepackage{booktabs,graphicx,longtable}",
            r"\begin{document}",
            rf"\section*{{{escape(report.title)}}}",
            *([r"\begin{itemize}", *facts, r"\end{itemize}"] if facts else []),
            *_flushed([*tables, *figures]),
            r"\end{document}",
            "",
        ]
    )


def _flushed(floats: Sequence[str]) -> Iterator[str]:
    """Put out those that wait for a place, before TeX has too many of them."""
    for number, text in enumerate(floats, start=1):
        yield text
        if number % FLOATS == 0:
            yield r"\clearpage"


def _alignment(table: Table, column: Column) -> str:
    """Numbers to the right, texts to the left, those that are sentences in a narrow paragraph."""
    if column.numeric:
        return "r"
    texts = (row[column.key].text for row in table.rows if column.key in row)
    return "l" if max(map(len, texts), default=0) <= SENTENCE else "p{60mm}"


def _stacked(title: str) -> str:
    """A title with its unit in a second line."""
    name, bracket, unit = title.partition(" (")
    return rf"\shortstack{{{name}\\({unit}}}" if bracket else title


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
