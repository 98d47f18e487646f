"""What every space says of its architectures."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise, product
from math import prod

import numpy as np

from bnas_bench.core.architecture import Architecture
from bnas_bench.core.errors import InvalidArchitecture
from bnas_bench.core.seeds import generator
from bnas_bench.plugins.checks.contract import globals_unused, require
from bnas_bench.search.space import SearchSpace

DRAWS = 30
COUNTABLE = 20_000
"""Up to so many combinations of options, a space's size is counted."""


def samples(space: SearchSpace, number: int = DRAWS) -> list[Architecture]:
    """The same architectures on every call."""
    rng = generator(0, "check", "samples")
    return [space.sample(rng) for _ in range(number)]


def accepts(space: SearchSpace, arch: Architecture) -> bool:
    try:
        space.check(arch)
    except InvalidArchitecture:
        return False
    return True


def check_decisions(space: SearchSpace) -> None:
    """Decisions have names of their own and distinct options, which are texts or numbers."""
    names = [decision.name for decision in space.decisions]
    require(bool(names), "the space has no decisions")
    require(len(set(names)) == len(names), "two decisions have the same name")
    for decision in space.decisions:
        options = decision.options
        require(
            len(set(options)) == len(options) > 0
            and all(isinstance(option, str | int | float) for option in options),
            f"the options of '{decision.name}' are {options}; give distinct texts or numbers",
        )


def check_sample(space: SearchSpace) -> None:
    """Samples are valid, differ, and depend on the rng alone."""
    first = samples(space)
    for arch in first:
        space.check(arch)
    with globals_unused():
        require(samples(space) == first, "sample(rng) draws other architectures from the same seed")
    require(space.size() == 1 or len(set(first)) > 1, f"{DRAWS} samples are all the same")


def check_mutate(space: SearchSpace) -> None:
    """A mutant is valid and another architecture, and depends on the rng alone."""
    rng, same = generator(0, "check", "mutate"), generator(0, "check", "mutate")
    for arch in samples(space):
        mutant = space.mutate(arch, rng)
        space.check(mutant)
        require(mutant != arch or space.size() == 1, f"the mutant of {arch.id} is itself")
        with globals_unused():
            require(space.mutate(arch, same) == mutant, "mutate(..., rng) ignores the rng's seed")


def check_crossover(space: SearchSpace) -> None:
    """A child is valid, has every option from a parent, and depends on the rng alone."""
    rng, same = generator(0, "check", "crossover"), generator(0, "check", "crossover")
    archs = samples(space)
    for first, second in pairwise(archs):
        child = space.crossover(first, second, rng)
        space.check(child)
        for name, option in child.choices.items():
            require(
                option in (first.choices.get(name), second.choices.get(name)),
                f"'{name}' of a child is '{option}', which neither parent has",
            )
        with globals_unused():
            again = space.crossover(first, second, same)
        require(again == child, "crossover(..., rng) ignores the rng's seed")
        twin = space.crossover(first, first, generator(0, "check", "crossover"))
        require(twin == first, "a child whose parents are the same is not like them")


def check_json(space: SearchSpace) -> None:
    """An architecture is the same after a way through JSON, and so is its id."""
    for arch in samples(space):
        text = json.dumps(arch.to_json())
        for read in (Architecture.from_json(json.loads(text)), space.parse(text)):
            require(read == arch and read.id == arch.id, f"{text} is read as {read.to_json()}")


def check_misfits(space: SearchSpace) -> None:
    """What is no architecture of the space raises InvalidArchitecture."""
    arch = samples(space, 1)[0]
    name, *_ = arch.choices
    without = {key: option for key, option in arch.choices.items() if key != name}
    misfits = {
        "an architecture of another space": replace(arch, space=f"not-{space.name}"),
        "a missing decision": replace(arch, choices=without),
        "an unknown decision": replace(arch, choices={**arch.choices, "no such decision": 0}),
        "an unknown option": replace(arch, choices={**arch.choices, name: "no such option"}),
    }
    for what, misfit in misfits.items():
        require(not accepts(space, misfit), f"check(...) accepts {what}")
    for text in ("", "{", "no architecture", json.dumps(misfits["an unknown option"].to_json())):
        try:
            space.parse(text)
        except InvalidArchitecture:
            continue
        require(False, f"parse(...) accepts {text!r}")


def check_size(space: SearchSpace) -> None:
    """The size is a positive whole number, and right where it can be counted."""
    size = space.size()
    require(isinstance(size, int) and size > 0, f"size() is {size!r}; return a positive int")
    options = [decision.options for decision in space.decisions]
    if prod(map(len, options)) > COUNTABLE:
        return
    names = [decision.name for decision in space.decisions]
    combinations = (dict(zip(names, choice, strict=True)) for choice in product(*options))
    counted = sum(accepts(space, Architecture(space.name, choices)) for choices in combinations)
    require(size == counted, f"size() is {size}, and check(...) accepts {counted} architectures")


def check_derive(space: SearchSpace) -> None:
    """Any strengths derive a valid architecture, and an architecture's own options derive it."""
    rng = generator(0, "check", "derive")
    for arch in samples(space):
        space.check(space.derive([rng.dirichlet(np.ones(len(d.options))) for d in space.decisions]))
        strengths = [
            np.eye(len(decision.options))[chosen]
            for decision, chosen in zip(space.decisions, space.path(arch), strict=True)
        ]
        derived = space.derive(strengths)
        require(derived == arch, f"derive(...) makes {derived.id} out of the options of {arch.id}")


SPACE_CHECKS = (
    check_decisions,
    check_sample,
    check_mutate,
    check_crossover,
    check_json,
    check_misfits,
    check_size,
    check_derive,
)
