"""Which steps of a program run together: a convolution or a map and what follows on each element.

A value that only the next operation reads never reaches memory.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bnas_bench.packed.format.program import INPUT, Step

POINTWISE = frozenset({"affine", "prelu", "rprelu", "relu", "hardtanh", "add"})
"""Operations on each element, that a chain runs."""

CHAINED = POINTWISE | {"sign", "conv_b"}


@dataclass(frozen=True)
class Stage:
    """What one kernel does.

    Attributes:
        steps: in the order in which they run; a single one, or a chain: a binary convolution or
            nothing, then operations on each element, signs among them.
        source: the map that a chain without a convolution begins with.
        stored: values that are written as floats.
    """

    steps: tuple[Step, ...]
    source: str | None = None
    stored: frozenset[str] = frozenset()

    @property
    def chained(self) -> bool:
        return self.steps[0].op in CHAINED

    @property
    def inputs(self) -> set[str]:
        """The values that it reads and does not make."""
        made = {step.name for step in self.steps}
        return {name for step in self.steps for name in step.inputs} - made


def fuse(steps: Sequence[Step]) -> list[Stage]:
    """The stages of a program, in an order in which they can run.

    What is no chain runs as early as it can, so that the shortcuts that a chain adds are there.
    """
    readers: dict[str, list[Step]] = defaultdict(list)
    for step in steps:
        for name in dict.fromkeys(step.inputs):
            readers[name].append(step)
    ready, stages = {INPUT}, []
    pending = {step.name: step for step in steps}
    while pending:
        able = [step for step in pending.values() if ready.issuperset(step.inputs)]
        first = min(able, key=lambda step: step.op in CHAINED)
        waiting = {name: [s for s in some if s.name in pending] for name, some in readers.items()}
        stage = _chain(first, waiting, ready) if first.op in CHAINED else Stage((first,))
        stages.append(stage)
        ready |= {step.name for step in stage.steps if not stage.chained or step.op == "sign"}
        ready |= stage.stored
        for step in stage.steps:
            del pending[step.name]
    return stages


def separate(steps: Sequence[Step]) -> list[Stage]:
    """Every step by itself, and all values written: slow, for tests and to see what fusing saves."""
    return [
        Stage(
            (step,),
            step.inputs[0] if step.op in POINTWISE | {"sign"} else None,
            frozenset() if step.op == "sign" else frozenset({step.name}),
        )
        for step in steps
    ]


def _chain(first: Step, waiting: Mapping[str, list[Step]], ready: set[str]) -> Stage:
    """The chain that begins with a step: it goes on while one reader can run on the elements.

    Args:
        waiting: the readers of each value that have not run.
        ready: the values that are in memory.
    """
    steps: list[Step] = []
    stored = set()
    if first.op == "conv_b":
        steps.append(first)
        source, value = None, first.name
    else:
        source = value = first.inputs[0]
    while True:
        readers = waiting.get(value, [])
        steps += [step for step in readers if step.op == "sign"]
        others = [step for step in readers if step.op != "sign"]
        following = [step for step in others if _follows(step, value, ready)]
        if value != source and len(others) > bool(following):
            stored.add(value)
        if not following and not steps:  # x + x
            return Stage((first,), first.inputs[0], frozenset({first.name}))
        if not following:
            return Stage(tuple(steps), source, frozenset(stored))
        steps.append(following[0])
        value = following[0].name


def _follows(step: Step, value: str, ready: set[str]) -> bool:
    others = [name for name in step.inputs if name != value]
    return step.op in POINTWISE and len(others) == len(step.inputs) - 1 and ready.issuperset(others)
