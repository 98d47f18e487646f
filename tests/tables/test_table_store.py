"""A table's store: killed, torn, damaged, of another definition, filled by several processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bnas_bench.core.budget import PRECISIONS
from bnas_bench.core.errors import BadValue, BenchError, Damaged
from bnas_bench.data.datasets import Images, load
from bnas_bench.runs.tabulate import Request, fill, fill_in_processes
from bnas_bench.tables import parquet
from bnas_bench.tables.contents import Contents
from bnas_bench.tables.definition import Definition, architectures, defined
from bnas_bench.tables.row import Row, Work
from bnas_bench.tables.store import TableStore
from tests.helpers import tables

DEFINITION = replace(tables.DEFINITION, epochs=2)
TINY = ("epochs=2", "train_images=40", "valid_images=40", "channels=2", "mixed=false")


def row(arch: str = "a", precision: str = "W1A1") -> Row:
    return Row(
        definition=DEFINITION.digest,
        arch=arch,
        precision=precision,
        valid_hits=[[1, 2], [3, 4], [5, 6]],
        test_hits=[7, 8, 9],
        losses=[[2.5, None], [2.25, 1.0], [2.0, 0.5]],
        ops=1e3,
        parameters=10,
        bytes=None,
        seconds=1.5,
        code="0123456789",
        harness_source="0" * 12,
        space_source="1" * 12,
        torch="2",
        cpu="none",
    )


@pytest.fixture
def store(tmp_path: Path) -> TableStore:
    return TableStore.begin(tmp_path / "t", DEFINITION)


def tiny(seeds: int = 2) -> Definition:
    return defined("bnas-201", "digits", seeds, TINY, Path("data"))


def test_what_is_appended_is_read_again(store: TableStore) -> None:
    store.append(row())
    store.append(row("b"))
    again = TableStore(store.folder)
    assert again.refresh() == {Work("a", "W1A1"): row(), Work("b", "W1A1"): row("b")}
    store.append(row("c"))
    assert [work.arch for work in again.refresh()] == ["a", "b", "c"]


def test_a_torn_line_does_not_count_and_is_put_aside(store: TableStore) -> None:
    store.append(row())
    whole = store.file.read_bytes()
    store.file.write_bytes(whole + whole[:50])
    assert len(TableStore(store.folder).refresh()) == 1
    store.append(row("b"))
    assert len(TableStore(store.folder).refresh()) == 2
    assert store.file.with_name("rows.jsonl.torn-1").read_bytes() == whole[:50]


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (b'"test_hits":[7', b'"test_hits":[8', "truncated or altered"),
        (b"{", b"", "no JSON"),
        (b'"W1A1"', b'"W1A2"', "truncated or altered"),
    ],
)
def test_a_damaged_line_is_told(
    store: TableStore, before: bytes, after: bytes, reason: str
) -> None:
    store.append(row())
    store.append(row("b"))
    first, second = store.file.read_bytes().splitlines(keepends=True)
    store.file.write_bytes(first + second.replace(before, after, 1))
    with pytest.raises(Damaged, match=f"line 2 of .*rows.jsonl .*{reason}.*delete that line"):
        TableStore(store.folder).refresh()


def test_a_row_of_another_table_is_told(store: TableStore) -> None:
    store.append(replace(row(), definition="e" * 16))
    with pytest.raises(Damaged, match="is of another table, eeee"):
        store.refresh()


def test_another_definition_is_refused(store: TableStore) -> None:
    with pytest.raises(BadValue, match=r"is another one \(epochs 2, not 3, lr 0\.005, not 0\.01\)"):
        TableStore.begin(store.folder, replace(DEFINITION, epochs=3, lr=0.01))
    assert replace(DEFINITION, epochs=3).digest != DEFINITION.digest


def test_no_table_and_no_definition(tmp_path: Path, store: TableStore) -> None:
    with pytest.raises(BadValue, match="no table in"):
        TableStore(tmp_path / "none")
    (store.folder / "definition.json").write_text('{"space": 1}')
    with pytest.raises(Damaged, match="defines no table"):
        TableStore(store.folder)


def test_work_in_another_process_is_not_taken(store: TableStore) -> None:
    code = (
        "import sys, time; from pathlib import Path; from bnas_bench.tables.store import TableStore\n"
        "with TableStore(Path(sys.argv[1])).claim(7) as mine:\n"
        "    print(mine, flush=True); time.sleep(60)"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(store.folder)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "True\n"
    for number, free in ((7, False), (8, True)):
        with store.claim(number) as mine:
            assert mine is free
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    with store.claim(7) as mine:  # a lock ends with its process
        assert mine


def test_a_table_is_filled_and_gone_on_with(tmp_path: Path) -> None:
    """The first of a random order, each in all precisions; nothing is done twice."""
    store = TableStore.begin(tmp_path / "one", tiny())
    request = Request(precisions=["W1A1", "W32A32"], first=1)
    ((_, work),) = zip(range(1), fill(store, request), strict=False)
    assert [*store.refresh()] == [work]
    assert [again.precision for again in fill(store, request)] == ["W32A32"]
    assert not [*fill(store, request)]
    for found in store.refresh().values():
        assert [len(hits) for hits in found.valid_hits] == [2, 2]
        assert found.losses[0] != found.losses[1]


@pytest.mark.slow
def test_processes_share_the_work_and_give_the_same_numbers(tmp_path: Path) -> None:
    request = Request(precisions=["W1A1", "W32A32"], first=3)
    alone = TableStore.begin(tmp_path / "alone", tiny())
    assert len([*fill(alone, request)]) == 6
    shared = TableStore.begin(tmp_path / "shared", tiny())
    *_, last = fill_in_processes(shared, replace(request, jobs=2))
    assert (last.done, last.fresh, last.total) == (6, 6, 6)
    found = shared.refresh()
    for work, wanted in alone.refresh().items():
        assert replace(found[work], seconds=0, code="") == replace(wanted, seconds=0, code="")


@pytest.mark.slow
def test_killed_at_any_moment_nothing_is_lost(tmp_path: Path) -> None:
    """kill -9 at ten moments; what was on the disk stays there, and the end is that of an undisturbed run."""
    code = (
        "import sys; from pathlib import Path; import torch; torch.set_num_threads(1)\n"
        "from bnas_bench.tables.store import TableStore; from bnas_bench.runs.tabulate import Request, fill\n"
        "for work in fill(TableStore(Path(sys.argv[1])), Request(precisions=['W1A1'], first=12)): pass"
    )
    store, before = TableStore.begin(tmp_path / "killed", tiny()), b""
    for moment in range(10):
        child = subprocess.Popen([sys.executable, "-c", code, str(store.folder)])
        with suppress(subprocess.TimeoutExpired):
            child.wait(2.5 + 0.37 * moment)
        child.kill()
        child.wait()
        now = store.file.read_bytes() if store.file.exists() else b""
        assert now.startswith(before[: before.rfind(b"\n") + 1])
        before = now
    request = Request(precisions=["W1A1"], first=12)
    for _ in fill(store, request):
        pass
    undisturbed = TableStore.begin(tmp_path / "whole", tiny())
    assert len([*fill(undisturbed, request)]) == 12
    found = TableStore(store.folder).refresh()
    for work, wanted in undisturbed.refresh().items():
        assert replace(found[work], seconds=0, code="") == replace(wanted, seconds=0, code="")


def test_nothing_is_begun_after_the_deadline(tmp_path: Path) -> None:
    store = TableStore.begin(tmp_path / "late", tiny())
    assert not [*fill(store, Request(precisions=["W1A1"], deadline=time.time() - 1))]


def test_the_split_is_stratified_and_never_shows_the_test_images() -> None:
    digits = load("digits", image=None, device="cpu", folder="data")
    train, valid, _ = tiny().split(digits)
    assert (len(train), len(valid)) == (40, 40)
    seen = {image.tobytes() for part in (train, valid) for image in part.pixels.numpy()}  # type: ignore[attr-defined]
    assert len(seen) == 80
    assert not seen & {image.tobytes() for image in digits.test.pixels.numpy()}  # type: ignore[attr-defined]
    with pytest.raises(BadValue, match="more than the 1437 training images"):
        replace(DEFINITION, train_images=2000).split(digits)


def test_mixed_parts_hold_every_image_once() -> None:
    digits = load("digits", image=None, device="cpu", folder="data")
    how = defined("bnas-201", "digits", 2, (*TINY[:-1], "mixed=true"), Path("data"))
    parts = how.split(digits)
    assert [len(part) for part in parts] == [40, 40, 1717]
    assert how.test_images == 1717
    assert [np.bincount(part.labels).tolist() for part in parts[:2]] == [[4] * 10] * 2

    def images(*parts: Images) -> list[bytes]:
        return sorted(image.tobytes() for part in parts for image in part.pixels.numpy())  # type: ignore[attr-defined]

    assert images(*parts) == images(digits.train, digits.test)
    with pytest.raises(
        BadValue, match="more than the 1797 images of digits allow, where others test"
    ):
        replace(how, train_images=1757).split(digits)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (("epoch=3",), "unknown field of a table 'epoch'"),
        (("epochs=0",), "'epochs' is '0'; it takes"),
        (("epochs",), "not of the form key=value"),
        (("train_images=2000", "mixed=false"), "more than the 1437 training images"),
        (("cells=4",), "4 cells build no network of bnas-201"),
    ],
)
def test_settings_are_refused(settings: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(BenchError, match=sentence):
        defined("bnas-201", "digits", 2, settings, Path("data"))


def test_a_space_too_large_is_refused() -> None:
    from bnas_bench.plugins import making

    with pytest.raises(BadValue, match="no table can hold"):
        architectures(making.space("darts-binary"))
    with pytest.raises(BadValue, match="no table can hold"):
        defined("darts-binary", "digits", 2, (), Path("data"))
    archs = architectures(making.space("bnas-201"))
    assert len(archs) == len(set(archs)) == 5044


def test_a_store_goes_on_from_a_file_of_its_table(tmp_path: Path) -> None:
    rows = [
        tables.row(arch, precision)
        for arch in tables.order()[:3]
        for precision in ("W1A1", "W32A32")
    ]
    parquet.write(Contents.of(tables.filled(tmp_path / "a", rows)), file := tmp_path / "t.parquet")
    begun = tables.filled(tmp_path / "b", rows[:1])
    assert parquet.read(file).add_to(begun) == 5
    assert begun.refresh() == {each.work: each for each in rows}
    assert parquet.read(file).add_to(begun) == 0


def test_a_store_takes_no_file_of_another_table(tmp_path: Path, store: TableStore) -> None:
    contents = Contents.of(tables.filled(tmp_path / "a", [tables.row(tables.order()[0])]))
    with pytest.raises(BadValue, match="epochs 4, not 2"):
        contents.add_to(store)
    assert not store.refresh()


def test_what_another_finished_before_the_claim_is_not_trained_again(
    store: TableStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is free and yet done: another process finished it between the look and the claim."""
    arch = tables.order()[0]
    done = replace(tables.row(arch), definition=store.definition.digest)

    @contextmanager
    def late(number: int) -> Iterator[bool]:
        assert number == PRECISIONS.index("W1A1")
        TableStore(store.folder).append(done)
        yield True

    monkeypatch.setattr(store, "claim", late)
    assert not [*fill(store, Request(precisions=["W1A1"], first=1))]
    assert [*store.refresh().values()] == [done]
