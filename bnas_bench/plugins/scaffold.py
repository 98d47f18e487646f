"""Writes a new method: `methods/_template.py`, under another name, and a test of it."""

from __future__ import annotations

import re
from keyword import kwlist
from pathlib import Path

from bnas_bench.core.errors import BadValue, BenchError, brief
from bnas_bench.core.files import write_atomically
from bnas_bench.plugins.registry import names
from bnas_bench.plugins.source import locate

LONGEST = 80
"""Letters of a name that still fits into the name of a file, and into a line of a table."""

TEST = '''"""{title}: its contract; put the equations of its paper beside it, against NumPy."""

from bnas_bench.plugins.checks import run_checks
from bnas_bench.plugins.registry import find


def test_it_keeps_the_contract() -> None:
    results = run_checks(find("method", "{name}"), [find("space", "darts-binary")])
    assert [result for result in results if not result.passed] == []
'''


def write_method(name: str, folder: Path | str | None = None) -> tuple[list[Path], str]:
    """Write a method of that name, ready to run; and a test beside those of a clone.

    Args:
        folder: where to; None is `methods/` in a clone, and elsewhere the current folder.

    Returns:
        The files, and what to call the method by.

    Raises:
        BadValue: if the name cannot be one, or is taken.
        Unwritable: if the folder takes no files.
    """
    is_word = re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) is not None
    if not is_word or len(name) > LONGEST or {name, _class_name(name)} & set(kwlist):
        raise BadValue(
            f"'{brief(name)}' is no name for a method: write lower-case words joined by dashes, as in "
            f"my-method, of {LONGEST} letters at most and none of Python's own"
        )
    template = _template()
    taken = re.search(rf"\b{_class_name(name)}\b", template.read_text())  # `any`, `architecture`
    if name in names("method") or taken:
        raise BadValue(f"the name '{name}' is taken already: choose another")
    clone = template.parent.parent
    in_clone = folder is None and (clone / "pyproject.toml").exists()
    file = (template.parent if in_clone else Path(folder or ".")) / f"{name.replace('-', '_')}.py"
    files = {file: _method(template.read_text(), name)}
    if in_clone:
        test = TEST.format(title=_title(name), name=name)
        files[clone / "tests" / "methods" / f"test_{file.stem}.py"] = test
    for path in files:
        if path.exists():
            raise BadValue(f"{path} is there already: choose another name or folder")
    for path, text in files.items():
        write_atomically(path, text.encode())
    return list(files), name if in_clone else str(file)


def _template() -> Path:
    file = locate("bnas_bench.methods._template")
    if file is None:
        raise BenchError("methods/_template.py is missing: install bnas-bench again")
    return file


def _method(template: str, name: str) -> str:
    titled = template.replace('"""Template:', f'"""{_title(name)}:', 1)
    return re.sub(r"\bTemplate\b", _class_name(name), titled)


def _class_name(name: str) -> str:
    return _title(name).replace(" ", "")


def _title(name: str) -> str:
    return " ".join(word.capitalize() for word in name.split("-"))
