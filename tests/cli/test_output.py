"""What the commands print to: encodings with few signs, closed, full and broken streams."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from bnas_bench.cli import main
from bnas_bench.cli.headings import HEADINGS
from bnas_bench.cli.streams import LOST, UNREAD, Output, spelt
from tests.helpers.cli import fail

COMMAND = "import sys; from bnas_bench.cli import main; main()"
RESULTS = Path(__file__).parents[2] / "results"
COMMANDS = [
    "list",
    "audit dcp-nas/table-4",
    "audit dcp-nas/table-4 --csv",
    "papers dcp-nas/table-4",
    "audit dcp-nas/table-4 --markdown",
    "papers",
    "papers --markdown",
    "papers dcp-nas/table-4 --markdown",
    "methods dcpnas",
    "spaces darts-binary",
    f"table digits-quick --results {RESULTS}",
    f"table digits-quick --results {RESULTS} --json",
    f"status digits-quick --results {RESULTS}",
    "measure --space handcrafted reactnet-a --layers",
    "run --method random --dry-run",
    "--help",
]


@pytest.mark.parametrize(
    ("text", "encoding", "printed"),
    [
        ("96.4 ± 1.9", "ascii", "96.4 +/- 1.9"),
        ("96.4 ± 1.9", "latin-1", "96.4 ± 1.9"),
        ("1×1 → λ=0, Δμ ≥ β…", "ascii", "1x1 -> lambda=0, Deltamu >= beta..."),
        ("“naïve” Łukasz", "cp1252", "“naïve” Lukasz"),
        ("┌─┬┐│", "ascii", "+-++|"),
        ("é ³ ﬁ \N{NO-BREAK SPACE}", "ascii", "e 3 fi  "),
        ("漢 \udcff", "ascii", "? ?"),
        ("漢 \udcff", "utf-8", "漢 ?"),
    ],
)
def test_signs_are_spelt_in_those_that_the_encoding_has(
    text: str, encoding: str, printed: str
) -> None:
    assert spelt(text, encoding) == printed


@pytest.mark.sample(5)
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_prints_in_ascii(command: str) -> None:
    result = CliRunner(charset="ascii").invoke(main, command.split(), catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    assert result.stdout_bytes.isascii()
    assert "?" not in result.stdout.replace("did you mean", "")


def test_columns_stay_aligned_where_a_sign_is_spelt_out() -> None:
    command = ["table", "digits-quick", "--results", str(RESULTS)]
    printed = CliRunner(charset="ascii").invoke(main, command).stdout
    rows = [line for line in printed.splitlines() if line.startswith(("+", "|"))]
    assert sum("+/-" in row for row in rows) > 5
    assert len({len(row.rstrip()) for row in rows}) == 1
    assert len({row.rindex("|") for row in rows if row.startswith("|")}) == 1


def on_a_terminal(monkeypatch: pytest.MonkeyPatch, width: int, *command: str) -> list[str]:
    """What a command prints on a terminal of that width, without its colours."""
    monkeypatch.setattr(Output, "isatty", lambda _: True)
    monkeypatch.setenv("COLUMNS", str(width))
    result = CliRunner().invoke(main, [*command, "--results", str(RESULTS)], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return click.unstyle(result.stdout).splitlines()


@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_no_number_is_cut_and_no_line_is_too_long(
    monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    lines = on_a_terminal(monkeypatch, width, "table", "digits-quick")
    assert max(map(len, lines)) <= width
    (row,) = [line.replace(" (1)", "") for line in lines if line.split()[:2] == ["dcpnas", "5"]]
    whole = "dcpnas 5 93.06 ± 3.00 0.435 0.08 279.0 30.0 2.18 28,448 43.1 29,952"
    assert whole.startswith(" ".join(row.split()))
    shown = {40: 4, 80: 8, 120: 11, 200: 11}[width]
    assert len(row.split()) == shown + 2
    rest = " ".join(lines).partition("--wide (")[2].partition(")\n")[0]
    assert ("memory KiB" in rest) == (shown < 10)


def test_columns_are_chosen_and_rows_sorted(monkeypatch: pytest.MonkeyPatch) -> None:
    options = ("--columns", "method,passes,parameters", "--sort")
    lines = on_a_terminal(monkeypatch, 80, "table", "digits-quick", *options, "parameters")
    rows = [words for line in lines if len(words := line.split()) == 3 and "," in words[1]]
    assert rows[0] == ["dcpnas", "29,952", "28,448"]
    assert rows[-1] == ["nasbnn", "29,104", "64,659"]
    best = on_a_terminal(monkeypatch, 80, "table", "digits-quick", "--sort", "test_accuracy")
    worst = on_a_terminal(monkeypatch, 80, "table", "digits-quick", "--sort", "-test_accuracy")
    methods = [[n.split()[0] for n in found if n.split()[1:2] == ["5"]] for found in (best, worst)]
    assert methods[0][0] == "bats"
    assert methods[1][0] == "pcdarts"
    wide = on_a_terminal(monkeypatch, 40, "table", "digits-quick", "--wide")
    assert any(line.split()[-1:] == ["29,952"] for line in wide)


def test_a_column_that_there_is_not_is_one_sentence() -> None:
    line = fail("table", "digits-quick", "--results", RESULTS, "--sort", "test_acuracy")
    assert "unknown column of this table 'test_acuracy'; did you mean test_accuracy" in line


@pytest.mark.parametrize("settings", [{"TERM": "dumb"}, {"NO_COLOR": "1"}, {"COLUMNS": "20"}])
def test_terminals_that_can_little_get_no_control_sequences(settings: dict[str, str]) -> None:
    import pty

    ours, theirs = pty.openpty()
    started = subprocess.Popen(
        [sys.executable, "-c", COMMAND, "list"],
        stdout=theirs,
        stderr=theirs,
        env=os.environ | {"COLUMNS": "100", "TERM": "xterm"} | settings,
    )
    os.close(theirs)
    printed = b""
    try:
        while part := os.read(ours, 4096):
            printed += part
    except OSError:  # how Linux says that the other end is closed
        pass
    os.close(ours)
    assert started.wait() == 0
    assert b"dcpnas" in printed
    assert (b"\x1b" in printed) == ("COLUMNS" in settings)


def shell(command: str, **settings: str) -> tuple[int, str]:
    """The exit code of a command line with `bench`, and what it says on stderr."""
    text = f'bench() {{ "{sys.executable}" -c "{COMMAND}" "$@"; }}\n{command}'
    done = subprocess.run(
        ["bash", "-c", text], capture_output=True, text=True, env=os.environ | settings, check=False
    )
    return done.returncode, done.stderr


@pytest.mark.sample(2)
@pytest.mark.parametrize("command", ["list", "--help", f"table digits-quick --results {RESULTS}"])
@pytest.mark.parametrize("where", [">&-", ">/dev/full"])
def test_stdout_that_takes_nothing_is_one_sentence(command: str, where: str) -> None:
    code, said = shell(f"bench {command} {where}")
    assert code == LOST
    (line,) = said.splitlines()
    assert line.startswith("bnas-bench: cannot print to stdout (")


def test_a_reader_that_has_read_enough_ends_a_command_without_a_word() -> None:
    assert shell("bench papers | true; exit ${PIPESTATUS[0]}") == (UNREAD, "")


@pytest.mark.parametrize("where", ["2>&-", "2>/dev/full", "2> >(true)", ">&- 2>&- <&-"])
def test_what_cannot_be_said_changes_no_exit_code(where: str) -> None:
    code, said = shell(f"bench methods no-such {where}")
    assert (code, said) == (2, "")


def test_control_characters_of_others_are_shown_and_not_sent() -> None:
    result = CliRunner().invoke(main, ["methods", "a\x1b]0;title\x07\x1b[2J\x08\u202e"])
    assert "unknown method 'a\\x1b]0;title\\x07\\x1b[2J\\x08\\u202e'" in result.stderr


LOUD = """
from bnas_bench.methods.random import Random


class Loud(Random):
    def search(self, *given):
        print("\u03bb" * 20_000, flush=True)
        return super().search(*given)
"""


@pytest.mark.slow
def test_a_grid_is_whole_though_nobody_can_be_told(tmp_path: Path) -> None:
    (tmp_path / "loud.py").write_text(LOUD)
    options = f"--method {tmp_path}/loud.py:Loud --budget smoke --seeds 1 --name n"
    where = ">/dev/full 2>&- <&-"
    code, _ = shell(f"bench run {options} --results {tmp_path} {where}", PYTHONIOENCODING="ascii")
    (record,) = tmp_path.glob("n/trials/*/record.json")
    assert (json.loads(record.read_text())["status"], code) == ("ok", LOST)


def test_errors_of_paths_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for path in (
        tmp_path / "file" / "in",
        loop,
        tmp_path / ("n" * 300),
        "/proc/no",
        "a\nb",
        "\udcff",
    ):
        for command in (
            ["show", str(path)],
            ["measure", str(path)],
            ["pack", str(path), "-o", str(tmp_path / "net.bnn")],
            ["latency", str(path)],
            ["table", "--results", str(path)],
            ["status", "--results", str(path)],
            ["report", "--results", str(path)],
            ["show", "--space", "darts-binary", "-o", str(path), str(path)],
            [
                "new-method",
                "x",
                "--folder",
                str(path / "y" if isinstance(path, Path) else "/proc/y"),
            ],
        ):
            result = CliRunner().invoke(main, command, catch_exceptions=False)
            assert result.exit_code == 2, (command, result.output)
            assert "Traceback" not in result.output


@pytest.mark.parametrize("name", ["run", "reproduce"])
def test_many_options_stand_under_headings_each_once(name: str) -> None:
    command = main.commands[name]
    with click.Context(command, info_name=name, terminal_width=80) as context:
        lines = command.get_help(context).splitlines()
    headings = [line.removesuffix(":") for line in lines if re.fullmatch(r"[A-Z][\w ]+:", line)]
    assert headings == [*HEADINGS]
    shown = [re.findall(r"--[\w-]+", line)[0] for line in lines if line.startswith("  -")]
    options = [max(p.opts, key=len) for p in command.params if isinstance(p, click.Option)]
    assert sorted(shown) == sorted([*options, "--help"])
    assert all(len(line) <= 80 for line in lines)
