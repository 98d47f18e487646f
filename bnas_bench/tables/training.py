"""Trains all seeds of an architecture side by side, and tests them: one row of a table.

Legend of tensor names: B batch, K networks (one a seed), C channels of one, H and W, N classes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bnas_bench.core import provenance
from bnas_bench.core.architecture import Architecture
from bnas_bench.core.seeds import generator
from bnas_bench.cost import costs, ledger
from bnas_bench.data.datasets import Dataset, Images
from bnas_bench.data.images import PLAIN
from bnas_bench.nn.beside import beside
from bnas_bench.nn.binary import Precision
from bnas_bench.nn.network import Network
from bnas_bench.packed.size import packed_bytes
from bnas_bench.plugins import making
from bnas_bench.plugins.source import harness_digest
from bnas_bench.search.learning import adam, cosine, set_lr
from bnas_bench.search.space import SearchSpace
from bnas_bench.tables.definition import Definition
from bnas_bench.tables.row import Row

T = TypeVar("T")

EVALUATED = 1024
"""Images of a batch that is only classified."""


class Trainer:
    """What all trainings of a table have in common.

    Args:
        dataset: the one that the definition names, at its size.
    """

    def __init__(self, definition: Definition, space: SearchSpace, dataset: Dataset) -> None:
        self.definition, self.space = definition, space
        self.spec = definition.spec(space, dataset)
        self.train, self.valid, self.test = definition.split(dataset)
        self.augment = dataset.augment() if definition.augmented else PLAIN
        self.code = provenance.code()
        self.space_source = making.choose("space", definition.space)[0].source
        self.cpu = provenance.cpu()

    def networks(self, arch: Architecture, precision: str) -> list[Network]:
        """The untrained networks, one a seed."""
        found = [
            self.space.network(arch, self.spec, generator(seed, "table", "weights", arch.id))
            for seed in range(self.definition.seeds)
        ]
        for network in found:
            network.precision = Precision(precision)
        return found

    def orders(self, arch: Architecture) -> list[np.random.Generator]:
        """What each seed draws the order of the images from, and their augmentation."""
        return [
            generator(seed, "table", "images", arch.id) for seed in range(self.definition.seeds)
        ]

    def row(self, arch: Architecture, text: str, precision: str) -> Row:
        """Train, validate and test the networks of an architecture.

        Args:
            text: the space's, of the architecture.
        """
        began = time.process_time()
        networks = self.networks(arch, precision)
        one = networks[0].eval()
        cost = costs(ledger(one, self.spec.shape))
        packed = packed_bytes(one, self.spec.shape)
        losses, valid_hits = self.fit(joined := beside(networks), self.orders(arch))
        return Row(
            definition=self.definition.digest,
            arch=text,
            precision=precision,
            valid_hits=valid_hits,
            test_hits=hits(joined, self.test, self.definition.seeds),
            losses=losses,
            ops=cost["ops"]["nas-bnn"],
            parameters=cost["parameters"],
            bytes=packed,
            seconds=round(time.process_time() - began, 3),
            code=self.code,
            harness_source=harness_digest(),
            space_source=self.space_source,
            torch=torch.__version__,
            cpu=self.cpu,
        )

    def fit(
        self, joined: Network, orders: Sequence[np.random.Generator]
    ) -> tuple[list[list[float | None]], list[list[int]]]:
        """Train K networks; per network and epoch the mean loss, and the validation images it gets right."""
        how = self.definition
        optimiser = adam(joined.parameters(), how.lr, how.weight_decay, how.momentum)
        batches = max(1, len(self.train) // how.batch_size)
        losses, found = [], []
        for epoch in range(how.epochs):
            joined.train()
            total_K = torch.zeros(len(orders))
            for step, (x_BCHW, y_BK) in enumerate(self.batches(orders), epoch * batches):
                set_lr(optimiser, cosine(how.lr, step / (how.epochs * batches)))
                optimiser.zero_grad()
                error_K = cross_entropy(joined(x_BCHW), y_BK)
                error_K.sum().backward()
                optimiser.step()
                total_K += error_K.detach()
            losses.append([_shown(loss) for loss in (total_K / batches).tolist()])
            found.append(hits(joined, self.valid, len(orders)))
        return _transposed(losses), _transposed(found)

    def batches(self, orders: Sequence[np.random.Generator]) -> Iterator[tuple[Tensor, Tensor]]:
        """The training images once, for every network in its own order: x (B, K C, H, W), y (B, K).

        A smaller last batch is left out, as in all trainings.
        """
        size = self.definition.batch_size
        for parts in zip(
            *(self.train.batches(size, rng, self.augment, drop_last=True) for rng in orders),
            strict=True,
        ):
            yield torch.cat([x for x, _ in parts], 1), torch.stack([y for _, y in parts], 1)


def cross_entropy(logits_BKN: Tensor, y_BK: Tensor) -> Tensor:
    """Every network's mean over the batch, shape (K,)."""
    each = F.cross_entropy(logits_BKN.flatten(0, 1), y_BK.flatten(), reduction="none")
    return each.view_as(y_BK).mean(0)


@torch.no_grad()
def hits(joined: Network, images: Images, networks: int) -> list[int]:
    """How many of the images each of the K networks classifies rightly."""
    joined.eval()
    total_K = torch.zeros(networks, dtype=torch.long)
    for x_BCHW, y_B in images.batches(EVALUATED):
        logits_BKN = joined(x_BCHW.repeat(1, networks, 1, 1))
        total_K += (logits_BKN.argmax(2) == y_B[:, None]).sum(0)
    return total_K.tolist()


def _shown(loss: float) -> float | None:
    return round(loss, 5) if math.isfinite(loss) else None


def _transposed(rows: Sequence[Sequence[T]]) -> list[list[T]]:
    return [list(column) for column in zip(*rows, strict=True)]
