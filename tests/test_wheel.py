"""The wheel beside packages that are called `methods` and `spaces`, used from another folder."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from bnas_bench.plugins.registry import names

ROOT = Path(__file__).parents[1]
FOREIGN = {
    "methods/__init__.py": "",
    "methods/random.py": "raise AssertionError('the wrong methods')",
    "methods/train.py": "NAME = 'theirs'",
    "spaces/__init__.py": "NAME = 'the well-known package spaces'",
}


def run(*arguments: str | Path, where: Path, **environment: str) -> str:
    found = subprocess.run(
        [str(argument) for argument in arguments],
        capture_output=True,
        text=True,
        cwd=where,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | environment,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    return found.stdout


def write(files: dict[str, str], folder: Path) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation")
    run(*pip, "--wheel-dir", folder, ROOT, where=folder)
    (file,) = folder.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of an environment that has the wheel, and foreign packages before it."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    (site,) = folder.glob("lib/python*/site-packages")
    write(FOREIGN, site)
    (site / "theirs.pth").write_text("\n".join(path for path in sys.path if "site-pack" in path))
    target = ("--target", site, "--no-deps", "--quiet", "--no-compile")
    run(sys.executable, "-m", "pip", "install", *target, wheel, where=folder)
    return folder / "bin"


def test_a_wheel_has_one_top_level_name(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"bnas_bench"}
    assert "bnas_bench/py.typed" in names
    scripts = {"LICENSE.txt", "d3.min.js", "plot.umd.min.js"}
    assert {f"bnas_bench/report/vendor/{name}" for name in scripts} < set(names)
    for kind in ("methods", "spaces"):
        ours = {file.name for file in (ROOT / kind).glob("*.py")} | {"__init__.py"}
        parts = [name.split("/") for name in names]
        assert {part[2] for part in parts if part[:2] == ["bnas_bench", kind]} == ours


def test_foreign_methods_and_spaces_break_nothing_and_are_not_broken(
    installed: Path, tmp_path: Path
) -> None:
    write(FOREIGN, tmp_path)
    write({"main.py": "from methods.train import NAME; print(NAME)"}, tmp_path)
    python = installed / "python"
    main = "import bnas_bench; from bnas_bench.cli import main; print(bnas_bench.__file__); main()"
    plan = ("run", "--method", "all", "--space", "all", "--budget", "smoke", "--seeds", "1")
    for path in ({}, {"PYTHONPATH": "."}):
        where, *lines = run(
            python, "-c", main, *plan, "--dry-run", where=tmp_path, **path
        ).splitlines()
        assert Path(where).is_relative_to(installed.parent)
        *lines, _ = lines  # how long it takes
        assert len(lines) == len(names("method")) * len(names("space"))
        assert all(line.endswith(": to run") for line in lines)
        assert run(python, "main.py", where=tmp_path, **path) == "theirs\n"
    assert "bnas_bench/methods/darts.py" in run(
        python, "-c", main, "methods", "darts", where=tmp_path
    )


@pytest.mark.slow
def test_an_installed_demo_ends_with_its_page(installed: Path, tmp_path: Path) -> None:
    main = "from bnas_bench.cli import main; main()"
    plan = ("demo", "--budget", "smoke", "--seeds", "1")
    printed = run(installed / "python", "-c", main, *plan, where=tmp_path)
    assert "random   1" in printed
    assert "dcpnas   1" in printed
    assert "<html" in (tmp_path / printed.split()[-1]).read_text("utf-8")


def test_foreign_methods_and_spaces_break_nothing_in_a_checkout(tmp_path: Path) -> None:
    write(FOREIGN, tmp_path)
    plan = ("run", "--method", "random", "--budget", "smoke", "--seeds", "1", "--dry-run")
    main = "from bnas_bench.cli import main; main()"
    assert "to run" in run(sys.executable, "-c", main, *plan, where=tmp_path, PYTHONPATH=".")
