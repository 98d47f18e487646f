"""What a plug-in's file says about itself, read from its syntax tree: nothing is run."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bnas_bench.core.errors import BenchError
from bnas_bench.core.options import Form, form_written

NO_ARGUMENTS = ast.arguments(posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[])


class BadPlugin(BenchError):
    """A plug-in's file that cannot be used, or a name that two of them claim."""


READERS = ("analysis", "cli", "methods", "papers", "report", "spaces")
"""Parts of `bnas_bench` that no trial's numbers can follow from."""


@cache
def harness_digest() -> str:
    """Changes with the code that every trial runs: all of `bnas_bench` but what reads its records,
    and methods and spaces, which have digests of their own."""
    root = Path(__file__).parents[1]
    files = sorted(
        path for path in root.rglob("*.py") if path.relative_to(root).parts[0] not in READERS
    )
    total = hashlib.sha256()
    for path in files:
        total.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return total.hexdigest()[:12]


@dataclass(frozen=True)
class Source:
    """A Python file, parsed."""

    file: Path
    tree: ast.Module

    @classmethod
    def read(cls, file: Path) -> Source:
        """Parse a file.

        Raises:
            BadPlugin: if there is no such file, or it is no Python.
        """
        try:
            return cls(file, ast.parse(file.read_bytes(), file.name))
        except OSError as error:
            raise BadPlugin(f"{file} cannot be read: {error.strerror}") from error
        except SyntaxError as error:
            where = f", line {error.lineno}" if error.lineno else ""
            raise BadPlugin(f"{file}{where} is not Python: {error.msg}") from error
        except ValueError as error:
            raise BadPlugin(f"{file} is not Python: {error}") from error

    @property
    def doc(self) -> str:
        """The file's docstring, or nothing."""
        return ast.get_docstring(self.tree) or ""

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits that depend on the code alone, the same on every Python."""
        return hashlib.sha256(repr(_skeleton(self.tree)).encode()).hexdigest()[:12]

    def subclasses(self, base: str) -> list[str]:
        """The public classes of this file that derive from `base`, from near or far."""
        names = [node.name for node in self.tree.body if isinstance(node, ast.ClassDef)]
        return [name for name in names if name[0] != "_" and self._derives(name, base)]

    def defaults(self, class_name: str, base: str) -> dict[str, Any] | None:
        """The keyword-only options of a class of this file; None if only an import can tell."""
        source, args = self._constructor(class_name, base) or (self, None)
        return None if args is None else source._literals(args)

    def forms(self, class_name: str, base: str) -> dict[str, Form]:
        """What these options take, of those whose annotation says it (`bnas_bench.core.options`)."""
        source, args = self._constructor(class_name, base) or (self, None)
        options = args.kwonlyargs if args else []
        found = {arg.arg: form_written(arg.annotation, source._ranges) for arg in options}
        return {name: form for name, form in found.items() if form}

    def _constructor(self, class_name: str, base: str) -> tuple[Source, ast.arguments] | None:
        """The arguments of a class's constructor and where it is written; of `base` it has none."""
        source, node = self._class(class_name) or (self, None)
        if node is None or node.decorator_list:
            return None
        for item in node.body:
            if isinstance(item, ast.FunctionDef) and item.name == "__init__":
                return None if item.decorator_list else (source, item.args)
        match source._parents(node):
            case [parent]:
                return (
                    (source, NO_ARGUMENTS) if parent == base else source._constructor(parent, base)
                )
        return None

    @property
    def _ranges(self) -> dict[str, str]:
        """What this file imports from `bnas_bench.core.options`, by its names here."""
        return {
            alias.asname or alias.name: alias.name
            for node in self.tree.body
            if isinstance(node, ast.ImportFrom) and node.module == "bnas_bench.core.options"
            for alias in node.names
        }

    def _class(self, name: str) -> tuple[Source, ast.ClassDef] | None:
        """Where a class of this name is written: here, or in the file that it is imported from."""
        for node in self.tree.body:
            if isinstance(node, ast.ClassDef) and node.name == name:
                return self, node
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                for alias in node.names:
                    if name == (alias.asname or alias.name) and (file := locate(node.module)):
                        return Source.read(file)._class(alias.name)
        return None

    def _derives(self, name: str, base: str) -> bool:
        source, node = self._class(name) or (self, None)
        parents = source._parents(node) if node else []
        return base in parents or any(source._derives(parent, base) for parent in parents)

    def _parents(self, node: ast.ClassDef) -> list[str]:
        """The last names of a class's bases: `SearchStrategy` for `core.SearchStrategy`."""
        bases = [parent for parent in node.bases if isinstance(parent, ast.Name | ast.Attribute)]
        names = [parent.id if isinstance(parent, ast.Name) else parent.attr for parent in bases]
        return [name for name in names if name != node.name]

    def _literals(self, args: ast.arguments) -> dict[str, Any] | None:
        constants = {
            target.id: node.value
            for node in self.tree.body
            if isinstance(node, ast.Assign | ast.AnnAssign)
            for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
            if isinstance(target, ast.Name)
        }
        values = {}
        for arg, default in zip(args.kwonlyargs, args.kw_defaults, strict=True):
            if isinstance(default, ast.Name):
                default = constants.get(default.id)
            if default is None:
                return None
            try:
                values[arg.arg] = ast.literal_eval(default)
            except (ValueError, TypeError):
                return None
        return values


def locate(module: str) -> Path | None:
    """The Python file of a module, found without importing the packages that it lies in."""
    if module.startswith(
        ("bnas_bench.methods.", "bnas_bench.spaces.")
    ):  # their folder is theirs to say
        ours = importlib.util.find_spec(module)
        return Path(ours.origin) if ours and ours.origin else None
    top, *inner = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if not inner:
        origin = spec.origin or ""  # "frozen" for some of the standard library
        return Path(origin) if origin.endswith(".py") else None
    paths = [Path(folder, *inner) for folder in spec.submodule_search_locations or ()]
    files = [file for path in paths for file in (path.with_suffix(".py"), path / "__init__.py")]
    return next((file for file in files if file.is_file()), None)


def _skeleton(node: Any) -> Any:
    """The tree as nested lists, without positions, empty fields and texts that nothing reads.

    `ast.dump` would do, but Python 3.13 writes another form than 3.11.
    """
    if isinstance(node, ast.AST):
        fields = [(name, value) for name, value in ast.iter_fields(node) if value not in (None, [])]
        return [type(node).__name__, *((name, _skeleton(value)) for name, value in fields)]
    if isinstance(node, list):
        return [_skeleton(item) for item in node if not _is_bare_text(item)]
    return repr(node)


def _is_bare_text(node: Any) -> bool:
    match node:
        case ast.Expr(value=ast.Constant(value=str())):
            return True
    return False
