"""A worker of Ray in this process: what it is told, what it gives back, what it refuses. No Ray is needed."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

import pytest

from bnas_bench.core.budgets import BUDGETS
from bnas_bench.core.errors import Damaged
from bnas_bench.plugins.making import choose
from bnas_bench.plugins.spec import parse_spec, resolve_budget
from bnas_bench.runs import ray_worker
from bnas_bench.runs.attempt import Attempt
from bnas_bench.runs.code import code_of
from bnas_bench.runs.grid import run_trials
from bnas_bench.runs.ray_worker import Worker
from bnas_bench.runs.store import Store
from bnas_bench.runs.travel import Reply, describe, trial_of
from bnas_bench.runs.trial import Trial, judged_by_tables
from tests.helpers.trials import ALONE, left, toy_trial

TRIAL = toy_trial(resolve_budget(parse_spec("smoke[passes=300,epochs=1]"), BUDGETS))
LIE = "0123456789ab"


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where workers keep what they do not share."""
    (folder := tmp_path / "scratch").mkdir()
    monkeypatch.setattr(ray_worker.tempfile, "tempdir", str(folder))
    return folder


def worker(root: Path, probe: tuple[str, str] = ("probe", "here"), **told: Any) -> Worker:
    trial = told.pop("trial", TRIAL)
    plugins = [(plugin.kind, plugin.name) for plugin in (trial.method, trial.space)]
    more = {"folder": str(Path.cwd()), "root": str(root), "probe": probe, "plugins": plugins}
    more |= {"code": code_of([trial]), "device": "cpu", "threads": 1, "data": "data"}
    more |= {"devices": 1, "batch_norm": "own"}
    return Worker(json.dumps(more | told))


def begin(here: Worker, token: str, trial: Trial = TRIAL, **told: Any) -> None:
    more = {"trial": describe(trial), "code": code_of([trial]), "token": token, "files": []}
    here.begin(json.dumps(more | told))


def replies(here: Worker) -> list[Reply]:
    """All that the worker says until the attempt ends, as the command reads it."""
    found = []
    while not (found and found[-1].end):
        found.append(Reply.decode(here.next(leave=False)))
    return found


def whole(root: Path) -> dict[str, Any]:
    """What the trial leaves on one machine."""
    list(run_trials([TRIAL], root, ALONE))
    return left(Store(root), TRIAL)


def test_a_worker_that_sees_the_results_works_in_them(tmp_path: Path, scratch: Path) -> None:
    store = Store(tmp_path / "results")
    attempt = Attempt(store, TRIAL.id, secrets.token_hex(8))
    attempt.prepare()
    (store.root / "probe").write_text("here")
    here = worker(store.root)
    assert json.loads(here.hello()) | {"host": "", "pid": 0} == {
        "host": "",
        "pid": 0,
        "sees": True,
        "wrong": "",
    }
    begin(here, attempt.token)
    *_, last = replies(here)
    assert (last.end, last.recorded, last.files) == (["exited", 0], True, {})
    assert left(store, TRIAL) == whole(tmp_path / "local")
    assert list(scratch.glob("bnas-bench-ray-*")) == []


def test_what_a_worker_without_the_results_saves_is_the_commands_to_write(
    tmp_path: Path, scratch: Path
) -> None:
    store = Store(tmp_path / "results")
    attempt = Attempt(store, TRIAL.id, secrets.token_hex(8))
    attempt.prepare()
    here = worker(tmp_path / "nowhere")
    assert not json.loads(here.hello())["sees"]
    begin(here, attempt.token)
    *_, last = replies(here)
    assert (last.end, last.recorded) == (["exited", 0], True)
    assert store.read(TRIAL.id) is None
    attempt.adopt(last.files)
    assert left(store, TRIAL) == whole(tmp_path / "local")
    assert list(scratch.glob("bnas-bench-ray-*")) == []
    altered = last.files | {"arch.json": b"{}"}
    with pytest.raises(Damaged, match="altered"):
        attempt.adopt(altered)
    with pytest.raises(Damaged, match="no record"):
        attempt.adopt({})


def test_an_attempt_goes_on_where_the_one_before_was_lost(tmp_path: Path) -> None:
    """Its checkpoints come from a worker that is gone, by way of the command's folder."""
    trial = toy_trial(TRIAL.budget, meddle="os._exit(255)", meddle_at=-1)
    store = Store(tmp_path / "results")
    attempt = Attempt(store, trial.id, secrets.token_hex(8))
    attempt.prepare()
    first = worker(tmp_path / "nowhere", trial=trial)
    first.hello()
    begin(first, attempt.token, trial)
    for reply in replies(first):
        attempt.receive(reply.files, reply.gone)
    assert reply.end is not None
    assert reply.end[0] == "lost"
    second = worker(tmp_path / "nowhere", trial=trial)
    second.hello()
    files = {path.name: path.read_bytes() for path in attempt.folder.iterdir()}
    told = {"trial": describe(trial), "code": code_of([trial]), "token": "b", "files": [*files]}
    second.begin(json.dumps(told), *files.values())
    for reply in replies(second):
        attempt.receive(reply.files, reply.gone)
    tries = json.loads((attempt.folder / "attempts.ckpt").read_text())
    assert [each["ended"] for each in tries] == ["lost", None]
    first.end()
    second.end()


@pytest.mark.parametrize("probe", [("probe", "there"), ("other", "here")])
def test_results_of_that_name_elsewhere_are_others(tmp_path: Path, probe: tuple[str, str]) -> None:
    (tmp_path / "probe").write_text("here")
    assert not json.loads(worker(tmp_path, probe).hello())["sees"]


def test_a_worker_with_other_code_says_so_and_runs_nothing(tmp_path: Path) -> None:
    said = json.loads(worker(tmp_path, code=LIE).hello())
    assert "has other code, plug-ins or versions" in said["wrong"]
    assert LIE in said["wrong"]
    said = json.loads(worker(tmp_path, plugins=[("method", "nobody")]).hello())
    assert "unknown method 'nobody'" in said["wrong"]
    here = worker(tmp_path)
    here.hello()
    begin(here, "a", code=LIE)
    (reply,) = replies(here)
    assert [event.kind for event in reply.events] == ["stop"]
    changed = describe(TRIAL) | {"root_seed": 1}
    here.begin(json.dumps({"trial": changed, "code": code_of([TRIAL]), "token": "a", "files": []}))
    (reply,) = replies(here)
    assert "is another one here" in reply.events[0].text


def test_a_death_is_recorded_where_it_happened(tmp_path: Path) -> None:
    trial = toy_trial(TRIAL.budget, fault="exit")
    store = Store(tmp_path / "results")
    attempt = Attempt(store, trial.id, "a")
    attempt.prepare()
    here = worker(tmp_path / "nowhere", trial=trial)
    here.hello()
    begin(here, "a", trial)
    *_, last = replies(here)
    assert (last.end, last.recorded) == (["exited", 3], True)
    attempt.adopt(last.files)
    record = store.read(trial.id) or {}
    assert record["reason"] == "its process ended by itself with exit code 3"


@pytest.mark.parametrize("name", ["../x.ckpt", "/x.ckpt", "x.py", ".x.ckpt", "x.ckpt/y", ""])
def test_no_file_of_another_name_is_taken(name: str) -> None:
    for told in ({"files": [name], "gone": []}, {"files": [], "gone": [name]}):
        text = json.dumps({"events": [], "end": None, "recorded": False} | told)
        with pytest.raises(Damaged, match="no file of a trial"):
            Reply.decode([text, *[b"" for _ in told["files"]]])


def test_what_workers_left_who_were_killed_goes(scratch: Path) -> None:
    for name in ("bnas-bench-ray-1-0-gone", "bnas-bench-ray-x", "another"):
        (scratch / name / "trials").mkdir(parents=True)
    worker(scratch).hello()
    assert {path.name for path in scratch.iterdir()} == {"bnas-bench-ray-x", "another"}


@pytest.mark.parametrize(
    ("method", "space", "budget"),
    [
        ("nasbnn[finetune=1+2]", "bnas-201", "smoke"),
        ("dcpnas[lam=0.25]", "darts-binary[zeroise=true]", "quick[recipe.cutout=0,epochs=3]"),
        ("random[form=supernet]", "handcrafted[models=resnet18]", "paper"),
        ("given[path=a b.json]", "bnas-201", "smoke[recipe.precision=W32A32]"),
    ],
)
def test_a_trial_is_the_same_on_the_other_side(method: str, space: str, budget: str) -> None:
    made = resolve_budget(parse_spec(budget), BUDGETS)
    trial = Trial(*choose("method", method), *choose("space", space), "digits", made, 2, 7)
    for one in (trial, *judged_by_tables([trial])):
        other = trial_of(json.loads(json.dumps(describe(one))))
        assert other == one
