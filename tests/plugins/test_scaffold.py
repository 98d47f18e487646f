"""new-method: what it writes works as it stands."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bnas_bench.core.errors import BadValue
from bnas_bench.core.files import Unwritable
from bnas_bench.plugins.checks import cases
from bnas_bench.plugins.registry import find
from bnas_bench.plugins.scaffold import write_method

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "methods" / "_template.py"


def test_it_is_the_template_under_another_name(tmp_path: Path) -> None:
    files, spec = write_method("my-idea", tmp_path)
    assert files == [tmp_path / "my_idea.py"]
    assert spec == str(tmp_path / "my_idea.py")
    ours, theirs = (file.read_text().splitlines() for file in (files[0], TEMPLATE))
    assert [pair for pair in zip(ours, theirs, strict=True) if pair[0] != pair[1]] == [
        ('"""My Idea: one line on the idea.', '"""Template: one line on the idea.'),
        ("class MyIdea(SearchStrategy):", "class Template(SearchStrategy):"),
    ]
    plugin = find("method", spec)
    assert plugin.class_name == "MyIdea"
    assert plugin.defaults == {"lr": 0.0025, "weight_decay": 1e-05, "candidates": 4, "epochs": 50}


def test_it_passes_the_public_battery(tmp_path: Path) -> None:
    _, spec = write_method("mine", tmp_path)
    toy = find("space", str(ROOT / "tests" / "toys" / "space.py"))
    results = [case.run() for case in cases(find("method", spec), [toy])]
    assert [result for result in results if not result.passed] == []
    assert any(result.name.startswith("check_resumes[") for result in results)


@pytest.mark.slow
def test_in_a_clone_it_is_found_by_its_name_and_its_test_passes(tmp_path: Path) -> None:
    for folder in ("bnas_bench", "methods", "spaces"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "tests" / "methods").mkdir(parents=True)

    def python(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    main = ("-c", "from bnas_bench.cli import main; main()")
    out = python(*main, "new-method", "my-idea")
    assert f"wrote {tmp_path / 'methods' / 'my_idea.py'}" in out
    assert f"wrote {tmp_path / 'tests' / 'methods' / 'test_my_idea.py'}" in out
    assert "bnas-bench run --method my-idea " in out
    assert "my-idea-darts-binary-digits-quick-s0-" in python(
        *main, "run", "--method", "my-idea", "--seeds", "1", "--dry-run"
    )
    assert "1 passed" in python("-m", "pytest", "tests/methods/test_my_idea.py")


@pytest.mark.parametrize(
    "name",
    [
        *("", "My-Idea", "my_idea", "1st", "my--idea", "a/b", "../x", "mine.py"),
        *("class", "true", "١a", "ünique", "a" * 81, "a\n"),
    ],
)
def test_names_that_are_none(name: str, tmp_path: Path) -> None:
    with pytest.raises(BadValue, match="is no name for a method: write lower-case words"):
        write_method(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["random", "any", "architecture", "search-result"])
def test_names_that_are_taken(name: str, tmp_path: Path) -> None:
    with pytest.raises(BadValue, match=f"the name '{name}' is taken already"):
        write_method(name, tmp_path)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("precious")
    with pytest.raises(BadValue, match=r"mine\.py is there already"):
        write_method("mine", tmp_path)
    assert file.read_text() == "precious"


def test_a_folder_that_takes_no_files(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unwritable, match=r"cannot write .*mine\.py"):
        write_method("mine", tmp_path / "file")
