"""Lists of names with what they are, and texts of any width, fitted to the terminal."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator

import click

WIDE = 250
"""Signs of a line where no terminal shows it: nothing is broken that a program may look for."""

WIDEST = 100
"""Signs of a line on a terminal, which nobody reads beyond."""


def width(most: int = WIDEST) -> int:
    """Signs of a line: those of the terminal, up to `most`."""
    return min(shutil.get_terminal_size().columns, most) if sys.stdout.isatty() else WIDE


def definitions(rows: Iterable[tuple[str, str]]) -> None:
    """Print names and beside each what it is, wrapped at words."""
    formatter = click.HelpFormatter(width=width())
    formatter.indent()
    formatter.write_dl(list(rows))
    click.echo(formatter.getvalue(), nl=False)


def flowed(text: str) -> str:
    """A text whose lines may be longer than the terminal's, its paragraphs and their indents kept.

    A line that ends a sentence ends a paragraph.
    """
    return "\n".join(_paragraphs(text.splitlines(), width()))


def _paragraphs(lines: Iterable[str], most: int) -> Iterator[str]:
    held, indent = "", ""
    for line in lines:
        own = line[: len(line) - len(line.lstrip())]
        if held and (not line.strip() or own != indent or held.endswith((".", ":"))):
            yield _filled(held, indent, most)
            held = ""
        if line.strip():
            held, indent = f"{held} {line.strip()}".strip(), own
        else:
            yield ""
    if held:
        yield _filled(held, indent, most)


def _filled(text: str, indent: str, most: int) -> str:
    return textwrap.fill(
        text,
        most,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
