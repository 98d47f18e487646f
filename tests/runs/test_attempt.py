"""Attempts: whatever order two of them do things in, a trial has one record, whole and of one of them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Generator
from itertools import combinations
from pathlib import Path

import pytest

from bnas_bench.core.errors import BenchError, Damaged
from bnas_bench.core.files import Unwritable, sha256, write_atomically
from bnas_bench.runs import claims
from bnas_bench.runs.attempt import Attempt
from bnas_bench.runs.store import SHOWN, Store
from tests.helpers.records import done, trials

RECORD = json.loads(json.dumps(done(trials("random")[0], 12.5)))
ID = RECORD["id"]


def begun(store: Store, token: str) -> Attempt:
    return Attempt(store, ID, token).begin("cpu")


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def publish(attempt: Attempt, **fields: object) -> dict[str, object]:
    log = f"of {attempt.token}".encode()
    files = {"log.jsonl": log, "arch.json": b"{}"}
    record = RECORD | {"log_sha256": sha256(log), "arch_sha256": sha256(b"{}"), **fields}
    return attempt.publish(files, record)


def test_an_attempt_is_published_whole(store: Store) -> None:
    attempt = begun(store, "a")
    assert store.state(ID).word == "unfinished"
    assert store.ids() == [ID]
    write_atomically(attempt.folder / "search.ckpt", b"x")
    record = publish(attempt)
    assert names(store.folder(ID)) == ["arch.json", "log.jsonl", "record.json"]
    assert store.state(ID, SHOWN).record == record
    assert names(store.trials) == [ID]
    (tried,) = record["attempts"]  # type: ignore[misc]
    assert (tried["device"], tried["ended"]) == ("cpu", "ok")  # type: ignore[index]


def steps(store: Store, token: str) -> Generator[None, None, None]:
    """What one host does for a trial, and where another may come in between."""
    try:
        attempt = begun(store, token)
        yield
        for name in ("search", "found", "train"):
            write_atomically(attempt.folder / f"{name}.ckpt", token.encode(), make=False)
            (attempt.folder / "found.ckpt").unlink(missing_ok=True)
            yield
        publish(attempt)
    except BenchError:
        pass  # it has been taken over


@pytest.mark.parametrize("first", [*combinations(range(9), 4)])
@pytest.mark.sample(30)
def test_whatever_the_order_of_two_attempts_there_is_one_record(
    store: Store, first: tuple[int, ...]
) -> None:
    """Two hosts that see nothing of each other's locks; each takes over what it finds."""
    works = {token: steps(store, token) for token in "ab"}
    for step in range(10):
        next(works["a" if step in first else "b"], None)
    for work in works.values():
        list(work)
    state = store.state(ID, SHOWN)
    assert state.word == "ok", state.reason
    assert names(store.folder(ID)) == ["arch.json", "log.jsonl", "record.json"]
    assert names(store.trials) == [ID]


def test_no_checkpoint_of_one_who_was_taken_over_gets_in(store: Store) -> None:
    first = begun(store, "a")
    write_atomically(first.folder / "search.ckpt", b"first")
    second = begun(store, "b")
    assert (second.folder / "search.ckpt").read_bytes() == b"first"
    assert not first.beat()
    assert second.beat()
    with pytest.raises(Unwritable, match="No such file"):
        write_atomically(first.folder / "found.ckpt", b"first", make=False)
    with pytest.raises(Unwritable):
        publish(first)
    record = publish(second)
    assert store.read(ID) == record
    ends = [each["ended"] for each in record["attempts"]]  # type: ignore[attr-defined]
    assert ends == ["lost", "ok"]


def test_the_first_that_is_published_stands(store: Store) -> None:
    first, second = begun(store, "a"), Attempt(store, ID, "b")
    second.folder.mkdir()  # which a file system showed to the one host alone
    one = publish(second)
    with pytest.raises(Unwritable):
        publish(first)
    third = begun(store, "c")
    assert publish(third, test_accuracy=99.0) == one == store.read(ID)
    assert names(store.trials) == [ID]


def test_what_an_attempt_wrote_that_was_killed_as_it_was_published_is_not_mixed_in(
    store: Store,
) -> None:
    first = begun(store, "a")
    for name in ("train.ckpt", "train.ckpt.damaged-1", "front.json", "record.json", ".log.1.tmp"):
        write_atomically(first.folder / name, b"of the first")
    second = begun(store, "b")
    assert names(second.folder) == ["attempts.ckpt", "train.ckpt", "train.ckpt.damaged-1"]


def test_checkpoints_of_an_earlier_version_are_taken_over(store: Store) -> None:
    write_atomically(store.folder(ID) / "search.ckpt", b"x")
    assert store.state(ID).word == "unfinished"
    attempt = begun(store, "a")
    assert (attempt.folder / "search.ckpt").read_bytes() == b"x"
    assert publish(attempt) == store.read(ID)


def test_a_record_that_appears_as_the_folder_is_taken_over_is_put_back(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_atomically(store.folder(ID) / "search.ckpt", b"x")
    rename: Callable[[Path, Path], Path] = Path.rename

    def published(self: Path, target: Path) -> Path:
        monkeypatch.setattr(Path, "rename", rename)
        write_atomically(self / "record.json", b"of the other")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", published)
    begun(store, "a")
    assert (store.folder(ID) / "record.json").read_bytes() == b"of the other"


def test_an_attempt_that_leaves_nothing_leaves_no_folder(store: Store) -> None:
    begun(store, "a").close()
    assert names(store.trials) == []
    attempt = begun(store, "a")
    write_atomically(attempt.folder / "search.ckpt", b"x")
    attempt.close()
    assert names(attempt.folder) == ["attempts.ckpt", "search.ckpt"]
    store.remove_checkpoints(ID)
    assert names(store.trials) == []


@pytest.mark.parametrize("what", ["link", "file"])
def test_what_is_in_the_way_of_the_work_is_named(store: Store, tmp_path: Path, what: str) -> None:
    store.trials.mkdir(parents=True)
    if what == "link":
        store.work(ID).symlink_to(tmp_path)
    else:
        store.work(ID).write_text("")
    with pytest.raises(Damaged, match="is in the way of the trial's checkpoints"):
        begun(store, "a")
    store.remove_checkpoints(ID)
    assert names(tmp_path) == ["results"]


def test_a_link_in_the_trials_place_is_not_published_through(store: Store, tmp_path: Path) -> None:
    attempt = begun(store, "a")
    (tmp_path / "elsewhere").mkdir()
    store.folder(ID).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Damaged, match="is a link"):
        publish(attempt)
    assert names(tmp_path / "elsewhere") == []


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'[{"host": 1}]', b"[" * 9999])
def test_a_count_of_attempts_that_is_none_costs_nothing(store: Store, content: bytes) -> None:
    first = begun(store, "a")
    (first.folder / "attempts.ckpt").write_bytes(content)
    assert len(publish(begun(store, "b"))["attempts"]) == 1  # type: ignore[arg-type]


def test_the_seconds_of_a_lost_attempt_end_with_its_last_sign_of_life(store: Store) -> None:
    first = begun(store, "a")
    tries = first.folder / "attempts.ckpt"
    (known,) = json.loads(tries.read_text())
    os.utime(tries, (known["began"] + 90, known["began"] + 90))
    lost, last = publish(begun(store, "b"))["attempts"]  # type: ignore[misc]
    assert lost == {"host": known["host"], "device": "cpu", "seconds": 90.0, "ended": "lost"}
    assert last["seconds"] < 60  # type: ignore[index]


def test_without_flock_a_living_owner_keeps_its_trial(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "_locked", lambda _: True)
    lock = store.lock(ID, 0)
    assert lock is not None
    assert store.lock(ID, 0) is None
    lock.release()
