"""A table that is asked, written and read; its rows are drawn, so that every answer is known."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import bnas_bench as bb
from bnas_bench.core.architecture import Architecture
from bnas_bench.core.errors import BadValue, Damaged, InvalidArchitecture, UnknownName
from bnas_bench.plugins import making
from bnas_bench.plugins.source import BadPlugin
from bnas_bench.tables import parquet, truth
from bnas_bench.tables.contents import Contents
from bnas_bench.tables.row import Row
from bnas_bench.tables.truth import GroundTruth
from tests.helpers.cli import fail, invoke, succeed
from tests.helpers.tables import DEFINITION, filled, order, row

HELD = 40
REAL = 25
"""Architectures of the table at W1A1, and those that it has at W32A32, too."""


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    """In another order than the table's."""
    one_bit = [row(arch) for arch in order()[:HELD]]
    return [row(arch, "W32A32") for arch in order()[:REAL]] + one_bit[::-1]


@pytest.fixture(scope="module")
def folder(rows: list[Row], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filled(tmp_path_factory.mktemp("tables") / "t", rows).folder


@pytest.fixture(scope="module")
def file(folder: Path) -> Path:
    return bb.table(folder).write(folder.with_suffix(".parquet"))


@pytest.fixture(scope="module")
def table(file: Path) -> GroundTruth:
    return bb.table(file)


def space_text(arch: Architecture) -> str:
    return making.space("bnas-201").genotype(arch)  # type: ignore[attr-defined]


def accuracy(one: Row) -> float:
    return 100 * sum(one.test_hits) / (3 * 360)


def test_a_file_holds_what_its_store_does(folder: Path, table: GroundTruth) -> None:
    store = bb.table(folder)
    pd.testing.assert_frame_equal(table.contents.trainings, store.contents.trainings)
    assert table.datasheet == store.datasheet
    assert table.definition == DEFINITION
    assert repr(table) == (
        "<table of bnas-201 on digits: 25 at W32A32, 40 at W1A1 of 5,044 architectures, 3 seeds>"
    )


def test_every_number_of_a_row_is_there(rows: list[Row], table: GroundTruth) -> None:
    for one in rows:
        found = table.query(one.arch, one.precision)
        hits = np.array(one.valid_hits)
        assert (found.arch, found.precision) == (one.arch, one.precision)
        assert found.mean == pytest.approx(accuracy(one), abs=1e-12)
        assert found.sd == pytest.approx(100 / 360 * np.std(one.test_hits, ddof=1))
        assert (found.test * 3.6).round(9).tolist() == list(one.test_hits)
        assert (found.valid * 4).round(9).tolist() == hits.tolist()
        losses = np.array(one.losses, float)
        np.testing.assert_array_equal(np.round(found.losses.astype(float), 5), losses)
        assert (found.ops, found.parameters, found.bytes) == (one.ops, one.parameters, one.bytes)
        assert found.seconds == pytest.approx(one.seconds)


def test_rows_stand_in_the_order_of_the_table(table: GroundTruth) -> None:
    """So that the first ones are a random sample, whatever order they were trained in."""
    space = making.space("bnas-201")
    wanted = [space.genotype(arch) for arch in order()[:HELD]]  # type: ignore[attr-defined]
    frame = table.frame()
    assert frame["arch"].drop_duplicates().tolist() == wanted
    assert frame["seed"].tolist() == [0, 1, 2] * (HELD + REAL)
    assert frame["precision"][:6].tolist() == sorted(["W32A32", "W1A1"] * 3)[::-1]


def test_frames(rows: list[Row], table: GroundTruth) -> None:
    frame, curves = table.frame(), table.frame(curves=True)
    assert len(frame) == 3 * (HELD + REAL)
    assert len(curves) == 4 * len(frame)
    assert frame.attrs["units"]["test_accuracy"] == "%"
    one = rows[-1]
    mine = {"arch": one.arch, "precision": one.precision, "seed": 1}
    (found,) = frame[(frame[[*mine]] == pd.Series(mine)).all(axis=1)].to_dict("records")
    assert found["test_accuracy"] == pytest.approx(one.test_hits[1] / 3.6)
    assert found["valid_accuracy"] == pytest.approx(one.valid_hits[1][-1] / 4)
    found = curves[(curves[[*mine]] == pd.Series(mine)).all(axis=1)]
    assert found["epoch"].tolist() == [1, 2, 3, 4]
    np.testing.assert_allclose(found["valid_accuracy"], np.array(one.valid_hits[1]) / 4)
    np.testing.assert_allclose(found["loss"], one.losses[1], rtol=1e-6)


def test_every_member_is_answered_by_its_canonical_form(table: GroundTruth) -> None:
    """All members of the classes that are held, in all forms: they have the one answer."""
    space, others = making.space("bnas-201"), 0
    held = {*order()[:HELD]}
    for path in product(range(5), repeat=6):
        member = space.architecture(path)
        stands = space.canonical(member)
        if stands not in held:
            continue
        others += member != stands
        genotype, wanted = space.genotype(member), table.query(stands)  # type: ignore[attr-defined]
        for form in (member, genotype, json.dumps(member.to_json())):
            found = table.query(form)
            assert (found.arch, found.mean) == (wanted.arch, wanted.mean)
            assert table.rank(form) == table.rank(stands)
    assert others == 13  # most classes have a single member, few have many


def test_ranks_are_those_of_sorting(rows: list[Row], table: GroundTruth) -> None:
    one_bit = [one for one in rows if one.precision == "W1A1"]
    hits = np.array([sum(one.test_hits) for one in one_bit])
    assert len({*hits}) < len(hits)  # some are equal
    ranks = stats.rankdata(-hits, "min")
    for one, mine, rank in zip(one_bit, hits, ranks, strict=True):
        assert table.rank(one.arch) == rank
        beaten = (hits < mine).sum() + ((hits == mine).sum() - 1) / 2
        assert table.percentile(one.arch) == pytest.approx(100 * beaten / (HELD - 1))
    assert table.best().mean == pytest.approx(hits.max() / 10.8)
    assert table.rank(table.best().arch) == 1
    assert table.best("W32A32").precision == "W32A32"


def test_what_is_not_held(table: GroundTruth) -> None:
    with pytest.raises(
        BadValue, match=r"holds 40 of 5,044 architectures at W1A1, and not .*tabulate trains more"
    ):
        table.query(order()[HELD])
    with pytest.raises(BadValue, match="holds 25 of 5,044 architectures at W32A32"):
        table.rank(order()[REAL], "W32A32")
    with pytest.raises(UnknownName, match=r"unknown precision of the table .* W32A32 or W1A1"):
        table.query(order()[0], "W1A32")
    with pytest.raises(InvalidArchitecture, match="no cell of NAS-Bench-201"):
        table.query("|x|")
    with pytest.raises(InvalidArchitecture, match="of space 'nas-bnn', not of 'bnas-201'"):
        table.query(Architecture("nas-bnn", {}))


def test_a_table_without_rows(tmp_path: Path) -> None:
    empty = bb.table(bb.table(filled(tmp_path / "t", []).folder).write(tmp_path / "t.parquet"))
    assert (len(empty.frame()), len(empty.frame(curves=True)), empty.precisions) == (0, 0, [])
    for ask in (empty.best, lambda: empty.query(order()[0])):
        with pytest.raises(BadValue, match=r"t\.parquet is empty: bnas-bench tabulate fills it"):
            ask()


def test_a_single_seed_has_no_deviation_and_no_reliability(tmp_path: Path) -> None:
    how = replace(DEFINITION, seeds=1)
    store = filled(tmp_path / "t", [row(arch, how=how) for arch in order()[:9]], how)
    single = bb.table(store.folder)
    assert np.isnan(single.query(order()[0]).sd)
    with pytest.raises(BadValue, match=r"1 seed.* tell nothing of reliability"):
        single.reliability()


def test_parts_of_few_have_no_reliability(tmp_path: Path, table: GroundTruth) -> None:
    frame = table.reliability()  # a quarter of 25 are 7, of 40 are 10
    assert frame[["precision", "part"]].to_numpy().tolist() == [
        ["W32A32", "all"],
        ["W1A1", "all"],
        ["W1A1", "best 25 %"],
    ]
    few = bb.table(filled(tmp_path / "t", [row(arch) for arch in order()[:7]]).folder)
    with pytest.raises(BadValue, match="has fewer than 8 architectures"):
        few.reliability()


def test_a_row_of_no_class_is_told(tmp_path: Path) -> None:
    stray = replace(row(order()[0]), arch="|none~0|")
    with pytest.raises(Damaged, match=r"a row of \|none~0\|, which no table of bnas-201 holds"):
        bb.table(filled(tmp_path / "t", [stray]).folder)


def test_no_file_that_a_table_names_is_run(tmp_path: Path, table: GroundTruth) -> None:
    """Neither by a folder nor by a file whose digest is right."""
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    how = replace(DEFINITION, space=f"{tmp_path / 'evil.py'}:Space")
    with pytest.raises(BadPlugin, match="nothing that came with results is run"):
        bb.table(filled(tmp_path / "t", [], how).folder)
    parquet.write(replace(table.contents, definition=how), tmp_path / "t.parquet")
    with pytest.raises(BadPlugin, match="nothing that came with results is run"):
        bb.table(tmp_path / "t.parquet").query(order()[0])
    assert not (tmp_path / "ran").exists()


@pytest.mark.sample(6)
@pytest.mark.parametrize("place", range(40))
def test_any_altered_byte_is_told(place: int, file: Path, tmp_path: Path) -> None:
    data = bytearray(file.read_bytes())
    data[(2 * place + 1) * len(data) // 80] ^= 1 << place % 8
    (tmp_path / "t.parquet").write_bytes(data)
    with pytest.raises(Damaged, match=r"t\.parquet is .*: fetch it again"):
        bb.table(tmp_path / "t.parquet")


def test_what_is_no_table(file: Path, tmp_path: Path) -> None:
    other, data = tmp_path / "other.parquet", file.read_bytes()
    pd.DataFrame({"arch": ["a"]}).to_parquet(other)
    for content in (other.read_bytes(), b"", b"no table", data[: len(data) // 2], data[9:]):
        other.write_bytes(content)
        with pytest.raises(Damaged, match=r"other\.parquet is .*: fetch it again"):
            bb.table(other)
    with pytest.raises(BadValue, match=r"there is no file '.*gone\.parquet'"):
        bb.table(tmp_path / "gone.parquet")
    with pytest.raises(BadValue, match="there is no table in"):
        bb.table(tmp_path)
    with pytest.raises(BadValue, match=r"let it end in \.parquet"):
        bb.table(file).write(tmp_path / "t.csv")


def test_a_file_of_another_version_is_told(
    table: GroundTruth, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "VERSION", 2)
    table.write(tmp_path / "new.parquet")
    monkeypatch.undo()
    with pytest.raises(Damaged, match=r"another version \(version 2, not 1\)"):
        bb.table(tmp_path / "new.parquet")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda c: {"trainings": c.trainings[1:]}, "have not 3 seeds each"),
        (lambda c: {"trainings": c.trainings.drop(columns="loss_3")}, "it has no loss_3"),
        (lambda c: {"trainings": c.trainings.assign(test_hits="x")}, "no numbers in test_hits"),
        (lambda c: {"definition": replace(c.definition, epochs=10**9)}, "not 1,000,000,000 epochs"),
        (lambda c: {"definition": replace(c.definition, test_images=0)}, "'test_images' is '0'"),
        (lambda c: {"definition": replace(c.definition, epochs="4")}, "'epochs' is '4'"),
    ],
)
def test_what_a_stranger_wrote_is_told(
    change: Callable[[Contents], dict[str, Any]],
    reason: str,
    table: GroundTruth,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its digest is right, for anyone can compute it."""
    odd = replace(table.contents, **change(table.contents))
    monkeypatch.setattr(parquet, "epochs", lambda _name, _how: [])  # the writer's encodings alone
    table_file = tmp_path / "odd.parquet"
    parquet.write(odd, table_file)
    monkeypatch.undo()
    with pytest.raises(Damaged, match=f"a table of another version .*{reason}"):
        bb.table(table_file)


def test_names_are_those_of_the_checkout(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(truth, "COMMITTED", tmp_path / "tables")
    with pytest.raises(BadValue, match=r"no table 'mine': .* and here are none; give the path"):
        bb.table("mine")
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "mine.parquet").write_bytes(file.read_bytes())
    assert bb.table("mine").name == "mine"
    with pytest.raises(UnknownName, match="unknown table 'mime'; did you mean mine"):
        bb.table("mime")


def test_the_reliability_of_a_table(rows: list[Row], table: GroundTruth) -> None:
    frame = table.reliability(top=0.5).set_index(["precision", "part"])
    assert [*frame.index] == [
        (precision, part) for precision in table.precisions for part in ("all", "best 50 %")
    ]
    one_bit = [one for one in rows if one.precision == "W1A1"]
    found = frame.loc["W1A1", "all"]
    f = stats.f_oneway(*(one.test_hits for one in one_bit)).statistic
    assert found["reliability"] == pytest.approx(1 - 1 / f)
    assert found["core_seconds"] == pytest.approx(np.mean([one.seconds for one in one_bit]) / 3)
    means = sorted(accuracy(one) for one in one_bit)
    best = frame.loc["W1A1", "best 50 %"]
    assert (best["architectures"], best["best_accuracy"]) == (HELD / 2, pytest.approx(means[-1]))
    assert best["mean_accuracy"] == pytest.approx(np.mean(means[HELD // 2 :]))


def test_the_command(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    said = succeed("truth", folder, "-o", out)
    for part in ("dataset digits", "W32A32 75", "ICC(1, 3)", f"wrote {out}"):
        assert part in said, part
    assert "best at W1A1" in succeed("truth", out)
    assert "there is no table in" in fail("truth", tmp_path)
    refused = invoke("truth", folder, "-o", tmp_path / "x.csv")
    assert refused.exit_code == 2
    assert "let it end in .parquet" in refused.stderr


def test_what_cannot_be_filled_begins_no_table(tmp_path: Path) -> None:
    for wrong in (("--set", "train_images=2000"), ("--space", "darts-binary"), ("--dataset", "x")):
        fail("tabulate", "--results", tmp_path, *wrong)
    assert not [*tmp_path.iterdir()]


def test_committed_tables_are_prefixes_of_their_order() -> None:
    """So that what is there is a random sample, and every row an architecture that stands for its class."""
    names = sorted(path.stem for path in truth.COMMITTED.glob("*.parquet"))
    for name in names:
        table = bb.table(name)
        held = table.frame()["arch"].drop_duplicates().tolist()
        assert held == [space_text(arch) for arch in order()[: len(held)]]
        assert table.query(held[0]).test.shape == (table.definition.seeds,)
    assert names


def test_a_file_of_another_table_begins_none(file: Path, tmp_path: Path) -> None:
    said = fail("tabulate", "--results", tmp_path / "r", "--from", file)
    assert "those trainings are of another table than" in said
    assert not (tmp_path / "r").exists()


def test_a_file_that_holds_more_of_the_table_is_kept(
    rows: list[Row], file: Path, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.parquet"
    out.write_bytes(whole := file.read_bytes())
    fewer = filled(tmp_path / "fewer", [one for one in rows if one.precision == "W1A1"])
    said = fail("truth", fewer.folder, "-o", out)
    assert "holds 25 architectures of this table at W32A32" in said
    assert "holds 0: give tabulate --from" in said
    assert out.read_bytes() == whole
    succeed("truth", folder, "-o", out)  # as many
    out.write_bytes(b"no table")
    succeed("truth", fewer.folder, "-o", out)
    succeed("truth", folder, "-o", out)  # more
    assert bb.table(out).count("W32A32") == REAL
