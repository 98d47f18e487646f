"""Small hand-made programs that have every operation, for the tests of the packed file and its check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from bnas_bench.packed.format.program import OPS, Attribute, Program, Step, pack_bits

SHAPE = (3, 11, 9)


class Writer:
    """Writes a program step by step; every call makes one step and gives its name.

    Args:
        rng: of the numbers and bits.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.steps: list[Step] = []

    def step(
        self,
        op: str,
        *inputs: str,
        tensors: Mapping[str, np.ndarray] | None = None,
        **attributes: Attribute,
    ) -> str:
        index = len(self.steps)
        name, layer = f"{op}_{index}", f"cells.{index // 10}.{op}"
        self.steps.append(Step(op, inputs, name, layer, attributes, tensors or {}))
        return name

    def conv(
        self,
        op: str,
        source: str,
        channels: tuple[int, int],
        kernel: int,
        *,
        stride: int = 1,
        padding: int | None = None,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = False,
        scales: int | None = None,
    ) -> str:
        """A convolution of any kind; `padding` keeps the side if it is not given."""
        inputs, outputs = channels
        shape = (outputs, inputs // groups, kernel, kernel)
        match op:
            case "conv":
                tensors = {"weight": self.real(*shape)} | (
                    {"bias": self.real(outputs)} if bias else {}
                )
            case "conv_q8":
                levels = self.rng.integers(-128, 128, shape).astype(np.int8)
                tensors = {"weight": levels, "steps": np.array([0.01, 0.02], np.float32)}
            case _:
                bits = self.bits(outputs, kernel, kernel, inputs // groups)
                tensors = {"signs": bits, "scale": abs(self.real(scales or outputs))}
        numbers = {
            "inputs": inputs,
            "outputs": outputs,
            "kernel": kernel,
            "stride": stride,
            "padding": dilation * (kernel - 1) // 2 if padding is None else padding,
            "dilation": dilation,
            "groups": groups,
        }
        return self.step(op, source, tensors=tensors, **numbers)

    def sign(
        self, source: str, channels: int, *, threshold: bool = False, flips: bool = False
    ) -> str:
        tensors = {"threshold": self.real(channels)} if threshold else {}
        if threshold:
            tensors["threshold"][0] = -np.inf
        return self.step(
            "sign", source, tensors=tensors | ({"flips": self.bits(channels)} if flips else {})
        )

    def vectors(self, op: str, source: str, channels: int, *names: str) -> str:
        """An operation with one number per channel of each name."""
        return self.step(op, source, tensors={name: self.real(channels) for name in names})

    def linear(self, source: str, inputs: int, outputs: int) -> str:
        tensors = {"weight": self.real(outputs, inputs), "bias": self.real(outputs)}
        return self.step("linear", source, tensors=tensors, inputs=inputs, outputs=outputs)

    def real(self, *shape: int) -> np.ndarray:
        return self.rng.standard_normal(shape).astype(np.float32)

    def bits(self, *shape: int) -> np.ndarray:
        return pack_bits(self.rng.random(shape) < 0.5)


def everything(seed: int = 0) -> Program:
    """A program of all operations, every kind of convolution with groups, strides and dilation."""
    w = Writer(np.random.default_rng(seed))
    x = w.conv("conv_q8", "input", (3, 8), 3)
    x = w.vectors("affine", x, 8, "scale", "offset")
    y = w.conv("conv", "input", (3, 8), 1, bias=True)
    x = w.step("add", x, y)
    x = w.vectors("prelu", w.conv("conv_w1", x, (8, 8), 5, groups=8), 8, "slope")
    b = w.sign(x, 8, threshold=True, flips=True)
    y = w.conv("conv_b", b, (8, 12), 3, stride=2, dilation=2, groups=4)
    y = w.vectors("rprelu", y, 12, "gamma", "slope", "zeta")
    pool = {"kernel": 3, "stride": 2, "padding": 1, "ceil": False}
    first = w.step("max_pool", x, **pool)
    second = w.step("avg_pool", x, **pool, count_padding=False)
    z = w.step("interleave", first, second, first)
    z = w.step("shuffle", z, groups=4)
    z = w.step("resize", z, parts=4, channels=3)
    x = w.step("window", x, pad_height=1, pad_width=1, start=1, step=2)
    x = w.step("concat", w.step("relu", x), w.step("hardtanh", y), z)
    x = w.step("add", x, w.step("zeros", x, channels=32, stride=1))
    x = w.conv("conv_b", w.sign(x, 32), (32, 70), 1, scales=1)
    x = w.step("tile", x, channels=75)
    w.linear(w.step("global_pool", x), 75, 10)
    about = {"space": "hand-made", "architecture": '{"choices":{}}', "bnas_bench": "0"}
    program = Program(SHAPE, tuple(w.steps), about)
    assert {step.op for step in program.steps} == OPS.keys()
    return program


def single(
    shape: tuple[int, int, int], op: str, *, sources: int = 1, **attributes: Attribute
) -> Program:
    """One operation without tensors on the images, pooled to a vector."""
    steps = (
        Step(op, ("input",) * sources, "made", "layer", attributes),
        Step("global_pool", ("made",), "pooled", "head"),
    )
    return Program(shape, steps)


def convolution(shape: tuple[int, int, int], *, op: str = "conv", **options: Any) -> Program:
    """One convolution of the images, pooled to a vector."""
    w = Writer(np.random.default_rng(0))
    source = w.sign("input", shape[0]) if op == "conv_b" else "input"
    made = w.conv(op, source, **options)
    w.step("global_pool", made)
    return Program(shape, tuple(w.steps))


def altered(program: Program, op: str, /, **changes: Any) -> Program:
    """The program with fields of its first step of that operation replaced."""
    steps = list(program.steps)
    place = next(index for index, step in enumerate(steps) if step.op == op)
    steps[place] = replace(steps[place], **changes)
    return replace(program, steps=tuple(steps))


def with_attributes(program: Program, op: str, /, **attributes: Any) -> Program:
    step = next(step for step in program.steps if step.op == op)
    return altered(program, op, attributes={**step.attributes, **attributes})


def with_tensors(program: Program, op: str, /, **tensors: Any) -> Program:
    step = next(step for step in program.steps if step.op == op)
    return altered(program, op, tensors={**step.tensors, **tensors})
