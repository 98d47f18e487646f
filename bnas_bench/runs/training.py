"""A trial's final training: the network that its search found, from scratch by the space's recipe."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from statistics import fmean

import safetensors.torch

from bnas_bench.core.architecture import Architecture
from bnas_bench.core.budget import Recipe
from bnas_bench.core.files import canonical
from bnas_bench.cost import costs, ledger
from bnas_bench.data.datasets import Dataset
from bnas_bench.nn.binary import Precision
from bnas_bench.nn.network import Network
from bnas_bench.plugins.spec import label
from bnas_bench.runs.network import about
from bnas_bench.runs.steps import Steps, weights_of
from bnas_bench.runs.train import TrainResult, train
from bnas_bench.search.space import SearchSpace


class Training(Steps):
    """Trains what a search has found, and fine-tunes what it hands on."""

    def train(self, space: SearchSpace, arch: Architecture, dataset: Dataset) -> list[Network]:
        """Build the derived network, count its cost, and train it from scratch, once for each training seed.

        The first is as if it were the only one, and is the one whose weights are kept.
        """
        recipe = self.recipe(space, dataset)
        recipe = replace(recipe, epochs=self.budget.epochs or recipe.epochs)
        spec = space.spec(space.fit(self.budget.final), dataset.shape, dataset.classes, final=True)
        spec = replace(spec, auxiliary=recipe.auxiliary > 0)

        # Neither the method nor the space is part of these purposes: all train alike.
        def build(ending: str, precision: str) -> Network:
            network = space.network(arch, spec, self.rng(f"initialise{ending}", self.trial.dataset))
            network.precision = Precision(precision)
            return network.to(self.device)

        endings = ["", *(f"-{number}" for number in range(2, self.budget.train_seeds + 1))]
        networks = [build(ending, recipe.precision) for ending in endings]
        self.record |= costs(ledger(networks[0], dataset.shape))
        results = [
            self.follow(recipe, network, partial(build, ending), dataset, ending)
            for ending, network in zip(endings, networks, strict=True)
        ]
        self.record |= {
            "recipe": asdict(recipe),
            "train_loss": fmean(result.loss for result in results),
            "train_seconds": round(sum(result.seconds for result in results), 3),
        }
        self.about = about(label(space.name, self.trial.space_options), arch, spec)
        built = {"architecture": arch.to_json(), "spec": asdict(spec)}
        self.files["weights.safetensors"] = safetensors.torch.save(
            weights_of(networks[0]), {"bnas_bench": canonical(built)}
        )
        return networks

    def deploy(self, space: SearchSpace, dataset: Dataset) -> dict[int, Network]:
        """The networks with inherited weights, by the epochs of fine-tuning; none without an heir."""
        if (heir := self.heir) is None:
            return {}
        return heir.deploy(
            lambda: heir.network(space, self.rng("heir", self.trial.dataset), self.device),
            self.recipe(space, dataset),
            lambda network, recipe, name: self.fit(network, dataset, recipe, name),
        )

    def recipe(self, space: SearchSpace, dataset: Dataset) -> Recipe:
        """The space's, with what the budget replaces of it; the epochs stay the space's own."""
        recipe = space.recipe(dataset.shape)
        size = self.budget.train_batch or recipe.batch_size
        return replace(recipe, batch_size=size, **self.budget.recipe)  # type: ignore[arg-type]

    def follow(
        self,
        recipe: Recipe,
        network: Network,
        build: Callable[[str], Network],
        dataset: Dataset,
        ending: str,
    ) -> TrainResult:
        """Train a network by a recipe, behind a teacher and in two steps where it says so.

        Args:
            build: the network as it starts, at a precision.
            ending: of the names that tell it from the other trainings.
        """
        teacher, seconds = None, 0.0
        if recipe.teacher != "none" and Precision(recipe.precision).weight_bits == 1:
            teacher = build("W32A32")
            seconds += self.fit(teacher, dataset, recipe, f"teacher{ending}").seconds
        if recipe.first != "none":
            network.precision = Precision(recipe.first)
            seconds += self.fit(network, dataset, recipe, f"first{ending}", teacher).seconds
            network.precision = Precision(recipe.precision)
            recipe = replace(recipe, weight_decay=0.0)
        result = self.fit(network, dataset, recipe, f"train{ending}", teacher)
        return replace(result, seconds=seconds + result.seconds)

    def fit(
        self,
        network: Network,
        dataset: Dataset,
        recipe: Recipe,
        name: str,
        teacher: Network | None = None,
    ) -> TrainResult:
        """Train a network, or go on with its training that was killed."""
        self.progress.enter(name)
        began = time.perf_counter()
        order, checkpoint = self.rng(name, self.trial.dataset), self.checkpoint(name)
        result = train(
            network,
            dataset,
            recipe,
            order,
            checkpoint,
            teacher=teacher,
            tell=self.progress.advance,
        )
        self.began -= result.seconds - (time.perf_counter() - began)
        self.log += [{"phase": name, **entry} for entry in result.log]
        return result
