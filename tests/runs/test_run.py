"""One trial, in this process: what its record holds, and that it holds the same again."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from bnas_bench.core.architecture import Architecture
from bnas_bench.core.budget import NetworkSpec, Recipe, Scale
from bnas_bench.core.errors import BadValue, BudgetExceeded, MissingData
from bnas_bench.core.files import canonical
from bnas_bench.core.seeds import generator
from bnas_bench.cost import costs, ledger
from bnas_bench.data import datasets as data_module
from bnas_bench.data.datasets import Dataset
from bnas_bench.nn.network import Network
from bnas_bench.plugins.registry import find
from bnas_bench.runs import finding, steps, training
from bnas_bench.runs.predictions import decode
from bnas_bench.runs.progress import Progress
from bnas_bench.runs.run import run_trial
from bnas_bench.runs.store import PREDICTIONS, Store
from bnas_bench.runs.train import train
from bnas_bench.runs.trial import Trial
from bnas_bench.search.learning import accuracy
from bnas_bench.search.lent import Lent
from bnas_bench.search.surroundings import Surroundings
from tests.helpers.trials import BUDGET, TOY, lasting, read_log, toy_trial

pytestmark = pytest.mark.usefixtures("one_thread")


def names(store: Store, trial: Trial) -> list[str]:
    return sorted(file.name for file in store.folder(trial.id).iterdir())


def test_a_finished_trial(store: Store) -> None:
    trial = toy_trial()
    record = run_trial(trial, store)
    assert record == store.read(trial.id)
    store.verify(record)
    files = [*("arch.json", "log.jsonl", PREDICTIONS), "record.json", "weights.safetensors"]
    assert names(store, trial) == files

    assert (record["status"], record["reason"]) == ("ok", None)
    assert record["id"] == trial.id
    assert record["config"] == json.loads(canonical(trial.config()))
    counts = ("train_images", "test_images", "search_images", "valid_images", "classes")
    assert [record[name] for name in counts] == [1437, 360, 718, 288, 10]
    # Of a budget of 3000, eleven epochs of 4 batches of 64 and a validation of 64 at a third.
    epoch = 4 * 64 + 64 / 3
    assert record["passes"] == round(10 * epoch, 2) <= 3000 < 11 * epoch
    left = f"{3000 - record['passes']:.0f} passes were left, and an epoch took up to {epoch:.0f}"
    assert record["notes"] == {"epochs": 10, "unspent": left}
    assert record["learned"]["steps"] == {"optimiser": 40}
    assert record["learned"]["chance"] == 10
    (learned,) = record["learned"]["supernets"].values()
    assert 0 < learned["signs_changed"] < 100
    assert 0 < learned["path_valid_at_least"] < learned["path_valid_accuracy"]

    arch = Architecture.from_json(record["architecture"])
    assert json.loads((store.folder(trial.id) / "arch.json").read_text()) == arch.to_json()
    assert record["architecture_id"] == arch.id
    spec = NetworkSpec((1, 8, 8), 10, cells=2, channels=4)
    network = trial.space.make(trial.space_options).network(arch, spec, np.random.default_rng(0))
    assert {name: record[name] for name in ("macs", "ops", "parameters")} == {
        name: value
        for name, value in costs(ledger(network, (1, 8, 8))).items()
        if name in ("macs", "ops", "parameters")
    }

    weights = safetensors.torch.load_file(store.folder(trial.id) / "weights.safetensors")
    network.load_state_dict(weights)
    dataset = data_module.load("digits", image=None, device="cpu", folder=Path())
    assert record["dataset_fingerprint"] == dataset.fingerprint
    assert record["test_accuracy"] == round(100 * accuracy(network, dataset.test, 360), 6)
    predictions = decode((store.folder(trial.id) / PREDICTIONS).read_bytes(), 10)
    with torch.no_grad():
        (x_BCHW, y_B) = next(dataset.test.batches(360))
        largest_B = network.eval()(x_BCHW).argmax(1)
    assert predictions.predicted.tolist() == [largest_B.tolist()]
    assert predictions.labels.tolist() == y_B.tolist()
    assert record["test_error"] == pytest.approx(100 - record["test_accuracy"], abs=1e-6)
    assert record["latency_kind"] == "simulated"
    assert 0 < record["latency_lower_ms"] <= record["latency_ms"] <= record["latency_upper_ms"]
    assert record["peak_memory_mib"] > 50
    assert record["threads"] == 1
    assert record["numerics"]["float32_matmul"] == "highest"
    assert record["recipe"]["epochs"] == 4  # the budget's, not the space's five
    assert record["recipe"]["batch_size"] == 128
    assert record["recipe"]["lr"] == 0.01

    log = read_log(store, trial)
    assert [entry["phase"] for entry in log] == ["search"] * 11 + ["train"] * 4
    assert log[9]["passes"] == record["passes"]
    assert log[10]["incumbent"] == arch.id
    assert log[-1]["loss"] == record["train_loss"]
    assert all(entry["seconds"] >= 0 for entry in log)
    assert "test" not in canonical(log)


@pytest.mark.slow
def test_the_same_trial_twice_is_the_same_record(store: Store, tmp_path: Path) -> None:
    trial, again = toy_trial(), Store(tmp_path / "again")
    first, second = run_trial(trial, store), run_trial(trial, again)
    assert lasting(first) == lasting(second)
    for name in ("arch.json", "weights.safetensors"):
        one, two = ((s.folder(trial.id) / name).read_bytes() for s in (store, again))
        assert one == two


@pytest.mark.slow
def test_another_seed_is_another_record(store: Store) -> None:
    trial = toy_trial()
    first = run_trial(trial, store)
    second = run_trial(replace(trial, repetition=1), store)
    assert first["weights_sha256"] != second["weights_sha256"]
    assert (first["seed"], second["seed"]) == (0, 1)


def test_methods_share_split_initialisation_and_order(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Any, ...]] = []

    def spy(root: int, *purpose: str | int) -> np.random.Generator:
        asked.append((root, *purpose))
        return generator(root, *purpose)

    for module in (steps, finding):
        monkeypatch.setattr(module, "generator", spy)
    trial = toy_trial(tries=1)
    run_trial(replace(trial, root_seed=9, repetition=2), store)
    assert asked == [
        (0, "split", finding.load("digits", image=8, device="cpu", folder=Path()).fingerprint),
        (9, "search", trial.space.name, trial.method.name, 2),
        (9, "initialise", "digits", 2),
        (9, "train", "digits", 2),
    ]


def test_test_images_are_read_once_and_after_everything_else(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Dataset] = []
    load = finding.load

    def watched(*arguments: Any, **keywords: Any) -> Dataset:
        seen.append(load(*arguments, **keywords))
        return seen[-1]

    def train(network: Any, dataset: Dataset, *rest: Any, **keywords: Any) -> Any:
        assert [d.test.reads for d in seen] == [0, 0]
        return original(network, dataset, *rest, **keywords)

    original = training.train
    monkeypatch.setattr(finding, "load", watched)
    monkeypatch.setattr(training, "train", train)
    budget = replace(BUDGET, search=Scale(image=6), final=Scale(image=8))
    record = run_trial(toy_trial(budget), store)
    searched, final = seen
    assert searched.shape == (1, 6, 6)
    assert record["shape"] == [1, 8, 8]
    assert (searched.test.reads, final.test.reads) == (0, 1)


def test_a_refused_pair_says_why_and_runs_nothing(store: Store) -> None:
    trial = toy_trial(fault="refuse")
    record = run_trial(trial, store)
    assert (record["status"], record["reason"]) == ("refused", "it only plays")
    assert "passes" not in record
    assert names(store, trial) == ["record.json"]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("raise", "RuntimeError: no luck"),
        ("memory", "MemoryError:"),
        (
            "nan",
            "Diverged: loss is nan after 0 passes of the search; a smaller learning rate may help",
        ),
    ],
)
def test_a_search_that_fails_leaves_a_record(store: Store, fault: str, reason: str) -> None:
    trial = toy_trial(fault=fault)
    record = run_trial(trial, store)
    assert (record["status"], record["reason"]) == ("failed", reason)
    assert record == store.read(trial.id)
    assert record["passes"] == 0
    assert "test_accuracy" not in record
    assert "_go_wrong" in (store.folder(trial.id) / "error.txt").read_text()


DOUBLE = "torch.set_default_dtype(torch.float64)"
MEDDLERS = [
    (DOUBLE, "the search changed torch's default dtype from float32 to float64; put it back"),
    (
        "torch.set_num_threads(2)",
        "the search changed torch's number of threads from 1 to 2; put it back",
    ),
    ("space.rate = 0.1", "the search changed space.rate from 0.01 to 0.1; put it back"),
    (
        "space.recipe = lambda shape: None",
        "the search changed space.recipe from nothing to <lambda>; put it back",
    ),
    (
        "type(space).recipe = lambda self, shape: None",
        "the search changed ToySpace.recipe from ToySpace.recipe to <lambda>; put it back",
    ),
    (
        "object.__setattr__(DECISIONS[0], 'options', (1, 3, 7))",
        "the search changed space.decisions[0].options from (1, 3, 5) to (1, 3, 7); put it back",
    ),
]


@pytest.mark.sample(1)
@pytest.mark.parametrize(("meddle", "sentence"), MEDDLERS)
def test_what_a_search_changes_ends_with_it_and_the_trial_fails(
    store: Store, tmp_path: Path, meddle: str, sentence: str
) -> None:
    before, trial = Surroundings(), toy_trial(meddle=meddle, space={"label": meddle})
    whole = Lent(trial.space.make({}))
    record = run_trial(trial, store)
    assert (record["status"], record["reason"]) == ("failed", f"Altered: {sentence}")
    assert "recipe" not in record
    assert "found.ckpt" not in names(store, trial)
    assert before.changes() == []
    assert whole.changes() == []
    # and so it does where it was killed before its end
    store.retire(trial.id, "old", keep_checkpoints=True)
    assert lasting(run_trial(trial, store)) == lasting(record)
    honest = toy_trial()
    first, second = (run_trial(honest, Store(tmp_path / name)) for name in "ab")
    assert lasting(first) == lasting(second)
    assert first["recipe"]["lr"] == 0.01


def test_a_search_that_looks_or_hides_passes_from_its_meter_fails(store: Store) -> None:
    looks = "from bnas_bench.data.datasets import load; load('digits', image=8, device='cpu', folder='')"
    record = run_trial(toy_trial(meddle=looks), store)
    assert record["reason"].startswith(
        "Shut: the dataset digits is shut while a search is under way"
    )
    hidden = "meter.__exit__(); supernet(task.valid.pixels[:3].float(), [0, 0]); meter.__enter__()"
    early = run_trial(toy_trial(meddle=hidden, meddle_at=3), store)
    assert early["reason"].startswith("Unpaid: 3 images went through networks")
    record = run_trial(toy_trial(meddle=hidden), store)
    assert early["passes"] < record["passes"]
    assert (record["status"], record["reason"]) == (
        "failed",
        "Unpaid: 3 images went through networks in the search while its meter was not listening; "
        "let every pass be counted",
    )


def test_what_a_search_changes_on_its_way_is_never_saved(store: Store) -> None:
    """The trial would be another one if it was killed and resumed after that."""
    trial = toy_trial(meddle=DOUBLE + "; torch.set_default_dtype(torch.float32)", meddle_at=3)
    assert run_trial(trial, store)["status"] == "ok"
    record = run_trial(toy_trial(meddle="space.rate = 0.1", meddle_at=3), store)
    assert record["reason"] == (
        "Altered: an epoch of the search changed space.rate from 0.01 to 0.1; put it back"
    )
    assert record["passes"] == round(4 * (4 * 64 + 64 / 3), 2)


@pytest.mark.parametrize("kind", ["method", "space"])
def test_a_file_that_changes_something_as_it_is_imported_fails(
    store: Store, tmp_path: Path, kind: str
) -> None:
    before, trial = Surroundings(), toy_trial(fault="refuse")
    file = tmp_path / "mine.py"
    file.write_text(f"{TOY.read_text()}\n{DOUBLE}\n")
    plugin = find(kind, f"{file}:Toy{kind.title()}")  # type: ignore[arg-type]
    record = run_trial(replace(trial, **{kind: plugin}), store)  # type: ignore[arg-type]
    assert record["status"] == "failed"
    assert f"the file of {kind} '{file}:Toy{kind.title()}'" in record["reason"]
    assert record["reason"].endswith(
        "changed torch's default dtype from float32 to float64; put it back"
    )
    assert before.changes() == []


NO_RESULTS = [
    ("(None,)[0]", "search returned None; return a SearchResult(...)"),
    ("best", "search returned Architecture; return a SearchResult(...)"),
    ("(best, 0.5)", "search returned (Architecture("),
    ("replace(result, best=None)", "the result's best is None; give an Architecture"),
    ("replace(result, best='x')", "the result's best is 'x'"),
    (
        "replace(result, best=Architecture(space.name, {1: 3}))",
        "the result's best is Architecture; give an Architecture, as the space makes them",
    ),
    ("replace(result, best=Architecture('x', {}))", "the architecture is of space 'x'"),
    ("replace(result, valid='x')", "the result's valid is 'x'; give an accuracy from 0 to 1"),
    ("replace(result, valid=float('nan'))", "the result's valid is nan"),
    ("replace(result, valid=87.5)", "the result's valid is 87.5"),
    ("replace(result, valid=torch.ones(2))", "the result's valid is tensor([1., 1.])"),
    ("replace(result, notes=None)", "the result's notes are None; give a dict"),
    ("replace(result, notes=[1])", "the result's notes are [1]"),
    ("replace(result, notes={'a': float('inf')})", "note 'a' is inf; a note is a finite number"),
    ("replace(result, notes={'a': [1]})", "note 'a' is [1]; a note is a finite number or a text"),
    ("replace(result, notes={'a': object})", "note 'a' is <class 'object'>"),
    ("replace(result, notes={'a': 'b' * 2**20})", "the result has 1 notes of 1,048,577 characters"),
    ("replace(result, notes={1: 2})", "a note's name is 1; give a text"),
    ("replace(result, front=3)", "the result's front is 3; give a list of Candidate(...)"),
    ("replace(result, front=[best])", "the result's front holds Architecture"),
    (
        "replace(result, front=[Candidate(best, 2.0, 1.0)])",
        "the result's candidate's valid is 2.0",
    ),
    (
        "replace(result, front=[Candidate(best, 0.5, float('nan'))])",
        "a candidate's ops are nan",
    ),
    ("replace(result, heir=3)", "the result's heir is 3; give the network of `best`, or None"),
    ("replace(result, heir=supernet)", "the result's heir is ToySupernet"),
    ("replace(result, finetune=3)", "the result's finetune is 3; give a learning rate"),
    ("replace(result, finetune=(-1.0, (1,)))", "the result's finetune is (-1.0, (1,))"),
    ("replace(result, finetune=(0.1, (0,)))", "the result's finetune is (0.1, (0,))"),
]


@pytest.mark.sample(6)
@pytest.mark.parametrize(("returns", "sentence"), NO_RESULTS)
def test_a_search_that_returns_no_result_fails_in_one_sentence(
    store: Store, returns: str, sentence: str
) -> None:
    record = run_trial(toy_trial(replace(BUDGET, passes=300), returns=returns), store)
    assert record["status"] == "failed"
    assert sentence in record["reason"]
    assert record == store.read(record["id"])


def test_numbers_of_numpy_and_torch_are_numbers(store: Store) -> None:
    returns = (
        "replace(result, valid=torch.tensor(0.5), notes={'a': np.int64(3), 'b': np.float32(0.5)}, "
        "front=[Candidate(best, np.float64(0.25), np.int64(7))])"
    )
    meddle = "meter.report(a=np.float32(0.5), b=np.int64(3), c=torch.tensor(2.0))"
    trial = toy_trial(replace(BUDGET, passes=300), returns=returns, meddle=meddle)
    record = run_trial(trial, store)
    assert record["status"] == "ok", record["reason"]
    reported = next(entry for entry in read_log(store, trial) if "a" in entry)
    assert [reported[name] for name in "abc"] == [0.5, 3, 2.0]
    assert record["valid_accuracy"] == 50
    assert record["notes"].items() >= {"a": 3, "b": 0.5}.items()


def test_a_training_that_fails_keeps_what_the_search_found(store: Store) -> None:
    trial = toy_trial(space={"rate": 1e20})
    record = run_trial(trial, store)
    assert record["status"] == "failed"
    assert record["reason"].startswith("Diverged: the training loss is nan in epoch 1 of 4")
    assert record["architecture_id"]
    assert record["passes"] > 0
    assert "found.ckpt" in names(store, trial)


def test_a_budget_that_is_overspent_fails(store: Store) -> None:
    record = run_trial(toy_trial(replace(BUDGET, passes=100)), store)
    assert record["status"] == "failed"
    assert record["reason"].startswith(f"{BudgetExceeded.__name__}: the search asked for 128")


def test_bad_input_leaves_no_record(store: Store) -> None:
    trial = toy_trial()
    with pytest.raises(BadValue, match="there is no device 'warp' here"):
        run_trial(trial, store, device="warp")
    with pytest.raises(MissingData):
        run_trial(replace(trial, dataset="imagefolder:/nowhere"), store)
    assert store.ids() == []


@pytest.mark.slow
def test_a_search_that_is_over_is_not_run_again(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Killed(BaseException):
        pass

    def killed(*_: Any, **__: Any) -> None:
        raise Killed

    trial, trace = toy_trial(), tmp_path / "trace"
    monkeypatch.setenv("TOY_TRACE", str(trace))
    with monkeypatch.context() as patch:
        patch.setattr(training, "train", killed)
        with pytest.raises(Killed):
            run_trial(trial, store)
    (work,) = store.work(trial.id).iterdir()
    assert sorted(file.name for file in work.iterdir()) == ["attempts.ckpt", "found.ckpt"]
    epochs = trace.read_text()
    before = time.perf_counter()
    record = run_trial(trial, store)
    this_process = time.perf_counter() - before
    assert trace.read_text() == epochs
    others = this_process - record["train_seconds"]
    parts = record["search_seconds"] + record["train_seconds"]
    assert parts < record["seconds"] < parts + others
    whole = run_trial(trial, Store(tmp_path / "whole"))
    assert lasting(record) == lasting(whole)
    assert len(read_log(store, trial)) == 15


def test_a_checkpoint_of_other_code_is_not_gone_on_with(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trial = toy_trial(space={"rate": 1e20})
    trial = replace(trial, method=replace(trial.method, name="toy", module="tests.helpers.toy"))
    changed = replace(trial, method=replace(trial.method, source="other"))
    assert changed.id == trial.id
    run_trial(trial, store)
    monkeypatch.setenv("TOY_TRACE", str(tmp_path / "trace"))
    said: list[str] = []
    store.retire(trial.id, "old", keep_checkpoints=True)
    run_trial(trial, store, progress=Progress(said.append))
    assert not (tmp_path / "trace").exists()
    assert said == []
    store.retire(trial.id, "old", keep_checkpoints=True)
    run_trial(changed, store, progress=Progress(said.append))
    assert (tmp_path / "trace").exists()
    assert "was written with other code or data" in said[0]


def test_progress_tells_what_was_spent_and_found(store: Store) -> None:
    progress = Progress()
    told: list[tuple[str, float, str]] = []
    enter = progress.enter

    def spy(*arguments: Any) -> None:
        told.append(progress.snapshot())
        enter(*arguments)

    progress.enter = spy  # type: ignore[method-assign, assignment]
    record = run_trial(toy_trial(), store, progress=progress)
    phases = [phase for phase, _, _ in told]
    assert phases == ["start", "load", "search", "train", "test"]
    best = record["valid_accuracy"] / 100
    assert told[2][2] == (
        f"2,773 of 3,000 passes; incumbent {record['architecture_id']}, valid {best:.4g}"
    )
    assert told[3] == ("train", 1.0, "")


def test_random_numbers_of_others_are_left_alone(store: Store) -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # type: ignore[index]
    run_trial(toy_trial(), store)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]  # type: ignore[index]


@pytest.mark.slow
def test_a_budget_can_change_the_recipe_and_the_precision(store: Store) -> None:
    """DCP-NAS tables 6 and 9: the derived network is real-valued, or trained otherwise."""
    plain, real = (
        run_trial(toy_trial(budget=replace(BUDGET, recipe=recipe)), store)
        for recipe in ({}, {"precision": "W32A32", "clip": 0.5})
    )
    assert (plain["recipe"]["precision"], real["recipe"]["precision"]) == ("W1A1", "W32A32")
    assert real["recipe"] == plain["recipe"] | {"precision": "W32A32", "clip": 0.5}
    assert plain["architecture"] == real["architecture"]
    assert sum(plain["macs"].values()) == sum(real["macs"].values())
    assert "W1A1" in plain["macs"]
    assert set(real["macs"]) == {"W32A32"}
    assert plain["test_accuracy"] != real["test_accuracy"]
    assert plain["test_accuracy"] <= plain["test_top5_accuracy"] <= 100


@pytest.mark.slow
def test_two_steps_and_a_teacher_are_trainings_of_their_own(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trained: list[tuple[str, float, bool]] = []

    def watched(network: Network, dataset: Dataset, recipe: Recipe, *rest: Any, **how: Any) -> Any:
        trained.append((network.precision, recipe.weight_decay, how["teacher"] is not None))
        return train(network, dataset, recipe, *rest, **how)

    class Killed(BaseException):
        pass

    def killed(network: Network, *rest: Any, **how: Any) -> Any:
        if network.precision == "W1A1":
            raise Killed
        return train(network, *rest, **how)

    recipe = {"first": "W32A1", "teacher": "twin", "weight_decay": 0.01}
    trial = toy_trial(budget=replace(BUDGET, recipe=recipe))
    monkeypatch.setattr(training, "train", watched)
    record = run_trial(trial, store)
    assert trained == [("W32A32", 0.01, False), ("W32A1", 0.01, True), ("W1A1", 0.0, True)]
    phases = [entry["phase"] for entry in read_log(store, trial)]
    assert list(dict.fromkeys(phases)) == ["search", "teacher", "first", "train"]
    assert record["recipe"]["first"] == "W32A1"

    monkeypatch.setattr(training, "train", killed)
    again = Store(tmp_path / "killed")
    with pytest.raises(Killed):
        run_trial(trial, again)
    monkeypatch.setattr(training, "train", train)
    assert lasting(run_trial(trial, again)) == lasting(record)
