"""What a program may be: every rule with a program that breaks it, shapes against torch's own."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from bnas_bench.packed.format.check import ALIVE_LIMIT, BadProgram, check, memory
from bnas_bench.packed.format.program import OPS, Program, Step, words
from bnas_bench.packed.format.shapes import MAP_LIMIT, RULES, Shape
from tests.helpers.programs import (
    SHAPE,
    altered,
    convolution,
    everything,
    single,
    with_attributes,
    with_tensors,
)

GOOD = everything()
NAN, INF = np.float32("nan"), np.float32("inf")


def refused(program: Program) -> str:
    """The one sentence on a program that cannot run."""
    with pytest.raises(BadProgram) as caught:
        check(program)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 600
    return message


def tensor(op: str, name: str) -> np.ndarray:
    return next(step.tensors[name] for step in GOOD.steps if step.op == op).copy()


def spoilt(op: str, name: str, value: Any) -> Program:
    """The good program with the first number of a tensor replaced."""
    array = tensor(op, name)
    array.reshape(-1)[0] = value
    return with_tensors(GOOD, op, **{name: array})


def without(op: str, what: str, name: str) -> Program:
    """The good program without one attribute or tensor of a step."""
    step = next(step for step in GOOD.steps if step.op == op)
    kept = {key: value for key, value in getattr(step, what).items() if key != name}
    return altered(GOOD, op, **{what: kept})


def test_every_operation_has_a_rule() -> None:
    assert RULES.keys() == OPS.keys()


def test_the_shapes_of_a_sound_program() -> None:
    shapes = check(GOOD)
    assert shapes["input"] == Shape("real", (11, 9, 3))
    expected = {
        "conv_q8_0": ("real", (11, 9, 8)),
        "sign_6": ("signs", (11, 9, 8)),
        "conv_b_7": ("real", (6, 5, 12)),
        "interleave_11": ("real", (6, 5, 24)),
        "resize_13": ("real", (6, 5, 12)),
        "window_14": ("real", (6, 5, 8)),
        "concat_17": ("real", (6, 5, 32)),
        "tile_22": ("real", (6, 5, 75)),
        "global_pool_23": ("vector", (75,)),
        "linear_24": ("vector", (10,)),
    }
    assert {name: (shapes[name].kind, shapes[name].sides) for name in expected} == expected
    assert len(shapes) == len(GOOD.steps) + 1


def test_bytes_of_values() -> None:
    assert Shape("real", (2, 3, 65)).bytes == 4 * 2 * 3 * 65
    assert Shape("signs", (2, 3, 65)).bytes == 2 * 3 * 16
    assert Shape("vector", (10,)).bytes == 40


def test_memory_counts_what_is_still_to_be_read() -> None:
    steps = (
        Step("relu", ("input",), "a", ""),
        Step("relu", ("input",), "unread", ""),
        Step("add", ("a", "input"), "b", ""),
        Step("global_pool", ("b",), "c", ""),
    )
    program = Program((1, 2, 2), steps)
    assert memory(program, check(program)) == [32, 48, 48, 20]


WIDER = {"pad_height": 0, "pad_width": 1, "start": 0, "step": 1}

BAD: dict[str, tuple[Program, str]] = {
    "no step": (replace(GOOD, steps=()), "no step"),
    "image without pixels": (replace(GOOD, shape=(3, 0, 9)), "an image's shape"),
    "image of a bool": (replace(GOOD, shape=(True, 11, 9)), "an image's shape"),
    "image of two sides": (replace(GOOD, shape=(3, 11)), "an image's shape"),  # type: ignore[arg-type]
    "huge image": (replace(GOOD, shape=(3, 2**13, 2**13)), "more than 67108864 values"),
    "about a number": (replace(GOOD, about={"a": 1}), "under 'a' is no text"),  # type: ignore[dict-item]
    "about two lines": (replace(GOOD, about={"a": "b\nc"}), "under 'a' is no text"),
    "about half a character": (replace(GOOD, about={"a": "\ud800"}), "under 'a' is no text"),
    "unknown operation": (altered(GOOD, "relu", op="gelu"), "no operation 'gelu'"),
    "empty name": (altered(GOOD, "relu", name=""), "its name is empty"),
    "name twice": (altered(GOOD, "relu", name="add_3"), "'add_3' .*taken by an earlier value"),
    "name of the images": (altered(GOOD, "relu", name="input"), "taken by an earlier value"),
    "name of two lines": (altered(GOOD, "relu", name="a\nb"), "its name is no text of one line"),
    "name of a terminal": (altered(GOOD, "relu", layer="\x1b[2J"), "its layer is no text"),
    "long name": (altered(GOOD, "relu", name="a" * 257), "up to 256 characters"),
    "no input": (altered(GOOD, "relu", inputs=()), "takes 1 inputs, not 0"),
    "one input too many": (altered(GOOD, "relu", inputs=("input",) * 2), "takes 1 inputs, not 2"),
    "concat of nothing": (altered(GOOD, "concat", inputs=()), "takes one or more inputs, not 0"),
    "later input": (altered(GOOD, "relu", inputs=("add_19",)), "'add_19' is no earlier value"),
    "its own input": (altered(GOOD, "relu", inputs=("relu_15",)), "'relu_15' is no earlier value"),
    "signs for real": (altered(GOOD, "relu", inputs=("sign_6",)), "reads real values, .* is signs"),
    "real for signs": (
        altered(GOOD, "conv_b", inputs=("add_3",)),
        "reads signs values, .* is real",
    ),
    "map for vector": (altered(GOOD, "linear", inputs=("add_3",)), "reads vector values"),
    "vector at the end": (replace(GOOD, steps=GOOD.steps[:-2]), "the last step makes the logits"),
    "attribute missing": (
        without("tile", "attributes", "channels"),
        "attribute channels is missing",
    ),
    "attribute unknown": (with_attributes(GOOD, "relu", slope=1), "knows no attribute 'slope'"),
    "bool for a number": (with_attributes(GOOD, "tile", channels=True), "its channels is True"),
    "float for a number": (with_attributes(GOOD, "tile", channels=75.0), "its channels is 75.0"),
    "text for a number": (with_attributes(GOOD, "tile", channels="75"), "its channels is '75'"),
    "list for a number": (with_attributes(GOOD, "tile", channels=[75]), "its channels is a list"),
    "negative": (
        with_attributes(GOOD, "conv", padding=-1),
        "its padding is -1, no whole number from 0",
    ),
    "zero": (with_attributes(GOOD, "conv", stride=0), "its stride is 0, no whole number from 1"),
    "absurd": (with_attributes(GOOD, "conv", stride=2**24 + 1), "from 1 to 16777216"),
    "beyond 64 bits": (
        with_attributes(GOOD, "conv", stride=10**4000),
        "its stride is a huge number",
    ),
    "number for a switch": (
        with_attributes(GOOD, "max_pool", ceil=0),
        "its ceil is 0, not true or",
    ),
    "tensor missing": (without("conv", "tensors", "weight"), "its tensor weight is missing"),
    "tensor unknown": (
        with_tensors(GOOD, "relu", slope=np.zeros(8, "f4")),
        "knows no tensor 'slope'",
    ),
    "no array": (with_tensors(GOOD, "prelu", slope=[1.0] * 8), "slope is no array"),
    "float64": (with_tensors(GOOD, "prelu", slope=np.zeros(8)), "slope is float64, not float32"),
    "big endian": (
        with_tensors(GOOD, "prelu", slope=np.zeros(8, ">f4")),
        "slope is >f4, not float32",
    ),
    "one short": (
        with_tensors(GOOD, "prelu", slope=np.zeros(7, "f4")),
        r"shape \(7,\), not \(8,\)",
    ),
    "a matrix": (with_tensors(GOOD, "prelu", slope=np.zeros((8, 1), "f4")), r"shape \(8, 1\)"),
    "every second": (
        with_tensors(GOOD, "prelu", slope=np.zeros(16, "f4")[::2]),
        "not lie in C order",
    ),
    "two scales": (with_tensors(GOOD, "conv_b", scale=np.ones(2, "f4")), r"not \(1,\) or \(12,\)"),
    "one word short": (with_tensors(GOOD, "conv_b", signs=tensor("conv_b", "signs")[:-1]), "shape"),
    "bits beyond": (spoilt("sign", "flips", 2**8), "flips has bits set beyond its 8"),
    "a bit beyond": (spoilt("sign", "flips", 2**63), "flips has bits set beyond its 8"),
    "weight NaN": (spoilt("conv", "weight", NAN), "weight holds what is no finite number"),
    "bias infinite": (spoilt("conv", "bias", INF), "bias holds what is no finite number"),
    "offset infinite": (spoilt("affine", "offset", -INF), "offset holds what is no finite number"),
    "scale NaN": (spoilt("conv_b", "scale", NAN), "scale holds what is no finite number"),
    "threshold NaN": (spoilt("sign", "threshold", NAN), "threshold holds what is no finite number"),
    "step zero": (spoilt("conv_q8", "steps", 0), "steps holds a number that is not above 0"),
    "step negative": (spoilt("conv_q8", "steps", -1), "steps holds a number that is not above 0"),
    "inputs disagree": (with_attributes(GOOD, "conv", inputs=4), "takes 4 channels and gets 3"),
    "groups of inputs": (
        with_attributes(GOOD, "conv_b", groups=3),
        "3 groups do not divide 8 inputs",
    ),
    "groups of outputs": (
        with_attributes(GOOD, "conv_b", groups=8),
        "8 groups do not divide 8 inputs",
    ),
    "groups of a shuffle": (
        with_attributes(GOOD, "shuffle", groups=5),
        "5 groups do not divide 24",
    ),
    "parts": (with_attributes(GOOD, "resize", parts=5), "5 parts do not divide 24 channels"),
    "linear disagrees": (
        with_attributes(GOOD, "linear", inputs=74),
        "takes 74 numbers and gets 75",
    ),
    "kernel too large": (with_attributes(GOOD, "conv", kernel=10), "nothing is left of its map"),
    "window too far": (with_attributes(GOOD, "window", start=10), "nothing is left of its map"),
    "pool too large": (with_attributes(GOOD, "max_pool", kernel=12), "nothing is left of its map"),
    "pool's padding": (
        with_attributes(GOOD, "max_pool", padding=2),
        "more than half of its kernel, 3",
    ),
    "add of shapes": (altered(GOOD, "add", inputs=("conv_2", "input")), "8 and real 11x9x3"),
    "concat of sides": (
        altered(GOOD, "concat", inputs=("input", "relu_15")),
        "one height and width",
    ),
    "concat of widths": (
        Program(
            (1, 4, 4),
            (
                Step("window", ("input",), "wide", "", WIDER),
                Step("concat", ("input", "wide"), "joined", ""),
            ),
        ),
        "one height and width and gets real 4x4x1 and real 4x5x1",
    ),
    "interleave of widths": (
        altered(GOOD, "interleave", inputs=("input", "add_3")),
        "interleaves maps of one shape",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_program_that_cannot_run(case: str) -> None:
    program, expected = BAD[case]
    assert re.search(expected, refused(program))


def test_the_message_names_the_step_and_the_layer() -> None:
    message = refused(with_attributes(GOOD, "conv", stride=0))
    assert message.startswith("step 3, 'conv_2' (conv, layer 'cells.0.conv'): its stride is 0")


def test_infinite_thresholds_are_sound() -> None:
    check(spoilt("sign", "threshold", INF))
    check(spoilt("sign", "threshold", -INF))


@pytest.mark.parametrize(
    ("inputs", "kernel", "fits"),
    [(2**24 - 1, 1, True), (2**24, 1, False), (2**20, 4, False), (2**20 - 1, 4, True)],
)
def test_sums_of_signs_are_exact(inputs: int, kernel: int, fits: bool) -> None:
    """The largest sum is below 2^24; weights alone may be more, as their sums are of reals."""
    bits = np.zeros(words(inputs * kernel**2), "<u8")
    numbers = {"inputs": inputs, "outputs": 1, "kernel": kernel, "stride": 1, "padding": 0}
    numbers |= {"dilation": 1, "groups": 1}
    tensors = {"signs": bits, "scale": np.ones(1, "f4")}
    pool = Step("global_pool", ("made",), "pooled", "")
    signs = Step("sign", ("input",), "signs", "")
    binary = Step("conv_b", ("signs",), "made", "", numbers, tensors)
    program = Program((inputs, kernel, kernel), (signs, binary, pool))
    if fits:
        check(program)
    else:
        assert "are exact below 16777216" in refused(program)
    check(Program(program.shape, (replace(binary, op="conv_w1", inputs=("input",)), pool)))


HUGE: dict[str, tuple[Callable[[], Program], str]] = {
    "tile": (
        lambda: single((1, 2**8, 2**8), "tile", channels=2**14),
        "its map has 4294967296 bytes",
    ),
    "padding": (
        lambda: convolution((1, 4, 4), channels=(1, 1), kernel=1, padding=2**24),
        "with its padding the map has",
    ),
    "padding of a window": (
        lambda: single((1, 4, 4), "window", pad_height=2**15, pad_width=2**15, start=0, step=2**15),
        "with its padding the map has",
    ),
    "padding of a pool": (
        lambda: single(
            (1, 4, 4), "max_pool", kernel=2**16, stride=2**16, padding=2**15, ceil=False
        ),
        "with its padding the map has",
    ),
    "work": (
        lambda: single((1, 4096, 4096), "max_pool", kernel=1023, stride=1, padding=511, ceil=False),
        "operations, over 274877906944",
    ),
    "work of many": (
        lambda: Program(
            (1, 8192, 8192),
            (
                Step("tile", ("input",), "twice", "", {"channels": 2}),
                *(Step("relu", ("twice",), f"{i}", "") for i in range(2048)),
            ),
        ),
        "step 2049, '2047' .* operations, over 274877906944",
    ),
    "memory": (
        lambda: Program(
            (1, 8192, 8192),
            (
                *(Step("relu", ("input",), f"{i}", "") for i in range(8)),
                Step("concat", tuple(map(str, range(8))), "joined", ""),
                Step("global_pool", ("joined",), "pooled", ""),
            ),
        ),
        f"bytes for its values, over {ALIVE_LIMIT}",
    ),
    "memory in between": (
        lambda: Program(
            (1, 8192, 8192),
            (
                *(Step("relu", ("input",), f"{i}", "") for i in range(8)),
                *(Step("global_pool", (f"{i}",), f"pooled {i}", "") for i in range(8)),
            ),
        ),
        f"needs 2415919104 bytes for its values, over {ALIVE_LIMIT}",
    ),
    "all values": (
        lambda: Program(
            (1, 8192, 8192),
            (
                *(Step("relu", ("input",), f"{i}", "") for i in range(33)),
                Step("global_pool", ("input",), "pooled", ""),
            ),
        ),
        "makes values of 9126805508 bytes, over 8589934592",
    ),
    "steps": (
        lambda: Program(
            (1, 1, 1), tuple(Step("relu", ("input",), f"{i}", "") for i in range(4097))
        ),
        "it has 4097 steps, where 4096 are the most",
    ),
    "inputs": (
        lambda: Program((1, 2, 2), (Step("concat", ("input",) * 257, "joined", ""),)),
        "it has 257 inputs, where 256 are the most",
    ),
    "side": (
        lambda: single((1, 2**14 + 1, 2), "relu"),
        "real 16385x2x1, where a side has 16384 pixels at the most",
    ),
    "other side": (
        lambda: single((1, 2, 2**14 + 1), "relu"),
        "real 2x16385x1, where a side has 16384 pixels at the most",
    ),
    "side in between": (
        lambda: single((1, 2, 2**14), "window", pad_height=0, pad_width=1, start=0, step=1),
        "step 1.*real 2x16385x1, where a side has 16384 pixels at the most",
    ),
}


@pytest.mark.parametrize("case", HUGE)
def test_a_program_that_would_take_too_much(case: str) -> None:
    make, expected = HUGE[case]
    program = make()
    began = time.process_time()
    assert re.search(expected, refused(program))
    assert time.process_time() - began < 2


def pooled(shape: tuple[int, int, int], relus: int, last: str = "input") -> Program:
    """So many steps that read the images, and one that pools."""
    steps = (Step("relu", ("input",), f"{i}", "") for i in range(relus))
    return Program(shape, (*steps, Step("global_pool", (last,), "pooled", "")))


JUST: dict[str, Callable[[], Program]] = {
    "steps": lambda: pooled((1, 1, 1), 4095),
    "inputs": lambda: single((1, 2, 2), "concat", sources=256),
    "values of an image": lambda: pooled((2**26, 1, 1), 0),
    "side": lambda: pooled((1, 2**14, 1), 0),
    "other side": lambda: pooled((1, 1, 2**14), 0),
    "name": lambda: altered(GOOD, "linear", name="a" * 256),
    # 8 maps of 2^27 bytes, and all of them joined.
    "memory": lambda: Program(
        (1, 8192, 4096),
        (
            *(Step("relu", ("input",), f"{i}", "") for i in range(8)),
            Step("concat", tuple(map(str, range(8))), "joined", ""),
            Step("global_pool", ("joined",), "pooled", ""),
        ),
    ),
    # 435 maps of 8 x 5461 x 113 values and a vector of 8 are 2^33 bytes.
    "all values": lambda: pooled((8, 5461, 113), 434),
    # 8 x 2^13 x 2^13 values are 2^31 bytes.
    "padding": lambda: single(
        (8, 1, 1), "window", pad_height=2**13 - 1, pad_width=2**13 - 1, start=0, step=2**13
    ),
}


@pytest.mark.parametrize("case", JUST)
def test_a_program_that_takes_just_what_it_may(case: str) -> None:
    check(JUST[case]())


CONV = {"inputs": 6, "outputs": 4, "kernel": 3, "stride": 1, "padding": 1, "dilation": 1}
MAP = Shape("real", (5, 4, 6))


@pytest.mark.parametrize(
    ("op", "x", "attributes", "work"),
    [
        ("conv", MAP, {**CONV, "groups": 2}, 5 * 4 * 4 * 3 * 9),
        ("conv_b", Shape("signs", (5, 4, 6)), {**CONV, "groups": 1}, 5 * 4 * 4 * 6 * 9),
        ("linear", Shape("vector", (7,)), {"inputs": 7, "outputs": 3}, 7 * 3),
        ("global_pool", MAP, {}, 5 * 4 * 6),
        ("max_pool", MAP, {"kernel": 2, "stride": 2, "padding": 0, "ceil": False}, 2 * 2 * 6 * 4),
        ("window", MAP, {"pad_height": 0, "pad_width": 0, "start": 0, "step": 2}, 3 * 2 * 6),
        ("tile", MAP, {"channels": 9}, 5 * 4 * 9),
        ("zeros", MAP, {"channels": 9, "stride": 2}, 3 * 2 * 9),
        ("resize", MAP, {"parts": 2, "channels": 5}, 5 * 4 * 10),
        ("sign", MAP, {}, 5 * 4 * 6),
        ("relu", MAP, {}, 5 * 4 * 6),
    ],
)
def test_work_is_what_is_read(op: str, x: Shape, attributes: dict[str, int], work: int) -> None:
    assert RULES[op]((x,), attributes).work == work


def test_values_that_nobody_reads_are_no_fault() -> None:
    steps = tuple(Step("relu", ("input",), f"{i}", "") for i in range(64))
    program = Program((1, 4096, 4096), (*steps, Step("global_pool", ("input",), "pooled", "")))
    assert max(memory(program, check(program))) == 2 * 4 * 4096**2
    assert MAP_LIMIT > 2 * 4 * 4096**2


def torch_shape(layer: Callable[..., torch.Tensor], *arguments: Any, **options: Any) -> Any:
    """(height, width) of what torch makes; None where it refuses."""
    try:
        return tuple(layer(*arguments, **options).shape[2:])
    except RuntimeError:
        return None


def our_shape(program: Program) -> Any:
    """(height, width) of the value before the pooling; None where it is refused."""
    try:
        return check(program)[program.steps[-2].name].sides[:2]
    except BadProgram:
        return None


def test_convolutions_have_torchs_shapes() -> None:
    rng = np.random.default_rng(0)
    seen = []
    for _ in range(300):
        height, width, kernel, stride, dilation = (int(n) for n in rng.integers(1, 8, 5))
        padding = int(rng.integers(0, 4))
        options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": 2}
        op = str(rng.choice(["conv", "conv_w1", "conv_b", "conv_q8"]))
        program = convolution((2, height, width), op=op, channels=(2, 2), kernel=kernel, **options)
        x, w = torch.empty(1, 2, height, width), torch.empty(2, 1, kernel, kernel)
        seen.append(torch_shape(F.conv2d, x, w, **options))
        assert our_shape(program) == seen[-1], program
    assert 50 < seen.count(None) < 250


@pytest.mark.parametrize("op", ["max_pool", "avg_pool"])
@pytest.mark.parametrize("ceil", [False, True])
def test_pools_have_torchs_shapes(op: str, ceil: bool) -> None:
    pool: Any = F.max_pool2d if op == "max_pool" else F.avg_pool2d
    rng = np.random.default_rng(0)
    seen = []
    for _ in range(500):
        height, width, kernel, stride = (int(n) for n in rng.integers(1, 8, 4))
        padding = int(rng.integers(0, 4))
        options: dict[str, Any] = {"kernel": kernel, "stride": stride, "padding": padding}
        options |= {"count_padding": True} if op == "avg_pool" else {}
        program = single((2, height, width), op, **options, ceil=ceil)
        x = torch.empty(1, 2, height, width)
        seen.append(torch_shape(pool, x, kernel, stride, padding, ceil_mode=ceil))
        assert our_shape(program) == seen[-1], program
    assert 50 < seen.count(None) < 450


def test_windows_have_the_shapes_of_slices() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        height, width, step = (int(n) for n in rng.integers(1, 7, 3))
        bottom, right, start = (int(n) for n in rng.integers(0, 4, 3))
        sliced = np.zeros((height + bottom, width + right))[start::step, start::step].shape
        pads = {"pad_height": bottom, "pad_width": right}
        program = single((2, height, width), "window", **pads, start=start, step=step)
        assert our_shape(program) == (sliced if prod(sliced) else None)


def test_zeros_are_as_large_as_a_layer_of_their_stride_leaves_them() -> None:
    for side in range(1, 9):
        for stride in (1, 2, 3):
            conv = F.conv2d(torch.empty(1, 1, side, side), torch.empty(1, 1, 3, 3), None, stride, 1)
            program = single((1, side, side), "zeros", channels=5, stride=stride)
            assert check(program)["made"].sides == (*conv.shape[2:], 5)


def test_the_images_have_the_shape_of_the_networks() -> None:
    assert check(GOOD)["input"].sides == (SHAPE[1], SHAPE[2], SHAPE[0])
