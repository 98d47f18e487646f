"""Whole numbers on the command line, read and refused as those in brackets are."""

from __future__ import annotations

from typing import Any

import click

from bnas_bench.plugins.spec import read_number


class Number(click.ParamType):
    """A number of one of the kinds in `bnas_bench.core.options`: `Number(Count)`."""

    name = "integer"

    def __init__(self, kind: Any) -> None:
        self.kind = kind

    def convert(self, value: Any, param: click.Parameter | None, _: click.Context | None) -> Any:
        """The number.

        Raises:
            BadValue: if the text is none, or it is out of range.
        """
        what = param.opts[0] if param else "the number"
        return read_number(value, self.kind, what) if isinstance(value, str) else value
