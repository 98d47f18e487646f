"""Whole reports, from records on disk to files, through the command."""

from __future__ import annotations

import json
import multiprocessing
import os
import shlex
import shutil
import time
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from bnas_bench.analysis.frame import states
from bnas_bench.cli import Commands, main
from bnas_bench.cli.runs import report
from bnas_bench.plugins.recorded import defaults
from bnas_bench.report.build import FIGURED, aside, build
from bnas_bench.report.commands import Origin
from bnas_bench.report.model import RunView
from bnas_bench.report.views import ENTRIES, view
from bnas_bench.runs.store import Store
from tests.helpers.records import done, failed, planned, put, results, trials
from tests.report.test_report_write import compiled


@click.group(cls=Commands)
def program() -> None:
    """The command by itself, with the program's way of ending."""


program.add_command(report)


def architecture(space: str) -> dict[str, object]:
    from bnas_bench.plugins.registry import find

    return find("space", space).make({}).smallest().to_json()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two methods with two seeds, one of them with a log, one trial failed, one unfinished."""
    store = Store(tmp_path / "results" / "some")
    log = [
        {"phase": "search", "passes": 10.0 * k, "seconds": k, "incumbent": "x", "valid": k / 100}
        for k in range(100)
    ]
    for number, trial in enumerate(trials("random,dcpnas[lam=0]", seeds=2)):
        record = done(trial, 90.0 + number, architecture=architecture("darts-binary"))
        put(store, record, log if number < 2 else ())
    third, fourth = trials("random", seeds=4)[2:]
    put(store, failed(third, "Diverged: <script>alert(1)</script> | nan"))
    store.work(fourth.id).mkdir()
    return store


def run(store: Store, *arguments: str) -> Result:
    root = store.root.parent.parent
    options = ["--results", str(root / "results"), "--reports", str(root / "reports")]
    return CliRunner().invoke(program, ["report", *arguments, *options])


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


SETTING = "darts-binary-digits-smoke"


@pytest.mark.slow
def test_the_command_writes_all_forms(store: Store) -> None:
    result = run(store, "some")
    assert result.exit_code == 0, result.output
    folder = store.root.parent.parent / "reports" / "some"
    found = files(folder)
    drawn = [name for name in found if name.startswith("cells/")]
    figures = [f"{name}-{SETTING}" for name in ("accuracy", "anytime", "ops")]
    tables = ["missing", *(f"{name}-{SETTING}" for name in ("main", "random"))]
    assert sorted(found) == sorted(
        [
            *drawn,
            *(f"figures/{name}.{ending}" for name in figures for ending in ("svg", "pdf", "png")),
            *(f"tables/{name}.{ending}" for name in tables for ending in ("tex", "csv")),
            *("index.html", "report.md", "report.tex"),
        ]
    )
    assert len(drawn) == 2
    for name in ("index.html", "report.md", "report.tex", "tables", "figures", "cells"):
        assert f"{folder / name}" in result.output.replace("wrote ", "")
    text = found["report.md"].decode()
    assert "| random | 2/4<sup>1</sup> | 91.00 ± 1.41 |" in text
    assert "seed 2 failed: Diverged" in text
    assert "seed 3 unfinished" in text
    assert b"<script>alert(1)" not in found["index.html"]


@pytest.mark.slow
def test_the_same_records_give_the_same_bytes_and_nothing_stale_stays(store: Store) -> None:
    assert run(store, "some").exit_code == 0
    folder = store.root.parent.parent / "reports" / "some"
    first = files(folder)
    (folder / "figures" / "stale.svg").write_text("old")
    (folder / "report.aux").write_text("of LaTeX")
    assert run(store, "some").exit_code == 0
    assert files(folder) == first
    assert [path.name for path in folder.parent.iterdir()] == ["some"]


def test_what_no_report_wrote_is_not_removed(store: Store) -> None:
    folder = store.root.parent.parent / "reports" / "some"
    folder.mkdir(parents=True)
    (folder / "thesis.tex").write_text("mine")
    result = run(store, "some")
    assert result.exit_code == 2
    assert "thesis.tex" in result.output
    assert files(folder) == {"thesis.tex": b"mine"}


@pytest.mark.slow
def test_an_error_leaves_the_earlier_report(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(store, "some").exit_code == 0
    folder = store.root.parent.parent / "reports" / "some"
    before = files(folder)

    def broken(*_: object) -> str:
        raise RuntimeError("no")

    monkeypatch.setattr("bnas_bench.report.folder.page", broken)
    assert isinstance(run(store, "some").exception, RuntimeError)
    assert files(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == ["some"]


@pytest.mark.slow
def test_results_are_named_by_their_path_as_well(store: Store) -> None:
    reports = store.root.parent.parent / "reports"
    arguments = ["report", f"{store.root}/", "--reports", str(reports)]
    result = CliRunner().invoke(program, arguments)
    assert result.exit_code == 0, result.output
    assert (reports / "some" / "index.html").is_file()


def test_an_unknown_name_lists_the_nearest(store: Store) -> None:
    result = run(store, "soma")
    assert result.exit_code == 2
    assert "did you mean some?" in result.output


def test_nothing_to_report_is_one_sentence(tmp_path: Path) -> None:
    store = Store(tmp_path / "results" / "none")
    result = run(store, "none")
    assert (result.exit_code, len(result.output.splitlines())) == (2, 1)
    put(store, failed(trials("random")[0], "broken"))
    store.folder(trials("random", seeds=2)[1].id).mkdir()
    result = run(store, "none")
    assert (result.exit_code, len(result.output.splitlines())) == (2, 1)
    assert "no trial of results 'none' has finished (1 failed, 1 unfinished)" in result.output
    assert not (tmp_path / "reports").exists()


def test_damaged_records_are_named_and_the_others_reported(store: Store) -> None:
    trial = trials("random", seeds=1)[0]
    (store.folder(trial.id) / "record.json").write_text("{")
    assert run(store, "some").exit_code == 0
    folder = store.root.parent.parent / "reports" / "some"
    listed = (folder / "tables" / "missing.csv").read_text()
    assert 'random,darts-binary,digits,smoke,0,damaged,"record.json cannot be read' in listed
    assert trial.id in listed
    assert str(store.root) not in (folder / "report.md").read_text()


@pytest.mark.slow
def test_a_budget_is_never_pooled_with_another(store: Store) -> None:
    for trial in trials("random", budget="quick", seeds=2):
        put(store, done(trial, 50.0, architecture=architecture("darts-binary")))
    assert run(store, "some").exit_code == 0
    tables = store.root.parent.parent / "reports" / "some" / "tables"
    assert ",91," in (tables / f"main-{SETTING}.csv").read_text().splitlines()[1]
    assert ",50," in (tables / "main-darts-binary-digits-quick.csv").read_text().splitlines()[1]


@pytest.mark.slow
def test_names_that_differ_in_signs_alone_have_files_of_their_own(tmp_path: Path) -> None:
    store = Store(tmp_path / "results" / "some")
    for budget in ("smoke[passes=5000]", "smoke[valid_fraction=0.03]"):
        put(store, done(trials("random", budget=budget)[0], 50.0))
    for dataset in ("imagefolder:a/b+c", "imagefolder:a/b-c"):
        put(store, done(trials("random", datasets=[dataset])[0], 50.0))
    assert run(store, "some").exit_code == 0
    tables = tmp_path / "reports" / "some" / "tables"
    assert len(list(tables.glob("main-*.csv"))) == 4


def origin(store: Store) -> Origin:
    return Origin(store.root.name, str(store.root.parent), defaults)


def views(store: Store, report: Path) -> list[RunView]:
    known = origin(store)
    return [view(store.folder(name), state, known, report) for name, state in states(store)]


def test_a_command_makes_the_trial_that_it_stands_at(store: Store, tmp_path: Path) -> None:
    put(store, done(trials("bats", budget="smoke[passes=5000]", seeds=3, root_seed=7)[2], 50.0))
    for found in views(store, tmp_path / "reports" / "some"):
        if found.status == "unfinished":
            assert found.command == ""
            continue
        program_name, *arguments = shlex.split(found.command)
        assert program_name == "bnas-bench"
        result = CliRunner().invoke(main, [*arguments, "--dry-run"])
        assert result.exit_code == 0, result.output
        listed = [line.split()[0] for line in result.output.splitlines() if ", seed " in line]
        assert listed[-1] == found.id


def test_a_tables_command_makes_all_of_its_trials(store: Store) -> None:
    assert run(store, "some").exit_code == 0
    folder = store.root.parent.parent / "reports" / "some"
    (command,) = [
        line
        for line in (folder / "report.md").read_text().splitlines()
        if line.startswith("bnas-bench run")
    ]
    result = CliRunner().invoke(main, [*shlex.split(command)[1:], "--dry-run"])
    listed = {line.split()[0] for line in result.output.splitlines()}
    assert listed >= set(store.ids())


def test_draws_have_a_command_of_their_own(tmp_path: Path) -> None:
    """They may have more seeds than what is compared with them."""
    store = Store(tmp_path / "results" / "some")
    for methods, seeds in (("random,bats", 2), ("random[form=draw]", 6)):
        for trial in trials(methods, seeds=seeds):
            put(store, done(trial, 50.0))
    ((_, rows),) = results(store).settings.items()
    lines = [shlex.split(line) for line in origin(store).rows(rows)]
    found = [(line[line.index("--method") + 1], line[line.index("--seeds") + 1]) for line in lines]
    assert found == [("random,bats", "2"), ("random[form=draw]", "6")]
    assert all(row.complete for row in rows)


def test_views_link_to_files_and_hold_thin_logs(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "reports" / "some"
    found = {one.id: one for one in views(store, folder)}
    assert sorted(found) == store.ids()
    random = found[trials("random")[0].id]
    assert random.status == "ok"
    assert sorted(random.files) == ["log.jsonl", "record.json"]
    for name, link in random.files.items():
        assert Path(os.path.normpath(folder / link)) == store.folder(random.id) / name
    assert len(random.log) == ENTRIES
    assert (random.log[0]["passes"], random.log[-1]["passes"]) == (0.0, 990.0)
    assert random.architecture == architecture("darts-binary")["choices"]
    assert random.config["budget.name"] == "smoke"
    assert not any(name.startswith("config") for name in random.record)
    assert random.record["test_accuracy"] == "90.0"
    assert found[trials("random", seeds=4)[3].id].status == "unfinished"


def test_logs_are_shown_without_architectures(store: Store, tmp_path: Path) -> None:
    trial = trials("bats")[0]
    put(store, done(trial, 50.0), [{"passes": 1.0, "choices": {"a": "b"}}])
    (found,) = (v for v in views(store, tmp_path) if v.id == trial.id)
    assert found.log == [{"passes": 1.0}]


@pytest.mark.slow
def test_a_broken_log_or_space_costs_only_itself(store: Store) -> None:
    trial = trials("random")[0]
    (store.folder(trial.id) / "log.jsonl").write_text('{"incumbent": "x", "valid": \n')
    other = trials("bats")[0]
    record = planned(other) | done(other, 50.0)
    put(store, record | {"space": "gone", "architecture": {}})
    assert run(store, "some").exit_code == 0
    folder = store.root.parent.parent / "reports" / "some"
    assert "gone" in (folder / "report.md").read_text()
    assert not (folder / "cells" / f"{other.id}.svg").exists()


def test_work_aside_is_done_in_another_process(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    with aside(lambda: file.write_text(str(os.getpid()))):
        pass
    assert file.read_text() not in ("", str(os.getpid()))


def test_an_error_aside_is_met_here() -> None:
    with pytest.raises(ZeroDivisionError), aside(lambda: 1 / 0):
        pass


def test_an_error_here_ends_the_work_aside(tmp_path: Path) -> None:
    file = tmp_path / "done"

    def work() -> None:
        time.sleep(60)
        file.touch()

    with pytest.raises(ZeroDivisionError), aside(work):
        1 / 0  # noqa: B018
    assert multiprocessing.active_children() == []
    assert not file.exists()


@pytest.mark.slow
def test_figures_are_limited_and_said_to_be(tmp_path: Path) -> None:
    store = Store(tmp_path / "results" / "some")
    for number in range(FIGURED + 1):
        put(store, done(trials("random", budget=f"smoke[passes={3000 + number}]")[0], 50.0))
    folder = tmp_path / "reports" / "some"
    build(store, origin(store), folder)
    assert len(list((folder / "figures").glob("accuracy-*.svg"))) == FIGURED
    said = f"Figures are of the {FIGURED} settings with most runs, those over datasets of the first"
    assert said in (folder / "report.md").read_text()


@pytest.mark.slow
def test_a_complete_report_over_five_datasets(tmp_path: Path) -> None:
    store = Store(tmp_path / "results" / "some")
    datasets = ["digits", "cifar10", "cifar100", "fashion-mnist", "imagefolder:data/x"]
    for number, trial in enumerate(trials("random,darts,dcpnas", datasets=datasets, seeds=5)):
        put(store, done(trial, 50.0 + number % 3 + number / 100))
    front = trials("dcpnas", datasets=datasets)[0]
    record = store.read(front.id) or {}
    put(store, record | {"front_size": 1})
    member = {"architecture": {}, "valid_accuracy": 55.0, "ops": 60.0}
    (store.folder(front.id) / "front.json").write_text(json.dumps([member]))
    folder = tmp_path / "reports" / "some"
    build(store, origin(store), folder)
    found = files(folder)
    assert "figures/critical-darts-binary-cifar10-smoke.pdf" in found
    assert "figures/profile-darts-binary-cifar10-smoke.svg" in found
    assert "Friedman's test of 3 methods on 5 datasets" in found["report.md"].decode()
    if shutil.which("pdflatex"):
        log = compiled(folder, "report.tex")
        assert "Missing character" not in log
