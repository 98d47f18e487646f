"""The files of transfers: sealed as records of trials are; those of the first form read as before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bnas_bench.core.errors import Damaged
from bnas_bench.transfer.record import SCHEMA, read, write

COMMITTED = sorted(Path(__file__).parents[2].glob("results/*/transfers/*.json"))


def test_the_first_form_reads_as_before(tmp_path: Path) -> None:
    assert COMMITTED
    first = next(file for file in COMMITTED if json.loads(file.read_text())["schema"][-1] == "1")
    record, copy = read(first), tmp_path / first.name
    assert record is not None
    assert "sha256" not in record
    copy.write_bytes(first.read_bytes().replace(b'"seed": ', b'"seed": 1'))
    with pytest.raises(Damaged, match=r"\.json is truncated or altered.*: move it away"):
        read(copy)


def test_a_transfer_is_sealed_line_by_line(tmp_path: Path) -> None:
    record = read(COMMITTED[0])
    assert record is not None
    record |= {"schema": SCHEMA, "id": "t", "note": "a\x1b[2Jb"}
    write(file := tmp_path / "t.json", record)
    assert read(file) == record | {"note": "a?[2Jb"}
    whole = file.read_bytes()
    for altered in (whole[:-1], whole.replace(b"  ", b" ", 1), whole.replace(b"transfer-2", b"x")):
        file.write_bytes(altered)
        with pytest.raises(Damaged, match=r"t\.json is .*: move it away, and transfer again"):
            read(file)
    deep: object = 0
    for _ in range(20):
        deep = [deep]
    write(file, record | {"deep": deep})
    with pytest.raises(Damaged, match="nested too deeply"):
        read(file)


def test_a_transfer_under_another_s_name_is_not_taken_for_it(tmp_path: Path) -> None:
    (copy := tmp_path / "other.json").write_bytes(COMMITTED[0].read_bytes())
    with pytest.raises(
        Damaged, match=rf"other\.json is the record of .*'{COMMITTED[0].stem}': move"
    ):
        read(copy)
