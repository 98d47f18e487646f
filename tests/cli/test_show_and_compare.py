"""Reading results on the command line: a trial on one screen, two results side by side, a grid's file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bnas_bench.cli.summary import spark
from bnas_bench.runs.store import Store
from tests.helpers.cli import fail, invoke, succeed
from tests.helpers.records import done, failed, put, trials

RESULTS = Path(__file__).parents[2] / "results"
ID = "dcpnas-darts-binary-digits-quick-s0-dd23a975"
TRIAL = RESULTS / "digits-quick" / "trials" / ID


def test_a_trial_is_summed_up() -> None:
    lines = succeed("show", TRIAL).splitlines()
    assert lines[0] == "dcpnas on darts-binary, digits, budget quick, seed 0"
    rows = {line.split()[0]: line for line in lines[1:10]}
    record = json.loads((TRIAL / "record.json").read_text())
    assert f"{record['test_accuracy']:.2f} % of the test images" in rows["result"]
    assert f"{record['parameters']:,} parameters" in rows["costs"]
    log = [json.loads(line) for line in (TRIAL / "log.jsonl").read_text().splitlines()]
    valid = [entry["valid"] for entry in log if "incumbent" in entry]
    assert f"{100 * valid[0]:.1f} to {100 * valid[-1]:.1f} %, of {len(valid)}" in rows["valid"]
    epochs = sum(entry["phase"] == "train" for entry in log)
    assert len(rows["loss"].split()[1]) == epochs
    assert any(line.startswith("architecture ") for line in lines)


def test_a_trial_is_found_by_its_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(RESULTS.parent)
    assert succeed("show", ID) == succeed("show", TRIAL)
    monkeypatch.chdir(tmp_path)
    trial = trials("random")[0]
    for name in ("a", "b"):
        put(Store(Path("results", name)), failed(trial, "Diverged: the loss is nan"))
    assert "lies in results/a/trials" in fail("show", trial.id)
    lines = succeed("show", f"results/a/trials/{trial.id}").splitlines()
    assert lines == [
        "random on darts-binary, digits, budget smoke, seed 0",
        "failed    Diverged: the loss is nan",
    ]


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ([0.0, 3.5, 7.0], "▁▅█"),
        ([7.0, 0.0], "█▁"),
        ([2.0, 2.0], "▁▁"),
        ([float(k) for k in range(400)], "▁"),
    ],
)
def test_a_curve_in_a_line(values: list[float], line: str) -> None:
    found = spark(values)
    assert found.startswith(line)
    assert len(found) == min(len(values), 40)
    if len(values) > 2:
        assert found[-1] == "█"


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same grid twice; in `after` one seed of `random` came to more, and `bars` was left out."""
    monkeypatch.chdir(tmp_path)
    for name, gain in (("before", 0.0), ("after", 3.0)):
        for method in ("random", "cpnas", *(["bars"] if name == "before" else [])):
            for trial in trials(method, seeds=3):
                more = gain * (method == "random" and trial.repetition == 2)
                put(Store(Path("results", name)), done(trial, 90.0 + trial.repetition + more))


@pytest.mark.usefixtures("two")
def test_two_results_side_by_side() -> None:
    lines = succeed("compare", "before", "after").splitlines()
    rows = {line.split()[0]: line.split() for line in lines if line.split()}
    assert rows["random"][1:8] == ["91.00", "±", "1.00", "92.00", "±", "2.65", "+1.00"]
    # Welch: sqrt(1/3 + 7/3) = 1.633, df = 2.56, t = 3.52: half a width of 5.75.
    assert "+1.00 [-4.7" in " ".join(rows["random"])
    assert "2 of 3" in " ".join(rows["random"])
    assert "+0.00" in rows["cpnas"]
    assert "3 of 3" in " ".join(rows["cpnas"])
    assert "only in before: bars (darts-binary, digits, budget smoke)" in lines
    assert lines == succeed("compare", "results/before", "results/after").splitlines()
    put(Store("results/other"), done(trials("random", budget="quick")[0], 90.0))
    assert "have no method in the same space" in fail("compare", "before", "other")


@pytest.mark.parametrize("kind", ["method", "space"])
@pytest.mark.parametrize("name", ["planted.py:Planted", "planted.py", "random,planted.py[lr=1]"])
def test_code_that_a_grid_names_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("planted.py").write_text("from pathlib import Path\nPath('was-run').touch()\n")
    both = {"method": "random", "space": "darts-binary", kind: name}
    Path("grid.toml").write_text("".join(f"{key} = {text!r}\n" for key, text in both.items()))
    for more in ((), ("--dry-run",), ("--save-grid", "other.toml")):
        said = fail("run", "--grid", "grid.toml", "--budget", "smoke", *more)
        assert f"the grid names a {kind} that is code in a file, 'planted.py" in said
        assert f"with --{kind}" in said
    assert not Path("was-run").exists()
    assert not Path("other.toml").exists()
    # Who names it runs it, which shows that the file would have been found.
    own = name.split(",")[-1]
    fail("run", "--grid", "grid.toml", f"--{kind}", own, "--budget", "smoke", "--dry-run")
    assert Path("was-run").exists()


@pytest.mark.usefixtures("two")
def test_records_are_exported_as_json() -> None:
    assert succeed("export", "after", "-o", "runs.json") == "wrote runs.json\n"
    rows = json.loads(Path("runs.json").read_text())
    assert {row["method"]: row["test_accuracy"] for row in rows if row["seed"] == 2} == {
        "random": 95.0,
        "cpnas": 92.0,
    }


def test_a_grid_is_saved_and_given_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = ("--method", "random,dcpnas[lam=0]", "--budget", "smoke,quick[passes=9000]")
    more = ("--seeds", 2, "--set", "lr=0.1", "--threads", 2, "--dry-run")
    planned = succeed("run", *options, *more, "--save-grid", "mine.toml")
    assert succeed("run", "--grid", "mine.toml", "--dry-run") == planned
    fewer = succeed("run", "--grid", "mine.toml", "--seeds", 1, "--method", "random", "--dry-run")
    assert fewer.splitlines()[0].startswith("random-darts-binary-digits-smoke-s0-")
    assert sum(line.endswith(": to run") for line in fewer.splitlines()) == 2
    Path("hand.toml").write_text('method = "random"\nseeds = 1\nbudget = ["smoke"]\n')
    assert "random-darts-binary-digits-smoke-s0" in succeed(
        "run", "--grid", "hand.toml", "--dry-run"
    )


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("metod = 'random'", "unknown field in grid.toml 'metod'; did you mean method"),
        ("method = 3", "'method' in grid.toml is no text and no list of texts"),
        ("seeds = 'two'", "'seeds' in grid.toml is 'two': write it as --seeds takes it"),
        ("method = [", "cannot read a grid from 'grid.toml': "),
        ("method = 'random'\nseeds = 0", "seeds is '0'; it takes"),
        ("seeds = 2", "Missing option '--method'"),
    ],
)
def test_grids_that_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("grid.toml").write_text(content)
    result = invoke("run", "--grid", "grid.toml", "--dry-run")
    assert result.exit_code == 2
    assert sentence in result.stderr
    Path("notes.txt").touch()
    assert "is there and no grid" in fail(
        "run", "--method", "random", "--save-grid", "notes.txt", "--dry-run"
    )
