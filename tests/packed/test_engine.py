"""The engine against the PyTorch networks and the plain interpreter: the same numbers, fused or not."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from bnas_bench.core.errors import BadValue, BenchError
from bnas_bench.data.datasets import Dataset, load
from bnas_bench.nn.network import Network
from bnas_bench.packed.engine.chains import ChainKernel
from bnas_bench.packed.engine.engine import Engine
from bnas_bench.packed.engine.fuse import Stage, fuse
from bnas_bench.packed.engine.isa import FORMS
from bnas_bench.packed.format.check import check
from bnas_bench.packed.format.file import BadFile
from bnas_bench.packed.format.file import load as load_packed
from bnas_bench.packed.format.program import INPUT, Program, Step
from bnas_bench.packed.lowering.lower import lower
from tests.helpers import plain_engine
from tests.helpers.fused import needs_one_rounding
from tests.helpers.networks import LARGE, SHAPES, SPACES, build, images
from tests.helpers.programs import everything
from tests.packed.test_packed_fuzz import signed_lie


def cases() -> Iterator[object]:
    """Every space and options, at one of the small shapes; each space once with a large stem."""
    for index, (name, options) in enumerate(SPACES):
        yield pytest.param(name, options, SHAPES[index % len(SHAPES)], id=f"{name}-{index}")
    for name in ("darts-binary", "bats", "bars", "bnas-201", "nas-bnn", "handcrafted"):
        yield pytest.param(name, {}, LARGE, id=f"{name}-large")


SEEDS = (10, 11)
"""Of an architecture and its numbers."""


def logits(network: nn.Module, x: np.ndarray, threads: int = 1) -> np.ndarray:
    """Of the PyTorch network in evaluation mode."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            found: np.ndarray = network(torch.from_numpy(x)).numpy()
    finally:
        torch.set_num_threads(before)
    return found


@pytest.mark.sample(7)
@needs_one_rounding
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("name", "options", "shape"), list(cases()))
def test_random_architectures_of_all_spaces_run_to_the_last_bit(
    name: str, options: dict, shape: tuple[int, int, int], seed: int
) -> None:
    """Logits of the network, and every value of the plain interpreter, sums of signs among them."""
    network = build(name, options, shape, seed)
    x = images(shape)
    program = lower(network, shape)
    for threads in (2, 1):  # with which torch's real convolutions round in another order
        expected = logits(network, x, threads)
        assert np.array_equal(Engine(program, threads=threads).run(x), expected)
    plain = plain_engine.values(program, x)
    found = Engine(program, fused=False).values(x)
    compared = [step for step in program.steps if step.op != "sign"]
    assert compared
    for step in compared:
        assert np.array_equal(found[step.name].numpy(), plain[step.name]), step


@pytest.mark.sample(1)
@needs_one_rounding
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    "name", ["darts-binary", "bats", "bars", "bnas-201", "nas-bnn", "handcrafted"]
)
def test_every_test_image_gets_the_networks_logits_and_class(name: str, seed: int) -> None:
    """Digits, whose training images have set the statistics of the batch norms."""
    digits = load("digits", image=None, device="cpu", folder=Path())
    compare_on(digits, build(name, {}, digits.shape, seed, classes=10))


def compare_on(digits: Dataset, network: Network) -> None:
    rng = np.random.default_rng(0)
    network.train()
    with torch.no_grad():
        for x_BCHW, _ in digits.train.batches(128, rng):
            network(x_BCHW)
        network.eval()
        linear = network.head.linear  # of no class in general
        linear.bias -= torch.cat([network(x) for x, _ in digits.train.batches(360)]).mean(0)
    engine = Engine(lower(network, digits.shape))
    seen = 0
    for x_BCHW, _ in digits.test.batches(len(digits.test)):
        with torch.inference_mode():
            expected = network(x_BCHW).numpy()
        found = engine.run(x_BCHW)
        assert np.allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
        assert np.array_equal(found.argmax(1), expected.argmax(1))
        assert len(set(found.argmax(1))) > 1
        seen += len(x_BCHW)
    assert seen == len(digits.test) == 360


@needs_one_rounding
@pytest.mark.parametrize("form", ["plain", "generic"])
def test_a_network_runs_in_forms_of_other_machines(form: str) -> None:
    network = build("nas-bnn", {}, (3, 16, 16))
    x = images((3, 16, 16))
    with torch.inference_mode():
        expected = network(torch.from_numpy(x)).numpy()
    engine = Engine(lower(network, (3, 16, 16)), form=FORMS[form])
    assert engine.isa == form
    assert np.array_equal(engine.run(x), expected)


@needs_one_rounding
def test_every_operation_runs_as_the_plain_interpreter_does() -> None:
    program = everything()
    x = images(program.shape, 2)
    engine = Engine(program)
    assert np.array_equal(engine.run(x), plain_engine.run(program, x), equal_nan=True)
    assert {kernel.kind for kernel in engine.kernels} >= {"conv_b", "conv_w1", "conv_q8", "linear"}


def test_batches_of_any_size_in_any_order_run_on_one_engine() -> None:
    network = build("darts-binary", {}, (3, 16, 16))
    engine = Engine(lower(network, (3, 16, 16)))
    x = images((3, 16, 16), 7)
    whole = engine.run(x)
    engine.values(x[:2])
    for size in (1, 5, 1, 7):
        assert np.allclose(engine.run(x[:size]), whole[:size], rtol=1e-4, atol=1e-5)
    assert np.array_equal(engine.run(x), whole)


def test_a_profile_has_one_entry_for_each_kernel() -> None:
    engine = Engine(lower(build("bats", {}, (1, 8, 8)), (1, 8, 8)))
    timings = engine.profile(images((1, 8, 8), 1))
    assert [t.name for t in timings] == [kernel.name for kernel in engine.kernels]
    assert all(t.seconds > 0 for t in timings)
    assert {"conv_b", "elementwise"} <= {t.kind for t in timings}


def test_torchs_threads_are_put_back() -> None:
    before = torch.get_num_threads()
    engine = Engine(lower(build("bars", {}, (1, 8, 8)), (1, 8, 8)), threads=before + 1)
    engine.run(images((1, 8, 8), 1))
    assert torch.get_num_threads() == before
    engine.close()


def test_what_does_not_fit_is_refused() -> None:
    program = lower(build("bars", {}, (1, 8, 8)), (1, 8, 8))
    with pytest.raises(BadValue, match=r"3x8x8 .* takes batches of 1x8x8"):
        Engine(program).run(images((3, 8, 8)))
    with pytest.raises(BadValue, match="0 threads"):
        Engine(program, threads=0)


ATTRIBUTES = {
    "conv_b": {"kernel": 3, "stride": 1, "padding": 1},
    "conv": {"kernel": 1, "stride": 1, "padding": 0, "groups": 1},
}


def step(op: str, name: str, *inputs: str, **attributes: int) -> Step:
    return Step(op, inputs, name, name, ATTRIBUTES.get(op, {}) | attributes)


def names(stages: list[Stage]) -> list[list[str]]:
    return [[step.name for step in stage.steps] for stage in stages]


def test_what_is_read_once_never_reaches_memory() -> None:
    """conv_b, its norm, the shortcut that a pool made, slope and the next sign are one stage."""
    steps = [
        step("sign", "s", INPUT),
        step("conv_b", "c", "s"),
        step("affine", "n", "c"),
        step("avg_pool", "p", INPUT),
        step("add", "a", "n", "p"),
        step("prelu", "r", "a"),
        step("sign", "t", "r"),
        step("conv_b", "d", "t"),
        step("add", "e", "d", "r"),
        step("global_pool", "g", "e"),
    ]
    stages = fuse(steps)
    assert names(stages) == [["p"], ["s"], ["c", "n", "a", "r", "t"], ["d", "e"], ["g"]]
    assert [sorted(stage.stored) for stage in stages] == [["p"], [], ["r"], ["e"], []]


def test_1x1_convolutions_go_on_with_the_pixels_that_there_are() -> None:
    """Of bits, with a shortcut from before them, and of real numbers where those are ours."""
    steps = [
        step("avg_pool", "p", INPUT),
        step("prelu", "r", "p"),
        step("sign", "s", "r"),
        step("conv_b", "b", "s", kernel=1, padding=0),
        step("add", "a", "b", "r"),
        step("conv", "c", "a"),
        step("relu", "u", "c"),
        step("global_pool", "g", "u"),
    ]
    assert names(fuse(steps, {"c"})) == [["p", "r", "s", "b", "a", "c", "u"], ["g"]]
    assert fuse(steps, {"c"})[0].stored == {"r", "u"}
    assert names(fuse(steps)) == [["p", "r", "s", "b", "a"], ["c"], ["u"], ["g"]]


def test_maps_next_to_each_other_are_made_only_for_those_who_need_them() -> None:
    steps = [
        step("relu", "a", INPUT),
        step("concat", "b", "a", INPUT),
        step("affine", "c", "b"),
        step("tile", "t", "a", channels=6),
        step("add", "d", "c", "t"),
        step("global_pool", "g", "d"),
    ]
    assert names(fuse(steps)) == [["a"], ["c", "d"], ["g"]]
    pooled = [*steps, step("max_pool", "m", "b"), step("global_pool", "h", "m")]
    assert names(fuse(pooled)) == [["a"], ["b", "c", "d"], ["g"], ["m"], ["h"]]


def test_two_readers_of_one_map_do_not_run_twice() -> None:
    steps = [
        step("affine", "a", INPUT),
        step("relu", "b", INPUT),
        step("add", "c", "a", "b"),
        step("add", "d", "c", "c"),
        step("global_pool", "g", "d"),
    ]
    done = [s.name for stage in fuse(steps) for s in stage.steps]
    assert sorted(done) == ["a", "b", "c", "d", "g"]
    assert done.index("d") > done.index("c") > max(done.index("a"), done.index("b"))


def test_places_are_used_again() -> None:
    program: Program = lower(build("nas-bnn", {}, (3, 16, 16)), (3, 16, 16))
    engine = Engine(program)
    engine.run(images((3, 16, 16), 1))
    made = {name for k in engine.kernels if isinstance(k, ChainKernel) for name in k.makes}
    addresses = {tensor.data_ptr() for tensor in engine._places.values()}
    assert len(addresses) < len(made)


def run_lies(rng: np.random.Generator, count: int) -> int:
    """How many of so many files with altered contents and a right checksum run; none may crash."""
    ran = 0
    for _ in range(count):
        try:
            program = load_packed(signed_lie(rng))
        except BadFile:
            continue
        if sum(np.prod(shape.sides) for shape in check(program).values()) > 2**22:
            continue
        try:
            engine = Engine(program)
        except BenchError:
            continue
        found = engine.run(images(program.shape, 1))
        expected = plain_engine.run(program, images(program.shape, 1))
        assert np.array_equal(found, expected, equal_nan=True)
        ran += 1
    return ran


@needs_one_rounding
def test_altered_programs_run_or_are_refused() -> None:
    assert run_lies(np.random.default_rng(3), 150) > 5


@pytest.mark.slow
def test_many_altered_programs_run_or_are_refused() -> None:
    ran = run_lies(np.random.default_rng(4), 5000)
    print(f"of 5000 altered programs {ran} passed the check and ran")  # noqa: T201
    assert ran > 200


def test_no_value_takes_anothers_place() -> None:
    """Bits of a sign for so many groups are values as well, and files may name values as they like."""
    at = {
        "inputs": 1,
        "outputs": 1,
        "kernel": 1,
        "stride": 1,
        "padding": 0,
        "dilation": 1,
        "groups": 1,
    }
    tensors = {"signs": np.ones(1, np.uint64), "scale": np.ones(1, np.float32)}
    window = {"kernel": 40, "stride": 40, "padding": 0, "ceil": False}
    steps = (
        Step("sign", (INPUT,), "a", "a"),
        Step("conv_b", ("a",), "c", "c", at, tensors),
        Step("max_pool", ("c",), "m", "m", window),
        Step("relu", ("m",), "a/1", "r"),
        Step("global_pool", ("a/1",), "p", "p"),
    )
    program = Program((1, 40, 40), steps)
    assert Engine(program).run(images((1, 40, 40)))[:, 0].tolist() == [1, 1, 1]


def test_images_come_in_any_layout_and_type() -> None:
    shape = (3, 16, 16)
    engine = Engine(lower(build("bats", {}, shape), shape))
    x = images(shape)
    expected = engine.run(x)
    assert np.array_equal(engine.run(x.astype(np.float64)), expected)
    assert np.array_equal(engine.run(x[:, ::-1][:, ::-1]), expected)
    assert np.array_equal(engine.run(torch.from_numpy(x)), expected)
    assert engine.run(x[:0]).shape == (0, 7)


def test_two_threads_may_share_an_engine() -> None:
    shape = (3, 16, 16)
    engine = Engine(lower(build("nas-bnn", {}, shape), shape))
    batches = [images(shape, count) for count in (1, 2, 3, 4)] * 3
    expected = [engine.run(x) for x in batches]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(engine.run, batches))
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
