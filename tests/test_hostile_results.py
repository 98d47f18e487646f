"""Results that a stranger made: no code of theirs runs, nothing outside is touched, the others are shown."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from bnas_bench.cli import main
from bnas_bench.core.files import sha256
from bnas_bench.plugins import registry
from bnas_bench.runs.record import encode
from bnas_bench.runs.store import Store
from tests.helpers.records import done, put, trials, unchecked

PLANTED = """
from pathlib import Path
Path("it-ran").touch()
from bnas_bench.search.space import SearchSpace; from bnas_bench.search.strategy import SearchStrategy
class Evil(SearchStrategy): pass
class Space(SearchSpace): pass
"""


def invoke(*arguments: object) -> Result:
    found = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
    return found


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_FILES", {})
    store = Store(Path("results/some"))
    for trial in trials("random", seeds=2):
        put(store, done(trial, 90.0 + trial.repetition))
    return store


def spoil(store: Store, **fields: Any) -> str:
    """Change fields of the first trial's record, whose digest is then right again."""
    trial_id = store.ids()[0]
    record = (store.read(trial_id) or {}) | fields
    (store.folder(trial_id) / "record.json").write_bytes(unchecked(record))
    return trial_id


@pytest.mark.sample(1)
@pytest.mark.parametrize("kind", ["method", "space"])
@pytest.mark.parametrize("name", ["evil.py", "evil.py:Evil", "./evil.py:Space", "/abs/evil.py"])
def test_no_code_that_results_name_is_run(store: Store, kind: str, name: str) -> None:
    planted = Path("evil.py").absolute()
    planted.write_text(PLANTED)
    name = name.replace("/abs/evil.py", str(planted))
    arch = json.dumps({"space": name, "choices": {"normal.edge(0,2)": "none"}}).encode()
    config = {"method": {"name": name}, "space": {"name": name}, "dataset": "digits", "budget": {}}
    trial_id = spoil(store, **{kind: name, "config": config, "arch_sha256": sha256(arch)})
    (store.folder(trial_id) / "arch.json").write_bytes(arch)
    folder = store.folder(trial_id)
    assert name in invoke("table", "some").output
    for command in (["table", "some", "--json"], ["status", "some"], ["report", "some"]):
        assert invoke(*command).exit_code == 0
    for what in (folder, folder / "arch.json"):
        for command in (["show"], ["measure"], ["latency"], ["pack", "-o", "net.bnn"]):
            assert invoke(*command, what).exit_code == 2
    (folder / "record.json").unlink()
    said = invoke("show", folder / "arch.json").output
    assert "nothing that came with results is run" in said
    assert not Path("it-ran").exists()
    invoke("check", "evil.py:Evil")  # a person names it: now it is run
    assert Path("it-ran").exists()


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    "spoilt",
    [
        {"test_accuracy": float("nan")},
        {"test_accuracy": "91.2"},
        {"test_accuracy": None},
        {"ops": 5},
        {"method_options": []},
        {"seed": "first"},
        {"config": {}},
        {"latency_ms": -1},
        {"notes": "[" * 10},
    ],
)
def test_a_record_that_is_none_is_damaged_and_the_others_are_shown(
    store: Store, spoilt: dict[str, Any]
) -> None:
    trial_id, good = spoil(store, **spoilt), store.ids()[1]
    table = invoke("table", "some")
    assert "91.00" in table.output
    assert f"{trial_id} is damaged and not in the table: " in table.output
    assert json.loads(invoke("table", "some", "--json").stdout)[0]["n"] == 1
    told = invoke("status", "some").output.splitlines()
    assert told[0].startswith(f"damaged  {trial_id}  ")
    assert told[1].startswith(f"ok       {good}  ")
    assert invoke("report", "some").exit_code == 0
    listed = Path("reports/some/tables/missing.csv").read_text()
    assert "damaged" in listed
    assert trial_id in listed


def test_an_edited_accuracy_is_seen(store: Store) -> None:
    trial_id = store.ids()[0]
    file = store.folder(trial_id) / "record.json"
    file.write_bytes(file.read_bytes().replace(b"90.0", b"99.0"))
    assert f"damaged  {trial_id}  " in invoke("status", "some").output


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    "name", ["predictions.safetensors", "log.jsonl", "front.json", "arch.json"]
)
def test_a_report_shows_nothing_that_its_record_does_not_vouch_for(store: Store, name: str) -> None:
    trial_id = store.ids()[0]
    record = store.read(trial_id) or {}
    field = f"{name.partition('.')[0]}_sha256"
    store.write(trial_id, {name: b"{}"}, record | {field: sha256(b"{}")})
    assert invoke("report", "some").exit_code == 0
    assert not Path("reports/some/tables/missing.csv").exists()
    (store.folder(trial_id) / name).write_bytes(b"{ }")
    assert invoke("report", "some").exit_code == 0
    assert f"{name} is truncated or altered" in Path("reports/some/tables/missing.csv").read_text()


def test_a_record_of_a_linked_folder_is_damaged(store: Store, tmp_path: Path) -> None:
    trial_id = store.ids()[0]
    store.folder(trial_id).rename(tmp_path / "elsewhere")
    store.folder(trial_id).symlink_to(tmp_path / "elsewhere")
    assert f"damaged  {trial_id}  " in invoke("status", "some").output
    assert "is a link" in invoke("table", "some").output


@pytest.mark.parametrize("name", ["", "record.json", "arch.json", "error.txt"])
def test_what_stands_in_a_trials_way_is_set_aside_and_stops_no_other(
    store: Store, name: str
) -> None:
    trial_id = store.ids()[0]
    folder = store.folder(trial_id)
    shutil.rmtree(folder)
    if name:
        (folder / name).mkdir(parents=True)
    else:
        folder.touch()
    assert store.state(trial_id).word == "damaged"
    aside = store.retire(trial_id, "damaged", keep_checkpoints=True)
    assert aside.exists()
    assert not folder.exists()


@pytest.mark.parametrize("name", ["2026/june", "../up", "/abs", ".", "..", "", "a\nb", "a" * 201])
def test_a_name_of_results_is_one_folders(tmp_path: Path, name: str) -> None:
    before = sorted(tmp_path.parent.iterdir())
    command = ("run", "--method", "random", "--budget", "smoke", "--results", tmp_path / "out")
    found = invoke(*command, "--name", name)
    assert found.exit_code == 2
    assert len(found.stderr.splitlines()) == 1
    assert sorted(tmp_path.parent.iterdir()) == before
    assert list(tmp_path.iterdir()) == []


def test_a_record_is_written_as_it_is_read(store: Store) -> None:
    for trial_id in store.ids():
        file = store.folder(trial_id) / "record.json"
        assert encode(store.read(trial_id) or {}) == file.read_bytes()
