"""A table, and a whole report, as LaTeX for plain pdflatex."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from bnas_bench.analysis.table import Column, Table
from bnas_bench.report.layout import lay_out, relative
from bnas_bench.report.model import Report
from bnas_bench.report.tex import comment, escape

LONG = 40
"""More rows than these run over pages."""

SENTENCE = 60
"""Characters of a text that stands in one line of its column."""

FLOATS = 8
"""Tables and figures between two points where LaTeX must have placed all."""


def latex(table: Table) -> str:
    r"""The table as a fragment for `\input`, with a label `tab:NAME`; needs booktabs and graphicx.

    A table of more than `LONG` rows is a `longtable`; the package of that name is needed then.
    """
    laid_out = lay_out(table, escape, lambda mark: rf"\textsuperscript{{{mark}}}")
    columns = "".join(_alignment(table, column) for column in table.columns)
    header = rf"{' & '.join(map(_stacked, laid_out.header))} \\"
    body = [rf"{' & '.join(cells)} \\" for cells in laid_out.lines]
    caption = (
        rf"\caption{{{escape(table.title)}. {escape(table.caption)}}}\label{{tab:{table.name}}}"
    )
    notes = [rf"\textsuperscript{{{n}}}~{text}" for n, text in enumerate(laid_out.marked, start=1)]
    notes = [rf"\par\noindent {text}" for text in (*notes, *laid_out.notes)]
    commands = [comment(command) for command in table.commands]
    if len(body) > LONG:
        return "\n".join(
            [
                *commands,
                r"{\tiny\setlength{\tabcolsep}{3pt}\setlength{\LTcapwidth}{\linewidth}",
                rf"\begin{{longtable}}{{{columns}}}",
                rf"{caption}\\",
                *(r"\toprule", header, r"\midrule", r"\endfirsthead"),
                *(r"\toprule", header, r"\midrule", r"\endhead"),
                *(r"\bottomrule", r"\endfoot"),
                *body,
                r"\end{longtable}",
                r"}",
                *([r"{\footnotesize", *notes, r"\par}"] if notes else []),
                "",
            ]
        )
    tabular = [
        # A table that is too wide is scaled down.
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{{columns}}}",
        *(r"\toprule", header, r"\midrule"),
        *body,
        *(r"\bottomrule", r"\end{tabular}}"),
    ]
    return "\n".join(
        [
            *commands,
            *(r"\begin{table}[htbp]", r"\centering", caption),
            *tabular,
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
