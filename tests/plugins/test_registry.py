"""The registry: reading a file must tell what importing it would."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from textwrap import dedent

import pytest

from bnas_bench.core.errors import UnknownName
from bnas_bench.plugins import registry
from bnas_bench.plugins.registry import Kind, Plugin, discover, find, kinds_of
from bnas_bench.plugins.source import BadPlugin, Source
from bnas_bench.search.strategy import SearchStrategy, options_of

MINE = '''
"""Mine: a title.

More words.
"""
from bnas_bench.search.strategy import SearchStrategy

RATE = 0.25

class _Base(SearchStrategy):
    def __init__(self, *, rate=RATE, ops=("a", -1), off=None, big=1_000, name: str = "x") -> None:
        self.rate = rate

class Mine(_Base):
    """A docstring."""
    def search(self, space, task, meter, rng):
        return 1  # a comment
'''

FIELDS = """
from dataclasses import dataclass, field
from typing import ClassVar

from bnas_bench.core.options import Count
from bnas_bench.search.strategy import SearchStrategy

RATE = 0.25

@dataclass(kw_only=True)
class _Rates:
    rate: float = RATE
    big: Count = 3

@dataclass(kw_only=True)
class _Names:
    name: str = "x"
    big: int = 4

class _Base(_Rates, _Names, SearchStrategy): ...

@dataclass(kw_only=True)
class Mine(_Base):
    kind: ClassVar[str] = "none"
    ops: tuple = ("a", -1)
    off: int | None = None
    big: Count = 1000
    def search(self, space, task, meter, rng): ...
"""

DEFAULTS = {"rate": 0.25, "ops": ("a", -1), "off": None, "big": 1000, "name": "x"}

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_file(text: str) -> Path:
        file = tmp_path / "mine.py"
        file.write_text(dedent(text))
        return file

    return write_file


ALL = [(kind, name) for kind in ("method", "space") for name in discover(kind)]


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_defaults_are_those_of_the_class(kind: Kind, name: str) -> None:
    plugin = find(kind, name)
    cls = plugin.load()
    assert plugin.defaults == options_of(cls)
    for option, default in options_of(cls).items():
        assert type(plugin.defaults[option]) is type(default)
    assert cls.__module__ == f"{registry.PACKAGES[kind]}.{name.replace('-', '_')}"
    assert plugin.summary, f"{plugin.file} opens with a line that says what it is"


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_make_stores_the_options_and_names_a_space(kind: Kind, name: str) -> None:
    plugin = find(kind, name)
    instance = plugin.make(plugin.defaults)
    assert {key: getattr(instance, key) for key in plugin.defaults} == plugin.defaults
    assert getattr(instance, "name", name) == name


def test_the_repositorys_plugins_are_known_without_torch() -> None:
    code = """if True:
        import sys
        from bnas_bench.plugins.registry import discover
        print(*discover("method"), *discover("space"), "torch" in sys.modules)
    """
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == [name for _, name in ALL] + ["False"]


def test_a_file_is_read_without_running_it(write: Write) -> None:
    file = write(MINE + "\nraise RuntimeError('imported')\n")
    plugin = find("method", str(file))
    assert plugin.name == f"{file}:Mine"
    assert plugin.class_name == "Mine"
    assert plugin.defaults == DEFAULTS
    assert plugin.doc == "Mine: a title.\n\nMore words."
    assert plugin.summary == "Mine: a title."
    assert find("method", f"{file}:Mine") == plugin
    with pytest.raises(BadPlugin, match=r"mine\.py cannot be imported: RuntimeError: imported"):
        plugin.load()


def test_the_fields_of_dataclasses_are_read_without_running_them(write: Write) -> None:
    plugin = find("method", str(write(FIELDS + "\nraise RuntimeError('imported')\n")))
    assert plugin.defaults == DEFAULTS
    assert list(plugin.defaults) == ["ops", "off", "big", "name", "rate"]  # its own come first
    assert set(plugin.forms) == {"off", "big", "name", "rate"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    big: Count = 1000\n", ""),  # then the first base's counts
        ("class _Base(_Rates, _Names,", "class _Base(_Names, _Rates,"),
        ("@dataclass(kw_only=True)\nclass Mine", "class Mine"),
        ("@dataclass(kw_only=True)\nclass Mine", "@dataclass\nclass Mine"),
        (
            "@dataclass(kw_only=True)\nclass Mine",
            "@dataclass(kw_only=True, init=False)\nclass Mine",
        ),
        (
            "@dataclass(kw_only=True)\nclass _Rates",
            "@dataclass(frozen=False, kw_only=True)\nclass _Rates",
        ),
        ("    kind:", "    def __init__(self, *, rate=3): ...\n    kind:"),
        (
            "class _Base(_Rates, _Names, SearchStrategy): ...",
            MINE.replace("class Mine", "class _Base"),
        ),
    ],
)
def test_a_dataclass_reads_as_it_is_built(write: Write, old: str, new: str) -> None:
    assert old in FIELDS
    plugin = find("method", f"{write(FIELDS.replace(old, new))}:Mine")
    assert plugin.defaults == options_of(plugin.load())


def test_a_path_is_named_in_one_way(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write(MINE).parent)
    assert find("method", "./mine.py").name == find("method", "mine.py:Mine").name == "mine.py:Mine"


def test_an_edited_file_is_loaded_anew(write: Write) -> None:
    first = find("method", str(write(MINE))).load()
    assert find("method", str(write(MINE))).load() is first
    edited = find("method", str(write(MINE.replace("0.25", "0.75")))).load()
    assert (options_of(first)["rate"], options_of(edited)["rate"]) == (0.25, 0.75)


@pytest.mark.parametrize(
    "text",
    [
        MINE.replace("RATE = 0.25", "RATE = 1 / 4"),
        MINE.replace("RATE = 0.25", "from math import pi as RATE").replace(
            "rate=RATE", "rate=RATE/RATE/4"
        ),
        MINE.replace("rate=RATE", "rate=(lambda: 0.25)()"),
        FIELDS.replace("rate: float = RATE", "rate: float = field(default=RATE)"),
        FIELDS.replace("rate: float = RATE", "rate: float = 1 / 4"),
    ],
)
def test_defaults_that_reading_cannot_tell_are_imported(write: Write, text: str) -> None:
    assert find("method", str(write(text))).defaults == DEFAULTS


def test_a_base_class_is_followed_into_its_file(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(MINE).parent
    (folder / "pack").mkdir()
    (folder / "pack" / "__init__.py").write_text("raise RuntimeError('imported')")
    (folder / "pack" / "base.py").write_text(MINE)
    monkeypatch.syspath_prepend(folder)
    file = write("from pack.base import Mine as Theirs\nclass Ours(Theirs): ...")
    plugin = find("method", str(file))
    assert (plugin.class_name, plugin.defaults) == ("Ours", DEFAULTS)


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        (None, "", "cannot be read: No such file or directory"),
        ("class Mine(:", "", "mine.py, line 1 is not Python: invalid syntax"),
        ("x = 1\0", "", "mine.py is not Python: source code"),
        ("class Mine: ...", "", "mine.py has no public subclass of SearchStrategy"),
        (MINE, ":Yours", "mine.py has no class 'Yours'"),
        (
            MINE + "class Two(Mine): ...",
            "",
            "several subclasses of SearchStrategy: name one, as in",
        ),
        (MINE.replace("off=None", "off"), "", "option 'off' of Mine needs a default"),
        ("import no_such_module", "", "cannot be imported: ModuleNotFoundError: No module named"),
    ],
)
def test_files_that_are_no_plugin(write: Write, text: str | None, name: str, message: str) -> None:
    file = Path("/nowhere/mine.py") if text is None else write(text)
    with pytest.raises(BadPlugin) as error:
        find("method", f"{file}{name}")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_class_of_another_kind_is_refused_when_loaded(write: Write) -> None:
    file = write("class Mine:\n    def __init__(self, *, a=1): ...")
    with pytest.raises(BadPlugin, match=r"'Mine' is no subclass of SearchStrategy"):
        find("method", f"{file}:Mine").load()


def digest(text: str) -> str:
    file = Path("x.py")
    return Source(file, ast.parse(dedent(text))).digest


def test_the_digest_is_of_the_code_alone() -> None:
    reformatted = MINE.replace("Mine: a title", "Other").replace("  # a comment", "\n\n# more")
    reformatted = reformatted.replace('"""A docstring."""', '"""Another one,\n    longer."""')
    reformatted = reformatted.replace('("a", -1)', "(\n'a',\n-1,\n)").replace("1_000", "1000")
    assert reformatted != MINE
    assert digest(reformatted) == digest(MINE)


@pytest.mark.parametrize(
    ("old", "new"),
    [("0.25", "0.26"), ("return 1", "return 1.0"), ("return 1", "return None"), ("rng", "rngs")],
)
def test_the_digest_sees_every_change_of_code(old: str, new: str) -> None:
    assert digest(MINE.replace(old, new)) != digest(MINE)


def test_the_digest_is_pinned() -> None:
    # It enters the trials' ids: another value would run all finished trials again.
    assert digest("x: int = f(1, *a)[2:]\nclass A(B):\n    '''doc'''\n") == "1aeaea46faa9"


def test_unknown_names_list_the_nearest() -> None:
    known = discover("space")
    with pytest.raises(
        UnknownName, match="unknown space 'darts-binari'; did you mean darts-binary"
    ):
        find("space", "darts-binari")
    assert "darts-binary" in known


def test_the_kind_of_a_name(write: Write) -> None:
    assert kinds_of("darts-binary") == ["space"]
    assert kinds_of("random") == ["method"]
    assert kinds_of("bars") == ["method", "space"]
    assert kinds_of(f"{write(MINE)}:Mine") == ["method"]
    assert kinds_of(str(write(MINE.replace("SearchStrategy", "SearchSpace")))) == ["space"]
    with pytest.raises(UnknownName, match="unknown method or space 'randon'; did you mean random"):
        kinds_of("randon")


@dataclass
class Installed:
    """Entry points as an installed package would announce them."""

    points: list[EntryPoint]

    def __call__(self, group: str) -> list[EntryPoint]:
        return [point for point in self.points if point.group == group]


def announce(monkeypatch: pytest.MonkeyPatch, *points: tuple[str, str]) -> None:
    group = "bnas_bench.methods"
    installed = Installed([EntryPoint(name, value, group) for name, value in points])
    monkeypatch.setattr(registry, "announced", installed)


def test_entry_points_are_found(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(write(MINE).parent)
    announce(monkeypatch, ("theirs", "mine:Mine"), ("gone", "no_such_module:X"))
    plugin = find("method", "theirs")
    assert (plugin.name, plugin.module, plugin.defaults) == ("theirs", "mine", DEFAULTS)
    assert issubclass(plugin.load(), SearchStrategy)
    assert plugin.load().__module__ == "mine"
    del sys.modules["mine"]
    with pytest.raises(BadPlugin, match="'gone' is announced in module 'no_such_module'"):
        find("method", "gone")


def test_two_plugins_of_one_name_raise(monkeypatch: pytest.MonkeyPatch) -> None:
    announce(monkeypatch, ("theirs", "mine:Mine"), ("theirs", "other:Mine"))
    with pytest.raises(
        BadPlugin, match="two methods are called 'theirs', mine and other: rename one"
    ):
        find("method", "anything")


def test_a_plugins_fields(write: Write) -> None:
    plugin: Plugin = find("method", str(write(MINE)))
    assert plugin.kind == "method"
    assert len(plugin.source) == 12
    assert plugin.module is None
