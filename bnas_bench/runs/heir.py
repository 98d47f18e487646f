"""What becomes of a network whose weights a search has trained already.

NAS-BNN (Lin et al.), https://arxiv.org/abs/2408.15484, section 3.4: pipeline 1 deploys it with the
weights that it inherits, pipeline 2 fine-tunes it first (table 5).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bnas_bench.core.architecture import Architecture
from bnas_bench.core.budget import NetworkSpec, Recipe
from bnas_bench.nn.binary import Precision
from bnas_bench.search.learning import accuracy
from bnas_bench.search.space import SearchSpace

if TYPE_CHECKING:
    import numpy as np

    from bnas_bench.data.datasets import Images
    from bnas_bench.nn.network import Network


@dataclass(frozen=True)
class Heir:
    """A derived network at the search's scale and the weights that it inherits.

    Attributes:
        weights: its whole state, batch norm's statistics included, on the CPU.
        lr: of the fine-tuning.
        epochs: numbers of them after which the fine-tuned network is tested.
    """

    arch: Architecture
    spec: NetworkSpec
    weights: Mapping[str, Tensor]
    lr: float
    epochs: tuple[int, ...]

    def network(
        self, space: SearchSpace, rng: np.random.Generator, device: torch.device
    ) -> Network:
        """The network with these weights; those that `rng` draws are written over."""
        network = space.network(self.arch, self.spec, rng)
        network.load_state_dict(self.weights)
        network.precision = Precision.W1A1
        return network.to(device)

    def deploy(
        self,
        make: Callable[[], Network],
        recipe: Recipe,
        fit: Callable[[Network, Recipe, str], Any],
    ) -> dict[int, Network]:
        """The networks of both pipelines, by the epochs of fine-tuning; 0 is pipeline 1.

        Args:
            make: a fresh `network`.
            recipe: that of the space; its learning rate and epochs are replaced.
            fit: trains a network by a recipe, under a name that tells it from the others.
        """
        networks = {0: make()}
        for epochs in sorted(set(self.epochs)):
            networks[epochs] = make()
            tuning = replace(recipe, epochs=epochs, lr=self.lr, auxiliary=0.0)
            fit(networks[epochs], tuning, f"finetune-{epochs}")
        return networks


def accuracies(networks: Mapping[int, Network], test: Images, batch_size: int) -> dict[str, Any]:
    """The record's fields on the two pipelines, in per cent; None for those that did not run."""
    percent = {
        epochs: round(100 * accuracy(network, test, batch_size), 6)
        for epochs, network in networks.items()
    }
    inherited = percent.pop(0, None)
    finetuned = {str(epochs): value for epochs, value in percent.items()}
    return {
        "inherited_test_accuracy": inherited,
        "finetuned_test_accuracy": finetuned or None,
    }


def front_file(front: Iterable[Mapping[str, Any]]) -> bytes:
    """`front.json`: the members of a front, one a line."""
    lines = ",\n".join(f"  {json.dumps(member)}" for member in front)
    return f"[\n{lines}\n]\n".encode()
