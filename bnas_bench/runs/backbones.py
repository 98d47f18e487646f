"""What a downstream task begins with: a trial's network with its weights, or an architecture without."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bnas_bench.core.architecture import Architecture
from bnas_bench.core.budget import NetworkSpec, Scale
from bnas_bench.core.errors import BadValue
from bnas_bench.cost.capacity import check_fits
from bnas_bench.nn.network import Network
from bnas_bench.plugins import recorded
from bnas_bench.plugins.registry import Plugin
from bnas_bench.runs.network import described, rebuilt, saved
from bnas_bench.runs.size import Shape
from bnas_bench.search.space import SearchSpace
from bnas_bench.search.strategy import options_of

CLASSES = 2
"""Of the head that a network is built with, and that no task uses."""


@dataclass(frozen=True)
class Backbone:
    """A network before it is built.

    Attributes:
        name: of the record's file, and in tables: the trial's id, or the space's and architecture's.
        precision: that it was trained at, or is usually trained at; W32A32 of one without 1-bit layers.
        arch: what it is a network of.
        facts: what a record says of it: `backbone`, `trial`, `space`, `space_options`, `architecture`,
            `weights` (trained or drawn), `weights_digest` (of those that were trained).
        make: builds it for images of a shape; weights that are drawn are drawn from the generator.
    """

    name: str
    precision: str
    arch: Architecture
    facts: Mapping[str, Any]
    make: Callable[[Shape, np.random.Generator], Network]


def of_trial(folder: Path, plugin: Plugin | None = None, *, scratch: bool = False) -> Backbone:
    """The network of a finished trial, whose weights are read when it is built.

    Args:
        plugin: its space, where that is a file of one's own.
        scratch: whether its weights are drawn anew.

    Raises:
        BadValue: if the folder is none of a trial that was finished.
        Damaged: if its files are truncated or altered.
    """
    found, name = described(folder), folder.resolve().name
    space = recorded.space(found.space, found.space_options, plugin)
    precision = "W32A32" if space.is_real(found.arch) else found.precision

    def make(shape: Shape, rng: np.random.Generator) -> Network:
        built = saved(folder).built
        if shape[0] != built["spec"]["shape"][0]:
            raise BadValue(
                f"the network in '{folder}' takes images of {built['spec']['shape'][0]} channel(s), and the "
                f"task has {shape[0]}: name a trial on images of as many"
            )
        if not scratch:
            return rebuilt(folder, plugin)[0]
        spec = NetworkSpec(**built["spec"] | {"shape": tuple(built["spec"]["shape"])})
        return space.network(found.arch, spec, rng)

    facts = {
        "backbone": name,
        "trial": name,
        "space": found.space,
        "space_options": dict(found.space_options),
        "architecture": found.arch.id,
        "weights": "drawn" if scratch else "trained",
        "weights_digest": None if scratch else found.digest[:16],
    }
    return Backbone(name, precision, found.arch, facts, make)


def of_architecture(
    space: SearchSpace, arch: Architecture, scale: Scale, trial: str | None = None
) -> Backbone:
    """The network of an architecture, built for the task's images; its weights are drawn.

    Args:
        scale: None in it is the space's own for its paper.
        trial: that found it, where one did.
    """
    name = trial or f"{space.name}-{arch.id}"

    def make(shape: Shape, rng: np.random.Generator) -> Network:
        spec = space.spec(space.fit(scale), shape, CLASSES, final=True)
        check_fits(name, lambda: space.network(arch, spec, np.random.default_rng(0)), spec.shape)
        return space.network(arch, spec, rng)

    facts = {
        "backbone": name,
        "trial": trial,
        "space": space.name,
        "space_options": {key: getattr(space, key) for key in options_of(type(space))},
        "architecture": arch.id,
        "scale": {"cells": scale.cells, "channels": scale.channels},
        "weights": "drawn",
        "weights_digest": None,
    }
    precision = "W32A32" if space.is_real(arch) else "W1A1"
    return Backbone(name, precision, arch, facts, make)
