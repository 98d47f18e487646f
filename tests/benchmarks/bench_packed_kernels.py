"""The XNOR-popcount kernels against torch's float32, one thread, each ratio from one run.

Two numbers come first: bit operations (an XNOR and an addition for each product, two as for a float
MAC) and the bytes of the operands. Nothing here passes or fails by a time.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numba import njit

from bnas_bench.cost.latency import machine, timed
from bnas_bench.packed.engine.binary import arrange, pixel_bytes
from bnas_bench.packed.engine.chains import BLOCK
from bnas_bench.packed.engine.engine import Engine
from bnas_bench.packed.engine.isa import host
from bnas_bench.packed.engine.kernels import kernels
from bnas_bench.packed.engine.tile import TABLE, steps_of
from bnas_bench.packed.format.program import Program, Step, pack_bits
from tests.benchmarks.ceiling import loop

K, N, M = 2304, 256, 3136
"""Of a 3x3 convolution of 256 to 256 channels on 56x56 pixels, as a matrix product."""

OPERATIONS = 2 * K * N * M
WANTED = 90
"""Percent of the popcount ceiling, where vectors have a popcount."""

ROUNDS = 50
LOOPS = 300_000

LCE = "BNAS_BENCH_LCE"
"""Environment variable that names a Python with Larq Compute Engine, see lce.py."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def times(**subjects: Callable[[], object]) -> dict[str, float]:
    """Median seconds of each, run in turns."""
    found = timed(subjects, seconds=5, repeats=ROUNDS)
    return {name: median(taken) for name, taken in found.items()}


def test_matrix_product() -> None:
    form, rng = host(), np.random.default_rng(0)
    signs = rng.random((N, 1, K)) < 0.5
    weights, size = arrange(signs, form), pixel_bytes(K, form)
    steps = steps_of(size, form)
    width = steps if form.table else size
    rows = rng.integers(0, 256, (M // form.row + form.height, width), dtype=np.uint8)
    rows[:, 2 * size if form.table else size :] = 0
    counts = np.zeros((M + form.height, N), np.uint16)
    product, row = kernels(form).product, form.row

    @njit(nogil=True)  # as a network's blocks are called, in which no Python runs
    def blocks(a: int, w: int, to: int, to_next: int, table: int) -> None:
        for first in range(0, M, BLOCK):
            x, y, pixels = a + first // row * width, to + first * to_next, min(BLOCK, M - first)
            product(x, width, pixels, w, N, steps, y, to_next, table)

    places = rows.ctypes.data, weights.ctypes.data, counts.ctypes.data
    table = TABLE.ctypes.data

    def bits() -> None:
        blocks(*places, counts.strides[0], table)

    a, b = torch.randn(M, K), torch.randn(K, N)
    ceilings = {"popcount": loop(form, "popcount")}
    if form.table:
        ceilings["shuffle"] = loop(form, "shuffle")
    scratch = np.arange(64, dtype=np.uint8)
    loops = {n: (lambda run=run: run(LOOPS, scratch)) for n, (run, _) in ceilings.items()}
    with torch.inference_mode():
        found = times(bits=bits, floats=lambda: a @ b, **loops)

    # The last pixel, counted anew.
    own, last = np.packbits(signs[:, 0], axis=1, bitorder="little"), rows[(M - 1) // form.row]
    if form.table:
        low, high = last[:size] >> 4, last[size : 2 * size] & 0xF0
        last = low | high
    assert np.array_equal(np.bitwise_count(own ^ last[: own.shape[1]]).sum(1), counts[M - 1])
    rate = OPERATIONS / found["bits"]
    where = machine(1)
    print(f"\n\n{where['cpu']}, one thread; kernels for {form.name}")
    print(f"matrix product K {K}, N {N}, M {M}: {OPERATIONS / 1e9:.2f} G operations,")
    print(f"  {(rows.nbytes + weights.nbytes + counts.nbytes) / 2**20:.2f} MiB of bits and counts,")
    print(f"  {4 * (M * K + K * N + M * N) / 2**20:.2f} MiB of floats")
    print(f"  bits            {1e3 * found['bits']:8.2f} ms {rate / 1e12:6.3f} T bit operations/s")
    floats = OPERATIONS / found["floats"]
    print(f"  torch float32   {1e3 * found['floats']:8.2f} ms {floats / 1e12:6.3f} TFLOP/s")
    print(f"  ratio           {found['floats'] / found['bits']:8.2f}")
    wanted = "" if form.table else f" (wanted {WANTED})"
    for name, (_, counted) in ceilings.items():
        ceiling = 2 * counted * LOOPS / found[name]
        print(
            f"  {name + ' ceiling':16}{'':11} {ceiling / 1e12:6.3f} T/s in registers alone, "
            f"of which {100 * rate / ceiling:.0f} %{wanted}"
        )


def whole_convolution() -> tuple[Engine, torch.Tensor, torch.Tensor]:
    """A 3x3 convolution of 256 channels on 56x56 pixels with its input's packing; input, weights."""
    rng = np.random.default_rng(0)
    bits = rng.random((256, 3, 3, 256)) < 0.5
    at = {"inputs": 256, "outputs": 256, "kernel": 3, "stride": 1, "padding": 1}
    tensors = {"signs": pack_bits(bits), "scale": np.ones(1, np.float32)}
    steps = (
        Step("sign", ("input",), "s", "conv"),
        Step("conv_b", ("s",), "c", "conv", at | {"dilation": 1, "groups": 1}, tensors),
        Step("global_pool", ("c",), "p", "pool"),
    )
    weight = torch.from_numpy(np.where(bits, np.float32(1), np.float32(-1))).permute(0, 3, 1, 2)
    x = torch.randn(1, 256, 56, 56).contiguous(memory_format=torch.channels_last)
    return Engine(Program((256, 56, 56), steps)), x, weight


def test_whole_convolution() -> None:
    engine, x, weight = whole_convolution()
    values = engine._start(x)
    layouts = {"NHWC": torch.channels_last, "NCHW": torch.contiguous_format}

    def bits() -> None:
        engine._stages.run(0, 2, values)

    def floats(layout: torch.memory_format) -> Callable[[], object]:
        inputs, weights = (t.contiguous(memory_format=layout) for t in (x, weight))
        return lambda: F.conv2d(inputs, weights, padding=1)

    subjects = {name: floats(layout) for name, layout in layouts.items()}
    with torch.inference_mode():
        found = times(bits=bits, **subjects)
    print("\n3x3 convolution, 256 channels, 56x56 pixels, packing of the input included:")
    print(f"  bits            {1e3 * found['bits']:8.2f} ms")
    for name in layouts:
        ratio = found[name] / found["bits"]
        print(f"  torch {name}      {1e3 * found[name]:8.2f} ms  ratio {ratio:.2f}")


@pytest.mark.skipif(LCE not in os.environ, reason=f"{LCE} names no Python; see lce.py")
def test_against_larq_compute_engine() -> None:
    """The same convolution in Larq Compute Engine, but for a padding of +1, in a process of its own."""
    engine, x, _ = whole_convolution()
    values = engine._start(x)
    command = [os.environ[LCE], str(Path(__file__).with_name("lce.py"))]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with torch.inference_mode(), subprocess.Popen(command, text=True, **pipes) as other:

        def lce() -> None:
            other.stdin.write("\n")
            other.stdin.flush()
            other.stdout.readline()

        found = times(lce=lce, bits=lambda: engine._stages.run(0, 2, values))
        other.stdin.close()
    theirs, ours = 1e3 * found["lce"], 1e3 * found["bits"]
    print(f"\nLarq Compute Engine {theirs:.2f} ms, bits {ours:.2f} ms, {theirs / ours:.1f} x")
