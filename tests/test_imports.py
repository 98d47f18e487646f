"""The map of DESIGN.md, enforced: who imports whom, and what nobody may call."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("bnas_bench", "methods", "spaces")
FILES = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))

ROOMS = (
    *("core", "data", "nn", "packed", "cost", "search", "plugins", "tables", "transfer", "runs"),
    *("analysis", "report", "papers", "api", "cli"),
)
"""From the ground up: nothing in a room imports from a later one, not even for a type; `api` is a file."""

INSTANT = (
    *(
        "core.architecture",
        "core.budgets",
        "core.errors",
        "core.files",
        "data.names",
        "plugins.spec",
    ),
    *(
        "plugins.source",
        "plugins.registry",
        "runs.store",
        "runs.grid",
        "search.strategy",
        "api",
        "cli",
    ),
)
"""What answers at once: it imports neither torch nor anything else that is slow."""

LAWFUL_RANDOM = {
    "bnas_bench/nn/network.py": "initialised_by forks torch's global generator and puts it back",
    "bnas_bench/plugins/checks/contract.py": "watches the global generators",
    "bnas_bench/search/untouched.py": "puts the global generators back after a search",
}
OWN_GENERATORS = {"Generator", "default_rng", "BitGenerator", "PCG64", "RandomState"}
DRAWS = {
    *("rand", "randn", "randint", "randperm", "rand_like", "randn_like", "randint_like"),
    *("bernoulli", "multinomial", "normal", "poisson", "gumbel_softmax", "dropout", "Dropout"),
    *("normal_", "uniform_", "random_", "bernoulli_", "exponential_"),
}
"""What draws from torch's global generator, unless it is given another."""


def module_name(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    if parts[0] != "bnas_bench":
        parts = ("bnas_bench", *parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_bytes())


def imported(file: Path) -> Iterator[tuple[str, str]]:
    """(local name, dotted name) of everything that a file imports, wherever in it."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                yield (alias.asname, alias.name) if alias.asname else (top, alias.name)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}: imports here are absolute"
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def uses(file: Path) -> Iterator[tuple[str, ast.AST]]:
    """Every name that is used, as it was imported: `np.random.rand` is `numpy.random.rand`."""
    known = {
        local: local if name.startswith(f"{local}.") else name for local, name in imported(file)
    }

    def dotted(node: ast.AST) -> str:
        match node:
            case ast.Name(id=name):
                return known.get(name, "")
            case ast.Attribute(value=value, attr=attr):
                return f"{head}.{attr}" if (head := dotted(value)) else ""
        return ""

    for node in ast.walk(tree(file)):
        if name := dotted(node):
            yield name, node


@cache
def graph() -> dict[str, set[str]]:
    """Which of the repository's modules each of them imports."""
    modules = {module_name(file) for file in FILES}

    def target(name: str) -> str:
        return name if name in modules else name.rpartition(".")[0]

    return {
        module_name(file): {target(name) for _, name in imported(file)} & modules for file in FILES
    }


def reachable(start: str) -> set[str]:
    found, todo = set(), [start]
    while todo:
        for module in graph()[todo.pop()] - found:
            found.add(module)
            todo.append(module)
    return found


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def test_the_rooms_are_those_of_the_map() -> None:
    folders = {path.name for path in (ROOT / "bnas_bench").iterdir() if path.is_dir()}
    assert folders - {"__pycache__"} == {*ROOMS, "methods", "spaces"} - {"api"}


@pytest.mark.parametrize("name", ROOMS)
def test_imports_run_downwards(name: str) -> None:
    allowed = {"", *ROOMS[: ROOMS.index(name) + 1]}
    for module, others in graph().items():
        if room(module) == name:
            upwards = [other for other in others if room(other) not in allowed]
            assert not upwards, f"{module} reaches up to {upwards}"


def test_no_module_imports_itself_in_a_circle() -> None:
    circles = [module for module in graph() if module in reachable(module)]
    assert not circles


def test_methods_and_spaces_import_what_lies_below_plugins_alone() -> None:
    allowed = {"", *ROOMS[: ROOMS.index("plugins")]}
    for module, others in graph().items():
        if room(module) in ("methods", "spaces"):
            assert {room(other) for other in others} <= allowed, (module, others)


def test_click_and_rich_live_in_the_command_line_alone() -> None:
    for file in FILES:
        if room(module_name(file)) != "cli":
            tops = {name.partition(".")[0] for _, name in imported(file)}
            assert not tops & {"click", "rich"}, file


def test_what_answers_at_once_imports_no_torch() -> None:
    modules = ", ".join(f"bnas_bench.{name}" for name in INSTANT)
    slow = ("torch", "rich", "scipy", "pandas")
    code = f"import sys, {modules}; print([m for m in {slow} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "[]\n"


def test_nothing_is_ever_unpickled() -> None:
    pickles = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
    for file in FILES:
        tops = {name.partition(".")[0] for _, name in imported(file)}
        assert not tops & pickles, file
        for name, node in uses(file):
            assert name not in ("torch.load", "pandas.read_pickle"), f"{file}:{node.lineno}"
        for node in ast.walk(tree(file)):
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                assert ast.unparse(node.value) == "False", file


@pytest.mark.parametrize("file", FILES, ids=module_name)
def test_no_global_generator_is_read_or_written(file: Path) -> None:
    if file.relative_to(ROOT).as_posix() in LAWFUL_RANDOM:
        return
    faults = [f"{file}:{line} {what}" for line, what in random_faults(file)]
    assert not faults


def random_faults(file: Path) -> Iterator[tuple[int, str]]:
    names = {id(node): name for name, node in uses(file)}
    if "random" in {name for _, name in imported(file)}:
        yield 1, "imports random"
    for node in ast.walk(tree(file)):
        head, _, last = names.get(id(node), "").rpartition(".")
        if head == "numpy.random" and last not in OWN_GENERATORS:
            yield node.lineno, f"numpy.random.{last}"
        if head.startswith("torch") and ("seed" in last or head == "torch.random"):
            yield node.lineno, f"{head}.{last}"
        if not isinstance(node, ast.Call):
            continue
        name = names.get(id(node.func), "")
        last = name.rpartition(".")[2] or getattr(node.func, "attr", "")
        if name in ("numpy.random.default_rng", "numpy.random.RandomState"):
            if not (node.args or node.keywords):
                yield node.lineno, f"{name} without a seed"
        elif (
            last in DRAWS
            and (name.startswith("torch") or last.endswith("_"))
            and not name.startswith("torch.nn.init")
            and "generator" not in {keyword.arg for keyword in node.keywords}
        ):
            yield node.lineno, f"{last} without a generator"


def test_the_rules_see_what_they_forbid(tmp_path: Path) -> None:
    file = tmp_path / "bad.py"
    file.write_text(
        "import numpy as np, torch.nn.functional as F, random\n"
        "from torch import manual_seed as seed, rand, nn\n"
        "np.random.rand(3)\n"
        "seed(0)\n"
        "rand(2)\n"
        "F.gumbel_softmax(1)\n"
        "np.random.default_rng()\n"
        "x.normal_()\n"
        "x.normal_(generator=g), rng.normal(), np.random.default_rng(0), nn.init.normal_(x)\n"
    )
    assert sorted(random_faults(file)) == [
        (1, "imports random"),
        (3, "numpy.random.rand"),
        (4, "torch.manual_seed"),
        (5, "rand without a generator"),
        (6, "gumbel_softmax without a generator"),
        (7, "numpy.random.default_rng without a seed"),
        (8, "normal_ without a generator"),
    ]
