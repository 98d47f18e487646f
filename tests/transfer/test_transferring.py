"""A trial's network that is carried to a small re-identification task, killed on its way, asked again."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bnas_bench.core.errors import BadValue, Damaged
from bnas_bench.runs import transferring
from bnas_bench.runs.transferring import Transfer, transfer
from bnas_bench.search.checkpoint import Checkpoint
from bnas_bench.transfer.people import People, Views
from bnas_bench.transfer.reidentification import Recipe, batch_hard, batches
from bnas_bench.transfer.retrieval import Seen
from bnas_bench.transfer.tasks import people
from tests.helpers.cli import fail, succeed

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
    whole = people("identities", Path("nowhere"), torch.device("cpu"))

    def first(views: Views) -> Views:
        identities = np.unique(views.seen.identities)[:12]
        places = np.flatnonzero(np.isin(views.seen.identities, identities))
        seen = Seen(views.seen.identities[places], views.seen.cameras[places])
        return Views(views.images.subset(places), seen)

    return replace(
        whole, train=first(whole.train), query=first(whole.query), gallery=first(whole.gallery)
    )


def lasting(record: dict[str, Any]) -> dict[str, Any]:
    """Without what another run of the same has otherwise."""
    gone = ("seconds", "train_seconds", "when", "log", "load")
    losses = [entry["loss"] for entry in record["log"]]
    return {name: value for name, value in record.items() if name not in gone} | {"losses": losses}


def test_a_killed_transfer_goes_on_as_if_it_were_not(
    trial: Path, few: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Transfer(trial=trial, people=few, recipe=SHORT)
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
    assert told == [1.0]
    assert lasting(again) == lasting(whole)
    assert not list(asked.file.parent.glob("*.ckpt"))
    assert transfer(asked, tell=killed) == again


def test_a_record_names_its_trial_and_its_costs(trial: Path, few: People) -> None:
    found = transfer(Transfer(trial=trial, people=few, recipe=SHORT))
    assert found["trial"] == trial.name
    assert (found["queries"], found["unmatched"], found["identities"]) == (12, 0, 12)
    assert 0 < found["chance"] < found["chance_bound"] < 100
    assert found["ops"]["nas-bnn"] > 0
    assert len(found["log"]) == 3
    real = transfer(Transfer(trial=trial, people=few, recipe=SHORT, precision="W32A32"))
    assert real["id"] != found["id"]
    assert real["ops"]["nas-bnn"] > 4 * found["ops"]["nas-bnn"]
    scratch = transfer(Transfer(trial=trial, people=few, recipe=SHORT, scratch=True))
    assert scratch["log"][0]["loss"] != found["log"][0]["loss"]


def test_what_cannot_be_carried_is_refused(trial: Path, few: People, tmp_path: Path) -> None:
    with pytest.raises(BadValue, match="is not there"):
        transfer(Transfer(trial=tmp_path / "none", people=few, recipe=SHORT))
    colour = replace(few, train=Views(few.train.images, few.train.seen))
    coloured = colour.train.images
    pixels = coloured.pixels.repeat(1, 3, 1, 1)  # type: ignore[attr-defined]
    images = type(coloured)(pixels, coloured.labels, coloured.device)  # type: ignore[call-arg]
    colour = replace(few, train=Views(images, few.train.seen))
    with pytest.raises(BadValue, match="takes images of 1 channel"):
        transfer(Transfer(trial=trial, people=colour, recipe=SHORT))
    asked = Transfer(trial=trial, people=few, recipe=SHORT, seed=9)
    asked.file.parent.mkdir(exist_ok=True)
    asked.file.write_text('{"schema": "transfer-1"}')
    with pytest.raises(Damaged, match="truncated or altered"):
        transfer(asked)
    asked.file.unlink()


def test_the_command_refuses_a_folder_that_is_not_there(trial: Path, tmp_path: Path) -> None:
    line = fail("transfer", trial, "--task", "market1501", "--data-folder", tmp_path)
    assert "market1501 is not in" in line


def test_the_hardest_of_a_batch_by_hand() -> None:
    """On a line: 0 and 3 are one, 1 and 5 the other. Hinges: 3-1, 3-2, 4-1, 4-2, each plus the margin."""
    embedding_BD = torch.tensor([[0.0], [3.0], [1.0], [5.0]])
    found = batch_hard(embedding_BD, torch.tensor([0, 0, 1, 1]), margin=0.5)
    assert float(found) == pytest.approx((2.5 + 1.5 + 3.5 + 2.5) / 4)


def test_a_batch_has_several_images_of_each_identity(few: People) -> None:
    recipe = Recipe(epochs=1, batch_size=16, images=4)
    seen = [identity_B for _, identity_B in batches(few, recipe, np.random.default_rng(0))]
    assert len(seen) == len(few.train) // 16
    for identity_B in seen:
        assert {*torch.unique(identity_B, return_counts=True)[1].tolist()} <= {4, 8, 12, 16}
    counts = torch.cat(seen).bincount()
    assert counts.tolist() == [8] * 12


@pytest.mark.slow
def test_what_is_learned_finds_those_never_seen(trial: Path) -> None:
    """Above what 99 % of random rankings reach, by far."""
    whole = people("identities", Path("nowhere"), torch.device("cpu"))
    found = transfer(Transfer(trial=trial, people=whole, recipe=Recipe(epochs=4)))
    assert found["mean_ap"] > 10 * found["chance_bound"]
