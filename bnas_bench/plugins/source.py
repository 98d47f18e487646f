"""What a plug-in's file says about itself, read from its syntax tree: nothing is run."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from bnas_bench.core.errors import BenchError
from bnas_bench.core.options import Form, form_written


class BadPlugin(BenchError):
    """A plug-in's file that cannot be used, or a name that two of them claim."""


READERS = ("analysis", "api.py", "cli", "methods", "papers", "report", "spaces")
"""Parts of `bnas_bench` that no trial's numbers can follow from."""


@cache
def harness_digest() -> str:
    """Changes with the code that every trial runs: all of `bnas_bench` but what reads its records,
    and methods and spaces, which have digests of their own."""
    root = Path(__file__).parents[1]
    return _digest(
        root,
        (path for path in root.rglob("*.py") if path.relative_to(root).parts[0] not in READERS),
    )


@cache
def engine_digest() -> str:
    """Changes with the code of the packed engine, and so with how long a network takes in it."""
    root = Path(__file__).parents[1] / "packed"
    return _digest(root, root.rglob("*.py"))


def _digest(root: Path, files: Iterable[Path]) -> str:
    total = hashlib.sha256()
    for path in sorted(files):
        total.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return total.hexdigest()[:12]


@dataclass(frozen=True)
class Source:
    """A Python file, parsed."""

    file: Path
    tree: ast.Module

    @classmethod
    def read(cls, file: Path) -> Source:
        """Parse a file, once for each content it has had.

        Raises:
            BadPlugin: if there is no such file, or it is no Python.
        """
        try:
            return _parsed(file, file.read_bytes())
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

    @cached_property
    def digest(self) -> str:
        """Twelve hexadecimal digits that depend on the code alone, the same on every Python."""
        return hashlib.sha256(repr(_skeleton(self.tree)).encode()).hexdigest()[:12]

    def imports(self) -> list[str]:
        """The full names of what this file imports, wherever it does, but for the type checker alone."""
        found = []
        todo: list[ast.AST] = [self.tree]
        while todo:
            node = todo.pop()
            match node:
                case ast.If(test=ast.Name(id="TYPE_CHECKING"), orelse=rest):
                    todo += rest
                    continue
                case ast.Import(names=names):
                    found += [alias.name for alias in names]
                case ast.ImportFrom(module=str(module), names=names, level=0):
                    found += [f"{module}.{alias.name}" for alias in names]
            todo += ast.iter_child_nodes(node)
        return sorted(found)

    def subclasses(self, base: str) -> list[str]:
        """The public classes of this file that derive from `base`, from near or far."""
        names = [node.name for node in self.tree.body if isinstance(node, ast.ClassDef)]
        return [name for name in names if name[0] != "_" and self._derives(name, base)]

    def defaults(self, class_name: str, base: str) -> dict[str, Any] | None:
        """The keyword-only options of a class of this file; None if only an import can tell."""
        options = self._options(class_name, base)
        try:
            return None if options is None else {name: o.default() for name, o in options.items()}
        except (ValueError, TypeError):
            return None

    def forms(self, class_name: str, base: str) -> dict[str, Form]:
        """What these options take, of those whose annotation says it (`bnas_bench.core.options`)."""
        options = self._options(class_name, base) or {}
        return {name: form for name, option in options.items() if (form := option.form())}

    def docs(self, class_name: str, base: str) -> list[str]:
        """The docstrings of a class and of those that it derives from, up to `base`, the nearest first."""
        if class_name == base or (found := self._class(class_name)) is None:
            return []
        source, node = found
        above = [doc for parent in source._parents(node) for doc in source.docs(parent, base)]
        return [ast.get_docstring(node) or "", *above]

    def _options(self, class_name: str, base: str) -> dict[str, _Option] | None:
        """Of a class's constructor, wherever that is written; `base` itself has none."""
        if class_name == base:
            return {}
        source, node = self._class(class_name) or (self, None)
        if node is None or (node.decorator_list and not _is_dataclass(node)):
            return None
        for item in node.body:
            if isinstance(item, ast.FunctionDef) and item.name == "__init__":
                return None if item.decorator_list else source._arguments(item.args)
        if node.decorator_list:
            return source._fields(node, base)
        match source._parents(node):
            case [parent]:
                return source._options(parent, base)
        return None

    def _arguments(self, args: ast.arguments) -> dict[str, _Option]:
        pairs = zip(args.kwonlyargs, args.kw_defaults, strict=True)
        return {arg.arg: _Option(self, arg.annotation, default) for arg, default in pairs}

    def _fields(self, node: ast.ClassDef, base: str) -> dict[str, _Option] | None:
        """Of a dataclass: first its own, then what it inherits from other dataclasses."""
        own: dict[str, _Option] = {}
        if node.decorator_list:
            if not _is_dataclass(node):
                return None
            for item in node.body:
                match item:
                    case ast.AnnAssign(target=ast.Name(id=name), annotation=hint, value=value):
                        if "ClassVar" not in ast.unparse(hint):
                            own[name] = _Option(self, hint, value)
        inherited: dict[str, _Option] = {}
        for parent in reversed(self._parents(node)):  # of two that say the same, the first counts
            if parent == base:
                continue
            source, above = self._class(parent) or (self, None)
            fields = source._fields(above, base) if above else None
            if fields is None:
                return None
            inherited |= fields
        return own | {name: field for name, field in inherited.items() if name not in own}

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

    @cached_property
    def _constants(self) -> dict[str, ast.expr | None]:
        return {
            target.id: node.value
            for node in self.tree.body
            if isinstance(node, ast.Assign | ast.AnnAssign)
            for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
            if isinstance(target, ast.Name)
        }


@dataclass(frozen=True)
class _Option:
    """An option as it is written in a file."""

    source: Source
    annotation: ast.expr | None
    written: ast.expr | None

    def form(self) -> Form | None:
        return form_written(self.annotation, self.source._ranges)

    def default(self) -> Any:
        """The value that is written out, here or as a constant of the file.

        Raises:
            ValueError, TypeError: if there is none.
        """
        value = self.written
        if isinstance(value, ast.Name):
            value = self.source._constants.get(value.id)
        if value is None:
            raise ValueError
        return ast.literal_eval(value)


@cache
def _parsed(file: Path, content: bytes) -> Source:
    return Source(file, ast.parse(content, file.name))


def _is_dataclass(node: ast.ClassDef) -> bool:
    """Whether it is decorated with `@dataclass(kw_only=True)`, perhaps frozen, and no more."""
    match node.decorator_list:
        case [
            ast.Call(
                func=ast.Name(id="dataclass") | ast.Attribute(attr="dataclass"), keywords=keywords
            )
        ]:
            said = {word.arg: ast.unparse(word.value) for word in keywords}
            return said.get("kw_only") == "True" and "init" not in said
    return False


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
