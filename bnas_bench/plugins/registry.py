"""Finds methods and spaces: files in `methods/` and `spaces/`, entry points, `path/to/file.py`.

Files are read, not run, so a listing or a plan knows every name, hyperparameter and default without
importing torch. Only a file whose class or defaults cannot be read that way is imported.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import EntryPoints, entry_points
from inspect import Parameter
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from bnas_bench.core.errors import BenchError, UnknownName
from bnas_bench.core.options import Form
from bnas_bench.plugins.source import BadPlugin, Source, locate
from bnas_bench.plugins.spec import resolve
from bnas_bench.search.space import SearchSpace
from bnas_bench.search.strategy import SearchStrategy, options_of

Kind = Literal["method", "space"]

PACKAGES: dict[Kind, str] = {"method": "bnas_bench.methods", "space": "bnas_bench.spaces"}
UNLISTED: Mapping[tuple[Kind, str], str] = {("method", "given"): "bnas_bench.methods._given"}
"""What can be named and stands in no list, with its module: it does not search."""

BASES: dict[Kind, type] = {"method": SearchStrategy, "space": SearchSpace}


@dataclass(frozen=True)
class Plugin:
    """A method or a space that can be named.

    Attributes:
        name: the file's name with dashes, the entry point's name, or `path/to/file.py:Class`.
        defaults: its hyperparameters.
        source: twelve hexadecimal digits of the file's code; comments, docstrings and formatting
            do not count.
        doc: the file's docstring.
        forms: what the hyperparameters take whose annotation says it (`bnas_bench.core.options`).
        module: what to import; None for a file that is given by its path.
    """

    kind: Kind
    name: str
    file: Path
    class_name: str
    defaults: dict[str, Any]
    source: str
    doc: str = ""
    module: str | None = None
    forms: Mapping[str, Form] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """The first line of the file's docstring."""
        return self.doc.partition("\n")[0]

    def load(self) -> type:
        """Import the class.

        Raises:
            BadPlugin: if the file cannot be imported, or its class is none of this kind.
        """
        cls = getattr(_import(self.file, self.module), self.class_name, None)
        if not (isinstance(cls, type) and issubclass(cls, BASES[self.kind])):
            base = BASES[self.kind].__name__
            raise BadPlugin(f"{self.file}: '{self.class_name}' is no subclass of {base}")
        return cls

    def resolve(self, options: Mapping[str, str]) -> dict[str, Any]:
        """All options, typed: the defaults, replaced by what was written.

        Raises:
            UnknownName: if there is no such option.
            BadValue: if a value is none that its option takes.
        """
        return resolve(options, self.defaults, self._what, self.forms)

    @property
    def _what(self) -> str:
        """What an option is called in errors."""
        return f"{'hyperparameter' if self.kind == 'method' else 'option'} of {self.name}"

    def make(self, options: Mapping[str, Any]) -> Any:
        """An instance with these options, checked; a space is told its name.

        Raises:
            BadPlugin: if its file cannot be used.
            UnknownName, BadValue: if an option is not as its annotation or the class wants it.
        """
        for name in options.keys() & self.forms.keys():
            self.forms[name].check(options[name], f"{self._what} '{name}'")
        instance = self.load()(**options)
        if self.kind == "space":
            instance.name = self.name
        else:
            instance.validate()
        return instance


@dataclass(frozen=True)
class _Place:
    """Where a plug-in stands: in a module, or in a file that no module names."""

    module: str | None = None
    path: Path | None = None
    class_name: str | None = None

    def __str__(self) -> str:
        return str(self.path or self.module)


_FILES: dict[tuple[Kind, str], Plugin] = {}
"""The files that a person has named to this process."""


def find(kind: Kind, name: str) -> Plugin:
    """The plug-in that a person names, who may also name one in a file: `path/to/file.py:Class`,
    where the class may be left out if it is the file's only one.

    A name that was read from a file goes to `known` instead.

    Raises:
        UnknownName: if nothing has that name.
        BadPlugin: if its file cannot be used.
    """
    if is_file(name):
        path, _, class_name = name.partition(":")
        plugin = _read(
            kind, name, _Place(path=Path(path).absolute(), class_name=class_name or None)
        )
        plugin = replace(plugin, name=f"{Path(path).as_posix()}:{plugin.class_name}")
        _FILES[kind, plugin.name] = plugin
        return plugin
    return known(kind, name)


def is_file(name: str) -> bool:
    """Whether a name is that of code in a file: `path/to/file.py:Class`."""
    return name.partition(":")[0].endswith(".py")


def known(kind: Kind, name: str) -> Plugin:
    """The plug-in that a record or an architecture names: one that is installed, or whose file a
    person has named to this process. No other file is opened, whatever the name says.

    Raises:
        UnknownName: if nothing has that name.
        BadPlugin: if the name is a file's that nobody has named.
    """
    if plugin := _FILES.get((kind, name)):
        return plugin
    if is_file(name):
        raise BadPlugin(
            f"{kind} '{name}' is code in a file, and nothing that came with results is run: name "
            f"the file yourself, with --{kind}, if you trust it"
        )
    if module := UNLISTED.get((kind, name)):
        return _read(kind, name, _Place(module))
    places = _places(kind)
    if name not in places:
        raise UnknownName(kind, name, places)
    return _read(kind, name, places[name])


def names(kind: Kind) -> list[str]:
    """Every name, sorted; no file is read."""
    return sorted(_places(kind))


def kinds_of(name: str) -> list[Kind]:
    """Whether a name, or the class in a file, is a method's, a space's, or, as `bars`, both.

    Raises:
        UnknownName: if nothing has that name.
        BadPlugin: if its file cannot be read.
    """
    path = name.partition(":")[0]
    if path.endswith(".py"):
        return ["space" if Source.read(Path(path)).subclasses("SearchSpace") else "method"]
    known = {kind: names(kind) for kind in PACKAGES}
    if kinds := [kind for kind in known if name in known[kind]]:
        return kinds
    raise UnknownName("method or space", name, [*known["method"], *known["space"]])


def discover(kind: Kind) -> dict[str, Plugin]:
    """Every plug-in that has a name, sorted by it.

    Raises:
        BadPlugin: if a file cannot be used, or two of them claim one name.
    """
    return {name: find(kind, name) for name in names(kind)}


def _places(kind: Kind) -> dict[str, _Place]:
    places: dict[str, _Place] = {}
    for name, place in (*_files(kind), *_entry_points(kind)):
        if places.setdefault(name, place) != place:
            raise BadPlugin(
                f"two {kind}s are called '{name}', {places[name]} and {place}: rename one"
            )
    return places


def _files(kind: Kind) -> Iterator[tuple[str, _Place]]:
    package = PACKAGES[kind]
    for folder in importlib.import_module(package).__path__:
        for file in sorted(Path(folder).glob("[!_]*.py")):
            yield file.stem.replace("_", "-"), _Place(f"{package}.{file.stem}", file)


def _entry_points(kind: Kind) -> Iterator[tuple[str, _Place]]:
    for point in announced(PACKAGES[kind]):
        yield point.name, _Place(point.module, class_name=point.attr or None)


@cache
def announced(group: str) -> EntryPoints:
    """What the installed packages announce, as they were when this process first asked."""
    return entry_points(group=group)


def _read(kind: Kind, name: str, place: _Place) -> Plugin:
    base = BASES[kind].__name__
    file = place.path or locate(place.module or "")
    if file is None:
        raise BadPlugin(
            f"{kind} '{name}' is announced in module '{place.module}', which is missing"
        )
    source = Source.read(file)
    class_name = place.class_name or _only(source.subclasses(base), file, base)
    defaults = source.defaults(class_name, base) if class_name else None
    if class_name is None or defaults is None:
        module = _import(file, place.module)
        class_name = class_name or _only(_subclasses(module, BASES[kind]), file, base)
        if class_name is None or not hasattr(module, class_name):
            wanted = f"class '{class_name}'" if class_name else f"public subclass of {base}"
            raise BadPlugin(f"{file} has no {wanted}")
        defaults = options_of(getattr(module, class_name))
    for option, default in defaults.items():
        if default is Parameter.empty:
            raise BadPlugin(f"{file}: option '{option}' of {class_name} needs a default")
    return Plugin(
        kind=kind,
        name=name,
        file=file,
        class_name=class_name,
        defaults=defaults,
        source=source.digest,
        doc=source.doc,
        module=place.module,
        forms=source.forms(class_name, base),
    )


def _only(names: list[str], file: Path, base: str) -> str | None:
    if len(names) > 1:
        raise BadPlugin(
            f"{file} has several subclasses of {base}: name one, as in {file}:{names[0]}"
        )
    return names[0] if names else None


def _subclasses(module: ModuleType, base: type) -> list[str]:
    return [
        name
        for name, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, base)
        and value.__module__ == module.__name__
        and not name.startswith("_")
    ]


def _import(file: Path, module: str | None) -> ModuleType:
    try:
        return importlib.import_module(module) if module else _import_path(file)
    except BenchError:
        raise
    except Exception as error:
        raise BadPlugin(f"{file} cannot be imported: {type(error).__name__}: {error}") from error


def _import_path(file: Path) -> ModuleType:
    """Import a file that no module names, once for each content it has had."""
    code = file.read_bytes()
    name = f"bnas_bench_file_{hashlib.sha256(bytes(file.resolve()) + code).hexdigest()[:12]}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, file)
        assert spec is not None
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        try:
            # Not exec_module, whose cached byte code may be a second older than the file.
            exec(compile(code, file, "exec"), vars(module))
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]
