"""Trials that a table judges: what they ask, what they pay, what their records say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau

from bnas_bench.analysis.searches import incumbents
from bnas_bench.core.architecture import Architecture
from bnas_bench.core.budgets import BUDGETS
from bnas_bench.core.errors import BadValue, BudgetExceeded, Damaged
from bnas_bench.core.seeds import generator
from bnas_bench.data.datasets import Dataset, load
from bnas_bench.packed.size import packed_bytes
from bnas_bench.plugins import making
from bnas_bench.report.learned import learned_table
from bnas_bench.runs.judged import judge_of, judged, task_of
from bnas_bench.runs.request import requested
from bnas_bench.runs.run import run_trial
from bnas_bench.runs.store import Store
from bnas_bench.search.meter import Meter
from bnas_bench.search.scores import scored_by_training
from bnas_bench.tables import judge as judging
from bnas_bench.tables import parquet
from bnas_bench.tables.contents import Contents
from bnas_bench.tables.definition import Definition, defined, text
from bnas_bench.tables.judge import ByTable, Judge, table_of
from bnas_bench.tables.row import Row
from bnas_bench.tables.training import Trainer
from tests.helpers.records import results
from tests.helpers.tables import filled, order, row

pytestmark = pytest.mark.usefixtures("one_thread")

HELD = 30
TINY = ("epochs=2", "train_images=40", "valid_images=20", "channels=2", "batch_size=16")


@pytest.fixture(scope="module")
def how() -> Definition:
    return defined("bnas-201", "digits", 2, ("mixed=true", *TINY), Path("data"))


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits", image=None, device="cpu", folder=Path("data"))


@pytest.fixture
def committed(how: Definition, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As `tables/` of a checkout: a table of the first architectures, whose numbers are drawn."""
    rows = [row(arch, how=how) for arch in order()[:HELD]]
    folder = tmp_path / "tables"
    folder.mkdir()
    contents = Contents.of(filled(tmp_path / "rows", rows, how))
    parquet.write(contents, folder / "bnas-201-digits.parquet")
    monkeypatch.setattr(judging, "COMMITTED", folder)
    monkeypatch.setattr(judging, "LEAST", HELD / 5044)
    return folder


@pytest.fixture
def judge(committed: Path) -> Judge:
    table = table_of("bnas-201", "digits")
    assert table is not None
    assert table.path.parent == committed
    return judge_of(table, "data")


def test_what_is_held_is_looked_up_and_the_rest_trained_as_the_table_is(
    judge: Judge, how: Definition, digits: Dataset
) -> None:
    held, other = order()[3], order()[HELD]
    wanted = judge.truth.query(held)
    assert judge.entry(held).mean == wanted.mean
    space = making.space("bnas-201")
    trained = Trainer(how, space, digits).row(other, text(space, other), "W1A1")
    entry = judge.entry(other)
    assert (entry.test * how.test_images / 100).round(6).tolist() == list(trained.test_hits)
    assert entry.bytes == trained.bytes
    assert judge.entry(other) is entry  # once is enough

    best = judge.truth.best().mean
    for arch, mean, evaluated in (
        (held, wanted.mean, "table"),
        (other, entry.mean, "by the table's definition"),
    ):
        verdict = judge.verdict(arch)
        means = [judge.truth.query(a).mean for a in order()[:HELD] if a != arch]
        worse = np.mean([(m < mean) + (m == mean) / 2 for m in means])
        assert verdict["evaluated"] == evaluated
        assert verdict["test_accuracy"] == round(mean, 6)
        assert verdict["regret"] == pytest.approx(best - mean, abs=1e-6)
        assert verdict["percentile"] == pytest.approx(100 * worse, abs=1e-4)
    assert verdict["table"] | {"held": HELD, "architectures": 5044} == verdict["table"]


def test_a_table_is_found_by_its_dataset(committed: Path, how: Definition) -> None:
    """A tree of images by the name of its folder; another folder of that name is another dataset."""
    folder = replace(how, dataset="imagefolder:data/leaves")
    rows = [row(arch, how=folder) for arch in order()[:HELD]]
    contents = Contents.of(filled(committed.parent / "leaves", rows, folder))
    parquet.write(contents, committed / "bnas-201-leaves.parquet")
    found = table_of("bnas-201", "imagefolder:data/leaves")
    assert found is not None
    assert (found.name, found.definition) == ("bnas-201-leaves", folder.digest)
    assert table_of("bnas-201", "imagefolder:data/trees") is None
    assert table_of("bnas-201", "imagefolder:other/leaves") is None


def test_it_trains_on_one_thread_as_the_table_was(
    judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[int] = []
    row = Trainer.row

    def watched(*arguments: Any) -> Row:
        threads.append(torch.get_num_threads())
        return row(*arguments)

    monkeypatch.setattr(Trainer, "row", watched)
    torch.set_num_threads(2)
    judge.entry(order()[HELD])
    assert (threads, torch.get_num_threads()) == ([1], 2)


def test_a_score_costs_what_the_training_would(judge: Judge, digits: Dataset) -> None:
    space, budget = making.space("bnas-201"), replace(BUDGETS["quick"], batch_size=16)
    spec = judge.truth.definition.spec(space, digits)
    task, arch = task_of(judge, digits, spec, budget), order()[0]
    for epochs in (1, 2):
        with Meter(None) as looked_up:
            by_table = replace(task, scorer=ByTable(judge, looked_up, 0, ("x",)))
            score = by_table.score(arch, epochs)
            assert looked_up.spent == pytest.approx(by_table.passes_of(epochs), abs=0.2)
        with Meter(None) as trained:
            scored_by_training(task, space, 0).score(arch, epochs)
        assert looked_up.spent == trained.spent
        assert score in judge.truth.query(arch).valid[:, epochs - 1] / 100
    with Meter(None) as meter:  # it is trained now, which is not the search's business
        by_table = replace(task, scorer=ByTable(judge, meter, 0, ("x",)))
        by_table.score(order()[HELD], 2)
        assert meter.spent == trained.spent
    with Meter(None) as meter:
        scores = {ByTable(judge, meter, 0, (seed,))(arch, 2) for seed in range(20)}
    assert len(scores) == 2  # one a seed of the table


def test_what_no_score_answers(judge: Judge, digits: Dataset) -> None:
    with Meter(50) as meter:
        scorer = ByTable(judge, meter, 0, ())
        assert scorer.longest == 2
        for epochs in (0, 3):
            with pytest.raises(BadValue, match=r"knows no score after . epochs: ask for 1 to 2"):
                scorer(order()[0], epochs)
        with pytest.raises(BudgetExceeded):
            scorer(order()[0], 2)
    other = replace(judge.truth.definition, fingerprint="0" * 16)
    judge.truth.contents = replace(judge.truth.contents, definition=other)
    with pytest.raises(BadValue, match=r"images of digits are others .* give --train"):
        Judge(judge.truth, digits)


def test_a_search_sees_the_tables_own_images_and_none_that_test(
    judge: Judge, how: Definition, digits: Dataset
) -> None:
    spec = how.spec(making.space("bnas-201"), digits)
    task = task_of(judge, digits, spec, BUDGETS["quick"])
    train, valid, test = how.split(digits)
    assert task.train.digest() == train.digest()
    assert task.valid.digest() == valid.digest()
    tested = {image.tobytes() for image in test.pixels.numpy()}  # type: ignore[attr-defined]
    for part in (task.train, task.valid):
        assert not tested & {image.tobytes() for image in part.pixels.numpy()}  # type: ignore[attr-defined]


@pytest.mark.usefixtures("committed")
def test_a_trial_is_judged(
    store: Store, judge: Judge, how: Definition, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("random[epochs=2]", "bnas-201", "digits", "quick[passes=200]", 1)
    (trial,) = requested(*arguments)
    record = run_trial(trial, store)
    assert record == store.read(trial.id)
    assert record["reason"] is None
    assert record["status"] == "ok"
    arch = Architecture.from_json(record["architecture"])
    verdict = judge.verdict(arch)
    assert {name: record[name] for name in verdict} == verdict
    each = 2 * 32 + 20 / 3
    assert record["notes"]["candidates"] == 200 // each
    assert record["passes"] == pytest.approx(200 // each * each, abs=0.5)
    assert (record["search_images"], record["valid_images"]) == (40, 20)
    assert record["test_images"] == how.test_images
    assert "latency_ms" not in record
    passes, regrets = incumbents(store, trial.id, "regret", 1)
    log = [json.loads(line) for line in (store.folder(trial.id) / "log.jsonl").open()]
    known = [
        (entry["passes"], judge.regret(Architecture("bnas-201", entry["choices"])))
        for entry in log
        if "choices" in entry
    ]
    held = [(at, regret) for at, regret in known if regret is not None]
    assert list(zip(passes, regrets, strict=True)) == held
    assert judge.regret(order()[HELD]) is None
    best = max(order()[:HELD], key=lambda arch: judge.truth.query(arch).mean)
    assert judge.regret(best) == 0

    (trained,) = requested(*arguments, train=True)
    assert trained.table is None
    assert trained.id != trial.id
    (several,) = requested(*arguments, train_seeds=2)  # an ask for trainings
    assert several.table is None
    (elsewhere,) = requested("random", "bats", "digits", "smoke", 1)
    assert elsewhere.table is None
    monkeypatch.setattr(judging, "LEAST", (HELD + 1) / 5044)  # a table that has hardly begun
    assert [one.table for one in requested(*arguments)] == [None]


def test_bytes_are_those_of_the_cell_that_was_found(judge: Judge) -> None:
    """Not of the one that stands for its class, which computes the same and may take other bytes."""
    space, spec = judge.truth.space, judge.truth.definition.spec(judge.truth.space, judge.dataset)
    found = space.parse(
        "|avg_pool_3x3~0|+|skip_connect~0|none~1|+|avg_pool_3x3~0|skip_connect~1|avg_pool_3x3~2|"
    )
    sizes = [
        packed_bytes(space.network(arch, spec, generator(0, "test")).eval(), judge.dataset.shape)
        for arch in (found, space.canonical(found))
    ]
    assert sizes[0] != sizes[1]
    assert judged(judge, space, found)["packed_bytes"] == sizes[0]


@pytest.mark.usefixtures("committed")
def test_a_supernet_is_held_against_architectures_of_the_table(store: Store, judge: Judge) -> None:
    (trial,) = requested("cpnas", "bnas-201", "digits", "quick[passes=500,batch_size=8]", 1)
    record = run_trial(trial, store)
    assert record["reason"] is None
    learned = record["learned"]
    alone = learned["drawn_test_accuracies"]
    means = [judge.truth.query(arch).mean for arch in order()[:HELD]]
    assert sorted(alone) == pytest.approx(sorted(means), abs=1e-6)
    assert alone != sorted(alone)
    for supernet in learned["supernets"].values():
        assert len(supernet["drawn_valid_accuracies"]) == HELD
    ((setting, rows),) = results(store).settings.items()
    made = learned_table(setting, rows, "learned")
    assert made is not None
    taus = {line["supernet"].text.split(" ")[0]: line["tau"] for line in made.rows}
    for name, supernet in learned["supernets"].items():
        tau = kendalltau(supernet["drawn_valid_accuracies"], alone).statistic
        assert taus[name.removesuffix(".supernet")].number == pytest.approx(tau)


def test_a_damaged_table_is_told(committed: Path) -> None:
    (file,) = committed.iterdir()
    table = table_of("bnas-201", "digits")
    assert table is not None
    data = bytearray(file.read_bytes())
    data[100] ^= 1
    file.write_bytes(data)
    with pytest.raises(Damaged, match="truncated or altered"):
        judge_of(table, "data")
    file.write_bytes(data[:1000])
    with pytest.raises(Damaged, match="is no table of bnas-bench"):
        requested("random", "bnas-201", "digits", "quick", 1)
