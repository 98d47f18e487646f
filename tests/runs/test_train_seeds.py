"""Several trainings of what one search finds: one record, one search, and trainings of their own."""

from __future__ import annotations

import json
from dataclasses import replace
from statistics import fmean, stdev

import numpy as np
import pytest
import safetensors
import safetensors.torch

from bnas_bench.core.errors import BadValue
from bnas_bench.runs.network import of_trial
from bnas_bench.runs.predictions import decode
from bnas_bench.runs.request import requested
from bnas_bench.runs.run import run_trial
from bnas_bench.runs.store import PREDICTIONS, Store
from tests.helpers.trials import BUDGET, lasting, read_log, toy_trial

pytestmark = pytest.mark.usefixtures("one_thread")

ALONE = replace(BUDGET, epochs=2)
THREE = toy_trial(replace(ALONE, train_seeds=3))


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("three") / "results")
    run_trial(THREE, store)
    return store


def test_the_mean_of_the_trainings_is_the_trials_accuracy(three: Store) -> None:
    record = three.read(THREE.id) or {}
    three.verify(record)
    each = record["test_accuracies"]
    assert len(set(each)) == 3
    assert record["test_accuracy"] == pytest.approx(fmean(each), abs=1e-6)
    assert record["test_accuracy_sd"] == pytest.approx(stdev(each), abs=1e-6)
    assert record["config"]["budget"]["train_seeds"] == 3
    found = decode((three.folder(THREE.id) / PREDICTIONS).read_bytes(), 10)
    assert found.predicted.shape == (3, 360)
    assert (100 * found.right.mean(axis=1)).tolist() == pytest.approx(each, abs=1e-6)
    phases = dict.fromkeys(entry["phase"] for entry in read_log(three, THREE))
    assert list(phases) == ["search", "train", "train-2", "train-3"]


def test_the_first_training_is_what_the_only_one_would_be(three: Store, store: Store) -> None:
    alone = toy_trial(ALONE)
    one, record = run_trial(alone, store), three.read(THREE.id) or {}
    assert "train_seeds" not in one["config"]["budget"]
    assert one.keys() & {"test_accuracies", "test_accuracy_sd"} == set()
    assert one["test_accuracy"] == record["test_accuracies"][0]
    assert one["architecture"] == record["architecture"]
    weights = [
        safetensors.torch.load_file(where.folder(trial.id) / "weights.safetensors")
        for where, trial in ((store, alone), (three, THREE))
    ]
    assert all(np.array_equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert of_trial(record)["test_accuracy"] == str(one["test_accuracy"])
    packed = [
        decode((where.folder(trial.id) / PREDICTIONS).read_bytes(), 10).predicted
        for where, trial in ((store, alone), (three, THREE))
    ]
    assert np.array_equal(packed[0][0], packed[1][0])


def test_killed_between_two_trainings_it_repeats_none(
    three: Store, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bnas_bench.runs import training

    class Killed(BaseException):
        pass

    def killed(*arguments: object, **how: object) -> object:
        if len(began) == 2:
            raise Killed
        began.append("")
        return train(*arguments, **how)  # type: ignore[arg-type]

    def epochs() -> dict[str, int]:
        found = {}
        for file in store.trials.rglob("train*.ckpt"):
            with safetensors.safe_open(file, "pt") as opened:
                header = json.loads(opened.metadata()["content"])["header"]
            found[file.stem] = len(header["log"])
        return found

    began: list[str] = []
    train = training.train
    monkeypatch.setattr(training, "train", killed)
    with pytest.raises(Killed):
        run_trial(THREE, store)
    assert epochs() == {"train": 2, "train-2": 2}
    monkeypatch.setattr(training, "train", train)
    assert lasting(run_trial(THREE, store)) == lasting(three.read(THREE.id) or {})


def test_one_training_leaves_ids_and_names_as_they_were() -> None:
    asked = ("random", "darts-binary", "digits", "smoke", 1)
    (plain,), (one,) = requested(*asked), requested(*asked, train_seeds=1)
    assert plain.id == one.id == "random-darts-binary-digits-smoke-s0-8e7b75ff"
    (three,) = requested(*asked, train_seeds=3)
    assert three.budget.name == "smoke[train_seeds=3]"
    assert three.id != plain.id
    assert [three.id] == [t.id for t in requested(*asked[:3], "smoke[train_seeds=3]", 1)]


@pytest.mark.parametrize(
    ("number", "said"), [(0, "train_seeds is .0."), (101, "train_seeds is .101.")]
)
def test_training_seeds_are_a_few(number: int, said: str) -> None:
    with pytest.raises(BadValue, match=said):
        requested("random", "darts-binary", "digits", "smoke", 1, train_seeds=number)


def test_training_seeds_are_said_once() -> None:
    with pytest.raises(BadValue, match="say one of the two"):
        requested("random", "darts-binary", "digits", "smoke[train_seeds=2]", 1, train_seeds=3)
