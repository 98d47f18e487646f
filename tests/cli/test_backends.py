"""`run --backend` and `--only`: what they refuse, what they submit, what a task runs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bnas_bench.cli import backends
from bnas_bench.runs import ray_cluster, slurm
from bnas_bench.runs.seen import planned
from bnas_bench.runs.store import Store
from tests.helpers.cli import fail, succeed
from tests.helpers.records import done, put, trials

RUN = ("run", "--method", "random", "--budget", "smoke", "--seeds", 2)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What SLURM is asked; there is none."""
    calls: list[tuple[str, ...]] = []

    def call(command: list[str], text: str | None = None) -> str:
        calls.append((*command, text or ""))
        return {"sbatch": "12\n", "scontrol": "MaxArraySize = 1001\n"}.get(command[0], "")

    monkeypatch.setattr(slurm, "_call", call)
    monkeypatch.setattr(sys, "argv", ["bnas-bench", *map(str, RUN)])
    return calls


def test_trials_are_submitted_and_looked_up(tmp_path: Path, asked: list[tuple[str, ...]]) -> None:
    first, second = trials("random", seeds=2)
    store = Store(tmp_path / "local")
    put(store, done(first, 90.0))
    options = ("--backend", "slurm", "--sbatch", "--partition=gpu --time=1:00:00", "--jobs", 3)
    said = succeed(*RUN, "--results", tmp_path, *options)
    assert said.startswith("submitted as 12: bnas-bench status local says how far they are")
    _, (*command, script) = asked
    assert command[0] == "sbatch"
    assert {"--array=0-0%3", "--partition=gpu", "--time=1:00:00"} <= {*command}
    assert '--backend local --jobs 1 --no-page --only "$id"' in script
    assert list(planned(store)) == [first.id, second.id]
    (tasks,) = (store.root / "slurm").glob("*[0-9a-f].jsonl")
    assert tasks.read_text() == f'{{"id": "{second.id}"}}\n'
    assert succeed("cancel", "local", "--results", tmp_path) == "cancelled 12\n"
    assert asked[-1][:4] == ("scancel", "--me", "--name=bnas-local", "12")


def test_nothing_is_submitted_where_all_is_over(
    tmp_path: Path, asked: list[tuple[str, ...]]
) -> None:
    for trial in trials("random", seeds=2):
        put(Store(tmp_path / "local"), done(trial, 90.0))
    said = succeed(*RUN, "--results", tmp_path, "--backend", "slurm")
    assert said == "all 2 trials are over: bnas-bench table local prints them\n"
    assert asked == []


def test_one_trial_of_a_grid(tmp_path: Path) -> None:
    first, second = trials("random", seeds=2)
    listed = succeed(*RUN, "--results", tmp_path, "--only", second.id, "--dry-run")
    assert second.id in listed
    assert first.id not in listed
    assert "unknown trial of this grid 'mine'" in fail(*RUN, "--only", "mine")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--sbatch", "--time=1"), "--sbatch gives options to SLURM alone: add --backend slurm"),
        (("--backend", "slurm"), "there is no SLURM here (scontrol is not on the PATH)"),
        (("--ray-address", "h:1"), "--ray-address names a cluster of Ray: add --backend ray"),
        (("--backend", "ray"), "--backend ray finds no Ray here"),
        (
            ("--backend", "ray", "--device", "cuda:1"),
            "'cuda:1' is one machine's GPU: write --device cuda",
        ),
    ],
)
def test_what_makes_no_sense_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], sentence: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "ray", None)
    assert sentence in fail(*RUN, "--results", tmp_path / "results", *options)


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        (
            "ray://head:10001",
            "'ray://head:10001' is no address of a Ray cluster: write HOST:PORT, or",
        ),
        (
            "127.0.0.1:1",
            "no Ray cluster can be joined at '127.0.0.1:1' (no answer within 1 seconds)",
        ),
    ],
)
def test_an_address_that_is_none_or_does_not_answer_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, sentence: str
) -> None:
    pytest.importorskip("ray")
    monkeypatch.setattr(ray_cluster, "ANSWER", 1.0)
    options = ("--backend", "ray", "--ray-address", address)
    assert sentence in fail(*RUN, "--results", tmp_path / "results", *options)
    assert not (tmp_path / "results").exists()


def test_a_grid_says_which_cluster(tmp_path: Path) -> None:
    file = tmp_path / "grid.toml"
    asked = (
        *RUN,
        "--backend",
        "ray",
        "--ray-address",
        "head:6379",
        "--dry-run",
        "--results",
        tmp_path,
    )
    succeed(*asked, "--save-grid", file)
    assert {'backend = "ray"', 'ray-address = "head:6379"'} <= {*file.read_text().splitlines()}
    assert succeed("run", "--grid", file, "--backend", "local", "--dry-run", "--results", tmp_path)


def test_a_task_with_other_code_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(slurm.CODE, "0123456789ab")
    said = fail(*RUN, "--results", tmp_path / "results", "--only", trials("random")[0].id)
    assert "has other code, plug-ins or versions" in said
    assert "0123456789ab" in said
    assert not (tmp_path / "results").exists()


def test_a_task_that_is_started_again_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    where = backends.Where(backend="local", ray_address=None, sbatch=(), only="a")
    how = backends.How(rerun=True)
    assert where.how(how).rerun
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert not where.how(how).rerun
