"""Packed latencies that lie beside a table: measured, written, read, asked; and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

import bnas_bench as bb
from bnas_bench.core.errors import BadValue, Damaged
from bnas_bench.runs import retime
from bnas_bench.tables import latencies
from bnas_bench.tables.definition import defined
from bnas_bench.tables.latencies import COLUMNS, Latencies, Time
from tests.helpers import tables
from tests.helpers.cli import invoke, succeed


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A table of the digits with three architectures at one bit, one of them real-valued, too."""
    how = defined("bnas-201", "digits", 3, ("epochs=4",), Path("data"))
    rows = [
        *(tables.row(arch, how=how) for arch in tables.order()[:3]),
        tables.row(tables.order()[0], "W32A32", how),
    ]
    folder = tables.filled(tmp_path / "store", rows, how).folder
    return bb.table(folder).write(tmp_path / "t.parquet")


def drawn(file: Path) -> Latencies:
    """Of the first two architectures alone."""
    table = bb.table(file)
    times = [(arch, 1.0 + k, 0.5 + k, 2.0 + k) for k, arch in enumerate(table.texts()[:2])]
    return Latencies(
        definition=table.definition.digest,
        machine={"cpu": "none", "threads": 1, "isa": "plain"},
        made={"code": "0" * 10, "date": "2026-11-29"},
        times=pd.DataFrame(times, columns=list(COLUMNS)),
    )


def test_what_lies_beside_a_table_is_asked_with_it(file: Path) -> None:
    latencies.write(drawn(file), latencies.beside(file))
    table = bb.table(file)
    first, second, third = table.texts()
    assert [table.query(arch).latency_ms for arch in (first, second, third)] == [1.0, 2.0, None]
    assert table.query(first, "W32A32").latency_ms is None
    assert table.latencies is not None
    assert table.latencies.of(second) == Time(2.0, 1.5, 3.0)
    assert table.datasheet["latency"]["cpu"] == "none"
    frame = table.frame()
    assert frame.attrs["units"]["latency_ms"] == "ms"
    known = frame.dropna(subset="latency_ms")
    assert known["precision"].unique() == ["W1A1"]
    assert known.groupby("arch")["latency_ms"].first().to_dict() == {first: 1.0, second: 2.0}


def test_a_table_without_them_has_none(file: Path) -> None:
    table = bb.table(file)
    assert table.latencies is None
    assert "latency" not in table.datasheet
    assert "latency_ms" not in table.frame()


def test_those_of_another_table_and_damaged_ones_are_refused(file: Path) -> None:
    path = latencies.beside(file)
    latencies.write(replace(drawn(file), definition="0" * 16), path)
    with pytest.raises(Damaged, match="of another table than"):
        bb.table(file)
    path.write_bytes(path.read_bytes()[:-40] + b"0" * 40)
    with pytest.raises(Damaged, match="truncated or altered"):
        bb.table(file)
    file.rename(file.with_name("other"))
    file.with_name("other").rename(path)
    with pytest.raises(Damaged, match="another version"):
        latencies.read(path)


def test_the_command_times_every_network(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retime, "QUIET", 1e6)
    path = latencies.beside(file)
    assert succeed("truth", file, "--time", path).splitlines()[-1] == f"wrote {path}"
    table = bb.table(file)
    times = [table.latencies.of(arch) for arch in table.texts()] if table.latencies else []
    assert len(times) == 3
    assert all(time and 0 < time.lower <= time.median <= time.upper < 100 for time in times)
    assert table.datasheet["latency"]["threads"] == 1


def test_a_busy_machine_and_a_wrong_name_are_refused(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retime, "QUIET", -1.0)
    result = invoke("truth", file, "--time", file.with_name("l.parquet"))
    assert result.exit_code == 2
    assert "this machine is not quiet" in result.stderr
    result = invoke("truth", file, "--time", file.with_name("l.csv"))
    assert "let it end in .parquet" in result.stderr
    with pytest.raises(BadValue, match="there is no file"):
        latencies.read(file.with_name("l.parquet"))
