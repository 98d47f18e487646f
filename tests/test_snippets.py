"""The examples of README and docs are true: Python runs, commands are those that there are, and what
is the same on every machine is printed as it stands there (`SNIPPETS=write pytest tests/test_snippets.py`
writes that anew).
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner

from bnas_bench.cli import main
from bnas_bench.cli.groups import GROUPS
from bnas_bench.packed.format.file import write
from tests.helpers.packed import GOOD

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
REPEATABLE = re.compile(r"bnas-bench (show|measure|datasets|audit|agreement|run .*--dry-run)\b")
"""Commands that print the same everywhere: they train nothing, and take no time of anything."""


def blocks(language: str) -> Iterator[tuple[str, str]]:
    """Fenced blocks with the place where they stand."""
    for page in PAGES:
        text = page.read_text()
        for fence in FENCE.finditer(text):
            if fence[1] == language:
                yield f"{page.name}:{text.count(chr(10), 0, fence.start()) + 1}", fence[2]


def transcripts() -> Iterator[tuple[str, str, str]]:
    """The place, the command and the output of all that is shown behind a `$`."""
    for place, block in blocks(""):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            yield place, command, output


def mentions() -> Iterator[tuple[str, str]]:
    """Commands in running text, as `bnas-bench list`, and those that are set in by four spaces."""
    for page in PAGES:
        text = page.read_text()
        inline = re.findall(r"`(bnas-bench \w[^`]*)`", text)
        for found in inline + re.findall(r"^    (bnas-bench \w(?:.*\\\n)*.*)$", text, re.MULTILINE):
            yield page.name, " ".join(found.replace("\\\n", " ").split())


def parsed(text: str) -> click.Command:
    """The command that a line names; UsageError if there is none, or an option that it does not have."""
    _, name, *arguments = shlex.split(text.partition(" > ")[0], comments=True)
    if name not in main.commands:
        raise click.UsageError(f"there is no command {name}")
    command = main.commands[name]
    context = main.make_context("bnas-bench", [], resilient_parsing=True)  # click keeps its -h
    command.make_parser(click.Context(command, parent=context)).parse_args(arguments)
    return command


@pytest.mark.parametrize(
    ("place", "code"),
    [
        pytest.param(*each, id=each[0], marks=[pytest.mark.slow] * ("bb.run" in each[1]))
        for each in blocks("python")
    ],
)
def test_python_runs(
    place: str, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what the text around it speaks of: a packed network, and images of its shape."""
    monkeypatch.chdir(tmp_path)
    write(GOOD, "net.bnn")
    names = {"images": np.zeros((2, *GOOD.shape), np.float32)}
    exec(compile(code, place, "exec"), names)
    if "logits" in code:
        assert names["logits"].shape[0] == 2


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tables").symlink_to(ROOT / "tables")
    cells = json.loads((ROOT / "docs" / "notebook.ipynb").read_text())["cells"]
    names: dict[str, Any] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
    assert len(names["frame"]) == 6
    assert (tmp_path / "reports" / "local" / "index.html").is_file()
    assert names["table"].definition.space == "bnas-201"


@pytest.mark.parametrize(
    ("place", "command"), [*mentions(), *((place, line) for place, line, _ in transcripts())]
)
def test_commands_are_those_that_there_are(place: str, command: str) -> None:
    try:
        parsed(command)
    except click.UsageError as error:
        pytest.fail(f"{place}: {command}: {error.format_message()}")


@pytest.mark.parametrize(
    ("command", "output"),
    [
        pytest.param(c, o, id=c, marks=[pytest.mark.slow] * (" audit" in c))
        for _, c, o in transcripts()
        if o and REPEATABLE.match(c)
    ],
)
def test_what_is_shown_is_what_is_printed(
    command: str, output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    here = command.replace("results/digits-quick/", f"{ROOT}/results/digits-quick/")
    printed = CliRunner().invoke(main, shlex.split(here)[1:], catch_exceptions=False)
    assert printed.exit_code == 0, printed.output
    # Word by word, because lines are as long as the terminal is wide.
    shown, words = output.split(), printed.stdout.split()
    if shown[0] == "...":
        shown = shown[1:]
        words = words[-len(shown) :]
    if words != shown and os.environ.get("SNIPPETS") == "write" and not output.startswith("..."):
        for page in PAGES:
            text = page.read_text()
            page.write_text(
                text.replace(f"$ {command}\n{output}", f"$ {command}\n{printed.stdout}")
            )
        return
    assert words == shown


def test_every_command_stands_in_a_group_with_an_example_of_it() -> None:
    known = {name: line for group in GROUPS.values() for name, line in group.items()}
    assert known.keys() == main.commands.keys()
    for name, line in known.items():
        assert parsed(line).name == name
        assert f"Example: {line}" in " ".join(
            CliRunner().invoke(main, [name, "--help"]).output.split()
        )
    listed = CliRunner().invoke(main, ["--help"]).output
    assert re.findall(r"^(\w+):$", listed, re.MULTILINE) == ["Options", *GROUPS]
    assert "..." not in listed.partition("Options:")[2]


def test_an_option_means_one_thing() -> None:
    """`-o` and `--out` name what a command writes, `--results` where results lie, and so on."""
    meant: dict[str, set[str]] = {}
    for command in main.commands.values():
        for option in command.params:
            for name in option.opts if isinstance(option, click.Option) else ():
                meant.setdefault(name, set()).add(str(option.name).removesuffix("s"))
    assert {name: what for name, what in meant.items() if len(what) > 1} == {}


def test_some_of_each_are_found() -> None:
    assert len(list(blocks("python"))) >= 1
    assert sum(bool(REPEATABLE.match(command)) for _, command, _ in transcripts()) >= 5
    assert len(set(mentions())) > 10
    with pytest.raises(click.UsageError):
        parsed("bnas-bench run --no-such-option")
    with pytest.raises(click.UsageError):
        parsed("bnas-bench no-such-command")
