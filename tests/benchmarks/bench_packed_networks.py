"""Whole networks at 224x224, batch 1: packed against their own float simulation and real ResNet-18.

All are timed in turns, in one run per number of threads, so that the ratios are of one run; weights
are untrained, which no time depends on. Nothing here passes or fails by a time.

DCP-NAS' table 15 is of another machine and engine (ODROID C4, one ARM Cortex-A55 thread, BOLT): its
ratios stand beside ours as quoted. Its 1-bit ResNet-18 is ReActNet's; ours is Bi-Real Net's, the same
convolutions and shortcuts without ReActNet's learned thresholds and RPReLU.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from time import perf_counter

import numpy as np
import pytest
from torch import nn
from torchvision.models import resnet18

from bnas_bench.cli.latency import in_words, measured_on
from bnas_bench.core.budget import Scale
from bnas_bench.cost import ledger, memory
from bnas_bench.cost.kernel_times import LatencyTable
from bnas_bench.cost.latency import (
    FEWEST,
    Latency,
    latencies,
    packed,
    probe_image,
    real,
    simulated,
    timed,
)
from bnas_bench.cost.prediction import predictions, summary
from bnas_bench.packed.engine.engine import Engine
from bnas_bench.packed.engine.threads import torch_threads
from bnas_bench.packed.format.file import payload, save
from bnas_bench.packed.format.program import Program
from bnas_bench.packed.lowering.lower import lower
from bnas_bench.plugins.registry import find
from tests.cost.test_conventions import PUBLISHED
from tests.spaces.test_nas_bnn import table_6

SHAPE = (3, 224, 224)
DCP_NAS = {"DCP-NAS-S": 54, "DCP-NAS-M": 72}
BASES = ("ResNet-18 (torchvision)", "ResNet-18 (handcrafted)")
QUOTED = {"1-bit ResNet-18": ("birealnet18", 3.8), "DCP-NAS-M": ("DCP-NAS-M", 2.5)}
"""Table 15's accelerations against ResNet-18, single thread, and our networks for them."""


def build(name: str) -> nn.Module:
    rng, channels = np.random.default_rng(0), None
    if name in DCP_NAS:
        space, text, channels = find("space", "darts-binary").make({}), PUBLISHED, DCP_NAS[name]
        arch = space.parse(text)
    elif name.startswith("NAS-BNN-"):
        space = find("space", "nas-bnn").make({})
        arch = table_6(name[-1])
    else:
        space = find("space", "handcrafted").make({})
        arch = space.parse(name)
    spec = space.spec(Scale(None, channels), SHAPE, 1000, final=True)
    return space.network(arch, spec, rng)


@pytest.fixture(scope="module")
def networks() -> dict[str, nn.Module]:
    names = (*DCP_NAS, "NAS-BNN-A", "NAS-BNN-C", "birealnet18", "reactnet-a")
    return {name: build(name) for name in names}


@pytest.fixture(scope="module")
def programs(networks: dict[str, nn.Module]) -> dict[str, Program]:
    return {name: lower(network, SHAPE) for name, network in networks.items()}


@pytest.fixture(scope="module", params=[1, 2], ids="{} threads".format)
def run(
    request: pytest.FixtureRequest, networks: dict[str, nn.Module], programs: dict[str, Program]
) -> tuple[dict[str, Engine], dict[str, Latency]]:
    """Engines and latencies with so many threads, by `NAME packed` and `NAME simulated`."""
    engines = {n: Engine(program, threads=request.param) for n, program in programs.items()}
    subjects = {f"{n} packed": packed(engine, SHAPE) for n, engine in engines.items()}
    subjects |= {f"{n} simulated": simulated(net, SHAPE) for n, net in networks.items()}
    for base, network in zip(BASES, bases(), strict=True):
        subjects[base] = real(network, SHAPE)
    return engines, latencies(subjects, threads=request.param)


def test_whole_networks(run: tuple[dict[str, Engine], dict[str, Latency]]) -> None:
    engines, times = run
    threads = times[BASES[0]].threads
    base = min(times[name].median_ms for name in BASES)
    print(
        f"\n\n{in_words(measured_on(threads))}\nmedian ms (quartiles, repeats) of one 224x224 image"
    )
    for name in BASES:
        print(f"  {name:24} real      {text(times[name])}")
    print(f"  faster by: its own simulation / the faster ResNet-18 ({base:.1f} ms)")
    for name, engine in engines.items():
        bits, floats = times[f"{name} packed"], times[f"{name} simulated"]
        print(f"  {name:24} simulated {text(floats)}")
        print(
            f"  {'':24} packed    {text(bits)}  {floats.median_ms / bits.median_ms:5.2f} x / "
            f"{base / bits.median_ms:5.2f} x"
        )
        parts = ", ".join(f"{kind} {100 * part:.0f} %" for kind, part in shares(engine).items())
        print(f"  {'':24} {parts}")


def test_bytes(networks: dict[str, nn.Module], programs: dict[str, Program]) -> None:
    """What the ledger predicts of the file's tensors, without having packed anything."""
    print("\n\nbytes: tensors as the ledger predicts them, tensors in the file, the whole file")
    for name, program in programs.items():
        predicted = memory(ledger(networks[name], SHAPE), "packed")
        stored, whole = payload(program), len(save(program))
        print(f"  {name:12} {predicted // 8:12,} {stored:12,} {whole:12,}")
        assert predicted == 8 * stored


def test_table_15_of_dcp_nas(run: tuple[dict[str, Engine], dict[str, Latency]]) -> None:
    _, times = run
    print(f"\n\nDCP-NAS table 15: x faster than real ResNet-18; {times[BASES[0]].threads} threads")
    base = min(times[name].median_ms for name in BASES)
    for row, (name, quoted) in QUOTED.items():
        measured = base / times[f"{name} packed"].median_ms
        print(f"  {row:16} measured here {measured:5.2f}; quoted {quoted} (ARM, one thread)")


WANTED = 1.7
"""Times as fast with two threads as with one, of networks above 5 ms."""

WANTED_OF_DCP_NAS_M = {1: 2.2, 2: 1.8}
"""Times as fast as real ResNet-18, by the threads of both."""


def test_two_threads_against_one(programs: dict[str, Program]) -> None:
    """All in turns; beside it what the machine has: one-thread engines alone and two of them at once."""
    image = probe_image(SHAPE)
    base = {name: real(net, SHAPE).run for name, net in zip(BASES, bases(), strict=True)}
    print(
        f"\n\n{in_words(measured_on(2))}\nmedian ms with one and with two threads, and their ratio"
    )
    print(f"{'':24} one      two      ratio  two one-thread engines at once: images in that time")
    best = {}
    for name, program in programs.items():
        one, other, two = (Engine(program, threads=threads) for threads in (1, 1, 2))
        runs = {"one": lambda e=one: e.run(image), "two": lambda e=two: e.run(image)}
        with ThreadPoolExecutor(1) as second:
            runs["both"] = lambda e=one, o=other, s=second: at_once(e, o, s, image)
            if name == "DCP-NAS-M":
                runs |= {
                    f"{threads} {b}": lambda r=run, t=threads: with_threads(t, r)
                    for b, run in base.items()
                    for threads in (1, 2)
                }
            found = {n: 1e3 * median(t) for n, t in timed(runs, seconds=3, repeats=40).items()}
        ratio, ceiling = found["one"] / found["two"], 2 * found["one"] / found["both"]
        print(
            f"  {name:22} {found['one']:8.2f} {found['two']:8.2f} {ratio:6.2f}  {ceiling:.2f}"
            f"{f'  (wanted {WANTED})' if found['one'] > 5 else ''}"
        )
        for threads, own in ((1, "one"), (2, "two")):
            if theirs := [found[f"{threads} {b}"] for b in BASES if f"{threads} {b}" in found]:
                best[threads] = min(theirs) / found[own]
        two.close()
    for threads, ratio in best.items():
        wanted = WANTED_OF_DCP_NAS_M[threads]
        print(
            f"  DCP-NAS-M against real ResNet-18, {threads} threads: {ratio:.2f} (wanted {wanted})"
        )


def bases() -> tuple[nn.Module, nn.Module]:
    """Real-valued ResNet-18, torchvision's and ours."""
    return resnet18(), build("resnet18")


def with_threads(threads: int, run: Callable[[], object]) -> None:
    with torch_threads(threads):
        run()


def at_once(one: Engine, other: Engine, second: ThreadPoolExecutor, image: np.ndarray) -> None:
    """Two engines, each with an image, until both are done."""
    waiting = second.submit(other.run, image)
    one.run(image)
    waiting.result()


@pytest.mark.parametrize("space", ["darts-binary", "nas-bnn"])
def test_predictions_of_50_architectures(space: str) -> None:
    """At 64x64, 10 classes; the table is filled by 50 others."""
    instance, rng = find("space", space).make({}), np.random.default_rng(0)
    spec = instance.spec(Scale(), (3, 64, 64), 10, final=True)
    table = LatencyTable(1)
    drawn = (
        lower(instance.network(instance.sample(rng), spec, rng), spec.shape) for _ in range(100)
    )
    began = perf_counter()
    for _ in range(50):
        program = next(drawn)
        table.add(Engine(program), program.shape)
    filled = perf_counter() - began
    found = summary(list(predictions(table, drawn)))
    print(f"\n{space}: {len(table.seconds)} kernels, table filled in {filled:.0f} s; {found}")


def text(time: Latency) -> str:
    return (
        f"{time.median_ms:8.2f} ({time.lower_ms:.2f} - {time.upper_ms:.2f}, {time.repeats:2} runs)"
    )


def shares(engine: Engine) -> dict[str, float]:
    """The part of the time that the engine spends in kernels of each kind, the largest first."""
    image, kinds = probe_image(SHAPE), Counter[str]()
    rounds = [engine.profile(image) for _ in range(FEWEST)]
    for same in zip(*rounds, strict=True):
        kinds[same[0].kind] += median(timing.seconds for timing in same)
    return {kind: seconds / kinds.total() for kind, seconds in kinds.most_common()}
