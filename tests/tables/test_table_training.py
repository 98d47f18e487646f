"""A row of a table against each of its seeds trained alone, by a loop that is written out."""

from __future__ import annotations

from math import cos, pi
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy

from bnas_bench.core.seeds import generator
from bnas_bench.data.datasets import Images, load
from bnas_bench.nn.binary import Precision
from bnas_bench.nn.network import Network
from bnas_bench.plugins import making
from bnas_bench.tables.definition import architectures, defined, text
from bnas_bench.tables.training import Trainer

SETTINGS = ("epochs=3", "train_images=40", "valid_images=60", "batch_size=16", "channels=4")


@torch.no_grad()
def right(network: Network, images: Images) -> int:
    network.eval()
    ((x, y),) = images.batches(len(images))
    return int((network(x).argmax(1) == y).sum())


@pytest.mark.parametrize("precision", ["W1A1", "W32A32"])
def test_a_row_is_what_its_seeds_give_alone(precision: str) -> None:
    space = making.space("bnas-201")
    how = defined("bnas-201", "digits", 2, SETTINGS, Path("data"))
    digits = load("digits", image=None, device="cpu", folder="data")
    train, valid, test = how.split(digits)
    arch = architectures(space)[0]
    row = Trainer(how, space, digits).row(arch, text(space, arch), precision)
    steps = 40 // 16
    for seed in range(2):
        network = space.network(
            arch, how.spec(space, digits), generator(seed, "table", "weights", arch.id)
        )
        network.precision = Precision(precision)
        adam = torch.optim.Adam(network.parameters(), betas=(0.9, 0.999))
        order = generator(seed, "table", "images", arch.id)
        for epoch in range(3):
            network.train()
            losses = []
            for x, y in train.batches(16, order, drop_last=True):
                done = (epoch * steps + len(losses)) / (3 * steps)
                adam.param_groups[0]["lr"] = how.lr * (1 + cos(pi * done)) / 2
                adam.zero_grad()
                loss = cross_entropy(network(x), y)
                loss.backward()
                adam.step()
                losses.append(loss.item())
            assert row.losses[seed][epoch] == pytest.approx(sum(losses) / steps, abs=1e-3)
            assert row.valid_hits[seed][epoch] == pytest.approx(right(network, valid), abs=1)
        assert row.test_hits[seed] == pytest.approx(right(network, test), abs=10)
    assert row.valid_hits[0] != row.valid_hits[1]
