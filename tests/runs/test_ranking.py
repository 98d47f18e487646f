"""What is said of scores that rank: each against what was planted in a table whose numbers are drawn."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from bnas_bench.core.budgets import BUDGETS
from bnas_bench.core.errors import BadValue
from bnas_bench.core.seeds import generator
from bnas_bench.data.datasets import load
from bnas_bench.nn.binary import Precision
from bnas_bench.plugins import making
from bnas_bench.plugins.making import choose
from bnas_bench.runs import ranking
from bnas_bench.runs.ranking import Ranked, Scores
from bnas_bench.runs.request import requested
from bnas_bench.runs.run import run_trial
from bnas_bench.runs.store import Store
from bnas_bench.search.learning import accuracy, recalibrate
from bnas_bench.tables.contents import Contents
from bnas_bench.tables.definition import Definition, defined
from bnas_bench.tables.judge import Judge, Named
from bnas_bench.tables.store import TableStore
from bnas_bench.tables.truth import GroundTruth
from tests.helpers.cli import fail, succeed
from tests.helpers.tables import filled, order, row

pytestmark = pytest.mark.usefixtures("one_thread")

HELD = 12
TINY = ("epochs=2", "train_images=40", "valid_images=20", "channels=2", "batch_size=16")
LEVELS = [*range(100, 100 + 10 * HELD, 10)]
"""Test images that are classified rightly, the first seed's the other way round."""


@pytest.fixture(scope="module")
def how() -> Definition:
    return defined("bnas-201", "digits", 3, TINY, Path("data"))


@pytest.fixture(scope="module")
def table(how: Definition, tmp_path_factory: pytest.TempPathFactory) -> TableStore:
    """Real-valued trainings of all but the last."""
    rows = []
    for arch, level in zip(order()[:HELD], LEVELS, strict=True):
        hits = [300 - level, 2 * level, 2 * level]
        per_epoch = [[level // 10 - 10, 20 - level // 20]] * 3
        for precision in ("W1A1", "W32A32")[: 1 if level == LEVELS[-1] else 2]:
            drawn = replace(row(arch, precision, how), test_hits=hits, valid_hits=per_epoch)
            rows.append(drawn)
    return filled(tmp_path_factory.mktemp("tables") / "t", rows, how)


@pytest.fixture(scope="module")
def judge(table: TableStore) -> Judge:
    digits = load("digits", image=None, device="cpu", folder=Path("data"))
    return Judge(GroundTruth(Contents.of(table), "t"), digits)


@pytest.fixture(scope="module")
def ranked(judge: Judge) -> Ranked:
    return Ranked(judge, 100, BUDGETS["smoke"])


def taus(ranked: Ranked, values: list[float], without: int | None = None) -> Mapping[str, float]:
    scores = Scores(
        method="x", of="y", precision=None, values=values, passes=0, passes_each=0, without=without
    )
    return {name: round(found.value, 9) for name, found in ranked.taus(scores).items()}


def test_scores_are_held_against_the_means_of_each_precision(ranked: Ranked) -> None:
    assert ranked.archs == list(order()[:HELD])
    assert taus(ranked, [*map(float, LEVELS)]) == {"W1A1": 1, "W32A32": 1}
    assert taus(ranked, [-float(level) for level in LEVELS]) == {"W1A1": -1, "W32A32": -1}
    assert np.isnan(taus(ranked, [1.0] * HELD)["W1A1"])
    last_first = [*map(float, LEVELS[:-1]), 0.0]  # which is not among the real-valued
    pairs = HELD * (HELD - 1) / 2
    assert taus(ranked, last_first) == {
        "W1A1": pytest.approx(1 - 2 * (HELD - 1) / pairs),
        "W32A32": 1,
    }


def test_a_training_is_not_held_against_itself(ranked: Ranked, how: Definition) -> None:
    first, last = ranked.trainings(0)
    assert (first.of, last.of, first.without) == ("1 epochs", "2 epochs", 0)
    assert ranked.taus(first)["W1A1"].value == pytest.approx(1)
    assert ranked.taus(last)["W1A1"].value < -0.9  # some are equal
    assert taus(ranked, [*first.values], without=0) == {"W1A1": 1, "W32A32": 1}
    assert (first.passes_each, last.passes_each) == (32 + 6.67, 64 + 6.67)
    assert next(iter(ranked.trainings(how.seeds + 1))).without == 1


def test_a_network_inherits_and_is_calibrated(ranked: Ranked) -> None:
    space, task = ranked.space, ranked.task
    supernet = space.supernet(task.spec, generator(0, "test"))
    supernet.precision = Precision.W1A1
    for arch in ranked.archs[:3]:
        rng = generator(0, "ranking", arch.id)
        network = space.network(arch, task.spec, rng)
        supernet.bequeath(network)
        recalibrate(network, task.train, 40, 1, rng)
        assert ranked.inherited(arch, supernet) == accuracy(network, task.valid, 20)


def test_proxies_look_at_networks_of_both_precisions(ranked: Ranked) -> None:
    found = {(one.of, one.precision): one for one in ranked.proxies(0)}
    both = [(name, p) for name in ranking.PROXIES for p in ("W1A1", "W32A32") if name != "synflow"]
    assert {*found} == {*both, ("synflow", "W32A32"), ("ops", None), ("parameters", None)}
    assert all(len(one.values) == HELD for one in found.values())
    images = len(ranked.task.train)
    wanted = {"nwot": images / 3, "synflow": 1, "ops": 0, "parameters": 0}
    for (name, _), one in found.items():
        assert one.passes_each == pytest.approx(wanted.get(name, images), abs=0.01)
    assert found["snip", "W1A1"].values != found["snip", "W32A32"].values
    arch, proxy = ranked.archs[4], making.method("proxy[score=snip]")
    rng = generator(0, "ranking", "proxy", 0, arch.id)
    network = ranked.space.network(arch, ranked.task.spec, rng)
    network.precision = Precision.W32A32
    assert proxy.of(network, ranked.task, rng) == found["snip", "W32A32"].values[4]  # type: ignore[attr-defined]
    entry = ranked.truth.query(arch)
    assert found["ops", None].values[4] == entry.ops
    assert found["parameters", None].values[4] == entry.parameters


@pytest.mark.parametrize("method", ["pcdarts", "dcpnas"])
def test_the_search_is_the_trials(
    ranked: Ranked, table: TableStore, store: Store, tmp_path: Path, method: str
) -> None:
    """Its passes are, and every supernet of it scores."""
    path = GroundTruth(Contents.of(table), "t").write(tmp_path / "t.parquet")
    named = Named("t", path, table.definition.digest)
    (trial,) = requested(method, "bnas-201", "digits", "smoke", 1)
    record = run_trial(replace(trial, table=named), store)
    assert record["status"] == "ok", record["reason"]
    found = list(ranked.supernets(choose("method", method), method, 0))
    supernets = record["learned"]["supernets"]
    assert {one.of: one.precision for one in found} == {
        name: told["precision"] for name, told in supernets.items()
    }
    for one in found:
        assert (one.passes, len(one.values)) == (record["passes"], HELD)
        assert all(0 <= value <= 1 for value in one.values)
        assert len({*one.values}) > 1


def test_the_command_goes_on_where_it_was(
    table: TableStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "ranking.json"
    arguments = ("ranking", table.folder, "-o", out, "--budget", "smoke", "--methods")
    said = succeed(*arguments, "evolution,random[form=draw]")
    told = json.loads(out.read_bytes())
    assert told["budget"] == json.loads(json.dumps(asdict(BUDGETS["smoke"])))
    assert [len(rows) for rows in told["scores"].values()] == [
        4,
        22,
        2,
        0,
    ]  # a draw has no supernet
    one = next(iter(told["scores"].values()))[0]
    assert (one["method"], one["tau"], one["n"], one["truth"]) == ("training", 1, 11, "W32A32")
    for part in ("evolution", "proxy[score=nwot]", "training"):
        assert part in said

    def never(*_: object) -> Iterator[Scores]:
        raise AssertionError
        yield

    monkeypatch.setattr(Ranked, "supernets", never)
    assert succeed(*arguments, "evolution,random[form=draw]") == said
    with pytest.raises(AssertionError):
        succeed(*arguments, "evolution,darts")
    assert len(json.loads(out.read_bytes())["scores"]) == 4


def test_what_cannot_be_ranked(table: TableStore, how: Definition, tmp_path: Path) -> None:
    out = tmp_path / "x.json"
    arguments = ("ranking", table.folder, "-o", out, "--methods", "evolution", "--budget")
    out.write_text("[]")
    assert "holds no rankings" in fail(*arguments, "smoke")
    out.write_text('{"scores": {}, "table": "other"}')
    assert "holds rankings of another table" in fail(*arguments, "smoke")
    small = filled(tmp_path / "small", [row(order()[0], how=how)], how)
    digits = load("digits", image=None, device="cpu", folder=Path("data"))
    with pytest.raises(BadValue, match=r"holds 1 architecture\(s\), which have no order"):
        Ranked(Judge(GroundTruth(Contents.of(small), "small"), digits), 5, BUDGETS["smoke"])
