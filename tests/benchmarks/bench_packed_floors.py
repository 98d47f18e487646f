"""What the packed engine could reach on this machine: a second thread's share, and the floor of its MACs.

Nothing here passes or fails by a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from time import perf_counter

import numpy as np
import pytest
import torch
from numba import njit

from bnas_bench.cli.latency import in_words, measured_on
from bnas_bench.cost.latency import probe_image, real, timed
from bnas_bench.packed.engine.chains import ChainKernel
from bnas_bench.packed.engine.engine import Engine
from bnas_bench.packed.engine.isa import host
from bnas_bench.packed.engine.memory import look, take
from bnas_bench.packed.engine.threads import torch_threads
from bnas_bench.packed.format.check import check
from bnas_bench.packed.format.program import Step
from bnas_bench.packed.format.shapes import Shape
from bnas_bench.packed.lowering.lower import lower
from tests.benchmarks.bench_packed_networks import DCP_NAS, SHAPE, bases, build, with_threads
from tests.benchmarks.ceiling import loop

SIDE = 1024
"""Of the float32 matrices whose product says what a MAC of floats takes at least."""

LOOPS = 1_000_000
ROUNDS = 30

WANTED = 1.0
"""Times the floor that 1x1 convolutions of 1-bit weights on real maps take."""


@pytest.fixture
def a() -> Iterator[torch.Tensor]:
    with torch.inference_mode(), torch_threads(1):
        yield torch.randn(SIDE, SIDE)


def test_what_a_second_thread_gives(a: torch.Tensor) -> None:
    """To a loop that needs nothing but registers, torch's float32 product and real ResNet-18."""
    spin, _ = loop(host(), "popcount")
    one, other = (np.arange(64, dtype=np.uint8) for _ in range(2))
    resnet = real(bases()[0], SHAPE).run
    with ThreadPoolExecutor(1) as second:

        def both() -> None:
            waiting = second.submit(spin, LOOPS, other)
            spin(LOOPS, one)
            waiting.result()

        runs: dict[str, Callable[[], object]] = {"loop 1": lambda: spin(LOOPS, one), "loop 2": both}
        for threads in (1, 2):
            runs[f"product {threads}"] = lambda t=threads: with_threads(t, lambda: a @ a)
            runs[f"ResNet-18 {threads}"] = lambda t=threads: with_threads(t, resnet)
        times = timed(runs, seconds=4, repeats=2 * ROUNDS)
    ms = {name: 1e3 * median(taken) for name, taken in times.items()}
    print(f"\n\n{in_words(measured_on(2))}\nwork of two threads in the time of one's, median of")
    print(f"  xor, popcount, addition in registers {2 * ms['loop 1'] / ms['loop 2']:.2f}")
    print(f"  torch's float32 product              {ms['product 1'] / ms['product 2']:.2f}")
    print(f"  torch's real ResNet-18               {ms['ResNet-18 1'] / ms['ResNet-18 2']:.2f}")
    print(f"a line of the cache goes to the other core and back in {median(round_trips()):.0f} ns")


def round_trips(number: int = 1000, repeats: int = 9) -> list[float]:
    """Nanoseconds from one thread to another and back: five times as many where they share no cache."""
    play(0, 0, 0)
    found = []
    with ThreadPoolExecutor(1) as second:
        for _ in range(repeats):
            counters = np.zeros(64, np.int64)
            mine, other = counters[:1], counters[32:33]  # in lines of their own
            mine[0] = 1
            waiting = second.submit(play, mine.ctypes.data, other.ctypes.data, number)
            began = perf_counter()
            play(other.ctypes.data, mine.ctypes.data, number)
            found.append(1e9 * (perf_counter() - began) / number)
            waiting.result()
    return found


@njit(nogil=True)
def play(a: int, b: int, number: int) -> None:
    """Add one to b's counter whenever a's has grown."""
    for sent in range(number):
        while look(a) <= sent:
            pass
        take(b)


def test_one_bit_weights_on_real_maps(a: torch.Tensor) -> None:
    """Chains of DCP-NAS with such layers, against the time of their MACs at full rate.

    A chain also normalises, adds and stores; one with a depthwise layer multiplies bits as well.
    """
    spin, bits = loop(host(), "popcount")
    scratch, image = np.arange(64, dtype=np.uint8), probe_image(SHAPE)
    for name in DCP_NAS:
        program = lower(build(name), SHAPE)
        engine, shapes = Engine(program), check(program)
        kernels = [k for k in engine.kernels if isinstance(k, ChainKernel) and "conv_w1" in k.kind]
        rounds: list[dict[str, float]] = []

        def profile(engine: Engine = engine, into: list[dict[str, float]] = rounds) -> None:
            into.append({timing.name: timing.seconds for timing in engine.profile(image)})

        runs: dict[str, Callable[[], object]] = {
            "product": lambda: a @ a,
            "loop": lambda: spin(LOOPS, scratch),
            "network": profile,
        }
        times = timed(runs, seconds=2, repeats=ROUNDS)
        floats, popcounts = SIDE**3 / median(times["product"]), bits * LOOPS / median(times["loop"])
        taken, least = Counter[str](), Counter[str]()
        for kernel in kernels:
            steps = kernel.stage.steps
            kind = "depthwise" if any(depthwise(step) for step in steps) else "1x1"
            taken[kind] += median(found[kernel.name] for found in rounds)
            for step in steps:
                if step.op.startswith("conv"):
                    rate = popcounts if step.op == "conv_b" else floats
                    least[kind] += macs(step, shapes) / rate
        whole = median(sum(found.values()) for found in rounds)
        print(
            f"\n\n{name}: 1-bit weights on real maps, {len(kernels)} chains, one thread; floor: "
            f"{floats / 1e9:.1f} G MACs/s of torch's product, {popcounts / 1e12:.2f} T of popcounts"
        )
        for kind, floor in least.items():
            print(
                f"  {kind:9} {1e3 * taken[kind]:6.2f} ms, {100 * taken[kind] / whole:.0f} % of the network; "
                f"{taken[kind] / floor:.2f} times its floor of {1e3 * floor:.2f} ms"
                f"{f' (wanted {WANTED})' if kind == '1x1' else ''}"
            )
        engine.close()


def depthwise(step: Step) -> bool:
    return step.op == "conv_w1" and step.attributes["groups"] != 1


def macs(step: Step, shapes: Mapping[str, Shape]) -> int:
    at = {name: int(value) for name, value in step.attributes.items()}
    height, width, outputs = shapes[step.name].sides
    return height * width * outputs * at["inputs"] // at["groups"] * at["kernel"] ** 2
