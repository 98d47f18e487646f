"""DARTS' text form of two cells: `Genotype(normal=[(operation, node), ...], normal_concat=..., ...)`.

It is found wherever people keep it: alone, behind a log's time stamp, in a list of `NAME =
Genotype(...)` lines. It is read by its syntax and never evaluated; a text that is none, however it is
nested and however long its numbers are, ends in one sentence.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from bnas_bench.core.errors import InvalidArchitecture, UnknownName, brief
from bnas_bench.nn.darts.topology import CELLS, NODES, Pair

FIELDS = ("normal", "normal_concat", "reduce", "reduce_concat")
"""In the order of DARTS' named tuple, for who writes them without their names."""

FORM = (
    "Genotype(normal=[(operation, node), ...], normal_concat=[2, 3, 4, 5], "
    "reduce=[...], reduce_concat=[2, 3, 4, 5])"
)
LONGEST = 20_000
"""Characters of one genotype, far more than any has."""

DEEPEST = 20
"""Brackets within brackets of one genotype, likewise."""

MOST = 2000
"""Genotypes of a text; what comes behind them is not looked at."""

_START = re.compile(r"\bGenotype[ \t]*\(")
_PART = re.compile(r"""'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|\#[^\n]*|[()\[\]{}]""")
_NO_VALUE = re.compile(r"\s*#|.*\s#\s|.*\b(?:class|def)\s+$")
"""Before what is no genotype: in a comment, or the class itself."""
_NAME = re.compile(r"""([\w.-]+)["']?\s*(?::\s*\w+\s*)?[=:]\s*(?:\w+\.)*$""")
_REST = re.compile(r"[ \t\r,;\]}]*(?:#[^\n]*)?(?:\n|$)")


@dataclass(frozen=True)
class Written:
    """A genotype in a text.

    Attributes:
        name: what it is assigned to; None if it has no name.
        line, column: where it starts, counted from 1.
        text: `Genotype(...)`.
        alone: whether nothing stands behind it on its line, so that it is the whole value.
    """

    name: str | None
    line: int
    column: int
    text: str
    alone: bool


def is_written(text: str) -> bool:
    """Whether a genotype begins somewhere in a text."""
    return _START.search(text) is not None


def named(text: str, name: str) -> str:
    """The genotype of that name in a text of many, or the one that starts on that line.

    Raises:
        UnknownName: if there is none.
        InvalidArchitecture: if there are several that differ.
    """
    if not (found := _all(text)):
        _only(found)
    alias = re.search(
        rf"^[ \t]*{re.escape(name)}[ \t]*=[ \t]*(\w+)[ \t\r]*(?:#.*)?$", text, re.MULTILINE
    )
    wanted = {name, alias[1]} if alias else {name}
    if not (chosen := [one for one in found if one.name in wanted or str(one.line) == name]):
        raise UnknownName("genotype", name, [*_labels(found)])
    return _only(chosen).text


def read(text: str) -> dict[str, list[Pair]]:
    """The (operation, node) pairs of both cells, two for every node in turn, of a text's one genotype.

    Raises:
        InvalidArchitecture: if there is none, or more than one, or it is not of the form `FORM`.
    """
    one = _only(_all(text))
    fields = _fields(one)
    for cell in CELLS:
        concat = fields[f"{cell}_concat"]
        if sorted(_numbers(concat)) != list(NODES):
            raise InvalidArchitecture(
                f"'{cell}_concat' is {_source(one, concat)}; a cell here concatenates the nodes 2, 3, 4, 5"
            )
    return {cell: list(_pairs(one, cell, fields[cell])) for cell in CELLS}


def _all(text: str) -> list[Written]:
    """Every genotype in a text; comments, and the class itself, are none."""
    found, end, line, counted = [], 0, 1, 0
    for match in islice(_START.finditer(text), MOST):
        start = match.start()
        line, counted = line + text.count("\n", counted, start), start
        before = text[max(0, start - 200) : start].rpartition("\n")[2]
        if start < end or _NO_VALUE.match(before):
            continue
        end = _end(text, match.end())
        name, rest, whole = _NAME.search(before), _REST.match(text, end), text[start:end]
        found.append(
            Written(name[1] if name else None, line, len(before) + 1, whole, alone=rest is not None)
        )
        end = rest.end() if rest else end
    return found


def _end(text: str, inside: int) -> int:
    """Where the bracket that was opened before `inside` is closed; or where looking for that ends."""
    depth, limit = 1, min(len(text), inside + LONGEST)
    for part in _PART.finditer(text, inside, limit):
        depth += (part[0] in "([{") - (part[0] in ")]}")
        if depth in (0, DEEPEST):
            return part.end()
    return limit


def _labels(found: Sequence[Written]) -> list[str]:
    """What each is called: its name if no other has it, or else its line."""
    names = [one.name for one in found]
    return [
        one.name if one.name and names.count(one.name) == 1 else str(one.line)
        for one in found[:100]
    ]


def _only(found: Sequence[Written]) -> Written:
    if not found:
        raise InvalidArchitecture(f"this is no JSON and no Genotype, which is written {FORM}")
    if len({"".join(one.text.split()) for one in found}) > 1:
        labels = _labels(found)
        shown = ", ".join(labels[:20]) + ", ..." * (len(found) > 20)
        raise InvalidArchitecture(
            f"there are {len(found)} genotypes, {shown}; name one behind the file, as FILE:{labels[-1]}"
        )
    return found[-1]


def _fields(one: Written) -> dict[str, ast.expr]:
    """The arguments, by name."""
    call = _parsed(one)
    if not one.alone:
        raise InvalidArchitecture(
            f"something stands behind the genotype of line {one.line}; it must be all that is said there"
        )
    names = [*FIELDS[: len(call.args)], *(str(keyword.arg) for keyword in call.keywords)]
    if sorted(names) != sorted(FIELDS) or len(call.args) > len(FIELDS):
        raise InvalidArchitecture(
            f"the genotype has the fields {brief(', '.join(sorted(names))) or 'none'}; "
            f"it needs {', '.join(FIELDS)}, each once"
        )
    values = [*call.args, *(keyword.value for keyword in call.keywords)]
    return dict(zip(names, values, strict=True))


def _parsed(one: Written) -> ast.Call:
    try:
        with warnings.catch_warnings(action="ignore"):  # of Python, on escapes in its texts
            tree = ast.parse(one.text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        row = getattr(error, "lineno", None) or 1
        column = (getattr(error, "offset", None) or 1) + (one.column - 1 if row == 1 else 0)
        raise InvalidArchitecture(
            f"the genotype stops making sense at line {one.line + row - 1}, column {column}; "
            f"it is written {FORM}"
        ) from None
    assert isinstance(tree.body, ast.Call), (
        "it begins with a name and a bracket, and ends with that"
    )
    return tree.body


def _numbers(node: ast.expr) -> list[int]:
    """`[2, 3]`, `(2, 3)`, `range(2, 4)`, `list(range(2, 4))`, `[*range(2, 4)]`; else nothing."""
    match node:
        case ast.Call(func=ast.Name(id="range"), args=[start, stop], keywords=[]):
            ends = _small(start), _small(stop)
            return list(range(*ends)) if None not in ends else []  # type: ignore[arg-type]
        case ast.Call(func=ast.Name(id="list" | "tuple" | "sorted"), args=[inner], keywords=[]):
            return _numbers(inner)
        case ast.List(elts=[ast.Starred(value=inner)]) | ast.Tuple(elts=[ast.Starred(value=inner)]):
            return _numbers(inner)
        case ast.List(elts=elements) | ast.Tuple(elts=elements) | ast.Set(elts=elements):
            return [-1 if (n := _small(element)) is None else n for element in elements]
    return []


def _small(node: ast.expr) -> int | None:
    """A whole number of a size that numbers of nodes have."""
    match node:
        case ast.Constant(value=int(number)) if not isinstance(number, bool) and number < 1000:
            return number
    return None


def _pairs(one: Written, cell: str, node: ast.expr) -> Iterator[Pair]:
    """The pairs of a cell, in one list or in one for each node."""
    if not isinstance(node, ast.List | ast.Tuple):
        raise InvalidArchitecture(f"'{cell}' is no list of (operation, node) pairs")
    elements = node.elts
    lists = [element.elts for element in elements if isinstance(element, ast.List | ast.Tuple)]
    if groups := [group for group in lists if _holds_pairs(group)]:
        for j, group in zip(NODES, groups, strict=False):
            if len(group) != 2:
                raise InvalidArchitecture(
                    f"node {j} of '{cell}' lists {len(group)} edges; it takes 2"
                )
        elements = [pair for group in groups for pair in group]
        if len(groups) != len(node.elts):
            raise InvalidArchitecture(f"'{cell}' groups some of its pairs by node, and some not")
    for position, element in enumerate(elements):
        match element:
            case (
                ast.Tuple(elts=[ast.Constant(value=str(op)), source])
                | ast.List(elts=[ast.Constant(value=str(op)), source])
            ) if (i := _small(source)) is not None:
                yield op, i
            case _:
                raise InvalidArchitecture(
                    f"entry {position} of '{cell}' is {_source(one, element)}; "
                    "it must be an (operation, node) pair such as ('skip_connect', 0)"
                )


def _holds_pairs(elements: Sequence[ast.expr]) -> bool:
    return any(isinstance(element, ast.List | ast.Tuple) for element in elements)


def _source(one: Written, node: ast.expr) -> str:
    """A part of the genotype as it is written there."""
    return brief(ast.get_source_segment(one.text, node))
