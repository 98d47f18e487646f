"""What a search hands on beside its best architecture: the front, and a network with its weights."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bnas_bench.core.budget import Scale
from bnas_bench.core.errors import Damaged
from bnas_bench.core.seeds import generator
from bnas_bench.data.datasets import Dataset, load
from bnas_bench.plugins.registry import find
from bnas_bench.runs import finding, steps, training
from bnas_bench.runs import run as run_module
from bnas_bench.runs.heir import Heir
from bnas_bench.runs.run import run_trial
from bnas_bench.runs.store import Store
from bnas_bench.runs.train import train
from bnas_bench.runs.trial import Trial
from bnas_bench.search.checkpoint import Checkpoint
from bnas_bench.search.learning import accuracy
from tests.helpers.trials import BUDGET, left, read_log, toy_space, toy_trial

pytestmark = pytest.mark.usefixtures("one_thread")

METHOD = f"{Path(__file__).parents[1] / 'helpers' / 'inheriting.py'}:Inheriting"
SCALES = replace(BUDGET, search=Scale(image=6), final=Scale(image=8))


def trial(**options: Any) -> Trial:
    plugin = find("method", METHOD)
    return Trial(plugin, plugin.defaults | options, *toy_space(), "digits", SCALES, 0)


def test_both_pipelines_are_tested_at_the_searchs_scale(store: Store, tmp_path: Path) -> None:
    asked = trial(finetune=(3, 1))
    record = run_trial(asked, store)
    assert record["status"] == "ok", record["reason"]
    store.verify(record)

    # What the method did, done again.
    rng = generator(0, "search", asked.space.name, asked.method.name, 0)
    dataset = load("digits", image=6, device="cpu", folder=Path())
    space = asked.space.make(asked.space_options)
    best = space.sample(rng)
    spec = space.spec(SCALES.search, dataset.shape, dataset.classes, final=False)
    network = space.network(best, spec, rng)
    for name, tensor in network.named_buffers():
        if name.endswith("running_mean"):
            tensor.copy_(torch.from_numpy(rng.normal(size=len(tensor))))
    assert record["architecture_id"] == best.id
    inherited = round(100 * accuracy(network, dataset.test, 128), 6)
    assert record["inherited_test_accuracy"] == inherited
    finetuned = record["finetuned_test_accuracy"]
    assert list(finetuned) == ["1", "3"]
    log = read_log(store, asked)
    for epochs in (1, 3):
        heir = space.network(best, spec, np.random.default_rng(0))
        heir.load_state_dict(network.state_dict())
        recipe = replace(space.recipe(dataset.shape), epochs=epochs, lr=1e-3, batch_size=128)
        order = generator(0, f"finetune-{epochs}", "digits", 0)
        again = train(heir, dataset, recipe, order, Checkpoint(tmp_path / f"{epochs}.ckpt"))
        losses = [entry["loss"] for entry in log if entry["phase"] == f"finetune-{epochs}"]
        assert losses == [entry["loss"] for entry in again.log]
        assert finetuned[str(epochs)] == round(100 * accuracy(heir, dataset.test, 128), 6)

    assert [entry["phase"] for entry in log] == [
        *["train"] * 4,
        "finetune-1",
        *["finetune-3"] * 3,
    ]
    assert record["shape"] == [1, 8, 8]


def test_the_front_is_a_file_and_its_length_a_field(store: Store) -> None:
    asked = trial()
    record = run_trial(asked, store)
    front = json.loads((store.folder(asked.id) / "front.json").read_text())
    assert record["front_size"] == len(front) == 2
    assert [(m["valid_accuracy"], m["ops"]) for m in front] == [(25.0, 1000.0), (50.0, 2500.0)]
    assert front[1]["architecture"] == record["architecture"]
    assert record["finetuned_test_accuracy"] is None
    assert record["inherited_test_accuracy"] > 0
    (store.folder(asked.id) / "front.json").write_text("[]")
    with pytest.raises(Damaged, match=r"front\.json is truncated or altered"):
        store.verify(record)


@pytest.mark.slow
def test_a_search_without_heir_leaves_the_fields_empty(store: Store) -> None:
    for asked in (toy_trial(), trial(heir=False, finetune=(2,))):
        record = run_trial(asked, store)
        assert record["status"] == "ok"
        assert record["inherited_test_accuracy"] is None
        assert record["finetuned_test_accuracy"] is None
    assert run_trial(toy_trial(), store)["front_size"] == 0
    assert not (store.folder(toy_trial().id) / "front.json").exists()


def test_a_front_of_another_space_fails(store: Store) -> None:
    record = run_trial(trial(stray=True), store)
    assert record["status"] == "failed"
    assert "the architecture is of space 'elsewhere'" in record["reason"]


def test_test_images_are_read_after_all_training_once_per_network(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Dataset] = []
    load, train = finding.load, training.train
    trained = []

    def watched(*arguments: Any, **keywords: Any) -> Dataset:
        seen.append(load(*arguments, **keywords))
        return seen[-1]

    def spied(network: Any, dataset: Dataset, recipe: Any, *rest: Any, **keywords: Any) -> Any:
        assert [d.test.reads for d in seen] == [0, 0]
        trained.append((dataset.shape, len(dataset.train), recipe.epochs, recipe.lr))
        return train(network, dataset, recipe, *rest, **keywords)

    monkeypatch.setattr(finding, "load", watched)
    monkeypatch.setattr(training, "train", spied)
    record = run_trial(trial(finetune=(1, 2)), store)
    assert record["status"] == "ok", record["reason"]
    searched, final = seen
    assert (searched.test.reads, final.test.reads) == (3, 1)
    assert trained == [
        ((1, 8, 8), 1437, 4, 0.01),
        ((1, 6, 6), 1437, 1, 1e-3),
        ((1, 6, 6), 1437, 2, 1e-3),
    ]


class Killed(BaseException):
    pass


@pytest.mark.slow
def test_killed_at_every_stage_it_ends_with_the_same_record(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked, whole = trial(finetune=(1, 2)), Store(tmp_path / "whole")
    run_trial(asked, whole)
    save = Checkpoint.save
    # As often as something is saved: the search's find, 4 epochs of training, 1 and 2 of tuning.
    for stage in range(1, 9):
        saved = 0

        def kill(self: Checkpoint, *arguments: Any, **keywords: Any) -> None:
            nonlocal saved
            save(self, *arguments, **keywords)
            saved += 1
            if saved == stage:  # noqa: B023
                raise Killed

        here = Store(tmp_path / f"killed-{stage}")
        with monkeypatch.context() as patch:
            patch.setattr(steps, "Checkpoint", partial(Checkpoint, share=math.inf))
            patch.setattr(Checkpoint, "save", kill)
            with pytest.raises(Killed):
                run_trial(asked, here)
        with monkeypatch.context() as patch:
            if stage > 1:  # the search is not run again
                patch.setattr(run_module._Run, "find", None)
            run_trial(asked, here)
        assert left(here, asked) == left(whole, asked)


def test_tuning_starts_from_the_heir_each_time() -> None:
    space = toy_space()[0].make({})
    spec = space.spec(Scale(), (1, 8, 8), 10, final=False)
    arch = space.sample(np.random.default_rng(0))
    weights = space.network(arch, spec, np.random.default_rng(1)).state_dict()
    heir = Heir(arch, spec, weights, 0.25, (5, 2, 5))
    asked: list[tuple[str, int, float]] = []

    def fit(network: Any, recipe: Any, name: str) -> None:
        for key, tensor in network.state_dict().items():
            torch.testing.assert_close(tensor, weights[key], rtol=0, atol=0)
        asked.append((name, recipe.epochs, recipe.lr))
        with torch.no_grad():
            network.head.weight.zero_()

    def make() -> Any:
        return heir.network(space, np.random.default_rng(2), torch.device("cpu"))

    networks = heir.deploy(make, space.recipe((1, 8, 8)), fit)
    assert asked == [("finetune-2", 2, 0.25), ("finetune-5", 5, 0.25)]
    assert list(networks) == [0, 2, 5]
    assert networks[0].head.weight.any()
