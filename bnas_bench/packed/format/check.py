"""Whether a program can run: every step's names, attributes, tensors and shapes, before anything does.

What passes here an engine can run without a further look: nothing is out of range, nothing
overflows, and both memory and time are bounded, for one image, by the limits below.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from bnas_bench.core.errors import BenchError
from bnas_bench.packed.format.program import INPUT, OPS, Op, Program, Step
from bnas_bench.packed.format.shapes import MAP_LIMIT, RULES, Made, Misfit, Shape, demand, real

STEP_LIMIT, INPUT_LIMIT, SIDE_LIMIT = 2**12, 2**8, 2**14
"""Steps of a program, inputs of a step, pixels a side of a map."""

IMAGE_LIMIT = 2**26
"""Values of one image."""

ALIVE_LIMIT = 2**31
"""Bytes of all values that are still to be read, or just made, at any one step."""

TOTAL_LIMIT = 2**33
"""Bytes of all values together: an engine may run steps in another order."""

WORK_LIMIT = 2**38
"""Elements that all steps together read: 150 times the MACs of the largest network of the papers."""

ATTRIBUTE_LIMIT = 2**24
TEXT_LIMIT = 256
"""Characters of a name."""

SWITCHES = frozenset({"ceil", "count_padding"})
MAY_BE_ZERO = frozenset({"padding", "pad_height", "pad_width", "start"})
MAY_BE_INFINITE = frozenset({"threshold"})
POSITIVE = frozenset({"steps"})


class BadProgram(BenchError):
    """A program that no engine could run: the step, what is wrong with it and what was expected."""


def check(program: Program) -> dict[str, Shape]:
    """The shape of every value of a program, the images included, for one image.

    Raises:
        BadProgram: if there is anything in it that an engine could trip over, or that would take
            more memory or time than the limits of this file.
    """
    try:
        shapes = {INPUT: _image(program.shape)}
        _texts(program.about)
        steps = len(program.steps)
        demand(steps > 0, "it has no step")
        demand(steps <= STEP_LIMIT, f"it has {steps} steps, where {STEP_LIMIT} are the most")
    except Misfit as fault:
        raise BadProgram(f"the program cannot run: {fault}") from None
    work = 0
    for index, step in enumerate(program.steps):
        try:
            made = _made(step, shapes)
            work += made.work
            demand(work <= WORK_LIMIT, f"up to here it takes {work} operations, over {WORK_LIMIT}")
        except Misfit as fault:
            raise BadProgram(f"{_place(index, step)}: {fault}") from None
        shapes[step.name] = made.shape
    last = program.steps[-1]
    place = _place(len(program.steps) - 1, last)
    if shapes[last.name].kind != "vector":
        raise BadProgram(
            f"{place}: the last step makes the logits, a vector, but this is {shapes[last.name]}"
        )
    if (alive := max(memory(program, shapes))) > ALIVE_LIMIT:
        raise BadProgram(f"the program needs {alive} bytes for its values, over {ALIVE_LIMIT}")
    if (total := sum(shape.bytes for shape in shapes.values())) > TOTAL_LIMIT:
        raise BadProgram(f"the program makes values of {total} bytes, over {TOTAL_LIMIT}")
    return shapes


def memory(program: Program, shapes: Mapping[str, Shape]) -> list[int]:
    """Bytes of the values that are alive while each step runs, for one image.

    A value is alive from the step that makes it to the last that reads it; the images from the start.
    """
    last = {INPUT: 0} | {step.name: index for index, step in enumerate(program.steps)}
    last |= {name: index for index, step in enumerate(program.steps) for name in step.inputs}
    ending: list[list[str]] = [[] for _ in program.steps]
    for name, index in last.items():
        ending[index].append(name)
    alive, found = shapes[INPUT].bytes, []
    for step, ends in zip(program.steps, ending, strict=True):
        alive += shapes[step.name].bytes
        found.append(alive)
        alive -= sum(shapes[name].bytes for name in ends)
    return found


def _image(shape: tuple[int, int, int]) -> Shape:
    whole = len(shape) == 3 and all(type(side) is int and 0 < side <= IMAGE_LIMIT for side in shape)
    demand(whole, f"an image's shape is three whole numbers from 1 to {IMAGE_LIMIT}")
    channels, height, width = shape
    demand(
        channels * height * width <= IMAGE_LIMIT,
        f"an image of {channels}x{height}x{width} has more than {IMAGE_LIMIT} values",
    )
    _sides(real(height, width, channels))
    return real(height, width, channels)


def _sides(shape: Shape) -> None:
    """Raise Misfit where a map is too long or too wide."""
    demand(
        shape.kind == "vector" or max(shape.sides[:2]) <= SIDE_LIMIT,
        f"its map is {shape}, where a side has {SIDE_LIMIT} pixels at the most",
    )


def _texts(about: Mapping[str, str]) -> None:
    for key, text in about.items():
        fine = all(type(part) is str and part.isprintable() for part in (key, text))
        demand(fine, f"what it says of itself under {_short(key)} is no text of one line")


def _made(step: Step, shapes: Mapping[str, Shape]) -> Made:
    """What a step makes, all of it checked."""
    demand(step.op in OPS, f"there is no operation {_short(step.op)}")
    op = OPS[step.op]
    for what, text in (("name", step.name), ("layer", step.layer)):
        fine = type(text) is str and text.isprintable() and len(text) <= TEXT_LIMIT
        demand(fine, f"its {what} is no text of one line with up to {TEXT_LIMIT} characters")
    demand(step.name != "", "its name is empty")
    demand(step.name not in shapes, "its name is taken by an earlier value")
    inputs = _inputs(step, op, shapes)
    _attributes(step, op)
    made = RULES[step.op](inputs, step.attributes)
    demand(min(made.shape.sides) >= 1, f"nothing is left of its map: {made.shape}")
    _sides(made.shape)
    demand(
        made.shape.bytes <= MAP_LIMIT,
        f"its map has {made.shape.bytes} bytes, where {MAP_LIMIT} are the most",
    )
    _tensors(step, op, made)
    return made


def _inputs(step: Step, op: Op, shapes: Mapping[str, Shape]) -> tuple[Shape, ...]:
    count = len(step.inputs)
    demand(count <= INPUT_LIMIT, f"it has {count} inputs, where {INPUT_LIMIT} are the most")
    demand(
        count == op.arity or (op.arity is None and count > 0),
        f"it takes {op.arity or 'one or more'} inputs, not {count}",
    )
    for name in step.inputs:
        demand(name in shapes, f"its input {_short(name)} is no earlier value")
        kind = shapes[name].kind
        demand(kind == op.reads, f"it reads {op.reads} values, and its input '{name}' is {kind}")
    return tuple(shapes[name] for name in step.inputs)


def _attributes(step: Step, op: Op) -> None:
    _named("attribute", step.attributes, op.attributes, op.attributes)
    for name in op.attributes:
        value = step.attributes[name]
        if name in SWITCHES:
            demand(type(value) is bool, f"its {name} is {_short(value)}, not true or false")
            continue
        least = 0 if name in MAY_BE_ZERO else 1
        fine = type(value) is int and least <= value <= ATTRIBUTE_LIMIT
        demand(
            fine,
            f"its {name} is {_short(value)}, no whole number from {least} to {ATTRIBUTE_LIMIT}",
        )


def _tensors(step: Step, op: Op, made: Made) -> None:
    types = {name.rstrip("?"): kind for name, kind in op.tensors.items()}
    _named("tensor", step.tensors, types, [name for name in op.tensors if name in types])
    for name, tensor in step.tensors.items():
        demand(isinstance(tensor, np.ndarray), f"its tensor {name} is no array")
        demand(
            tensor.dtype == np.dtype(f"<{types[name]}"),
            f"its tensor {name} is {tensor.dtype}, not {np.dtype(f'<{types[name]}')}",
        )
        allowed = made.tensors[name]
        demand(
            tensor.shape in allowed,
            f"its tensor {name} has the shape {_short(tensor.shape)}, "
            f"not {' or '.join(map(str, allowed))}",
        )
        demand(tensor.flags.c_contiguous, f"its tensor {name} does not lie in C order")
        if name in made.bits:
            used = made.bits[name] % 64
            rest = int(tensor[-1]) >> used if used else 0
            demand(rest == 0, f"its tensor {name} has bits set beyond its {made.bits[name]}")
        elif tensor.dtype.kind == "f":
            _numbers(name, tensor)


def _numbers(name: str, tensor: np.ndarray) -> None:
    fine = not np.isnan(tensor).any() if name in MAY_BE_INFINITE else np.isfinite(tensor).all()
    demand(bool(fine), f"its tensor {name} holds what is no finite number")
    if name in POSITIVE:
        demand(bool((tensor > 0).all()), f"its tensor {name} holds a number that is not above 0")


def _named(
    what: str, found: Collection[str], known: Collection[str], needed: Collection[str]
) -> None:
    for name in found:
        demand(name in known, f"it knows no {what} {_short(name)}")
    for name in needed:
        demand(name in found, f"its {what} {name} is missing")


def _place(index: int, step: Step) -> str:
    layer = f", layer {_short(step.layer)}" if step.layer else ""
    return f"step {index + 1}, {_short(step.name)} ({_short(step.op)[1:-1]}{layer})"


def _short(value: object) -> str:
    """A value for a message: in one line, and short."""
    if isinstance(value, int) and abs(value) > 10**18:
        return "a huge number"
    if not isinstance(value, str | int | float | tuple):
        return f"a {type(value).__name__}"
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:76]}...{text[-1]}"
