"""Which steps of a program run together: a window or convolution and what follows pixel by pixel.

A value that only the next operation reads never reaches memory.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

from bnas_bench.packed.engine.real import WINDOWS, pixelwise
from bnas_bench.packed.format.program import INPUT, Step

POINTWISE = frozenset({"affine", "prelu", "rprelu", "relu", "hardtanh", "add"})
"""Operations on each element, that a chain runs."""

MOVES = frozenset({"concat", "tile"})
"""What lays whole maps of channels next to each other, pixel by pixel."""

CHAINED = POINTWISE | MOVES | WINDOWS | {"sign", "conv_b"}


@dataclass(frozen=True)
class Stage:
    """What one kernel does.

    Attributes:
        steps: in the order in which they run; a single one of torch's, or a chain: a window, a
            convolution, maps next to each other, or nothing; then what is done pixel by pixel.
        chained: whether it is a chain.
        source: the map that a chain begins with that has none of these.
        stored: values that are written as floats.
    """

    steps: tuple[Step, ...]
    chained: bool
    source: str | None = None
    stored: frozenset[str] = frozenset()

    @property
    def inputs(self) -> set[str]:
        """The values that it reads and does not make."""
        made = {step.name for step in self.steps}
        return {name for step in self.steps for name in step.inputs} - made


def fuse(
    steps: Sequence[Step], ours: Container[str] = (), kept: Container[str] = ()
) -> list[Stage]:
    """The stages of a program, in an order in which they can run.

    What torch runs comes as early as it can, then what begins with a window or with real numbers, so
    that the shortcuts that a chain adds are there.

    Args:
        ours: names of the real convolutions that a chain can run.
        kept: names of values that are written though nothing but a chain's next step may read them.
    """
    readers = _readers(steps)
    views = seen_through(steps, ours, kept)
    ready, stages = {INPUT}, []
    pending = {step.name: step for step in steps if step.name not in views}

    def urgency(step: Step) -> int:
        return (
            0 if not _chained(step, ours) else 1 if step.op in WINDOWS or step.name in ours else 2
        )

    while pending:
        ready |= {v.name for v in views.values() if ready.issuperset(v.inputs)}
        able = [step for step in pending.values() if ready.issuperset(step.inputs)]
        if not able:  # one view of another
            continue
        first = min(able, key=urgency)
        waiting = {
            name: [s for s in some if s.name in pending or s.name in views]
            for name, some in readers.items()
        }
        chained = _chained(first, ours)
        stage = Stage((first,), chained=False)
        if chained:
            stage = _chain(first, waiting, ready, ours, kept)
        stages.append(stage)
        ready |= {step.name for step in stage.steps if not chained or step.op == "sign"}
        ready |= stage.stored
        for step in stage.steps:
            del pending[step.name]
    return stages


def separate(steps: Sequence[Step], ours: Container[str] = ()) -> list[Stage]:
    """Every step by itself, and all values written: slow, for tests and to see what fusing saves."""
    return [
        Stage(
            (step,),
            _chained(step, ours),
            step.inputs[0] if _elementwise(step) or _dense_pixel(step, ours) else None,
            frozenset() if step.op == "sign" else frozenset({step.name}),
        )
        for step in steps
    ]


def seen_through(
    steps: Sequence[Step], ours: Container[str] = (), kept: Container[str] = ()
) -> dict[str, Step]:
    """Maps next to each other that are never made: all who read them can read their parts."""
    readers, views = _readers(steps), {}
    for step in reversed(steps):
        those = readers.get(step.name, [])
        if step.op in MOVES and those and step.name not in kept:
            able = (_elementwise(r) or _dense_pixel(r, ours) or r.name in views for r in those)
            if all(able):
                views[step.name] = step
    return views


def _readers(steps: Sequence[Step]) -> dict[str, list[Step]]:
    readers: dict[str, list[Step]] = defaultdict(list)
    for step in steps:
        for name in dict.fromkeys(step.inputs):
            readers[name].append(step)
    return readers


def _elementwise(step: Step) -> bool:
    return step.op in POINTWISE or step.op == "sign"


def _dense_pixel(step: Step, ours: Container[str]) -> bool:
    """Whether it is a convolution of real numbers that a chain goes on with."""
    return step.name in ours and step.attributes["groups"] == 1 and pixelwise(step)


def _chained(step: Step, ours: Container[str]) -> bool:
    return step.op in CHAINED or step.name in ours


def _chain(
    first: Step,
    waiting: Mapping[str, list[Step]],
    ready: set[str],
    ours: Container[str],
    kept: Container[str],
) -> Stage:
    """The chain that begins with a step: it goes on while one reader can run pixel by pixel.

    Args:
        waiting: the readers of each value that have not run.
        ready: the values that are in memory.
    """
    steps: list[Step] = []
    stored: set[str] = set()
    if _elementwise(first) or _dense_pixel(first, ours):
        source = value = first.inputs[0]
    else:
        steps.append(first)
        source, value = None, first.name
    while True:
        readers = waiting.get(value, [])
        signs = [step for step in readers if step.op == "sign"]
        steps += signs
        others = [step for step in readers if step.op != "sign"]
        able = [s for s in others if _follows(s, value, ready | stored, ours)]
        able += [
            step
            for sign in signs
            for step in waiting.get(sign.name, [])
            if step.op == "conv_b" and pixelwise(step)
        ]
        following = able[0] if able else None
        read = value in kept or any(step is not following for step in others)
        if value != source and read:
            stored.add(value)
        if following is None and not steps:  # x + x
            return Stage((first,), True, first.inputs[0], frozenset({first.name}))
        if following is None:
            return Stage(tuple(steps), True, source, frozenset(stored))
        steps.append(following)
        value = following.name


def _follows(step: Step, value: str, ready: set[str], ours: Container[str]) -> bool:
    others = [name for name in step.inputs if name != value]
    alone = len(others) == len(step.inputs) - 1 and ready.issuperset(others)
    return alone and (step.op in POINTWISE or _dense_pixel(step, ours))
