"""What is said of trials from outside, and taking them away."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bnas_bench.cli.streams import Output
from bnas_bench.runs import seen
from bnas_bench.runs.progress import Event
from bnas_bench.runs.seen import Sight
from bnas_bench.runs.store import Store
from bnas_bench.runs.trial import Trial
from tests.helpers.cli import fail, invoke, succeed
from tests.helpers.records import done, failed, put, trials

CURVE = [(100.0, 0.25), (900.0, 0.5)]


@pytest.fixture
def grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Store, list[Trial]]:
    """Of six trials one runs, one waits, one was killed, one by a signal, one failed, one is done."""
    monkeypatch.chdir(tmp_path)
    store, six = Store("results/local"), trials("random", seeds=6)
    seen.plan(store, [trial.id for trial in six])
    progress = Event(six[0].id, "progress", "12 of 30 passes", None, "search", 0.4, CURVE)
    for trial in (six[0], six[2]):
        Sight(store, trial.id).tell(progress)
    put(store, failed(six[3], "its process was ended by SIGTERM") | {"signal": "SIGTERM"})
    put(store, failed(six[4], "Diverged: the loss is nan"))
    put(store, done(six[5], 95.0, seconds=118.0, when="2026-01-01T00:00:00+00:00"))
    return store, six


def test_of_a_record_no_more_is_kept_than_is_shown(grid: tuple[Store, list[Trial]]) -> None:
    """A hundred thousand whole records take three gigabytes."""
    store, six = grid
    (ended,) = (one for one in seen.look(store) if one.word == "ok")
    record = store.read(six[5].id)
    assert record is not None
    assert ended.record is not None
    assert ended.record.items() <= (record | {"ops": {"nas-bnn": record["ops"]["nas-bnn"]}}).items()
    assert {"test_accuracy", "seconds", "ops"} <= ended.record.keys() <= {*seen.SHOWN, "ops"}


def states() -> dict[str, dict[str, object]]:
    return {one["id"]: one for one in json.loads(succeed("status", "--json"))}


def test_what_runs_waits_was_killed_and_failed_is_told_apart(
    grid: tuple[Store, list[Trial]],
) -> None:
    store, six = grid
    lock = store.lock(six[0].id, 0.0)
    assert lock is not None
    words = ["running", "waiting", "killed", "killed", "failed", "ok"]
    with lock:
        found = states()
        assert [found[trial.id]["state"] for trial in six] == words
        assert found[six[0].id] | {"age_seconds": 0} == {
            "id": six[0].id,
            "state": "running",
            "phase": "search",
            "share": 0.4,
            "progress": "12 of 30 passes",
            "age_seconds": 0,
            "reason": None,
            "test_accuracy": None,
            "seconds": None,
        }
        assert 0 <= found[six[0].id]["age_seconds"] < 60  # type: ignore[operator]
        *lines, counts = succeed("status").splitlines()
    assert [line.split()[:2] for line in lines] == [
        [word, six[k].id] for k, word in zip(range(6), words, strict=True)
    ]
    assert lines[0].split(None, 2)[2].startswith("search 40%, for about ") is False
    assert "search 40%, for 10 s" in lines[0]
    assert "search 40%, 10 s ago" in lines[2]
    assert "Diverged: the loss is nan" in lines[4]
    assert "95.0 %, 0.05 M OPs, 1 min 58 s, " in lines[5]
    assert counts == "1 running, 1 waiting, 2 killed, 1 failed, 1 ok"
    assert states()[six[0].id]["state"] == "killed"


@pytest.mark.usefixtures("grid")
def test_a_line_is_cut_at_a_fact_where_the_terminal_is_narrow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Output, "isatty", lambda _: True)
    monkeypatch.setenv("COLUMNS", "80")
    lines = succeed("status").splitlines()
    assert lines[5].endswith("  95.0 %, 0.05 M OPs")
    assert lines[4].endswith("  Diverged: the loss is nan")
    monkeypatch.setenv("COLUMNS", "140")
    assert "95.0 %, 0.05 M OPs, 1 min 58 s, " in succeed("status").splitlines()[5]


def test_looking_disturbs_nobody(grid: tuple[Store, list[Trial]]) -> None:
    store, six = grid
    before = sorted(store.root.rglob("*"))
    states()
    assert sorted(store.root.rglob("*")) == before
    lock = store.lock(six[0].id, 0.0)
    assert lock is not None
    lock.release()


def test_a_progress_file_of_another_form_says_nothing(grid: tuple[Store, list[Trial]]) -> None:
    store, six = grid
    for text in ("", "[]", '{"began": "x"}', '{"curve": NaN}', "\x00"):
        (store.trials / f".{six[2].id}.progress").write_text(text)
        (store.root / seen.PLANNED).write_text(text)
        assert states()[six[4].id]["state"] == "failed"


def test_a_trial_that_ends_leaves_no_progress(grid: tuple[Store, list[Trial]]) -> None:
    store, six = grid
    sight = Sight(store, six[1].id)
    sight.tell(Event(six[1].id, "progress", "", None, "search", 0.4))
    assert states()[six[1].id]["state"] == "killed"
    sight.forget()
    assert states()[six[1].id]["state"] == "waiting"


def test_trials_are_removed_by_id_by_state_and_all(grid: tuple[Store, list[Trial]]) -> None:
    store, six = grid
    result = invoke("remove", "local", "--state", "failed")
    assert result.exit_code == 1  # nobody has said yes
    assert len(states()) == 6
    assert "removed 1 trials" in succeed("remove", "local", "--state", "failed", "--yes")
    assert six[4].id not in states()
    assert "unknown trial of local 'x'" in fail("remove", "local", "x", "--yes")
    succeed("remove", "local", six[1].id, six[2].id, "--yes")
    assert {*states()} == {six[k].id for k in (0, 3, 5)}
    lock = store.lock(six[0].id, 0.0)
    assert lock is not None
    with lock:
        assert "is running: stop the command" in fail("remove", "local", "--yes")
    succeed("remove", "local", "--yes")
    assert not store.root.exists()


def test_removing_follows_no_link(grid: tuple[Store, list[Trial]], tmp_path: Path) -> None:
    store, six = grid
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    store.folder(six[1].id).symlink_to(tmp_path / "mine")
    succeed("remove", "local", six[1].id, "--yes")
    assert (tmp_path / "mine" / "file").exists()
    assert not store.folder(six[1].id).is_symlink()


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("bnas-bench run --method random,dcp", "plain,random,dcpnas"),
        ("bnas-bench run --space darts-b", "plain,darts-binary"),
        ("bnas-bench status loc", "plain,local"),
        ("bnas-bench papers dcp-nas/table-4", "plain,dcp-nas/table-4"),
        ("bnas-bench budgets qui", "plain,quick"),
        ("bnas-bench methods cpn", "plain,cpnas"),
    ],
)
@pytest.mark.usefixtures("grid")
def test_a_shell_completes_names(words: str, completed: str) -> None:
    asked = {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    out = subprocess.run(
        [sys.executable, "-c", "from bnas_bench.cli import main; main(prog_name='bnas-bench')"],
        env=os.environ | asked | {"_BNAS_BENCH_COMPLETE": "bash_complete"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert completed in out
