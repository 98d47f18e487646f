"""A trial's network that is carried to a small re-identification task, killed on its way, asked again."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bnas_bench.core.budget import Scale
from bnas_bench.core.budgets import BUDGETS
from bnas_bench.core.errors import BadValue, Damaged, Diverged, UnknownName
from bnas_bench.cost.capacity import training_bytes
from bnas_bench.data.images import TensorImages
from bnas_bench.plugins import making
from bnas_bench.plugins.recorded import defaults
from bnas_bench.report.commands import Origin
from bnas_bench.report.transferred import Transfers
from bnas_bench.runs import claims, transferring
from bnas_bench.runs.backbones import Backbone, of_architecture, of_trial
from bnas_bench.runs.claims import claim
from bnas_bench.runs.store import Store
from bnas_bench.runs.transferring import Transfer, transfer
from bnas_bench.search.checkpoint import Checkpoint
from bnas_bench.search.learning import set_lr
from bnas_bench.transfer import tasks, training
from bnas_bench.transfer.identities import identities
from bnas_bench.transfer.people import People, Views
from bnas_bench.transfer.reidentification import Recipe, Reidentification, batch_hard, batches
from bnas_bench.transfer.retrieval import Seen
from tests.helpers.cli import fail, invoke, succeed

SHORT = Recipe(epochs=3, batch_size=16)
RUN = ("run", "--method", "random[form=draw]", "--space", "bnas-201", "--train", "--budget")


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("transfer")
    succeed(*RUN, "smoke", "--results", results, "--reports", results / "r", "--seeds", 1)
    (folder,) = (results / "local" / "trials").glob("random*")
    return folder


@pytest.fixture(scope="module")
def few() -> People:
    """A dozen identities to train on, a dozen to find."""
    whole = identities(torch.device("cpu"))

    def first(views: Views) -> Views:
        chosen = np.unique(views.seen.identities)[:12]
        places = np.flatnonzero(np.isin(views.seen.identities, chosen))
        seen = Seen(views.seen.identities[places], views.seen.cameras[places])
        return Views(views.images.subset(places), seen)

    return replace(
        whole, train=first(whole.train), query=first(whole.query), gallery=first(whole.gallery)
    )


@pytest.fixture
def asked(trial: Path, few: People) -> Transfer:
    return Transfer(
        backbone=of_trial(trial), task=Reidentification(few, SHORT), folder=trial.parent.parent
    )


@pytest.fixture
def architecture() -> Backbone:
    space = making.space("darts-binary")
    return of_architecture(space, space.sample(np.random.default_rng(0)), Scale(2, 4))


def lasting(record: dict[str, Any]) -> dict[str, Any]:
    """Without what another run of the same has otherwise."""
    gone = ("seconds", "train_seconds", "when", "log", "load")
    losses = [entry["loss"] for entry in record["log"]]
    return {name: value for name, value in record.items() if name not in gone} | {"losses": losses}


def test_a_killed_transfer_goes_on_as_if_it_were_not(
    asked: Transfer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = replace(asked, precisions=("W32A1", "W1A1"))
    whole = transfer(asked)
    asked.file.rename(asked.file.with_name("kept"))
    monkeypatch.setattr(transferring, "Checkpoint", partial(Checkpoint, share=1e9))

    def killed(done: float) -> None:
        if done > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        transfer(asked, tell=killed)
    assert not asked.file.exists()
    told: list[float] = []
    again = transfer(asked, tell=told.append)
    assert told == [5 / 6, 1.0]
    assert lasting(again) == lasting(whole)
    assert not list(asked.file.parent.glob("*.ckpt"))
    assert transfer(asked, tell=killed) == again


def test_what_another_process_has_just_made_is_not_made_again(
    asked: Transfer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = replace(asked, seed=11)
    whole = transfer(asked)
    asked.file.rename(kept := asked.file.with_name("kept"))

    def late(*given: Any) -> Any:
        kept.rename(asked.file)
        return claim(*given)

    monkeypatch.setattr(transferring, "claim", late)
    assert transfer(asked) == whole


def test_a_record_names_its_trial_and_its_costs(asked: Transfer, trial: Path) -> None:
    found = transfer(asked)
    assert (found["trial"], found["backbone"], found["weights"]) == (
        trial.name,
        trial.name,
        "trained",
    )
    tested = found["test"]
    assert (tested["queries"], tested["unmatched"]) == (12, 0)
    assert 0 < tested["chance"] < tested["chance_bound"] < 100
    assert {*asked.task.titles} <= {*tested}
    assert found["ops"]["nas-bnn"] > 0
    assert [entry["precision"] for entry in found["log"]] == ["W1A1"] * 3
    real = transfer(replace(asked, precisions=("W32A32",)))
    assert real["id"] != found["id"]
    assert real["ops"]["nas-bnn"] > 4 * found["ops"]["nas-bnn"]
    scratch = transfer(replace(asked, backbone=of_trial(trial, scratch=True)))
    assert scratch["weights"] == "drawn"
    assert scratch["log"][0]["loss"] != found["log"][0]["loss"]


def test_precisions_follow_each_other(asked: Transfer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second begins with the rate that the first began with, and without its momentum."""
    steps: list[tuple[float, bool]] = []

    def noted(optimiser: torch.optim.Optimizer, lr: float) -> None:
        steps.append((lr, bool(optimiser.state)))
        set_lr(optimiser, lr)

    with monkeypatch.context() as patched:
        patched.setattr(training, "set_lr", noted)
        found = transfer(replace(asked, precisions=("W32A1", "W1A1"), seed=12))
    half = len(steps) // 2
    assert steps[:half] == steps[half:]
    assert steps[0] == (asked.task.recipe.lr, False)
    assert steps[1][1]
    assert [entry["precision"] for entry in found["log"]] == ["W32A1"] * 3 + ["W1A1"] * 3
    assert found["ops"] == transfer(replace(asked, seed=12))["ops"]
    with pytest.raises(UnknownName, match="W1A2"):
        replace(asked, precisions=("W1A2",))


def test_an_architecture_is_built_for_the_task_s_images(
    asked: Transfer, architecture: Backbone, few: People
) -> None:
    pixels = few.train.images.pixels  # type: ignore[attr-defined]
    images = TensorImages(pixels.repeat(1, 3, 1, 1), few.train.images.labels, pixels.device)
    views = Views(images, few.train.seen)
    colour = Reidentification(replace(few, train=views, query=views, gallery=views), SHORT)
    asked = replace(asked, backbone=architecture, task=colour)
    found = transfer(asked)
    assert (found["trial"], found["space"], found["weights"]) == (None, "darts-binary", "drawn")
    assert found["shape"] == [3, 16, 16]
    assert transfer(replace(asked, seed=1))["log"][0]["loss"] != found["log"][0]["loss"]


def test_what_cannot_be_carried_is_refused(asked: Transfer, few: People, tmp_path: Path) -> None:
    with pytest.raises(BadValue, match="is not there"):
        of_trial(tmp_path / "none")
    pixels = few.train.images.pixels  # type: ignore[attr-defined]
    images = TensorImages(pixels.repeat(1, 3, 1, 1), few.train.images.labels, pixels.device)
    colour = replace(few, train=Views(images, few.train.seen))
    with pytest.raises(BadValue, match="takes images of 1 channel"):
        transfer(replace(asked, task=Reidentification(colour, SHORT)))
    asked = replace(asked, seed=9)
    asked.file.write_text('{"schema": "transfer-1"}')
    with pytest.raises(Damaged, match="truncated or altered"):
        transfer(asked)
    asked.file.unlink()


def test_what_was_transferred_is_read_where_the_weights_are_gone(
    asked: Transfer, trial: Path, tmp_path: Path
) -> None:
    """Weights are left out of what is committed; what was not transferred says that they are missing."""
    made = transfer(asked)
    copied = tmp_path / "local" / "trials" / trial.name
    shutil.copytree(trial, copied, ignore=shutil.ignore_patterns("*.safetensors"))
    shutil.copytree(asked.file.parent, tmp_path / "local" / "transfers")
    there = replace(asked, backbone=of_trial(copied), folder=tmp_path / "local")
    assert transfer(there) == made
    with pytest.raises(BadValue, match="there are no weights in"):
        transfer(replace(there, seed=31))


def test_memory_that_ends_is_said(asked: Transfer, monkeypatch: pytest.MonkeyPatch) -> None:
    def allocate(*_: Any) -> Any:
        return torch.empty(2**60)

    monkeypatch.setattr(asked.task, "loss", allocate)
    with pytest.raises(
        BadValue, match=r"no memory for identities in batches of 16 images of 1x16x16: give"
    ):
        transfer(replace(asked, seed=5))


def test_a_gpu_whose_memory_ends_is_said_in_one_sentence(
    trial: Path, few: People, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """While it trains, and while it is tested; by torch's own error, raised here by hand."""

    def ends(*_: Any) -> Any:
        raise torch.OutOfMemoryError(
            "CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has 1."
        )

    monkeypatch.setattr(tasks, "TASKS", {"identities": lambda *_: Reidentification(few, SHORT)})
    for name in ("loss", "test"):
        with monkeypatch.context() as patched:
            patched.setattr(Reidentification, name, ends)
            result = invoke(
                *("transfer", trial / "arch.json", "--budget", "smoke", "--results", tmp_path)
            )
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr == (
            f"{trial.name} is not transferred: cpu has no memory for identities in batches of 16 images of "
            "1x16x16: give a smaller batch as --budget quick[train_batch=8], or a narrower backbone\n"
        )
    assert not list((tmp_path / "local" / "transfers").glob("*.json"))


def test_what_is_larger_than_the_machine_is_said_before_it_is_tried(
    asked: Transfer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "memory", lambda: 2**16)
    with pytest.raises(
        BadValue, match=r"cpu has 64\.0 KiB of memory, not the .* MiB for identities in"
    ):
        transfer(replace(asked, seed=6))


def kept_by(run: Callable[[], Any]) -> int:
    """The bytes that torch keeps for a backward pass, each tensor once."""
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        run()
    return sum(kept.values())


def test_the_memory_of_a_step_is_about_what_torch_keeps(trial: Path, few: People) -> None:
    """Each tensor once where it is kept twice; and of a batch four times as large not quite as much."""
    task, rng = Reidentification(few, SHORT), np.random.default_rng(0)
    used = task.used(task.model(of_trial(trial).make(task.shape, rng), rng)).train()
    found = training_bytes(used, task.shape, 16)
    assert 0.9 < found / kept_by(lambda: used(torch.randn(16, *task.shape))) < 1.3
    assert 3.5 < training_bytes(used, task.shape, 64) / found <= 4


def test_of_a_detector_neck_and_heads_are_weighed_too(trial: Path) -> None:
    task = tasks.task("scenes", Path("data"), torch.device("cpu"), BUDGETS["smoke"])
    rng = np.random.default_rng(0)
    backbone = of_trial(trial).make(task.shape, rng)
    model, batch = task.model(backbone, rng).train(), next(task.batches(rng))
    found = training_bytes(task.used(model), task.shape, task.recipe.batch_size)
    assert 0.9 < found / kept_by(lambda: task.loss(model, batch)) < 1.4


def test_a_training_that_diverges_is_said(asked: Transfer, few: People) -> None:
    wild = Reidentification(few, replace(SHORT, lr=1e6))
    with pytest.raises(Diverged, match=r"in epoch . of 3; a smaller"):
        transfer(replace(asked, task=wild))


def test_the_command_refuses_a_folder_that_is_not_there(trial: Path, tmp_path: Path) -> None:
    line = fail("transfer", trial, "--task", "market1501", "--data-folder", tmp_path)
    assert "market1501 is not in" in line


def test_a_gradient_is_clipped_where_the_recipe_says_so(asked: Transfer, few: People) -> None:
    clipped = Reidentification(few, replace(SHORT, clip=1e-6))
    free, held = transfer(asked)["log"], transfer(replace(asked, task=clipped))["log"]
    assert free[0]["loss"] - free[-1]["loss"] > 0.3
    assert abs(held[0]["loss"] - held[-1]["loss"]) < 0.1


@pytest.mark.parametrize("text", ["identities", "scenes"])
@pytest.mark.parametrize("budget", ["smoke", "quick", "standard", "common", "paper"])
def test_no_budget_trains_longer_than_the_task_s_own_paper(text: str, budget: str) -> None:
    def recipe(name: str) -> Any:
        return tasks.task(text, Path("data"), torch.device("cpu"), BUDGETS[name]).recipe

    own, taken = recipe("paper"), recipe(budget)
    epochs, batch = BUDGETS[budget].epochs, BUDGETS[budget].train_batch
    assert taken.epochs == (min(own.epochs, epochs) if epochs else own.epochs)
    assert taken.batch_size == (min(own.batch_size, batch) if batch else own.batch_size)


@pytest.mark.parametrize(("said", "own"), [("epochs=20", 12), ("train_batch=17", 16)])
def test_a_budget_that_says_more_than_the_task_s_own_is_refused(
    said: str, own: int, trial: Path
) -> None:
    line = fail("transfer", trial / "arch.json", "--task", "scenes", "--budget", f"quick[{said}]")
    assert f"{said} of a budget is more than the {own} of scenes: say --task 'scenes[" in line


def test_one_that_fails_does_not_keep_the_others_from_theirs(
    trial: Path, few: People, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tasks, "TASKS", {"identities": lambda *_: Reidentification(few, SHORT)})
    asked = ("transfer", trial, trial / "arch.json", "--budget", "smoke", "--results", tmp_path)
    name = Transfer(backbone=of_trial(trial), task=Reidentification(few, SHORT), folder=tmp_path).id
    copied = tmp_path / "local" / "trials" / trial.name
    shutil.copytree(trial, copied)
    damaged = tmp_path / "local" / "transfers" / f"{name}.json"
    damaged.parent.mkdir()
    damaged.write_text("{}")
    result = invoke(*(copied if word == trial else word for word in asked))
    assert result.exit_code == 1
    assert f"{trial.name} is not transferred: {damaged} is no record" in result.stderr
    assert re.search(rf"{trial.name} +drawn", result.stdout)
    assert damaged.read_text() == "{}"


def test_a_claim_beats_while_it_trains(asked: Transfer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "BEAT", 0.01)
    seen = []

    def told(_: float) -> None:
        (lock,) = asked.file.parent.glob(".*.lock")
        os.utime(lock, (0, 0))
        time.sleep(0.5)
        seen.append(lock.stat().st_mtime)

    transfer(replace(asked, seed=21), tell=told)
    assert len(seen) == SHORT.epochs
    assert min(seen) > 0


def test_a_grid_of_other_channels_is_refused_before_it_runs(tmp_path: Path) -> None:
    grid = (*RUN, "smoke", "--dataset", "cifar10", "--results", tmp_path, "--dry-run")
    line = fail(*grid, "--transfer", "identities")
    assert "images of cifar10 have 3 channel(s), those of identities 1: leave out" in line


@pytest.mark.slow
def test_a_process_that_is_killed_goes_on_bit_for_bit(trial: Path, tmp_path: Path) -> None:
    """By SIGKILL, after its first checkpoint; beside it one that was left alone."""

    def command(name: str) -> tuple[list[str], Path]:
        folder = tmp_path / name
        shutil.copytree(trial, folder / "trials" / trial.name)
        words = ["transfer", str(folder / "trials" / trial.name), "--budget", "quick[epochs=4]"]
        return [
            sys.executable,
            "-c",
            "from bnas_bench.cli import main; main()",
            *words,
        ], folder / "transfers"

    (whole, alone), (killed, there) = command("whole"), command("killed")
    environment = os.environ | {"BNAS_BENCH_CHECKPOINT_SHARE": "1e9"}
    subprocess.run(whole, check=True, env=environment)
    with subprocess.Popen(killed, env=environment) as process:
        while not list(there.glob(".*.ckpt")):
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    assert not list(there.glob("*.json"))
    subprocess.run(killed, check=True, env=environment)
    first, second = (
        json.loads(next(folder.glob("identities-*.json")).read_text()) for folder in (alone, there)
    )
    del first["sha256"], second["sha256"]
    assert lasting(first) == lasting(second)
    assert not list(there.glob(".*.ckpt"))


@pytest.mark.slow
def test_a_grid_is_carried_to_a_task(tmp_path: Path) -> None:
    grid = (*RUN, "smoke", "--results", tmp_path, "--reports", tmp_path / "r", "--seeds", 1)
    printed = succeed(*grid, "--transfer", "identities")
    (file,) = (tmp_path / "local" / "transfers").glob("identities-random*.json")
    found = json.loads(file.read_text())
    assert f"{found['test']['mean_ap']:.1f}" in printed
    assert found["recipe"]["epochs"] == 2
    page = (tmp_path / "r" / "local" / "report.md").read_text()
    assert "Backbones at identities" in page
    assert len(json.loads(succeed(*grid, "--transfer", "identities", "--json"))) == 1
    assert "unknown task 'identitys'" in fail(*grid, "--transfer", "identitys")
    store = Store(tmp_path / "local")
    carried = Transfers(store, Origin("local", str(tmp_path), defaults), tmp_path / "r")
    (command,) = carried.commands(carried.records)
    program, *words = shlex.split(command)
    assert program == "bnas-bench"
    assert f"{found['test']['mean_ap']:.1f}" in succeed(*words)
    assert [*file.parent.glob("*.json")] == [file], "the report's command names what is there"


def test_the_hardest_of_a_batch_by_hand() -> None:
    """On a line: 0 and 3 are one, 1 and 5 the other. Hinges: 3-1, 3-2, 4-1, 4-2, each plus the margin."""
    embedding_BD = torch.tensor([[0.0], [3.0], [1.0], [5.0]])
    found = batch_hard(embedding_BD, torch.tensor([0, 0, 1, 1]), margin=0.5)
    assert float(found) == pytest.approx((2.5 + 1.5 + 3.5 + 2.5) / 4)


def test_a_batch_of_one_identity_has_no_triplets() -> None:
    embedding_BD = torch.tensor([[0.0], [3.0]], requires_grad=True)
    found = batch_hard(embedding_BD, torch.tensor([0, 0]), margin=0.5)
    found.backward()
    assert float(found.detach()) == 0
    assert embedding_BD.grad is not None
    assert embedding_BD.grad.abs().sum() == 0


@pytest.mark.parametrize(("size", "images"), [(7, 4), (2, 4), (1, 1), (64, 100), (66, 4)])
def test_a_batch_that_holds_no_two_identities_is_refused(
    asked: Transfer, few: People, size: int, images: int
) -> None:
    recipe = replace(SHORT, batch_size=size, images=images)
    with pytest.raises(BadValue, match=rf"batches of {size} images .*train_batch={2 * images}\]"):
        transfer(replace(asked, task=Reidentification(few, recipe)))


def test_triplets_are_of_embeddings_of_norm_1(few: People) -> None:
    """Maps a hundred times as large give the same loss: nothing is won by shrinking them."""
    task = Reidentification(few, SHORT)
    space = making.space("bnas-201")
    backbone = of_architecture(space, space.sample(np.random.default_rng(0)), Scale(2, 4))
    rng = np.random.default_rng(0)
    model = task.model(backbone.make(few.shape, rng), rng).train()
    batch = next(iter(task.batches(rng)))
    first = task.loss(model, batch)
    features = model.found.backbone.features
    model.found.backbone.features = lambda x_BCHW: 100 * features(x_BCHW)  # type: ignore[method-assign]
    assert task.loss(model, batch).item() == pytest.approx(first.item(), rel=1e-3)


def test_a_batch_has_several_images_of_each_identity(few: People) -> None:
    recipe = Recipe(epochs=1, batch_size=16, images=4)
    seen = [identity_B for _, identity_B in batches(few, recipe, np.random.default_rng(0))]
    assert len(seen) == len(few.train) // 16
    for identity_B in seen:
        assert {*torch.unique(identity_B, return_counts=True)[1].tolist()} <= {4, 8, 12, 16}
    counts = torch.cat(seen).bincount()
    assert counts.tolist() == [8] * 12


@pytest.mark.slow
def test_what_is_learned_finds_those_never_seen(asked: Transfer) -> None:
    """Above what 99 % of random rankings reach, by far, and the real-valued twin above that."""
    space = making.space("bnas-201")
    first, second = "nor_conv_3x3~0", "nor_conv_3x3~1"
    convolutions = f"|{first}|+|{first}|{second}|+|skip_connect~0|{second}|nor_conv_3x3~2|"
    backbone = of_architecture(space, space.parse(convolutions), Scale(4, 12))
    whole = Reidentification(identities(torch.device("cpu")), Recipe(epochs=12))
    asked = replace(asked, backbone=backbone, task=whole)
    found = transfer(asked)["test"]
    assert found["mean_ap"] > 10 * found["chance_bound"]
    assert transfer(replace(asked, precisions=("W32A32",)))["test"]["mean_ap"] > found["mean_ap"]


def test_seeds_are_means_with_an_interval(
    trial: Path, few: People, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tasks, "TASKS", {"identities": lambda *_: Reidentification(few, SHORT)})
    command = ("transfer", trial / "arch.json", "--budget", "smoke", "--seeds", 3)
    printed = succeed(*command, "--results", tmp_path)
    files = (tmp_path / "local" / "transfers").glob(f"identities-{trial.name}-*.json")
    found = [json.loads(file.read_text()) for file in files]
    assert {record["seed"] for record in found} == {0, 1, 2}
    assert {(record["trial"], record["weights"]) for record in found} == {(trial.name, "drawn")}
    mean = np.mean([record["test"]["mean_ap"] for record in found])
    assert f"{mean:.1f} [" in printed
    assert "interval of the mean over the seeds" in printed
    twice = succeed("transfer", trial / "arch.json", *command[1:], "--results", tmp_path)
    assert twice == printed, "a backbone that is named twice is no second seed"
    assert f"{mean:.1f} [" in succeed("table", "local", "--results", tmp_path)
