"""Ray, really run: workers and nodes killed, with and without a folder that all see; and what is refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bnas_bench.runs.store import Record, Store
from tests.helpers.ray import cluster, niceness
from tests.helpers.slurm import until
from tests.helpers.trials import TOY, lasting

ROOT = Path(__file__).parents[2]
COMMAND = Path(sys.executable).with_name("bnas-bench")
GRID = (
    *("run", "--method", f"{TOY}:ToyMethod[pause=0.8]", "--space", f"{TOY}:ToySpace"),
    *("--budget", "smoke[passes=600,epochs=2]", "--seeds", "8", "--name", "mine"),
    *("--device", "cpu", "--no-page"),
)


def records(store: Store) -> dict[str, Record]:
    found = {trial_id: store.read(trial_id) for trial_id in store.ids()}
    return {trial_id: record for trial_id, record in found.items() if record}


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the trials come to on this machine."""
    folder = tmp_path_factory.mktemp("local")
    command = [COMMAND, *GRID, "--results", folder]
    subprocess.run([*map(str, command)], env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True)
    return {trial_id: lasting(one) for trial_id, one in records(Store(folder / "mine")).items()}


@pytest.mark.slow
@pytest.mark.parametrize("seen", [True, False], ids=["shared", "unshared"])
def test_eight_trials_are_recorded_once_whatever_happens_to_workers_and_nodes(
    local: dict[str, str], seen: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray")
    share = {"BNAS_BENCH_CHECKPOINT_SHARE": "1e9"}  # after every epoch
    store = Store(tmp_path / "results" / "mine")
    room = os.open(tmp_path, os.O_RDONLY)
    # A folder of the command's own: of the workers none has this file open.
    results = tmp_path / "results" if seen else Path(f"/proc/self/fd/{room}/results")

    def searching() -> set[str]:
        return {path.parts[-3] for path in store.trials.glob(".*.work/*/search.ckpt")}

    with cluster(monkeypatch, PYTHONPATH=str(ROOT), **share) as here:
        first, second = here.nodes
        command = [*GRID, "--results", str(results), "--backend", "ray"]
        run = subprocess.Popen(
            [str(COMMAND), *command, "--ray-address", here.address],
            pass_fds=[room],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=tmp_path,
        )
        try:
            until(lambda: run.poll() is not None or len(searching()) == 2, 900)
            assert run.poll() is None, run.communicate()[0]
            (worker,) = here.workers(first)
            assert niceness(worker) == 0
            os.kill(worker, signal.SIGKILL)
            until(lambda: run.poll() is not None or len(records(store)) >= 2, 900)
            until(lambda: run.poll() is not None or len(searching()) == 2, 900)
            here.kill(second)
            said, _ = run.communicate(timeout=1200)
        finally:
            run.kill()
            os.close(room)
    assert run.returncode == 0, said
    assert ("does not see" in said) is not seen
    found = records(store)
    assert {trial_id: lasting(record) for trial_id, record in found.items()} == local
    ends = [each["ended"] for record in found.values() for each in record["attempts"]]
    assert sorted(ends) == ["lost"] * 2 + ["ok"] * 8
    assert [path.name for path in store.root.iterdir() if path.name.startswith(".")] == []
    assert list(store.trials.glob(".*")) == []
