"""The store: whole files or none, nothing lost, one process in a trial."""

from __future__ import annotations

import errno
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from bnas_bench.core.errors import BenchError, Damaged
from bnas_bench.core.files import Unwritable, canonical, set_aside, sha256, write_atomically
from bnas_bench.runs.record import NoRecord, decode, encode
from bnas_bench.runs.store import SHOWN, Store
from tests.helpers.records import done, trials, unchecked

RECORD = json.loads(json.dumps(done(trials("random")[0], 12.5) | {"id": "trial"}))


def nested(depth: int) -> Any:
    return {"x": nested(depth - 1)} if depth else 0


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_a_record_is_read_as_it_was_written(store: Store) -> None:
    record = RECORD | {"arch_sha256": sha256(b"{}")}
    store.write("trial", {"arch.json": b"{}"}, record)
    assert store.folder("trial") == store.root / "trials" / "trial"
    assert names(store.folder("trial")) == ["arch.json", "record.json"]
    assert store.read("trial") == record
    store.verify(record)


def test_a_trial_without_a_record_is_not_over(store: Store) -> None:
    assert store.read("trial") is None
    assert store.ids() == []
    write_atomically(store.folder("trial") / "search.ckpt", b"")
    assert store.read("trial") is None
    assert store.ids() == ["trial"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "cannot be read"),
        (b'{"schema": 2, "id": "trial", "sta', "cannot be read"),
        (b"\x00\xff", "cannot be read"),
        (b"[" * 100_000, "cannot be read"),
        (b'{"schema": 2, "id": ' + b"9" * 5000, "cannot be read"),
        (b'{"schema": 2, "id": "trial", "status": "ok", "test_accuracy": NaN}', "cannot be read"),
        (b"[]", "is no record"),
        (b'{"id": "trial"}', "is no record"),
        (b'{"schema": 2, "id": "trial", "status": "fine"}', "is no record"),
        (b'{"schema": 1, "id": "trial", "status": "ok"}', "has schema 1 where 2 is known"),
        (b'{"schema": 2, "id": "trial", "status": "ok"}', "its digest is another"),
        (encode(RECORD | {"id": "trial2"}), "is the record of another trial, 'trial2'"),
        (encode(RECORD).replace(b"12.5", b"92.5"), "its digest is another"),
        (encode(RECORD)[:-1], "its digest is another"),
        (unchecked(RECORD | {"test_accuracy": "91.2"}), r"lacks .*'test_accuracy' is '91.2'"),
        (unchecked(RECORD | {"test_accuracy": float("nan")}), "cannot be read"),
        (unchecked(RECORD | {"test_accuracy": True}), "'test_accuracy' is True"),
        (unchecked(RECORD | {"test_accuracy": 101}), "'test_accuracy' is 101"),
        (unchecked(RECORD | {"classes": 0}), "'classes' is 0"),
        (unchecked(RECORD | {"ops": {}}), "'ops' is {}"),
        (unchecked(RECORD | {"method": 3}), "'method' is 3"),
        (unchecked(RECORD | {"learned": {"supernets": {}}}), "'learned' is"),
        (
            unchecked(RECORD | {"learned": {"chance": 10, "steps": {}, "supernets": {"w": {}}}}),
            "'learned' is",
        ),
        (unchecked(RECORD | {"config": {"method": {}}}), r"'config\.space' is None"),
        (unchecked({k: v for k, v in RECORD.items() if k != "seed"}), "no 'seed'"),
        (unchecked(RECORD | {"reason": "\x1b[2J"}), "characters that no text has"),
        (unchecked(RECORD | {"reason": "\ud800"}), "characters that no text has"),
        (unchecked(RECORD | {"notes": nested(100)}), "nested too deeply"),
        (unchecked(RECORD | {"notes": {str(n): 0 for n in range(9999)}}), "more than 5,000 fields"),
    ],
)
def test_a_damaged_or_foreign_record_is_named(store: Store, text: bytes, message: str) -> None:
    store.write("good", {}, RECORD | {"id": "good"})
    path = store.folder("trial") / "record.json"
    path.parent.mkdir()
    path.write_bytes(text)
    with pytest.raises(Damaged, match=message) as error:
        store.read("trial")
    assert str(path) in str(error.value)
    assert [store.state(trial).word for trial in store.ids()] == ["ok", "damaged"]


def test_no_bit_of_a_record_flips_unnoticed() -> None:
    whole = encode(RECORD)
    assert decode(whole) == RECORD
    for place in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        with pytest.raises(NoRecord):
            decode(bytes(flipped))


def test_what_a_terminal_would_obey_does_not_reach_a_record(store: Store) -> None:
    record = RECORD | {"reason": "red\x1b[31m \x07\x7f\x9b and C:\\u001b\\r"}
    store.write("trial", {}, record)
    read = store.read("trial") or {}
    assert read["reason"] == "red?[31m ??? and C:\\u001b\\r"


@pytest.mark.parametrize("place", ["trial", "record.json", "arch.json"])
def test_links_in_results_are_not_followed(store: Store, tmp_path: Path, place: str) -> None:
    """Each leads to where all is as it should be."""
    record = RECORD | {"arch_sha256": sha256(b"{}")}
    elsewhere = Store(tmp_path / "elsewhere")
    elsewhere.write("trial", {"arch.json": b"{}", "search.ckpt": b"x", ".a.tmp": b"y"}, record)
    target = elsewhere.folder("trial")
    if place == "trial":
        store.trials.mkdir(parents=True)
        store.folder("trial").symlink_to(target)
    else:
        store.write("trial", {"arch.json": b"{}"}, record)
        (store.folder("trial") / place).unlink()
        (store.folder("trial") / place).symlink_to(target / place)
    before = names(target)
    assert store.state("trial", SHOWN).word == "damaged"
    store.remove_checkpoints("trial")
    if place == "trial":
        with pytest.raises(BenchError, match="it is a link"):
            store.write("trial", {}, record)
    store.retire("trial", "damaged", keep_checkpoints=True)
    store.write("trial", {}, record)
    assert names(target) == before
    assert elsewhere.state("trial", SHOWN).record == record


def test_links_in_place_of_what_is_about_to_be_written(store: Store, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("mine")
    store.folder("trial").mkdir(parents=True)
    for name in ("record.json", "search.ckpt"):
        (store.folder("trial") / name).symlink_to(outside)
    (store.trials / ".trial.lock").symlink_to(tmp_path / "made")
    with pytest.raises(Damaged, match=r"\.trial\.lock is in the way of the trial's claim"):
        store.lock("trial", 0)
    store.write("trial", {}, RECORD)
    store.remove_checkpoints("trial")
    assert outside.read_text() == "mine"
    assert names(tmp_path) == ["outside", "results"]
    assert store.read("trial") == RECORD


@pytest.mark.parametrize("level", ["root", "trials"])
def test_a_linked_folder_of_results_is_not_written_to(
    store: Store, tmp_path: Path, level: str
) -> None:
    link = getattr(store, level)
    link.parent.mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BenchError, match="is a link, and nothing is written through one"):
        store.lock("trial", 0)
    assert names(tmp_path / "elsewhere") == []


@pytest.mark.parametrize("name", ["record.json", "arch.json"])
def test_a_pipe_in_place_of_a_file_keeps_nobody_waiting(store: Store, name: str) -> None:
    store.write("trial", {"arch.json": b"{}"}, RECORD | {"arch_sha256": sha256(b"{}")})
    (store.folder("trial") / name).unlink()
    os.mkfifo(store.folder("trial") / name)
    assert "is no file" in str(store.state("trial", SHOWN).reason)


def test_a_rename_is_safe_once_the_folders_are_on_the_disk(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    real = os.fsync

    def watch(fd: int) -> None:
        synced.append(Path(f"/proc/self/fd/{fd}").readlink().name)
        real(fd)

    monkeypatch.setattr(os, "fsync", watch)
    write_atomically(store.folder("trial") / "record.json", b"")
    parents = [store.root.parent.parent.name, "results", "mine", "trials"]
    *before, file, after = synced
    assert (before, after) == (parents, "trial")
    assert re.fullmatch(r"\.record\.json\.[0-9a-f]{16}\.tmp", file)


@pytest.mark.parametrize("change", [b"", b"{ }", None])
def test_a_file_that_is_not_the_records_is_named(store: Store, change: bytes | None) -> None:
    record = RECORD | {"weights_sha256": sha256(b"weights")}
    store.write("trial", {"weights.safetensors": b"weights"}, record)
    file = store.folder("trial") / "weights.safetensors"
    if change is None:  # taking large files away is the user's right
        file.unlink()
        store.verify(record)
        return
    file.write_bytes(change)
    with pytest.raises(Damaged, match=r"weights\.safetensors is truncated or altered"):
        store.verify(record)


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_is_one_sentence_and_leaves_no_half_record(
    store: Store, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    store.folder("trial").mkdir(parents=True)
    monkeypatch.setattr(os if step == "fsync" else Path, step, full)
    with pytest.raises(Unwritable) as error:
        store.write("trial", {}, RECORD)
    assert str(error.value) == (
        f"cannot write {store.folder('trial') / 'record.json'}: No space left on device; "
        "make room there, or choose another folder for the results"
    )
    assert names(store.folder("trial")) == []


def test_a_folder_that_takes_no_files_is_one_sentence() -> None:
    store = Store(Path("/proc/nowhere"))
    with pytest.raises(Unwritable, match=r"cannot write /proc/nowhere/trials/\.trial\.lock: "):
        store.lock("trial", 0)
    with pytest.raises(Unwritable, match="cannot write /proc/nowhere/trials/trial/record"):
        store.write("trial", {}, RECORD)


def test_the_record_comes_last(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    replace = Path.replace

    def watch(self: Path, target: Path) -> Path:
        written.append(target.name)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", watch)
    store.write("trial", {"a": b"", "b": b""}, RECORD)
    assert written == ["a", "b", "record.json"]


def test_what_is_no_number_does_not_reach_a_record(store: Store) -> None:
    with pytest.raises(ValueError, match="JSON"):
        store.write("trial", {}, RECORD | {"test_accuracy": float("nan")})
    assert store.read("trial") is None


def test_a_retired_trial_is_moved_and_numbered(store: Store) -> None:
    for text in ("one", "two"):
        store.write("trial", {"error.txt": text.encode(), "train.ckpt": b""}, RECORD)
        store.retire("trial", "old", keep_checkpoints=False)
    assert names(store.trials) == ["trial.old-1", "trial.old-2"]
    assert (store.trials / "trial.old-1" / "error.txt").read_text() == "one"
    assert names(store.trials / "trial.old-2") == ["error.txt", "record.json", "train.ckpt"]
    assert store.ids() == []


def test_a_retired_trial_can_leave_its_checkpoints(store: Store) -> None:
    store.write("trial", {"train.ckpt": b"x", "log.jsonl": b""}, RECORD)
    aside = store.retire("trial", "damaged", keep_checkpoints=True)
    assert aside == store.trials / "trial.damaged-1"
    assert names(aside) == ["log.jsonl", "record.json"]
    (left,) = store.work("trial").iterdir()
    assert names(left) == ["train.ckpt"]
    assert not store.folder("trial").exists()
    assert store.state("trial").word == "unfinished"


def test_a_name_that_is_taken_is_not_overwritten(tmp_path: Path) -> None:
    for text in ("first", "second"):
        (tmp_path / "a").write_text(text)
        set_aside(tmp_path / "a", "damaged")
    assert (tmp_path / "a.damaged-1").read_text() == "first"
    assert (tmp_path / "a.damaged-2").read_text() == "second"


def test_equal_values_have_equal_text() -> None:
    assert canonical({"b": (1, 2.5), "a": None}) == canonical({"a": None, "b": [1, 2.5]})
    assert json.loads(canonical({"a": 0.1 + 0.2})) == {"a": 0.30000000000000004}
