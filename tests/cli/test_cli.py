"""The commands: what they hand on, what they print, how they end."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import click
import pytest

from bnas_bench import api
from bnas_bench.cli.streams import Output
from bnas_bench.core.errors import BenchError
from bnas_bench.plugins import checks
from bnas_bench.plugins.checks import CheckResult
from bnas_bench.plugins.registry import discover
from bnas_bench.runs import seen
from bnas_bench.runs.how import How
from bnas_bench.runs.progress import Event
from bnas_bench.runs.record import encode
from bnas_bench.runs.store import Record, Store
from bnas_bench.runs.trial import Trial
from tests.helpers.cli import fail, invoke, succeed
from tests.helpers.records import done, trials

GENOTYPE = """DDPNAS_MCN_2 = Genotype(
    normal=[('sep_conv_5x5', 1), ('max_pool_3x3', 0), ('dil_conv_3x3', 2), ('skip_connect', 0),
            ('sep_conv_3x3', 3), ('avg_pool_3x3', 1), ('dil_conv_3x3', 4), ('avg_pool_3x3', 3)],
    normal_concat=range(2, 6),
    reduce=[('max_pool_3x3', 0), ('sep_conv_3x3', 1), ('dil_conv_3x3', 1), ('sep_conv_3x3', 0),
            ('max_pool_3x3', 1), ('dil_conv_5x5', 2), ('dil_conv_5x5', 2), ('sep_conv_5x5', 1)],
    reduce_concat=range(2, 6))
"""
"""As the DCP-NAS authors published it."""


Outcome = Callable[[Trial], dict[str, Any]]


NAMES = {"random": "random", "dcpnas": "dcpnas[lam=0.0]"}


class Grid:
    """Stands in for `run_trials`: what a trial comes to is a function of it."""

    def __init__(self) -> None:
        self.outcome: Outcome = lambda trial: {"test_accuracy": 90.0 + trial.repetition}
        self.trials: list[Trial] = []

    def __call__(
        self, trials: Sequence[Trial], folder: Path, how: How, *_others: object
    ) -> Iterator[Event]:
        self.folder, self.how = folder, how
        for trial in trials:
            self.trials.append(trial)
            yield Event(trial.id, "started")
            yield Event(trial.id, "progress", "12 of 2,500 passes", None, "search", 0.5)
            record = done(trial, 90.0) | self.outcome(trial)
            Store(folder).write(trial.id, {}, record)
            failed = record["status"] == "failed"
            yield Event(
                trial.id, "failed" if failed else "finished", record["reason"] or "", record
            )


@pytest.fixture
def grid(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Grid:
    fake = Grid()
    monkeypatch.setattr("bnas_bench.runs.grid.run_trials", fake)
    monkeypatch.setattr(api, "report", lambda _, folder: Path(folder))
    monkeypatch.chdir(tmp_path)
    return fake


def diverges_at_seed_1(trial: Trial) -> Record:
    if trial.repetition == 1:
        return {"status": "failed", "reason": "Diverged: the loss is nan"}
    return {}


def test_run_prints_one_table_and_where_the_records_are(grid: Grid) -> None:
    result = invoke("run", "--method", "random,dcpnas[lam=0]", "--budget", "smoke", "--seeds", "2")
    assert result.exit_code == 0
    ends = {n: f"{n} of 4, time left unknown" for n in (1, 2, 3)} | {4: "4 of 4"}
    assert result.stderr.splitlines() == [
        line
        for place, trial in enumerate(grid.trials, 1)
        for name in [f"{NAMES[trial.method.name]}, seed {trial.repetition}"]
        for line in (
            f"{name}: {trial.id} started",
            f"{name}: {90 + trial.repetition}.0 %, 0.05 M OPs; {ends[place]}",
        )
    ]
    lines = [" ".join(line.split()) for line in result.stdout.splitlines() if line.strip(" ─")]
    verdict, unsaid = lines.pop(4), lines.pop(4)
    assert verdict.startswith("verdict: dcpnas[lam=0.0] is not told apart from random sampling. ")
    assert unsaid.startswith("not said: ")
    assert lines == [
        "method n test accuracy % OPs M latency ms search s train s simulated ms params memory KiB passes",
        "random 2 90.50 ± 0.71 0.050 0.25 3.0 4.0 2.50 5,000 10.0 2,000",
        "dcpnas[lam=0.0] 2 90.50 ± 0.71 0.050 0.25 3.0 4.0 2.50 5,000 10.0 2,000",
        "OPs as nas-bnn counts them; latency of the network as bits, 1 thread; space darts-binary; dataset "
        "digits; budget smoke; measured on Some CPU (CPU threads: 1); "
        "a budget other than paper reproduces no paper's numbers",
        "records: results/local/trials",
        "page: reports/local/index.html",
    ]


def test_run_hands_everything_on(grid: Grid, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bnas_bench.runs.how._device", str)
    succeed(
        *("run", "--method", "random", "--method", "cpnas", "--space", "darts-binary"),
        *("--dataset", "digits,imagefolder:here", "--budget", "smoke,quick[passes=9000]"),
        *("--seeds", 1, "--seed", 7, "--name", "mine", "--results", "there", "--device", "cuda:1"),
        *("--threads", 3, "--jobs", 2, "--data-folder", "images", "--retry-failed", "--rerun"),
    )
    assert grid.folder == Path("there/mine").absolute()
    data = Path("images")
    assert grid.how == How(
        device="cuda:1", threads=3, data=data, jobs=2, retry_failed=True, rerun=True
    )
    assert [(c.dataset, c.budget.name, c.method.name, c.root_seed) for c in grid.trials] == [
        (dataset, budget, method, 7)
        for dataset in ("digits", "imagefolder:here")
        for budget in ("smoke", "quick[passes=9000]")
        for method in ("random", "cpnas")
    ]
    assert grid.trials[-1].budget.passes == 9000


def test_the_defaults_are_the_demos(grid: Grid) -> None:
    succeed("run", "--method", "random")
    assert (grid.folder, grid.how) == (Path("results/local").absolute(), How())
    assert [(c.space.name, c.dataset, c.budget.name, c.repetition) for c in grid.trials] == [
        ("darts-binary", "digits", "quick", seed) for seed in (0, 1, 2)
    ]


def test_all_is_every_method_and_set_is_for_every_method(grid: Grid) -> None:
    succeed("run", "--method", "all", "--space", "all", "--budget", "smoke", "--seeds", "1")
    pairs = {(c.method.name, c.space.name) for c in grid.trials}
    assert pairs == set(product(discover("method"), discover("space")))
    assert len(grid.trials) == len(pairs)
    grid.trials.clear()
    succeed("run", "--method", "cpnas,dcpnas[lr=0.5]", "--set", "lr=0.1", "--set", "clip=1")
    assert [(c.method_options["lr"], c.method_options["clip"]) for c in grid.trials[:2]] == [
        (0.1, 1.0),
        (0.5, 1.0),
    ]


def test_a_failed_trial_is_shown_and_ends_with_1(grid: Grid) -> None:
    grid.outcome = diverges_at_seed_1
    result = invoke("run", "--method", "random", "--budget", "smoke")
    assert result.exit_code == 1
    assert " 2/3 " in result.stdout
    assert "random, seed 1 failed: Diverged: the loss is nan\n" in result.stdout
    assert len(grid.trials) == 3


def test_a_refused_pair_is_no_failure(grid: Grid) -> None:
    grid.outcome = lambda _: {"status": "refused", "reason": "it needs trials"}
    out = succeed("run", "--method", "random", "--budget", "smoke", "--seeds", "1")
    assert "random, seed 0 refused: it needs trials\n" in out


def test_control_c_ends_with_130(grid: Grid) -> None:
    def interrupt(_: Trial) -> Record:
        raise KeyboardInterrupt

    grid.outcome = interrupt
    result = invoke("run", "--method", "random", "--budget", "smoke")
    assert (result.exit_code, result.stdout) == (130, "")
    assert (
        result.stderr.splitlines()[-1] == "bnas-bench: stopped; the same command goes on from here"
    )


def test_a_plan_needs_no_torch(tmp_path: Path) -> None:
    code = """if True:
        import sys
        from bnas_bench.cli import main
        try:
            main(["run", "--method", "all", "--space", "all", "--budget", "smoke", "--dry-run"])
        finally:
            print("torch" in sys.modules or "rich" in sys.modules)
    """
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    ).stdout.splitlines()
    assert len(out) == 3 * len(discover("method")) * len(discover("space")) + 2
    assert all(line.endswith(": to run") for line in out[:-2])
    assert out[-2] == "how long is not known: no such trial lies in results/"
    assert out[-1] == "False"
    assert list(tmp_path.iterdir()) == []


def test_a_plan_says_what_is_done(grid: Grid) -> None:
    command = ("run", "--method", "random", "--budget", "smoke", "--seeds")
    grid.outcome = diverges_at_seed_1
    invoke(*command, "2")
    ids = [trial.id for trial in trials("random", seeds=3)]
    seen.plan(Store("results/local"), ids)
    damaged, unfinished = (f"{ids[0].partition('-s0-')[0]}-x{n}" for n in (1, 2))
    for trial_id in (damaged, unfinished):
        Path("results/local/trials", trial_id).mkdir()
    Path("results/local/trials", damaged, "record.json").write_text("{")
    assert succeed(*command, "3", "--dry-run").splitlines()[:2] == [
        f"{ids[0]}  random, seed 0: ok",
        f"{ids[1]}  random, seed 1: failed",
    ]
    waiting, begun, failed, broken, ok, counts = succeed("status").splitlines()
    assert waiting.startswith(f"waiting  {ids[2]}")
    assert begun == f"killed   {unfinished}"
    assert failed == f"failed   {ids[1]}  Diverged: the loss is nan"
    assert broken.startswith(f"damaged  {damaged}  ")
    assert "record.json cannot be read" in broken
    assert ok == f"ok       {ids[0]}  90.0 %, 0.05 M OPs"
    assert counts == "1 waiting, 1 killed, 1 failed, 1 damaged, 1 ok"
    table = succeed("table")
    assert " 1/2 " in table
    assert f"{damaged} is damaged and not in the table: " in table


@pytest.mark.usefixtures("grid")
def test_table_prints_what_run_printed() -> None:
    ran = succeed("run", "--method", "cpnas[beta_p=0],random", "--name", "mine")
    assert succeed("table", "mine") in ran
    as_json = json.loads(succeed("table", "mine", "--json"))
    assert {row["method"]: row["n"] for row in as_json} == {"random": 3, "cpnas[beta_p=0.0]": 3}
    assert as_json[1]["values"]["test_accuracy"] == {"mean": 91.0, "sd": 1.0}
    assert json.loads(succeed("run", "--method", "random", "--json"))[0]["n"] == 3


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--method", "all,random"], "names all methods and more"),
        (
            ["--method", "dcpnass"],
            "unknown method 'dcpnass'; did you mean dcpnas or cpnas or bnas?",
        ),
        (["--space", "darts"], "unknown space 'darts'; did you mean bats or bars or darts-binary?"),
        (["--dataset", "digit"], "unknown dataset 'digit'; did you mean digits?"),
        (
            ["--dataset", "imagefolder"],
            "dataset 'imagefolder' needs a folder: write imagefolder:PATH",
        ),
        (["--budget", "quik"], "unknown budget 'quik'; did you mean quick?"),
        (
            ["--method", "cpnas[beta_q=1]"],
            "unknown hyperparameter of cpnas 'beta_q'; did you mean beta_p?",
        ),
        (
            ["--method", "cpnas[beta_p=much]"],
            "hyperparameter of cpnas 'beta_p' is 'much'; it takes a number",
        ),
        (
            ["--method", "cpnas[beta_p"],
            "'cpnas[beta_p' is not of the form name or name[key=value,key=value]",
        ),
        (["--set", "beta_p"], "'beta_p' in --set is not of the form key=value"),
        (["--method", "gone.py:X"], "gone.py cannot be read: No such file or directory"),
        (["--method", "random,random"], "is asked for twice"),
        (["--method", "random", "--columns", "ops,nope"], "unknown column of this table 'nope'"),
        (["--method", "random", "--sort", "-nope"], "unknown column of this table 'nope'"),
        (["--method", "random", "--dry-run", "--transfer", "nope"], "unknown task 'nope'"),
        (["--space", "darts-binary[without=none]"], "'none' cannot be left out"),
    ],
)
def test_wrong_names_and_values_take_one_line(grid: Grid, arguments: list[str], line: str) -> None:
    method = [] if "--method" in arguments else ["--method", "random"]
    assert line in fail("run", *method, *arguments)
    assert grid.trials == []
    assert not Path("results").exists()


def test_an_error_from_the_grid_takes_one_line(grid: Grid) -> None:
    def fill(_: Trial) -> Record:
        raise BenchError("cannot write here:\n  no space left")

    grid.outcome = fill
    result = invoke("run", "--method", "random")
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1] == "bnas-bench: cannot write here: no space left"


@pytest.mark.usefixtures("grid")
def test_results_that_are_not_there() -> None:
    for begun in ("results", "results/none/trials"):
        Path(begun).mkdir(parents=True)
        assert "there are no results in results/: bnas-bench run makes some" in fail("status")
    Path("results/begun/trials/a-trial").mkdir(parents=True)
    assert json.loads(succeed("table", "begun", "--json")) == []
    assert succeed("table", "begun") == "a-trial is unfinished and not in the table\n"
    succeed("run", "--method", "random", "--name", "mine")
    assert "unknown name in results/ 'mime'; did you mean mine?" in fail("table", "mime")


@pytest.mark.slow
def test_measure_gives_the_published_networks_cost(tmp_path: Path) -> None:
    file = tmp_path / "genotype.txt"
    file.write_text(GENOTYPE)
    found = json.loads(succeed("measure", "--space", "darts-binary", file, "--json"))
    assert set(found) >= {"macs", "ops", "parameters", "memory_bits", "memory"}
    assert found["parameters"] == 4_190_185
    assert round(found["ops"]["dcp-nas"] / 1e6, 2) == 99.51
    # In M: stem 70.9 + linear 0.9; depthwise 21.9 + preprocessing 189.7; pointwise 150.9
    macs = {bits: round(number / 1e6, 1) for bits, number in found["macs"].items()}
    assert macs == {"W32A32": 71.7, "W1A32": 211.6, "W1A1": 150.9}
    smaller = json.loads(
        succeed(
            *("measure", file, "--channels", 8, "--cells", 5, "--input", "1x28x28"),
            *("--classes", 7, "--layers", "--json"),
        )
    )
    assert smaller["layers"][0]["input"] == [1, 28, 28]
    assert smaller["layers"][-1]["output"] == [7]
    assert sum(layer["macs"] for layer in smaller["layers"]) == sum(smaller["macs"].values())
    text = succeed("measure", GENOTYPE)
    assert "MACs W1A1                 150.886 M\n" in text
    assert "parameters              4,190,185\n" in text


def test_measure_takes_torchvisions_networks() -> None:
    # 7x7 stem, four stages of 3x3 convolutions, the linear layer: the textbook's 1.814 G.
    for name in ("resnet18", "torchvision:resnet18"):
        found = json.loads(succeed("measure", name, "--json"))
        assert found["macs"] == {"W32A32": 1_814_073_344}
        assert found["parameters"] == 11_689_512
    assert "unknown file or torchvision network 'resnt18'; did you mean resnet18" in fail(
        *("measure", "resnt18")
    )


@pytest.mark.slow
def test_a_trials_folder_is_read_with_its_spaces_options(tmp_path: Path) -> None:
    arch = {"space": "darts-binary", "choices": choices_of(GENOTYPE)}
    (tmp_path / "arch.json").write_text(json.dumps(arch))
    real = json.loads(succeed("measure", tmp_path, "--json"))["macs"]
    options = {"without": [], "binarise": ["preprocessing", "depthwise"]}
    record = done(trials("random")[0], 90.0) | {"space_options": options}
    (tmp_path / "record.json").write_bytes(encode(record))
    binary = json.loads(succeed("measure", tmp_path, "--json"))["macs"]
    assert set(real) == {"W32A32", "W1A32", "W1A1"}
    assert binary == {"W32A32": real["W32A32"], "W1A1": real["W1A32"] + real["W1A1"]}
    overridden = succeed("measure", tmp_path, "--space", "darts-binary", "--json")
    assert json.loads(overridden)["macs"] == real


def choices_of(genotype: str) -> dict[str, str]:
    shown = succeed("show", genotype).splitlines()
    live = dict(line.split() for line in shown if line.startswith("  "))
    edges = [(i, j) for j in range(2, 6) for i in range(j)]
    names = [f"{trial}.edge({i},{j})" for trial in ("normal", "reduce") for i, j in edges]
    return {name: live.get(name, "none") for name in names}


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["gone.json"], "cannot read an architecture from 'gone.json': No such file or directory"),
        (["Genotype(normal=[])"], "the text: the genotype has the fields normal; it needs"),
        (['{"space": "dart-binary"}'], "unknown space 'dart-binary'; did you mean darts-binary?"),
        (["{"], "the text: "),
        (["bad.txt"], "bad.txt: "),
        (["bytes"], "bytes: this is no text"),
        ([GENOTYPE, "--space", "a,b"], "'a,b' names 2 things where one is wanted"),
        ([GENOTYPE, "--space", "darts-binary[without=sep_conv_5x5]"], "'sep_conv_5x5'"),
    ],
)
def test_architectures_that_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.txt").write_text("hello")
    Path("bytes").write_bytes(b"\xff\xfe\x00")
    for command in ("measure", "show"):
        assert line in fail(command, *arguments)


def test_shapes_that_are_none() -> None:
    for shape in ("3x224", "3x224x0", "3,224,224"):
        assert f"'{shape}' is no shape of an image" in fail("measure", GENOTYPE, "--input", shape)


def test_show_prints_and_draws(tmp_path: Path) -> None:
    lines = succeed("show", GENOTYPE).splitlines()
    assert lines[0].startswith("architecture ")
    assert lines[0].endswith(" of darts-binary")
    assert "('skip_connect', 0), ('dil_conv_3x3', 2)" in lines[1]
    assert len(lines) == 2 + 16
    assert "  normal.edge(1,2)  sep_conv_5x5" in lines
    drawing = tmp_path / "trial.svg"
    assert succeed("show", GENOTYPE, "-o", drawing) == f"wrote {drawing}\n"
    assert drawing.read_text().lstrip().startswith("<?xml")


def test_lists() -> None:
    listed = succeed("list")
    for kind in ("methods", "spaces", "datasets", "budgets"):
        assert kind in listed.splitlines()
    for plugin in (*discover("method").values(), *discover("space").values()):
        assert f"{plugin.name} {plugin.summary}" in " ".join(listed.split())
    assert succeed("datasets") in listed
    assert succeed("budgets") in listed
    assert "form=search, epochs=4" in " ".join(succeed("methods").split())
    assert "form=search" not in listed
    assert "imagefolder" in succeed("datasets")
    assert "passes=3000, batch_size=32" in succeed("budgets")
    assert "=none" not in succeed("budgets")
    assert "passes=30000, batch_size=32" in succeed("budgets", "quick")
    assert "the space or the images say: recipe.lr, " in succeed("budgets", "quick")
    assert "smoke" not in succeed("budgets", "quick")
    assert "unknown budget 'quik'; did you mean quick?" in fail("budgets", "quik")
    assert "dcp-nas/table-4" in succeed("papers", "dcp-nas")
    assert "cp-nas/table-1 " not in succeed("papers", "dcp-nas").replace("dcp-nas", "")
    in_full = succeed("methods", "cpnas")
    assert in_full.startswith("CP-NAS: Child-Parent Neural Architecture Search")
    assert "Deviations" in in_full
    options = " ".join(in_full.partition("\nOptions\n")[2].split())
    assert options.startswith("beta_p=2.0 ")
    assert " momentum=0.9 of SGD. " in options
    assert "unknown method 'nope'" in fail("methods", "nope")


@pytest.mark.parametrize(
    "command", ["list", "methods", "methods dcpnas", "papers dcp-nas", "budgets"]
)
def test_no_line_of_a_list_is_wider_than_the_terminal(
    monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setattr(Output, "isatty", lambda _: True)
    monkeypatch.setenv("COLUMNS", "60")
    lines = click.unstyle(succeed(*command.split())).splitlines()
    assert max(len(line) for line in lines if not line.startswith("File: ")) <= 60


def test_of_many_names_an_error_lists_some() -> None:
    line = fail("measure", "qqqq")
    assert "known: alexnet, convnext_base, " in line
    assert re.search(r" and \d\d more$", line)
    assert "did you mean dcp-nas" in fail("papers", "dcpnas")


def test_check_prints_the_battery(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def run_checks(plugin: Any) -> Iterator[CheckResult]:
        tried.append((plugin.kind, plugin.name))
        yield CheckResult("check_one", True)
        yield CheckResult("check_two", plugin.kind == "space", "it is so")
        yield CheckResult("check_three", True, "not its idea", asked=False)

    monkeypatch.setattr(checks, "run_checks", run_checks)
    out = succeed("check", "darts-binary")
    assert out == (
        "space darts-binary\n  ok      check_one\n  ok      check_two: it is so\n"
        "  -       check_three: not its idea\n"
    )
    result = invoke("check", "darts-binary", "random")
    assert result.exit_code == 1
    assert result.stdout.endswith(
        "method random\n  ok      check_one\n  FAILED  check_two: it is so\n"
        "  -       check_three: not its idea\n"
    )
    assert tried == [("space", "darts-binary")] * 2 + [("method", "random")]
    assert "unknown method or space 'nope'" in fail("check", "nope")


def test_new_method_says_what_to_do_next(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    assert succeed("new-method", "mine", "--folder", tmp_path).splitlines() == [
        f"wrote {file}",
        f"try   bnas-bench check {file}",
        f"then  bnas-bench run --method {file} --space darts-binary --budget smoke",
    ]
    assert file.exists()
    assert "the name 'random' is taken already" in fail("new-method", "random")
