"""Claims: one at a time holds one, that of an owner who is gone is taken over, and nobody else's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bnas_bench.core.errors import Damaged
from bnas_bench.runs import claims
from bnas_bench.runs.claims import GONE, Lock, claim, is_held
from bnas_bench.runs.store import Store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".trial.lock"


@pytest.fixture
def no_flock(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a file system where every host sees its own locks alone."""
    monkeypatch.setattr(claims, "_locked", lambda _: True)


def held(path: Path, wait: float = 0) -> Lock:
    lock = claim(path, wait)
    assert lock is not None
    return lock


def left(path: Path, *, silent: float = 0, **owner: Any) -> None:
    """A claim that nobody has locked, as this process would have left it but for `owner`."""
    held(path)  # and never released: the file stays, its lock does not
    content = json.loads(path.read_text()) | owner
    path.unlink()
    path.write_text(json.dumps(content))
    last = path.stat().st_mtime - silent
    os.utime(path, (last, last))


def dead() -> int:
    """The number of a process that is over."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_one_holds_the_claim(path: Path) -> None:
    assert not is_held(path)
    lock = held(path)
    assert is_held(path)
    assert claim(path, 0.1) is None
    other = held(path.with_name(".other.lock"))
    other.release()
    lock.release()
    assert list(path.parent.iterdir()) == []
    with held(path) as again:
        assert again.path.exists()
        assert again.token != lock.token


def test_a_claim_that_was_released_meanwhile_does_not_count(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = held(path)
    opened: list[int] = []
    open_file = os.open

    def open_then_lose(name: Any, *rest: Any) -> int:
        fd = open_file(name, *rest)
        if not opened:  # the holder lets go between our opening the file and our locking it
            first.release()
        opened.append(fd)
        return fd

    monkeypatch.setattr(os, "open", open_then_lose)
    second = held(path, 1)
    assert os.path.samestat(os.fstat(second.fd), second.path.stat())
    second.release()


@pytest.mark.parametrize(
    ("owner", "silent", "is_gone"),
    [
        ({}, 2 * GONE, False),  # this process lives, however silent
        ({"pid": "dead"}, 0, True),
        ({"started": "1"}, 0, True),  # its number is another process' now
        ({"host": "other"}, GONE - 30, False),
        ({"host": "other"}, GONE + 30, True),
        ({"boot": "other"}, 0, False),  # another machine of that name, perhaps
        ({"boot": "other"}, GONE + 30, True),
        ({"pids": "of a container", "pid": "dead"}, 0, False),
        ({"pids": "of a container", "pid": "dead"}, GONE + 30, True),
    ],
)
@pytest.mark.usefixtures("no_flock")
def test_the_claim_of_an_owner_who_is_gone_is_taken_over(
    path: Path, owner: dict[str, Any], silent: float, is_gone: bool
) -> None:
    owner = {name: dead() if value == "dead" else value for name, value in owner.items()}
    left(path, silent=silent, **owner)
    assert is_held(path) != is_gone
    lock = claim(path, 0)
    assert (lock is not None) == is_gone
    if lock:
        lock.release()
        assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"\x00\xff", b"[]", b'{"pid": "x"}'])
def test_a_claim_of_an_earlier_version_is_what_flock_says(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    held(path).release()
    assert not path.exists()


@pytest.mark.usefixtures("no_flock")
def test_of_two_who_take_over_at_once_one_has_the_claim(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second moves the first one's new claim away, sees whose it is and puts it back."""
    left(path, pid=dead())
    first: list[Lock] = []
    rename = Path.rename

    def other_first(self: Path, target: Path) -> Path:
        monkeypatch.setattr(Path, "rename", rename)
        first.append(held(path))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", other_first)
    assert claim(path, 0) is None
    assert first[0].beat()
    assert json.loads(path.read_text())["token"] == first[0].token
    first[0].release()
    assert list(path.parent.iterdir()) == []


def test_a_heartbeat_is_seen_and_tells_who_lost_the_claim(path: Path) -> None:
    lock = held(path)
    os.utime(path, (0, 0))
    assert lock.beat()
    assert path.stat().st_mtime > 0
    path.unlink()
    with held(path) as other:
        assert not lock.beat()
        lock.release()  # which leaves the other's where it is
        assert other.beat()


def test_without_links_a_claim_is_made_all_the_same(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*_: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    with held(path) as lock:
        assert json.loads(path.read_text())["token"] == lock.token
        assert claim(path, 0) is None


@pytest.mark.parametrize("what", ["link", "folder", "pipe"])
def test_what_is_in_the_way_of_a_claim_is_named(path: Path, what: str) -> None:
    match what:
        case "link":
            path.symlink_to("/nowhere")
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
    with pytest.raises(Damaged, match=r"\.trial\.lock is in the way of the trial's claim"):
        claim(path, 0)


def test_a_store_has_a_claim_for_each_trial(store: Store) -> None:
    lock, other = store.lock("trial", 0), store.lock("other", 0)
    assert lock is not None
    assert other is not None
    assert store.lock("trial", 0) is None
    lock.release()
    other.release()
    assert list(store.trials.iterdir()) == []
