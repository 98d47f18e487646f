"""The compiled kernels against NumPy, in every form, and what the forms become on other machines."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from llvmlite import binding, ir

from bnas_bench.core.errors import BenchError
from bnas_bench.packed.engine.binary import MOST_BITS, pixel_bytes
from bnas_bench.packed.engine.engine import Engine
from bnas_bench.packed.engine.isa import FORMS, OVERRIDE, Isa, features, host
from bnas_bench.packed.engine.tile import TOGETHER, emit_tile, most_steps
from bnas_bench.packed.format.program import Program, Step, pack_bits
from tests.helpers.fused import needs_one_rounding

X86, ARM = "x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"

CONVOLUTIONS = [
    # inputs, outputs, kernel, stride, padding, dilation, groups, height, width
    (16, 16, 3, 1, 1, 1, 1, 7, 9),
    (54, 70, 3, 2, 1, 1, 1, 8, 11),
    (48, 48, 5, 1, 4, 2, 12, 10, 10),
    (24, 48, 1, 1, 0, 1, 1, 6, 5),
    (64, 130, 1, 2, 0, 1, 1, 7, 7),
    (16, 16, 3, 1, 1, 1, 16, 6, 6),
    (30, 20, 5, 2, 2, 1, 2, 3, 2),
    (256, 256, 3, 1, 1, 1, 1, 5, 5),
    (8, 8, 5, 1, 2, 1, 1, 1, 1),
    (3, 1, 2, 1, 0, 3, 1, 4, 9),
]


def forms() -> list[Isa]:
    """Those that this machine can run: shuffles of bytes are x86's."""
    return [form for form in FORMS.values() if "avx2" in features() or not form.table]


def convolution(shape: tuple[int, ...], rng: np.random.Generator) -> tuple[Program, np.ndarray]:
    """A sign with random thresholds and a random binary convolution; and its weights, +1 and -1."""
    inputs, outputs, kernel, *geometry, height, width = shape
    names = ("inputs", "outputs", "kernel", "stride", "padding", "dilation", "groups")
    groups = geometry[-1]
    bits = rng.random((outputs, kernel, kernel, inputs // groups)) < 0.5
    sign = {
        "threshold": rng.normal(size=inputs).astype(np.float32),
        "flips": pack_bits(rng.random(inputs) < 0.5),
    }
    conv = {"signs": pack_bits(bits), "scale": np.ones(1, np.float32)}
    attributes = dict(zip(names, shape[:7], strict=True))
    steps = (
        Step("sign", ("input",), "signs", "signs", {}, sign),
        Step("conv_b", ("signs",), "sums", "sums", attributes, conv),
        Step("global_pool", ("sums",), "pooled", "pooled"),
    )
    weights = np.where(bits, np.float32(1), np.float32(-1)).transpose(0, 3, 1, 2)
    return Program((inputs, height, width), steps), weights


@pytest.mark.parametrize("form", forms(), ids=lambda form: form.name)
def test_every_form_of_the_kernel_sums_signs_exactly(form: Isa) -> None:
    rng = np.random.default_rng(0)
    for shape in CONVOLUTIONS:
        program, weights = convolution(shape, rng)
        x = rng.normal(size=(3, *program.shape)).astype(np.float32)
        x[0, :, 0, 0] = program.steps[0].tensors["threshold"]  # equality counts as +1
        turned = np.unpackbits(
            program.steps[0].tensors["flips"].view(np.uint8), count=len(x[0]), bitorder="little"
        )
        above = x >= program.steps[0].tensors["threshold"][:, None, None]
        signs = np.where(above ^ turned.astype(bool)[:, None, None], np.float32(1), np.float32(-1))
        _, _, _, stride, padding, dilation, groups, _, _ = shape
        expected = F.conv2d(
            torch.from_numpy(signs),
            torch.from_numpy(weights.copy()),
            None,
            stride,
            padding,
            dilation,
            groups,
        )
        for threads in (1, 2):
            engine = Engine(program, form=form, fused=False, threads=threads)
            assert torch.equal(engine.values(x)["sums"], expected), (shape, threads)


@pytest.mark.parametrize("form", forms(), ids=lambda form: form.name)
@pytest.mark.parametrize("agree", [False, True])
def test_no_counter_overflows_where_all_signs_differ_or_agree(form: Isa, agree: bool) -> None:
    """At sizes around those where a lane is full, and at the largest: of random signs half differ."""
    for inputs in (*range(236, 276, 4), 255, 257, 495, 496, 512, 528, 8000, MOST_BITS // 64 * 64):
        program, _ = convolution((inputs, 33, 1, 1, 0, 1, 1, 2, 2), np.random.default_rng(0))
        sign, conv = program.steps[0].tensors, program.steps[1].tensors
        sign["threshold"][:], sign["flips"][:] = 0, 0
        conv["signs"][:] = pack_bits(np.full((33, 1, 1, inputs), agree))
        sums = Engine(program, form=form, fused=False).values(np.ones((1, *program.shape)))["sums"]
        assert sums.unique().tolist() == [inputs if agree else -inputs], inputs


@pytest.mark.parametrize("form", FORMS.values(), ids=lambda form: form.name)
def test_a_lane_of_bytes_holds_what_most_steps_count(form: Isa) -> None:
    """Of every form, whether this machine can run it or not.

    A step counts 8 bits in a lane of 8; by table 4, and steps come in threes that share half a byte.
    """
    assert most_steps(form) >= 1
    if form.table:
        assert 4 * most_steps(form) <= 255
        assert most_steps(form) % TOGETHER == 0
        assert 4 * TOGETHER <= 15
    elif form.element == 8:
        assert 8 * most_steps(form) <= 255


def run_elements(steps: list[Step], x: np.ndarray) -> np.ndarray:
    """The last map of a program of element-wise steps."""
    last = Step("global_pool", (steps[-1].name,), "pooled", "pooled")
    program = Program(x.shape[1:], (*steps, last))
    found: np.ndarray = Engine(program).values(x)[steps[-1].name].numpy()
    return found


@needs_one_rounding
@pytest.mark.parametrize("channels", [1, 7, 8, 9, 31, 32, 33, 70])
def test_chains_compute_what_torch_computes(channels: int) -> None:
    rng = np.random.default_rng(channels)

    def vector() -> np.ndarray:
        return rng.normal(size=channels).astype(np.float32)

    x = rng.normal(size=(2, channels, 5, 3)).astype(np.float32)
    x[0, 0] = 0
    a, b, slope, gamma, rslope, zeta = (vector() for _ in range(6))
    steps = [
        Step("affine", ("input",), "a", "a", {}, {"scale": a, "offset": b}),
        Step("prelu", ("a",), "p", "p", {}, {"slope": slope}),
        Step("add", ("p", "input"), "s", "s"),
        Step("rprelu", ("s",), "r", "r", {}, {"gamma": gamma, "slope": rslope, "zeta": zeta}),
        Step("add", ("r", "a"), "t", "t"),
        Step("hardtanh", ("t",), "h", "h"),
        Step("add", ("h", "h"), "d", "d"),
        Step("relu", ("d",), "u", "u"),
    ]

    def channelwise(v: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(v).view(1, -1, 1, 1)

    t = torch.from_numpy(x)
    zeros, ones = torch.zeros(channels), torch.ones(channels)
    normed = F.batch_norm(t, zeros, ones, torch.from_numpy(a), torch.from_numpy(b), eps=0.0)
    y = F.prelu(normed, torch.from_numpy(slope)) + t
    y = F.prelu(y - channelwise(gamma), torch.from_numpy(rslope)) + channelwise(zeta)
    y = F.hardtanh(y + normed)
    expected = F.relu(y + y).numpy()
    assert np.array_equal(run_elements(steps, x), expected)
    assert expected.min() < expected.max()


def assembly(form: Isa, triple: str, cpu: str) -> str:
    """The register block as LLVM compiles it for another processor."""
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    module = ir.Module()
    module.triple = triple
    numbers = [ir.IntType(64)] * 7
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), numbers), "tile")
    builder = ir.IRBuilder(function.append_basic_block())
    emit_tile(builder, form, *form.blocks[0], tuple(function.args))
    builder.ret_void()
    parsed = binding.parse_assembly(str(module))
    machine = binding.Target.from_triple(triple).create_target_machine(cpu=cpu, opt=3)
    options = binding.create_pipeline_tuning_options(speed_level=3)
    passes = binding.create_pass_builder(machine, options)
    passes.getModulePassManager().run(parsed, passes)
    text: str = machine.emit_assembly(parsed)
    return text


@pytest.mark.parametrize(
    ("form", "triple", "cpu", "counts"),
    [
        ("avx512-vpopcntdq", X86, "icelake-server", {r"vpopcntq\t%zmm": 16, r"rsp": 0}),
        ("avx512-vpopcntdq", X86, "znver4", {r"vpopcntq\t%zmm": 16, r"rsp": 0}),
        ("avx2", X86, "haswell", {r"vpshufb\t.*%ymm": 12, r"vpand\t.*%ymm": 8, r"rsp": 1}),
        ("neon", ARM, "neoverse-n1", {r"cnt\tv\d+\.16b": 16, r"eor\tv\d+\.16b": 16}),
    ],
)
def test_one_source_becomes_each_machines_vector_popcount(
    form: str, triple: str, cpu: str, counts: dict[str, int]
) -> None:
    """One instruction for each vector of the register block: none taken apart, and none spilled.

    What the table form reads from the stack is its seventh argument.
    """
    text = assembly(FORMS[form], triple, cpu)
    assert {pattern: len(re.findall(pattern, text)) for pattern in counts} == counts


def test_an_unknown_form_is_refused(monkeypatch: Any) -> None:
    monkeypatch.setenv(OVERRIDE, "avx3")
    host.cache_clear()
    with pytest.raises(BenchError, match=f"{OVERRIDE}.*avx3.*avx2"):
        host()
    monkeypatch.setenv(OVERRIDE, "plain")
    assert host() is FORMS["plain"]
    host.cache_clear()


def test_a_sum_too_long_to_count_is_refused_with_the_layer() -> None:
    program, _ = convolution((7296, 1, 3, 1, 1, 1, 1, 1, 1), np.random.default_rng(0))
    with pytest.raises(BenchError, match="'sums' sums 65664 signs"):
        Engine(program)


def test_a_kernel_in_padding_as_wide_as_itself() -> None:
    """With padding as wide as itself: every border has another set of weights.

    Where a pixel takes 512 bits the engine cannot count a kernel of 80, which is wider than the map.
    """
    kernel = 80 if 8 * 80**2 * pixel_bytes(1, host()) <= MOST_BITS else 11
    shape = (1, 3, kernel, 1, kernel - 1, 1, 1, 20, 20)
    program, weights = convolution(shape, np.random.default_rng(0))
    x = np.random.default_rng(1).normal(size=(1, 1, 20, 20)).astype(np.float32)
    found = Engine(program, fused=False).values(x)
    signs = (x >= program.steps[0].tensors["threshold"]) ^ (
        program.steps[0].tensors["flips"][0] == 1
    )
    expected = F.conv2d(
        torch.from_numpy(np.where(signs, np.float32(1), np.float32(-1))),
        torch.from_numpy(weights.copy()),
        padding=kernel - 1,
    )
    assert torch.equal(found["sums"], expected)


PROBE = """
import numpy as np
from bnas_bench.packed.engine.isa import host
from bnas_bench.packed.engine.kernels import kernels
from bnas_bench.packed.engine.tile import TABLE
from numba import types
product = kernels(host()).product
product.compile((types.int64,) * 9)
print(sum(product.stats.cache_hits.values()), sum(product.stats.cache_misses.values()))
"""


def probe(tmp_path: Path, **environment: str) -> str:
    """Cache hits and misses of a kernel that a new process compiles."""
    where = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache")} | environment
    command = [sys.executable, "-c", PROBE]
    return subprocess.run(command, env=where, check=True, capture_output=True, text=True).stdout


@pytest.mark.slow
def test_compiled_code_is_kept_for_the_next_process(tmp_path: Path) -> None:
    assert probe(tmp_path) == "0 1\n"
    files = sorted((tmp_path / "cache").rglob("*.nb*"))
    assert probe(tmp_path) == "1 0\n"
    assert sorted((tmp_path / "cache").rglob("*.nb*")) == files
    assert probe(tmp_path, BNAS_BENCH_ISA="plain") == "0 1\n"


def test_kernels_follow_what_numba_compiles_for(tmp_path: Path) -> None:
    """As where one cache serves many kinds of machines."""
    assert probe(tmp_path, NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="") == "0 1\n"
